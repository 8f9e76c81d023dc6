"""Time all-reduces and training steps of a running group of processes, and fit the link between the processes."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from statistics import median

import numpy as np
import torch
from scipy.optimize import nnls

from critbatch.errors import UserError
from critbatch.law.allreduce import ring
from critbatch.measure.step_time import median_interval
from critbatch.measure.timed_steps import LEARNING_RATE
from critbatch.recipes import find_recipe
from critbatch.recipes.plan import Plan
from critbatch.records.core import Estimate
from critbatch.records.scaling import Communication, CommunicationPoint, StepMeasurement
from critbatch.runtime.device import wait_for
from critbatch.runtime.distributed import Shard, largest_over_processes, sum_over_processes, this_shard
from critbatch.runtime.provenance import RunTimer
from critbatch.tasks.sampler import BatchIterator, EpochSampler, training_source
from critbatch.tasks.task import Task
from critbatch.training.data_parallel import Replica
from critbatch.training.step import Step

PAYLOADS = (4, 1 << 10, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24, 1 << 26)
"""Bytes, from a single float to the gradients of 17 million weights."""

ROUNDS = 6
"""A 95 % interval of the median needs this many."""

LEAST = 3
"""Minimum of timed all-reduces in a visit. One more, before them, is not timed."""

SECONDS_PER_VISIT = 0.05

LIMIT = 0.5
"""Seconds. If a payload takes longer than this, no larger one is tried."""

SMALLEST = 1e-9
"""Lower limit, in seconds, for the latency and for 1,000 bytes, if the fit gives zero."""


def communication(
    payloads: Sequence[int] = PAYLOADS,
    *,
    device: torch.device,
    rounds: int = ROUNDS,
    seconds_per_visit: float = SECONDS_PER_VISIT,
    seed: int = 0,
    command: str = "",
) -> Communication:
    """Time all-reduces in the running group, and fit latency and bandwidth. All processes must call this.

    The payloads are visited in rounds. The first round is in ascending order, the others in random order, so that a
    slow minute affects all payloads. An all-reduce begins when all processes have reached it and ends with the slowest.
    A point is the median over the rounds of the median within a visit; its interval is that of the median by order
    statistics. The link is fitted to each round separately, by least squares of the relative error: ``t = 2 (n - 1)
    latency + 2 (n - 1) / n bytes / bandwidth``, the cost of a ring. Gloo uses a ring. NCCL may choose another
    algorithm; its cost is then expressed as that of a ring. The result holds for this number of processes and for the
    load that the machine had.

    Args:
        payloads: Bytes, each a multiple of 4. If one takes more than LIMIT seconds, larger ones are left out.
        device: Device that holds the numbers.
        rounds: Visits to each payload.
        seconds_per_visit: Seconds for one payload in one round.
        seed: Seed of the order of the visits.
        command: Command that the user gave, kept in the record.

    Raises:
        UserError: if there is only one process, or a payload is not possible.
    """
    shard = this_shard()
    if shard.world_size < 2:
        raise UserError("One process alone has nothing to communicate with: start two or more with torchrun.")
    if len(payloads) < 2 or any(size < 4 or size % 4 for size in payloads):
        raise UserError(f"Payloads of {list(payloads)} bytes are not possible: give two or more multiples of 4.")
    watch, order = RunTimer(), random.Random(seed)
    times_of: dict[int, list[float]] = {}
    for size in sorted(payloads):
        times_of[size] = [_visit(size, device, seconds_per_visit)]
        if times_of[size][0] > LIMIT:
            break
    for _ in range(1, rounds):
        sizes = list(times_of)
        order.shuffle(sizes)
        for size in sizes:
            times_of[size].append(_visit(size, device, seconds_per_visit))
    fits = [_fit({size: seconds[turn] for size, seconds in times_of.items()}, shard) for turn in range(rounds)]
    latency, bandwidth = (_estimate([fit[part] for fit in fits]) for part in (0, 1))
    points = tuple(CommunicationPoint(payload_bytes=size, seconds=_estimate(times_of[size])) for size in times_of)
    return Communication(
        backend=torch.distributed.get_backend(),
        processes=shard.world_size,
        one_node=int(os.environ.get("LOCAL_WORLD_SIZE", shard.world_size)) == shard.world_size,
        points=points,
        latency_seconds=latency,
        bytes_per_second=bandwidth,
        worst_miss=_worst_miss(points, latency.value, bandwidth.value, shard),
        provenance=watch.provenance(command=command, seed=seed, device=device),
    )


def _visit(payload: int, device: torch.device, seconds: float) -> float:
    """Median seconds of one all-reduce, the same in all processes."""
    numbers = torch.zeros(payload // 4, device=device)

    def once() -> float:
        sum_over_processes(torch.zeros(1, device=device))  # a barrier
        wait_for(device)
        began = time.perf_counter()
        sum_over_processes(numbers)
        wait_for(device)
        return largest_over_processes([time.perf_counter() - began], device)[0]

    once()
    times = [once() for _ in range(LEAST)]
    while sum(times) < seconds:
        times.append(once())
    return median(times)


def _fit(seconds: dict[int, float], shard: Shard) -> tuple[float, float]:
    """Fit latency and bytes per second to the seconds per payload, by least squares of the relative error."""
    rows = np.array([_ring_row(size, shard) for size in seconds])
    times = np.array(list(seconds.values()))
    scale = np.array([1.0, 1e-9])  # nanoseconds per byte, so that both columns have similar magnitude
    solution, _ = nnls(rows * scale / times[:, None], np.ones(len(times)))
    latency, byte_seconds = solution * scale
    return max(float(latency), SMALLEST), 1 / max(float(byte_seconds), SMALLEST / 1000)


def _ring_row(payload: int, shard: Shard) -> tuple[float, float]:
    traffic = ring(payload, shard.world_size)
    return float(traffic.messages), traffic.bytes


def _worst_miss(points: Sequence[CommunicationPoint], latency: float, bandwidth: float, shard: Shard) -> float:
    misses = []
    for point in points:
        messages, size = _ring_row(point.payload_bytes, shard)
        misses.append(abs(point.seconds.value / (messages * latency + size / bandwidth) - 1))
    return max(misses)


def _estimate(values: Sequence[float]) -> Estimate:
    low, high = median_interval(values) or (None, None)
    reason = "" if low is not None else "too_few_visits"
    return Estimate(value=median(values), n=len(values), low=low, high=high, reason=reason)


# Seconds of a training step of all processes together. The model of a cluster is fitted to them.

VISITS = 6
WARM_UP = 5
"""Steps that are not timed. The first one sums gradients outside of the buckets, the second makes the buckets; both
allocate memory."""


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
    """Time training steps of all processes together, with gradients summed as in training.

    All processes must call this. A step ends with the slowest process. The result is the median over all steps. Its
    interval is that of the median of the medians of six visits, by order statistics, as in `critbatch.speed`.

    Args:
        task: Task with model, data and loss.
        batch_size: Examples in a step, over all processes.
        recipe: Recipe whose optimizer is used. Default: the recipe of the task.
        plan_of: Function that gives the plan for a batch size, instead of a recipe.
        device: Device of this process.
        seconds: Seconds of timed steps.
        seed: Seed of the weights and of the order of the examples.

    Raises:
        UserError: if the processes cannot share the batch, or the batch is larger than the training set.
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
    feed = BatchIterator(
        training_source(task, device),
        EpochSampler(task.examples, seed=seed, drop_last=True),
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

    step_seconds = max(together(WARM_UP)[-1], 1e-6)
    count = max(3, round(seconds / VISITS / step_seconds))
    visits = [together(count) for _ in range(VISITS)]
    low, high = median_interval(median(visit) for visit in visits) or (None, None)
    backend = torch.distributed.get_backend() if shard.world_size > 1 else "alone"
    times = [step_time for visit in visits for step_time in visit]
    return StepMeasurement(
        devices=shard.world_size,
        batch_size=batch_size,
        step_seconds=Estimate(value=median(times), n=len(times), low=low, high=high),
        source=f"measured: {shard.world_size} processes, {backend}",
        micro_batch_size=plan.micro_batch_size,
    )
