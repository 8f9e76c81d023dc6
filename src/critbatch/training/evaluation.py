"""Loss and metric over many examples, in eval mode. Sums first, division last."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from critbatch.arguments import check_fields
from critbatch.errors import UserError
from critbatch.gradient_noise.estimator import FEWEST_PAIRS
from critbatch.gradient_noise.noise_meter import NoiseMeter
from critbatch.optim.scaling_rules import scale_saturating
from critbatch.records.core import CurvePoint, Outcome, Quantity, Target
from critbatch.runtime.device import sum_dtype
from critbatch.runtime.distributed import Shard, averaged_statistics, sum_over_processes
from critbatch.runtime.process import seeded
from critbatch.tasks.data import Tree, count
from critbatch.tasks.sampler import BatchGatherer, validation_source
from critbatch.tasks.task import Task
from critbatch.training.phase_cursor import PhaseCursor
from critbatch.training.state import RunState

CHUNK = 1024
ALONE = Shard()


class EvaluationStoppedError(Exception):
    """An evaluation was asked to stop before it was over: it is made again when the run goes on."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """When a run is evaluated, and on which examples.

    Args:
        growth: The next evaluation comes at `growth` times the current step, and at least one step later. So the step
            at which something happens is known to the same relative accuracy early and late.
        validation_examples: How many validation examples to use, the same ones at each evaluation; None for all.
        train_examples: How many training examples to use; None for as many as validation examples. 0 leaves the
            training set out; its loss and metric are then NaN.
    """

    growth: float = 1.1
    validation_examples: int | None = None
    train_examples: int | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.growth < 1:
            raise UserError(f"growth={self.growth} is not possible: use 1 or more.")
        if self.validation_examples is not None and self.validation_examples < 1:
            raise UserError(f"validation_examples={self.validation_examples} is not possible: use 1 or more.")

    def step_after(self, step: int) -> int:
        """Return the step of the next evaluation after one at `step`."""
        return max(step + 1, int(step * self.growth))


def sample(examples: int, size: int | None) -> Tensor:
    """Indices of `size` of the examples, always the same ones; of all where `size` is None or above them."""
    if size is None or size >= examples:
        return torch.arange(examples)
    generator = torch.Generator().manual_seed(0)
    return torch.randperm(examples, generator=generator)[:size].sort().values


@torch.no_grad()
def evaluate(
    task: Task,
    model: nn.Module,
    source: BatchGatherer,
    indices: Tensor,
    *,
    shard: Shard = ALONE,
    stops: Callable[[], bool] | None = None,
) -> tuple[float, float]:
    """Mean loss and mean metric over the examples with these indices; NaN where there are none.

    The model is in eval mode meanwhile: dropout is off, batch norm uses its running statistics. Processes share the
    work, and get the same numbers. What a model draws at random in eval mode is the same each time, and training draws
    the same as without the evaluation.

    Args:
        stops: asked before each chunk of examples where one process does all the work.

    Raises:
        EvaluationStoppedError: if `stops` said so.
    """
    if len(indices) == 0:
        return float("nan"), float("nan")
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        dtype = sum_dtype(source.device)
        sums = torch.zeros(2, dtype=dtype, device=source.device)
        # As many chunks in all processes: with sharded weights each forward pass is made by all of them.
        share = -(-len(indices) // shard.world_size)
        chunks = [rows for rows in torch.tensor_split(shard.of(indices), -(-share // CHUNK)) if len(rows)]
        with seeded(0, [source.device]):
            for inputs, targets in source.stream(iter(chunks)):
                if stops is not None and shard.world_size == 1 and stops():
                    raise EvaluationStoppedError
                outputs = task.forward(model, inputs)
                sums[0] += task.loss(outputs, targets).to(dtype).sum()
                sums[1] += task.metric(outputs, targets).to(dtype).sum()
    finally:
        # One by one: `model.train()` would also put layers in train mode that training holds in eval mode.
        for module, was_training in modes:
            module.training = was_training
    if shard.world_size > 1:
        sum_over_processes(sums)
    loss, metric = (sums / len(indices)).tolist()
    return loss, metric


class Evaluator:
    """Evaluates a model on the fixed samples of the training and of the validation set."""

    def __init__(
        self,
        task: Task,
        train: BatchGatherer,
        validation: BatchGatherer,
        evaluation: Evaluation,
        *,
        shard: Shard = ALONE,
    ) -> None:
        self.task, self.train, self.validation, self.shard = task, train, validation, shard
        self.validation_indices = sample(count(task.validation), evaluation.validation_examples)
        size = len(self.validation_indices) if evaluation.train_examples is None else evaluation.train_examples
        self.train_indices = sample(task.examples, size)

    def alone(self) -> Evaluator:
        """Another one, with which this process does all the work, for a model that the others do not have."""
        other = copy.copy(self)
        other.shard = ALONE
        return other

    def examine(self, model: nn.Module, stops: Callable[[], bool] | None = None) -> dict[str, float]:
        """The four numbers of a `CurvePoint`. `stops` is that of `evaluate`."""
        how: dict[str, Any] = {"shard": self.shard, "stops": stops}
        train_loss, train_metric = evaluate(self.task, model, self.train, self.train_indices, **how)
        loss, metric = evaluate(self.task, model, self.validation, self.validation_indices, **how)
        return {
            "train_loss": train_loss,
            "train_metric": train_metric,
            "validation_loss": loss,
            "validation_metric": metric,
        }


# Whether a target can be reached at all, tried on a few examples before anything is trained towards it.
#
# `Task.check_target` knows what follows from the loss and the metric of this package. Here those of the user's own are
# called: with the outputs of an untrained model, and with outputs that are right.

EXAMPLES = 256
# Of logits: one is so much larger than the others that its probability is 1 in any precision.
CERTAIN = 100.0


@torch.no_grad()
def check_target_on_data(
    task: Task, target: Target, *, evaluation: Evaluation, device: torch.device, seed: int = 0
) -> None:
    """Refuse a target that the task's loss or metric cannot reach, tried on some of the validation examples.

    A metric that is NaN for one example has a mean that is NaN at every evaluation. A metric that is 0 or 1 for each
    example, for an untrained model and for right outputs alike, has a mean of 1 at most. Right outputs are made where
    the targets say how: the classes of logits, or the values themselves. Elsewhere only NaN is refused.

    Args:
        evaluation: on which validation examples runs are judged; the first 256 of those are tried.
        device: where the model is tried.
        seed: of the untrained model.

    Raises:
        UserError: if the target cannot be reached.
    """
    task.check_target(target)
    source = validation_source(task, device)
    rows = sample(count(task.validation), evaluation.validation_examples)[:EXAMPLES]
    with torch.random.fork_rng(devices=()):  # a loader of a Dataset draws from it
        inputs, targets = source.take(rows)
    outputs = task.forward(task.new_model(seed, device).eval(), inputs)
    losses, values = task.loss(outputs, targets), task.metric(outputs, targets)
    if bad := int(losses.isnan().sum()):
        raise UserError(
            f"Task {task.name!r}: the loss of {bad} of {len(rows)} validation examples is NaN before training, so that "
            "every run would end as diverged: compute a number for each example."
        )
    if target.quantity is not Quantity.VALIDATION_METRIC:
        return
    if bad := int(values.isnan().sum()):
        raise UserError(
            f"Task {task.name!r}: the metric of {bad} of {len(rows)} validation examples is NaN, so that its mean can "
            f"never be {target.value:g}: compute a number for each example, or set the target on the validation loss."
        )
    right = _right_outputs(outputs, targets)
    if target.value <= 1 or right is None:
        return
    best = task.metric(right, targets)
    if _is_zero_or_one(values) and _is_zero_or_one(best):
        raise UserError(
            f"Task {task.name!r}: a validation {task.metric_name} of {target.value:g} cannot be reached, since the "
            f"metric is 0 or 1 for each of {len(rows)} validation examples, also for right outputs, so that its mean "
            "is at most 1: give a target of at most 1."
        )


def refuse_nan_metric(task: Task, value: float) -> None:
    """Raise UserError if the first evaluation of a run whose target is a metric gave NaN: no later one is at it."""
    if math.isnan(value):
        raise UserError(
            f"Task {task.name!r}: the validation {task.metric_name} is NaN before training, so that no target on it "
            "can be reached: compute a number for each example, or set the target on the validation loss."
        )


def _is_zero_or_one(values: Tensor) -> bool:
    return bool(((values == 0) | (values == 1)).all())


def _right_outputs(outputs: Tree, targets: Tree) -> Tensor | None:
    """Outputs of a model that makes no mistake; None where the targets do not say what they would be."""
    if not isinstance(outputs, Tensor) or not isinstance(targets, Tensor) or not outputs.is_floating_point():
        return None
    if outputs.shape == targets.shape and targets.is_floating_point():
        return targets.to(outputs.dtype)
    classes = outputs.shape[-1] if outputs.ndim else 0
    if targets.is_floating_point() or classes < 2 or outputs.shape[:-1] != targets.shape:
        return None
    return CERTAIN * F.one_hot(targets.long().clamp(0, classes - 1), classes).to(outputs.dtype)


# A run looked at: how good the model is, whether it is over, how noisy its gradient is, whether its batch grows.

# A loss this many times that of the untrained model is no detour any more.
DIVERGED = 100.0
PAIRS_PER_NOISE_POINT = 16


class EvaluationHook:
    """Writes into the run_state of a run what an evaluation shows, and lets the batch grow where the plan says so.

    Args:
        evaluator: evaluates the model.
        meter: has seen gradients since the last time.
        target: ends the run when it is reached; None for none.
        shard: of this process.
    """

    def __init__(self, evaluator: Evaluator, meter: NoiseMeter, target: Target | None, shard: Shard) -> None:
        self.evaluator, self.meter, self.target, self.shard = evaluator, meter, target, shard

    def evaluate(
        self, model: nn.Module, run_state: RunState, phase_cursor: PhaseCursor, stops: Callable[[], bool] | None = None
    ) -> CurvePoint:
        """The point of the curve where the run is now; it is in the run_state then, with what follows from it.

        Args:
            stops: asked on the way where one process does all the work.

        Raises:
            EvaluationStoppedError: if `stops` said so; the run_state is as it was.
        """
        started = time.perf_counter()
        buffers = dict(model.named_buffers())
        for name, mean in averaged_statistics(buffers, self.shard).items():
            buffers[name].copy_(mean)
        numbers = self.evaluator.examine(model, stops)
        run_state.evaluation_seconds += time.perf_counter() - started
        point = CurvePoint(
            step=run_state.step,
            examples=run_state.examples,
            epoch=phase_cursor.cursor.position,
            seconds=run_state.seconds,
            learning_rate=phase_cursor.learning_rate,
            batch_size=None if phase_cursor.batch_size == phase_cursor.plan.batch_size else phase_cursor.batch_size,
            **numbers,
        )
        if not run_state.curve and self.target is not None and self.target.quantity is Quantity.VALIDATION_METRIC:
            refuse_nan_metric(self.evaluator.task, point.validation_metric)
        run_state.curve.append(point)
        if self.target is not None and self.target.reached_by(point):
            run_state.outcome = Outcome.REACHED
        elif not point.validation_loss <= DIVERGED * max(1.0, run_state.curve[0].validation_loss):
            run_state.outcome, run_state.diverged_at = Outcome.DIVERGED, run_state.step
        if len(self.meter.pairs) >= (PAIRS_PER_NOISE_POINT if run_state.outcome is None else FEWEST_PAIRS):
            run_state.noise.append(self.meter.take_point(step=run_state.step, epoch=point.epoch))
            _grow(run_state, phase_cursor)
        return point


def _grow(run_state: RunState, phase_cursor: PhaseCursor) -> None:
    """Take a larger batch where the plan grows it and the noise has come to be large enough."""
    growth = phase_cursor.phase.growth
    if growth is None:
        return
    size = growth.next_size(phase_cursor.batch_size, run_state.noise, examples=phase_cursor.cursor.examples)
    scale = growth.noise_scale(run_state.noise)
    if scale is None or size == phase_cursor.batch_size:
        return
    factor = scale_saturating(
        phase_cursor.rate_factor,
        from_batch=phase_cursor.batch_size,
        to_batch=size,
        noise_scale=scale,
        exponent=growth.exponent,
    )
    phase_cursor.resize(size, factor, step=run_state.step)
