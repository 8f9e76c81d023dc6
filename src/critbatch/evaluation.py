"""Loss and metric over many examples, in eval mode. Sums first, division last."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from critbatch.arguments import check_fields
from critbatch.errors import UserError
from critbatch.runtime.distributed import Shard, sum_over_processes
from critbatch.runtime.process import seeded
from critbatch.tasks.data import count
from critbatch.tasks.sampler import Source
from critbatch.tasks.task import Task

CHUNK = 1024
ALONE = Shard()


class EvaluationStoppedError(Exception):
    """An evaluation was asked to stop before it was over: it is made again when the run goes on."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """When a run is evaluated, and on what.

    Args:
        growth: the next evaluation comes at `growth` times the step of this one, and a step later at least: what is
            measured against steps is then known to the same relative accuracy early and late.
        validation_examples: how many; the same ones at each evaluation. None for all.
        train_examples: likewise; None for as many as of the validation set. 0 leaves the training set out (NaN).
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
    source: Source,
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
        sums = torch.zeros(2, dtype=torch.float64, device=source.device)
        # As many chunks in all processes: with sharded weights each forward pass is made by all of them.
        share = -(-len(indices) // shard.world_size)
        chunks = [rows for rows in torch.tensor_split(shard.of(indices), -(-share // CHUNK)) if len(rows)]
        with seeded(0, [source.device]):
            for inputs, targets in source.stream(iter(chunks)):
                if stops is not None and shard.world_size == 1 and stops():
                    raise EvaluationStoppedError
                outputs = task.forward(model, inputs)
                sums[0] += task.loss(outputs, targets).double().sum()
                sums[1] += task.metric(outputs, targets).double().sum()
    finally:
        # One by one: `model.train()` would also put layers in train mode that training holds in eval mode.
        for module, was_training in modes:
            module.training = was_training
    if shard.world_size > 1:
        sum_over_processes(sums)
    loss, metric = (sums / len(indices)).tolist()
    return loss, metric


class Examiner:
    """Evaluates a model on the fixed samples of the training and of the validation set."""

    def __init__(
        self, task: Task, train: Source, validation: Source, evaluation: Evaluation, *, shard: Shard = ALONE
    ) -> None:
        self.task, self.train, self.validation, self.shard = task, train, validation, shard
        self.validation_indices = sample(count(task.validation), evaluation.validation_examples)
        size = len(self.validation_indices) if evaluation.train_examples is None else evaluation.train_examples
        self.train_indices = sample(task.examples, size)

    def alone(self) -> Examiner:
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
