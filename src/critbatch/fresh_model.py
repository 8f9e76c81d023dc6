"""The model that a run begins with: that of the task, with what the plan changes about it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from critbatch.ghost_batch_norm import make_ghosts
from critbatch.recipes.plan import NormStatistics, Plan
from critbatch.solutions import model_with
from critbatch.tasks.models import zero_last_gamma
from critbatch.tasks.task import Task


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
