"""Measure the gradient noise scale from gradients that training computes anyway."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from critbatch.errors import UserError
from critbatch.gradient_noise.estimator import average_pairs, separate
from critbatch.gradient_noise.ghost_norms import GhostNorms
from critbatch.gradient_noise.reruns import nothing_changes
from critbatch.optim.norms import squares
from critbatch.records.core import LayerNoise, NoisePoint, NoiseScale
from critbatch.runtime.device import sum_dtype
from critbatch.runtime.distributed import Shard, sum_over_processes
from critbatch.tasks.data import fetch, map_tree
from critbatch.tasks.task import Task, apply

Metric = Callable[[], list[Tensor] | None]


class MicroBatchNorms:
    """The squared gradient norm of each micro-batch, though `.grad` holds their sum.

    For the first micro-batch it is the norm of `.grad`. Hooks see the gradients of later ones before they are added to
    `.grad`, so nothing is copied, but one more gradient stays in memory. In several processes, hooks also see the first
    one, because `.grad` may already be the mean over the processes.
    """

    def __init__(self, parameters: Sequence[Tensor], *, alone: bool = True) -> None:
        self.parameters, self.alone = parameters, alone
        self._handles: list[Any] = []
        self._hooked_grads: dict[int, Tensor] = {}

    def begin(self) -> None:
        """Call this before the first micro-batch of a step, when gradients are None."""
        if not self.alone:
            self._watch()

    def after(self, size: int, divisor: float, metric: list[Tensor] | None) -> tuple[Tensor, int, float]:
        """The sum of squared norms, shape (rows, weights), their number, and the sum of 1 / examples."""
        if self._handles:
            grads = [self._hooked_grads.get(i) for i in range(len(self.parameters))]
        else:
            grads = [weight.grad for weight in self.parameters]
            self._watch()
        norms2 = squares(grads, metric) * (divisor / size) ** 2
        self._hooked_grads.clear()
        return norms2, 1, 1 / size

    def _watch(self) -> None:
        self._handles = [
            weight.register_hook(lambda grad, i=i: self._hooked_grads.update({i: grad}))  # type: ignore[no-untyped-call]
            for i, weight in enumerate(self.parameters)
        ]

    def end(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._hooked_grads.clear()


class ExampleNorms:
    """The squared gradient norm of each example, by `GhostNorms`, only at the measured steps.

    Args:
        model: the model to measure.
        task: three of its examples are tried at once, so that a model that mixes examples is refused now and not at the
            first step.

    Raises:
        UserError: if examples cannot be separated.
    """

    def __init__(self, model: nn.Module, task: Task | None = None) -> None:
        self.model = model
        self.names = [name for name, weight in model.named_parameters() if weight.requires_grad]
        self._ghost = GhostNorms(model)
        try:
            if task is not None:
                _try_examples(task, model, self._ghost)
        finally:
            self._ghost.close()

    def begin(self) -> None:
        self._ghost.attach()

    def after(self, size: int, divisor: float, metric: list[Tensor] | None) -> tuple[Tensor, int, float]:
        """Like `MicroBatchNorms.after`; an example is a batch of one. `metric` is ignored."""
        by_weight = self._ghost.take(examples=size)
        norms2 = torch.stack([by_weight[name].sum() for name in self.names])[None] * divisor**2
        return norms2, size, float(size)

    def end(self) -> None:
        self._ghost.close()


def _try_examples(task: Task, model: nn.Module, ghost: GhostNorms) -> None:
    """Raise UserError if the model mixes examples. `Task` has checked that the task's loss does not."""
    device = next(model.parameters()).device
    batch = fetch(task.train, [i % task.examples for i in range(3)])
    inputs, targets = (map_tree(lambda leaf: leaf.to(device), tree) for tree in batch)
    with nothing_changes(model):
        torch.autograd.backward(task.loss(apply(model, task.inputs(inputs)), targets).sum())
        ghost.take(3)


