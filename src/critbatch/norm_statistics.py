"""Batch norm's statistics, computed anew for weights that training never stood at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def has_batch_norm(model: nn.Module) -> bool:
    return any(isinstance(module, _BatchNorm) for module in model.modules())


@contextmanager
def taken_anew(model: nn.Module) -> Iterator[None]:
    """Set the running statistics of the model to those of the examples that go through it within.

    Mean and variance are those over all values that a layer sees, whatever the batches; each layer's inputs are those
    of the model in train mode, batch by batch. Modes stay as they are. Without batch norm nothing is done.
    """
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    sums: dict[_BatchNorm, list[Tensor]] = {}

    def see(layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, _BatchNorm)
        values = args[0].double().transpose(0, 1).flatten(1)
        new = [torch.tensor(float(values.shape[1])), values.sum(1), values.square().sum(1)]
        sums[layer] = [old + more for old, more in zip(sums[layer], new, strict=True)] if layer in sums else new

    modes = [(layer, layer.training, layer.momentum) for layer in layers]
    hooks = [layer.register_forward_pre_hook(see) for layer in layers]
    for layer in layers:
        layer.train()
        layer.momentum = 0.0
    try:
        with torch.no_grad():
            yield
    finally:
        for hook in hooks:
            hook.remove()
        for layer, training, momentum in modes:
            layer.train(training)
            layer.momentum = momentum
    for layer, (count, total, squares) in sums.items():
        mean = total / count
        variance = (squares / count - mean**2).clamp(min=0) * count / (count - 1).clamp(min=1)
        assert layer.running_mean is not None and layer.running_var is not None
        layer.running_mean.copy_(mean)
        layer.running_var.copy_(variance)
