"""Batch norm: ghost batch norm, the layers that training updates, and statistics recomputed for averaged weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from critbatch.errors import UserError
from critbatch.runtime.device import sum_dtype


class _Ghost(_BatchNorm):
    """Normalizes each `size` examples by their own mean and variance, in train mode. In eval mode nothing changes.

    If the batch size is no multiple of `size`, some ghost batches have a few examples more. Running statistics are
    updated once per ghost batch, one after the other.
    """

    size: int

    def forward(self, inputs: Tensor) -> Tensor:
        ghosts = len(inputs) // self.size
        if not self.training or ghosts < 2:
            return super().forward(inputs)
        return torch.cat([super(_Ghost, self).forward(part) for part in torch.tensor_split(inputs, ghosts)])


class _Ghost1d(_Ghost, nn.BatchNorm1d): ...


class _Ghost2d(_Ghost, nn.BatchNorm2d): ...


class _Ghost3d(_Ghost, nn.BatchNorm3d): ...


_KINDS = {nn.BatchNorm1d: _Ghost1d, nn.BatchNorm2d: _Ghost2d, nn.BatchNorm3d: _Ghost3d}


def make_ghosts(model: nn.Module, size: int) -> int:
    """Let all batch norms of the model normalize over `size` examples at a time. Weights and their names stay.

    Hoffer et al. 2017, arXiv:1705.08741, algorithm 1; there `size` is 128. The authors' code cuts a batch into equal
    numbers of parts and weighs a short one like the others; here no part is short.

    Returns:
        How many batch norms there were.

    Raises:
        UserError: if there is a batch norm of a kind that is not known.
    """
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    for module in layers:
        if type(module) not in _KINDS:
            raise UserError(f"A {type(module).__name__} cannot normalize over {size} examples at a time.")
        module.__class__ = _KINDS[type(module)]
        setattr(module, "size", size)  # noqa: B010
    return len(layers)


def has_batch_norm(model: nn.Module) -> bool:
    return any(isinstance(module, _BatchNorm) for module in model.modules())


def norms_in_training(model: nn.Module) -> list[_BatchNorm]:
    """The batch norms that normalize with the statistics of the batch while the model trains.

    A layer that is frozen stays out: its statistics were learned elsewhere and must stay as they are. It is frozen by a
    `train` method of the model or of the layer that leaves it in eval mode, or by hand: then it is in eval mode in a
    model that is in train mode. The model's `train()` is called, and all modes are put back.
    """
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    if model.training:
        layers = [layer for layer in layers if layer.training]
    if not layers:
        return []
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.train()
        return [layer for layer in layers if layer.training]
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def statistics_held(model: nn.Module) -> Iterator[None]:
    """Keep the running statistics and their count of batches unchanged inside the context."""
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    before = [(layer.momentum, _copy(layer.num_batches_tracked)) for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, (momentum, batches) in zip(layers, before, strict=True):
            layer.momentum = momentum
            if batches is not None and layer.num_batches_tracked is not None:
                # With momentum None the mean is over all batches: one that did not count must not be counted.
                layer.num_batches_tracked.copy_(batches)


@contextmanager
def taken_anew(model: nn.Module, layers: Sequence[_BatchNorm] | None = None) -> Iterator[None]:
    """Set the running statistics of the model to those of the examples that pass through it inside the context.

    Mean and variance are those over all values that a layer sees, whatever the batches; each layer's inputs are those
    of the model in train mode, batch by batch. Layers that training holds in eval mode keep their statistics, and
    normalize with them. Modes stay as they are. Without batch norm nothing is done.

    Args:
        model: Model.
        layers: Layers that training updates. Default: `norms_in_training(model)`.
    """
    layers = norms_in_training(model) if layers is None else layers
    layers = [layer for layer in layers if layer.track_running_stats and layer.running_mean is not None]
    sums: dict[_BatchNorm, list[Tensor]] = {}

    def add(layer: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Any]) -> None:
        assert isinstance(layer, _BatchNorm)
        inputs = args[0] if args else kwargs["input"]
        values = inputs.to(sum_dtype(inputs.device)).transpose(0, 1).flatten(1)
        new = [torch.tensor(float(values.shape[1])), values.sum(1), values.square().sum(1)]
        sums[layer] = [old + more for old, more in zip(sums[layer], new, strict=True)] if layer in sums else new

    modes = [(layer, layer.training) for layer in layers]
    hooks = [layer.register_forward_pre_hook(add, with_kwargs=True) for layer in layers]
    try:
        # The flag and not `train()`, which a layer may have changed.
        for layer in layers:
            layer.training = True
        with statistics_held(model), torch.no_grad():
            yield
    finally:
        for hook in hooks:
            hook.remove()
        for layer, training in modes:
            layer.training = training
    for layer, (count, total, squares) in sums.items():
        mean = total / count
        variance = (squares / count - mean**2).clamp(min=0) * count / (count - 1).clamp(min=1)
        assert layer.running_mean is not None and layer.running_var is not None
        layer.running_mean.copy_(mean)
        layer.running_var.copy_(variance)


def pieces_of(indices: Tensor, size: int) -> list[Tensor]:
    """Split the indices into pieces of `size`. A single index at the end joins the piece before it.

    Batch norm needs more than one example for a variance.
    """
    pieces = list(torch.split(indices, size))
    if len(pieces) > 1 and len(pieces[-1]) == 1 < size:
        pieces[-2:] = [torch.cat(pieces[-2:])]
    return pieces


def _copy(count: Tensor | None) -> Tensor | None:
    return None if count is None else count.clone()