class NoiseMeter:
    """The noise scale over some steps, in total, for each layer, and in the metric of the optimizer.

    It compares the gradients of micro-batches, of processes, or of examples with that of the whole batch.

    Args:
        model: measured over its weights that need a gradient.
        examples: in the training set, from which batches are drawn without replacement.
        shard: of this process.
        batch_norm: whether the model normalizes over the batch. Then a micro-batch and a batch have gradients of
            different functions, and the result says so.
        norms: measures the small gradients; those of micro-batches by default.
        metric: returns, for each weight, the factors of the preconditioned norm; None if there are none yet.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        examples: float = math.inf,
        shard: Shard | None = None,
        batch_norm: bool = False,
        norms: Any = None,
        metric: Metric | None = None,
    ) -> None:
        named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
        self.names = [name for name, _ in named]
        self.parameters = [weight for _, weight in named]
        self.examples, self.shard, self.batch_norm = examples, shard or Shard(), batch_norm
        self.norms = norms or MicroBatchNorms(self.parameters, alone=self.shard.world_size == 1)
        self.metric = metric
        self.pairs: list[Tensor] = []  # one for each step since the last `take`: (noise or signal, rows, weights)
        self._small: list[tuple[Tensor, int, float]] = []
        self._factors: list[Tensor] | None = None

    def begin(self) -> None:
        """Call this before the forward pass of a step's first micro-batch."""
        sees_gradients = isinstance(self.norms, MicroBatchNorms)
        self._factors = self.metric() if self.metric is not None and sees_gradients else None
        self.norms.begin()

    def after_micro_batch(self, size: int, divisor: float) -> None:
        """Call this after the backward pass of the sum over `size` examples, divided by `divisor`."""
        self._small.append(self.norms.after(size, divisor, self._factors))

    def after_batch(self, batch_size: int) -> None:
        """Call this when `.grad` is the gradient of the whole batch, over all processes."""
        self.norms.end()
        big_norm2 = squares([weight.grad for weight in self.parameters], self._factors)
        sums = torch.zeros_like(big_norm2)
        for norms2, _, _ in self._small:
            sums += norms2
        count, inverse = sum(n for _, n, _ in self._small), sum(over for _, _, over in self._small)
        if self.shard.world_size > 1:
            tally = torch.tensor([count, inverse], dtype=sum_dtype(sums.device), device=sums.device)
            sum_over_processes(sums)
            sum_over_processes(tally)
            count, inverse = tally.tolist()
        self._small = []
        if count > 1:
            pair = separate(sums / count, big_norm2, small=count / inverse, big=batch_size, examples=self.examples)
            self.pairs.append(torch.stack(pair))

    def take(self) -> NoiseScale:
        """The noise scale over the steps since the last call. Afterwards the meter is empty."""
        return self.take_point(step=0, epoch=0.0).scale

    def take_point(self, *, step: int, epoch: float) -> NoisePoint:
        """Like `take`, also for each layer and in the optimizer's metric."""
        pairs = [pair.double().cpu() for pair in self.pairs]
        self.pairs = []
        plain = torch.stack([pair[:, 0] for pair in pairs]) if pairs else torch.zeros(0, 2, len(self.names))
        inner = [pair[:, 1].sum(-1) for pair in pairs if pair.shape[1] > 1]
        return NoisePoint(
            step=step,
            epoch=epoch,
            scale=self._averaged(plain.sum(-1)),
            in_metric=self._averaged(torch.stack(inner)) if inner else None,
            layers=tuple(
                LayerNoise(
                    name=name,
                    parameters=sum(self.parameters[i].numel() for i in places),
                    scale=self._averaged(plain[:, :, places].sum(-1)),
                )
                for name, places in layers(self.names).items()
            ),
        )

    def _averaged(self, pairs: Tensor) -> NoiseScale:
        scale = average_pairs(pairs[:, 0], pairs[:, 1])
        return replace(scale, reason="batch_norm_in_train_mode") if self.batch_norm and not scale.reason else scale


def layers(names: Sequence[str]) -> dict[str, list[int]]:
    """The indices of each layer's weights, by the layer's name. A weight outside any layer counts as a layer.

    >>> layers(["0.weight", "0.bias", "positions"])
    {'0': [0, 1], 'positions': [2]}
    """
    by_layer: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        layer, dot, _ = name.rpartition(".")
        by_layer.setdefault(layer if dot else name, []).append(i)
    return by_layer


def preconditioner(optimizer: Optimizer, parameters: Sequence[Tensor]) -> list[Tensor] | None:
    """Square roots of the optimizer's factors P: a gradient times these has the squared norm ``g^T P g``.

    For an optimizer that steps along ``P g``, ``u = P^(-1/2) w`` are the coordinates in which it is plain gradient
    descent, and the gradient there is ``P^(1/2) g``. For Adam and AdamW ``P = 1 / (sqrt(v / (1 - beta2^t)) + eps)``,
    for RMSprop and Adagrad likewise without the correction.

    Returns:
        One tensor for each weight; None before the first step, or where the optimizer has no second moments.
    """
    groups = {weight: group for group in optimizer.param_groups for weight in group["params"]}
    factors = []
    for weight in parameters:
        state, group = optimizer.state.get(weight, {}), groups.get(weight, {})
        key = next((key for key in ("exp_avg_sq", "square_avg", "sum") if key in state), None)
        if key is None:
            return None
        second = torch.view_as_real(state[key]) if state[key].is_complex() else state[key]
        if key == "exp_avg_sq" and "betas" in group:
            second = second / (1 - group["betas"][1] ** state["step"]).to(second)
        factors.append((second.sqrt() + group["eps"]).rsqrt())
    return factors


def norms_by(name: str, model: nn.Module, task: Task | None = None) -> Any:
    """The method that measures small gradients; None for the default, micro-batches.

    Args:
        name: "micro_batches" or "examples".
        model: the model to measure.
        task: "examples" tries three of its examples at once.

    Raises:
        UserError: if the method is unknown, or the model's examples cannot be separated.
    """
    if name == "micro_batches":
        return None
    if name == "examples":
        return ExampleNorms(model, task)
    raise UserError(f"method={name!r} is not known: use micro_batches or examples.")
