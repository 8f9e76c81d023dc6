"""Continue with full and with small batches where full-batch descent stopped, and count the escapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from critbatch.arguments import checked_call
from critbatch.errors import UserError
from critbatch.measure.critical_point import look, standing
from critbatch.measure.empirical_risk import EmpiricalRisk, make_dense
from critbatch.recipes import usual_rate
from critbatch.records.core import Estimate
from critbatch.records.loss_surface import Escape, EscapeCount, PointType
from critbatch.runtime.device import as_device, check_copies
from critbatch.runtime.provenance import RunTimer
from critbatch.tasks.data import Tree, map_tree
from critbatch.tasks.registry import as_task
from critbatch.tasks.sampler import EpochSampler, training_source
from critbatch.tasks.task import Task, apply
from critbatch.training.batch_norm import has_batch_norm


class ModelEnsemble:
    """Several copies of a small model, trained at once by plain gradient descent as one vectorized model.

    Args:
        task: Task with data, loss and model.
        starts: Number of models. The n-th has the weights of seed ``seed + n`` and the order of examples of that seed.
        seed: Seed of the first model.
        device: Device of the models.

    Raises:
        UserError: if the model normalizes over the batch, or torch.func cannot transform it.
    """

    def __init__(self, task: Task, *, starts: int, seed: int, device: torch.device) -> None:
        self.task, self.starts, self.device, self.examples = task, starts, device, task.examples
        weights = sum(weight.nbytes for weight in task.new_model(seed).parameters())
        check_copies(f"starts={starts}", starts, 2 * weights, device)  # first as single models, then stacked
        models = [task.new_model(seed + n, device).eval() for n in range(starts)]
        if has_batch_norm(models[0]):
            raise UserError(f"Task {task.name!r} has batch norm, so several models cannot be trained as one.")
        for model in models:
            make_dense(model)
        self._template = models[0]
        self._trainable = {name for name, weight in models[0].named_parameters() if weight.requires_grad}
        self._weights, self._buffers = stack_module_state(models)
        self._weights = {name: weight.detach() for name, weight in self._weights.items()}
        self._source = training_source(task, device)
        self._cursors = [EpochSampler(task.examples, seed=seed + n) for n in range(starts)]
        self._gradients = vmap(grad(self._mean_loss), in_dims=(0, 0, 0, 0))
        self._full_gradients = vmap(grad(self._mean_loss), in_dims=(0, 0, None, None))
        self._full_losses = vmap(self._mean_loss, in_dims=(0, 0, None, None))
        self._all = self._batch(torch.arange(task.examples))
        self._refuse_untransformable()

    def step(self, rate: float, batch_size: int, *, times: int) -> None:
        """Make this many steps of ``w - rate g``. Each model has its own batches, except for full batches."""
        for _ in range(times):
            if batch_size == self.examples:
                gradients = self._full_gradients(self._weights, self._buffers, *self._all)
            else:
                rows = torch.stack([self._rows(cursor, batch_size) for cursor in self._cursors])
                inputs, targets = self._batch(rows.flatten())
                gradients = self._gradients(self._weights, self._buffers, self._split(inputs), self._split(targets))
            self._weights = {
                name: weight - rate * gradients[name] if name in self._trainable else weight
                for name, weight in self._weights.items()
            }

    def losses(self) -> Tensor:
        """The mean loss of each model over all examples, shape (starts,), on the CPU."""
        with torch.no_grad():
            losses: Tensor = self._full_losses(self._weights, self._buffers, *self._all)
        return losses.double().cpu()

    def weights(self) -> dict[str, Tensor]:
        return dict(self._weights)

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """Set the weights to a result of `weights`."""
        self._weights = dict(weights)

    def model(self, n: int) -> nn.Module:
        """The n-th model as a module of its own."""
        model = self.task.new_model(0, self.device)
        stacks = {**self._weights, **self._buffers}
        with torch.no_grad():
            for name, own in (*model.named_parameters(), *model.named_buffers()):
                own.copy_(stacks[name][n])
        return model

    def _refuse_untransformable(self) -> None:
        inputs, targets = self._batch(torch.arange(min(2, self.examples)))
        try:
            self._full_gradients(self._weights, self._buffers, inputs, targets)
        except (RuntimeError, NotImplementedError) as error:
            raise UserError(
                f"Several models of task {self.task.name!r} cannot be trained at once, because torch.func does not "
                f"support them ({str(error).splitlines()[0]}): use a model without checkpointed activations, sparse "
                "gradients and control flow that depends on the data."
            ) from error

    def _mean_loss(self, weights: dict[str, Tensor], buffers: dict[str, Tensor], inputs: Tree, targets: Tree) -> Tensor:
        def called(*args: Any, **kwargs: Any) -> Any:
            return functional_call(self._template, {**weights, **buffers}, args, kwargs)

        return self.task.loss(apply(called, inputs), targets).mean()

    def _rows(self, cursor: EpochSampler, batch_size: int) -> Tensor:
        """A full-sized batch. The short rest of an epoch is skipped, so that all models have batches of one size."""
        rows = cursor.take(batch_size)
        return rows if len(rows) == batch_size else cursor.take(batch_size)

    def _batch(self, rows: Tensor) -> tuple[Tree, Tree]:
        inputs, targets = self._source.take(rows)
        return self.task.inputs(inputs), targets

    def _split(self, tree: Tree) -> Tree:
        return map_tree(lambda leaf: leaf.view(self.starts, -1, *leaf.shape[1:]), tree)


EVALUATIONS = 50
"""Evaluations of the loss while training continues."""
STOPPED = 1e-3
"""Descent has stopped if the loss fell by less than this share over a tenth of its steps."""


@checked_call
def escape(
    task: Task | str,
    *,
    starts: int = 50,
    batch_sizes: Sequence[int] | None = None,
    learning_rate: float | None = None,
    descent_steps: int = 2000,
    steps: int = 2000,
    drop: float = 0.05,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    command: str = "",
) -> Escape:
    """Count how often small batches go on where full ones are stuck.

    From each of `starts` initial weights, plain gradient descent with the full batch runs until the loss falls no
    more, or for `descent_steps`. From that point training continues for `steps` steps with full batches and with each
    smaller batch size, at the same learning rate. A start has escaped if from some step on the loss over all examples
    stays below ``(1 - drop)`` times the loss at the point. The comparison is at equal steps, in which a larger batch
    sees more examples. All starts are trained at once, as one vectorized model.

    Args:
        task: Task, or its name: a built-in task, path/to/file.py:task or package.module:task. Its model must have no
            batch norm, and dropout is off.
        starts: Initial weights, one for each seed from `seed` on.
        batch_sizes: Batch sizes beside the full batch. Default: 1 and 16.
        learning_rate: Learning rate of all steps. Default: a usual one of SGD for a batch of 128.
        descent_steps: Most steps of full-batch descent before it counts as stopped.
        steps: Steps after that, at every batch size.
        drop: Fall of the loss, as a fraction, that counts as an escape.
        seed: Seed of the first initial weights and of the batches.
        device: Device, such as cpu, cuda or cuda:1. Default: an accelerator if there is one, else cpu.
        progress: Function to call with the stage, the steps made and the steps in all.
        command: Command that the user gave, kept in the record.

    Raises:
        UserError: if an argument is not possible, or the model cannot be vectorized.
    """
    task = as_task(task)
    watch, device = RunTimer(), as_device(device)
    sizes = [*sorted({size for size in batch_sizes or (1, 16) if size < task.examples}), task.examples]
    if min(starts, descent_steps, steps, *sizes) < 1 or not 0 < drop < 1:
        raise UserError(
            f"starts={starts}, batch_sizes={tuple(sizes)}, descent_steps={descent_steps}, steps={steps}, drop={drop} "
            "are not possible: use 1 or more, and a drop between 0 and 1."
        )
    if learning_rate is not None and not learning_rate > 0:
        raise UserError(f"learning_rate={learning_rate} is not possible: use a number above 0.")
    rate = learning_rate if learning_rate is not None else usual_rate("sgd", 128)
    herd = ModelEnsemble(task, starts=starts, seed=seed, device=device)
    _descend(herd, rate, descent_steps, progress)
    points = herd.weights()
    losses = herd.losses()
    standings = _standings(task, herd, seed, device, progress)
    counts = []
    for size in sizes:
        herd.load_weights(points)
        history = [losses]
        gap = max(1, steps // EVALUATIONS)
        for begin in range(0, steps, gap):
            if progress is not None:
                progress(f"batch size {size}", begin, steps)
            herd.step(rate, size, times=min(gap, steps - begin))
            history.append(herd.losses())
        counts.append(_count(torch.stack(history), size, gap, steps, drop))
    return Escape(
        task=task.name,
        unit=task.unit,
        examples=task.examples,
        starts=starts,
        learning_rate=rate,
        descent_steps=descent_steps,
        steps=steps,
        drop=drop,
        standings=standings,
        start_losses=tuple(losses.tolist()),
        counts=tuple(counts),
        provenance=watch.provenance(command=command, seed=seed, device=device),
    )


def _descend(herd: ModelEnsemble, rate: float, most: int, progress: Callable[[str, int, int], None] | None) -> None:
    """Full-batch descent, until the loss of no start falls any more."""
    gap = max(1, most // 10)
    before = herd.losses()
    for begin in range(0, most, gap):
        if progress is not None:
            progress("full-batch descent", begin, most)
        herd.step(rate, herd.examples, times=min(gap, most - begin))
        after = herd.losses()
        if bool(((before - after) <= STOPPED * before.abs()).all()):
            break
        before = after


def _standings(
    task: Task, herd: ModelEnsemble, seed: int, device: torch.device, progress: Callable[[str, int, int], None] | None
) -> dict[str, int]:
    counts = dict.fromkeys(map(str, PointType), 0)
    for n in range(herd.starts):
        if progress is not None:
            progress("where the starts stopped", n, herd.starts)
        view, _, _ = look(task, EmpiricalRisk(task, herd.model(n), device=device), seed=seed)
        counts[str(standing(view)[0])] += 1
    return {name: count for name, count in counts.items() if count}


def _count(history: torch.Tensor, size: int, gap: int, steps: int, drop: float) -> EscapeCount:
    """Count the escapes, given losses of shape (evaluations, starts). The first row is at the point itself."""
    limits = history[0] - drop * history[0].abs()
    below = history < limits
    # Below from this evaluation to the last one: a cumulative product from the end.
    stays = below.flip(0).long().cumprod(0).flip(0).bool()
    escaped = stays[-1]
    first = stays.long().argmax(0)[escaped]
    steps_to = [min(int(evaluation) * gap, steps) for evaluation in first]
    escapes, starts = int(escaped.sum()), history.shape[1]
    final = history[-1].nan_to_num(nan=torch.inf).tolist()
    return EscapeCount(
        batch_size=size,
        share=binomial(escapes, starts),
        escapes=escapes,
        steps=_middle([float(step) for step in steps_to]) if steps_to else None,
        loss=_middle(final),
    )


def binomial(hits: int, n: int, *, level: float = 0.95) -> Estimate:
    """A share with its exact binomial interval (Clopper and Pearson 1934)."""
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    low = float(betaincinv(hits, n - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, n - hits, 1 - tail)) if hits < n else 1.0
    return Estimate(value=hits / n, n=n, low=low, high=high, level=level)


def _middle(values: list[float]) -> Estimate:
    """The median with its interval by order statistics, which holds for any distribution."""
    from scipy.stats import binom

    ordered, n = sorted(values), len(values)
    below = int(binom.ppf(0.025, n, 0.5))
    if n < 6:
        return Estimate(value=median(values), n=n, reason="too_few_visits")
    return Estimate(value=median(values), n=n, low=ordered[max(0, below - 1)], high=ordered[min(n - 1, n - below)])
