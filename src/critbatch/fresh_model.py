"""The model that a run begins with: that of the task, with what the plan changes about it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from critbatch.errors import UserError
from critbatch.ghost_batch_norm import make_ghosts
from critbatch.plan import NormStatistics, Plan
from critbatch.solutions import model_with
from critbatch.task import Task, accuracy
from critbatch.zoo.zero_gamma import zero_last_gamma


def refuse_misfits(task: Task, plan: Plan, *, seed: int, processes: int) -> None:
    """Raise a UserError if the plan cannot be carried out on the task's data by so many processes."""
    largest = max(phase.batch_size for phase in plan.phases)
    if largest > task.examples:
        raise UserError(
            f"batch_size={largest} is above the {task.examples} training examples: use {task.examples} or less."
        )
    if seed < 0:
        raise UserError(f"seed={seed} is not possible: use 0 or more.")
    for phase in plan.phases:
        bar = phase.until_train_metric
        if bar is not None and bar > 1 and task.metric is accuracy:
            raise UserError(
                f"until_train_metric={bar:g} cannot be reached, since the accuracy is a share: use 1 or less."
            )
        sharers = phase.copies if phase.shares_batches else 1 if phase.copies > 1 else processes
        if phase.batch_size < sharers:
            who = "copies" if phase.copies > 1 else "processes"
            raise UserError(
                f"batch_size={phase.batch_size} cannot be shared by {sharers} {who}: use {sharers} or more, or "
                "fewer of them."
            )


def fresh_model(
    task: Task, plan: Plan, *, seed: int, device: torch.device, start: dict[str, Any] | None = None
) -> nn.Module:
    """A new model in train mode. Options for layers that it has not change nothing.

    Args:
        start: weights to begin with; freshly drawn ones unless given.

    Raises:
        UserError: if those belong to another model.
    """
    model = model_with(task, start, device) if start is not None else task.new_model(seed, device)
    model.train()
    if plan.zero_gamma and start is None:
        zero_last_gamma(model)
    if plan.ghost_batch is not None:
        make_ghosts(model, plan.ghost_batch)
    if plan.norm_statistics is NormStatistics.LAST_BATCH:
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.momentum = 1.0
    return model
