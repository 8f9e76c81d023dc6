"""Seconds of a training step in the group of processes that is running: what the model of a cluster is held against."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch

from critbatch.errors import UserError
from critbatch.measure.speed import median_interval
from critbatch.measure.timed_steps import LEARNING_RATE
from critbatch.recipes import find_recipe
from critbatch.recipes.plan import Plan
from critbatch.records.core import Estimate
from critbatch.records.scaling import StepMeasurement
from critbatch.runtime.device import wait_for
from critbatch.runtime.distributed import largest_over_processes, this_shard
from critbatch.tasks.sampler import Cursor, Feed, training_source
from critbatch.tasks.task import Task
from critbatch.training.data_parallel import Replica
from critbatch.training.step import Step

VISITS = 6
WARM_UP = 5
"""Steps that are not counted: the first sums gradients by hand, the next makes the buckets, both allocate."""


def joint_step(
    task: Task,
    batch_size: int,
    *,
    recipe: str | None = None,
    plan_of: Callable[[int], Plan] | None = None,
    device: torch.device,
    seconds: float = 2.0,
    seed: int = 0,
) -> StepMeasurement:
    """Time training steps of all processes together, gradients summed as in training. All processes take part.

    A step ends with the slowest process. The number is the median over all steps; its interval is that of the median
    of six visits' medians, by order statistics, as with `critbatch.speed`.

    Args:
        task: model, data, loss.
        batch_size: over all processes.
        recipe: whose optimizer is used; that of the task unless given.
        plan_of: the plan for a batch size, instead of a recipe's.
        device: of this process.
        seconds: of counted steps.
        seed: of the weights and the order of the examples.

    Raises:
        UserError: if the batch cannot be shared by the processes, or is larger than the training set.
    """
    shard = this_shard()
    if not shard.world_size <= batch_size <= task.examples:
        raise UserError(
            f"batch_size={batch_size} cannot be shared by {shard.world_size} processes on {task.examples} examples: "
            f"use {shard.world_size} to {task.examples}."
        )
    make = find_recipe(recipe or task.recipe)
    plan = plan_of(batch_size) if plan_of else make(batch_size=batch_size, learning_rate=LEARNING_RATE, epochs=1)
    model = task.new_model(seed, device).train()
    step = Step(task, model, plan.phases[0].optimizer(model.parameters()), replica=Replica(model, shard))
    feed = Feed(
        training_source(task, device),
        Cursor(task.examples, seed=seed, drop_last=True),
        batch_size=batch_size,
        shard=shard,
        piece=lambda _: plan.micro_batch_size,
        augment=task.augment,
    )

    def once() -> float:
        wait_for(device)
        began = time.perf_counter()
        size, pieces = next(feed)
        step.gradient(pieces, size)
        step.update(LEARNING_RATE)
        wait_for(device)
        return time.perf_counter() - began

    def together(steps: int) -> list[float]:
        times = [once() for _ in range(steps)]
        return largest_over_processes(times, device) if shard.world_size > 1 else times

    each = max(together(WARM_UP)[-1], 1e-6)
    count = max(3, round(seconds / VISITS / each))
    visits = [together(count) for _ in range(VISITS)]
    low, high = median_interval(median(visit) for visit in visits) or (None, None)
    how = torch.distributed.get_backend() if shard.world_size > 1 else "alone"
    times = [took for visit in visits for took in visit]
    return StepMeasurement(
        devices=shard.world_size,
        batch_size=batch_size,
        step_seconds=Estimate(value=median(times), n=len(times), low=low, high=high),
        source=f"measured: {shard.world_size} processes, {how}",
        micro_batch_size=plan.micro_batch_size,
    )
