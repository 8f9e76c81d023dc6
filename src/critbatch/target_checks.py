"""Whether a target can be reached at all, tried on a few examples before anything is trained towards it.

`Task.check_target` knows what follows from the loss and the metric of this package. Here those of the user's own are
called: with the outputs of an untrained model, and with outputs that are right.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from critbatch.errors import UserError
from critbatch.evaluation import Evaluation, sample
from critbatch.records.core import Quantity, Target
from critbatch.tasks.data import Tree, count
from critbatch.tasks.sampler import validation_source
from critbatch.tasks.task import Task

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
