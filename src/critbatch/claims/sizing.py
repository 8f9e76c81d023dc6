"""Step times of the task, and the size of each experiment that the time allows."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from critbatch.claims.pool import cached_record
from critbatch.errors import UserError
from critbatch.law.clock_check import merged, untimed
from critbatch.law.step_time import step_seconds_at
from critbatch.measure.step_time import doublings, speed
from critbatch.records.core import Speed
from critbatch.runtime.device import use_threads
from critbatch.runtime.progress import Display
from critbatch.studies.spec import LARGE_SET, usual_batch_sizes
from critbatch.tasks.task import Task
from critbatch.training.batch_norm import has_batch_norm

# Step times: with one thread, with all threads, and on the accelerator if there is one.

# Least time for the steps at one size.
SECONDS_PER_POINT = 0.25
# If a size that an experiment needs could not be timed, the time limit is doubled, at most this many times.
MAX_RETIMES = 3


def sizes_to_time(task: Task, small: int, large: int) -> list[int]:
    """Batch sizes to time: powers of 2 and of 10 up to the number of examples, and the two that are compared.

    Batch norm cannot train on one example: with it the sizes begin at 2.
    """
    first = 2 if has_batch_norm(task.new_model(0)) else 1
    decades = [size for size in (10, 100, 1000, 10_000) if size < task.examples]
    return sorted({*(size for size in doublings(task.examples) if size >= first), *decades, small, large})


def required_sizes(task: Task, small: int, large: int) -> list[int]:
    """Batch sizes whose step times determine the lengths of experiments: the compared ones and those of the study."""
    return sorted({small, large, *usual_batch_sizes(task.examples)})


def measure_step_times(
    task: Task,
    *,
    small: int,
    large: int,
    device: torch.device,
    folder: Path,
    key: str,
    seconds: float,
    deadline: float | None = None,
    show: Display,
    command: str,
) -> tuple[Speed, ...]:
    """Measure step times on each kind of hardware, from the least parallel to the most, once for this folder.

    Sizes that an earlier call had no time for, or timed while the machine was busy, are timed now.

    Args:
        task: Task to time.
        small: Small batch size of the comparison.
        large: Large batch size of the comparison.
        device: Device of the claims.
        folder: Folder of the cache.
        key: Fingerprint of the task's model and data.
        seconds: Time limit of each measurement. The first one, which the lengths of the experiments follow from, takes
            longer if required sizes are missing.
        deadline: Value of `time.monotonic()` after which nothing more is timed. None: no deadline.
        show: Progress display.
        command: The user's command, for the record.

    Raises:
        UserError: if the deadline came before the required sizes were timed.
    """
    cpu, most, threads_before = torch.device("cpu"), os.cpu_count() or 1, torch.get_num_threads()
    devices = (
        [(cpu, 1)] + ([(cpu, most)] if most > 1 else []) + ([(device, threads_before)] if device.type != "cpu" else [])
    )
    sizes = sizes_to_time(task, small, large)
    needed = required_sizes(task, small, large)

    def seconds_left() -> float:
        return math.inf if deadline is None else deadline - time.monotonic()

    def measured(device: torch.device, which: Sequence[int], limit: float) -> Speed:
        return speed(
            task,
            which,
            device=device,
            seconds_per_point=max(SECONDS_PER_POINT, seconds / (2 * len(sizes))),
            budget=max(1e-3, min(limit, seconds_left())),
            progress=lambda at: show.update(trying=f"batch size {at.batch_size}", done=at.done, total=at.total),
            command=command,
        )

    def extended(clock: Speed, device: torch.device, must: Sequence[int]) -> Speed:
        """Time the sizes that are missing, in the time available; for the sizes in `must` the limit is raised."""
        if clock.check is not None and clock.check.is_busy and seconds_left() > 0:
            clock = merged(clock, measured(device, [point.batch_size for point in clock.fitting], seconds))
        limit = seconds
        for _ in range(1 + MAX_RETIMES):
            missing = untimed(clock, must)
            if not missing or seconds_left() <= 0:
                break
            clock = merged(clock, measured(device, missing, limit))
            limit *= 2
        others = untimed(clock, sizes)
        return merged(clock, measured(device, others, seconds)) if others and seconds_left() > 0 else clock

    speeds: list[Speed] = []
    for device, threads in devices:
        use_threads(threads)
        show.update(stage=f"clock of {task.name} on {device.type}, {threads} thread{'s' if threads > 1 else ''}")
        key_data = {"task": key, "device": str(device), "threads": threads, "sizes": sizes}
        must = needed if not speeds else [large]

        def make(device: torch.device = device, must: Sequence[int] = must) -> Speed:
            # Required sizes come first, because the budget may end before all are timed.
            return extended(measured(device, must, seconds), device, must)

        def extend(clock: Speed, device: torch.device = device, must: Sequence[int] = must) -> Speed:
            return extended(clock, device, must)

        speeds.append(cached_record(folder, Speed, key_data, make, extend=extend))
        if missing := untimed(speeds[-1], must):
            raise UserError(
                f"The budget ended before a step of batch size {missing[0]} was timed: give the same command again, "
                "which goes on from there, or more time with --budget."
            )
    use_threads(threads_before)
    return tuple(speeds)


def fastest(speeds: Sequence[Speed], batch_size: int) -> Speed:
    """Step times of the accelerator if there is one, otherwise with the fastest number of threads at this size."""
    if speeds[-1].provenance.machine.accelerator:
        return speeds[-1]
    return min(speeds, key=lambda speed: step_seconds_at(speed, batch_size).value)


# Planned wall-clock seconds without a budget.
SMALL_SET_SECONDS, LARGE_SET_SECONDS = 240.0, 2100.0
# Shares of the time of all cores. The rest is for step times, the advice, and starting up.
STUDY, PAIRS, RECIPES, ORDERS, MINIMA = 0.2, 0.12, 0.25, 0.05, 0.08
# Cost of measuring one minimum, in full-batch gradients (or Hessian-vector products that take as long).
GRADIENTS = 300
# Runs per batch size in a search by widening: with the first seed, and with each other one.
FIRST_SEED, OTHER_SEEDS = 5, 4
# Time of a run with its evaluations, relative to training alone, and the seconds to start it.
OVERHEAD = 1.4
RUN_SECONDS = 0.3
STUDY_SEEDS = 3
STUDY_EPOCHS = (20.0, 10.0, 5.0, 3.0, 2.0, 1.0)
LONG_EPOCHS = (100.0, 60.0, 40.0, 20.0, 10.0, 5.0, 3.0)
FEWEST_STEPS = 20


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes and lengths of the experiments.

    Args:
        small: Small batch size of the comparison.
        large: Large batch size of the comparison.
        study_sizes: Batch sizes of the study.
        study_epochs: First budget of the study.
        study_steps: Second budget of the study.
        study_seconds: Third budget of the study.
        pair_epochs: Length of the paired runs.
        recipe_epochs: Length of the recipes' runs.
        order_epochs: Length of the runs with other orders, if they do not reach the target.
        minima_examples: Number of examples that the minima are measured on.
    """

    small: int
    large: int
    study_sizes: tuple[int, ...]
    study_epochs: float
    study_steps: int
    study_seconds: float
    pair_epochs: float
    recipe_epochs: float
    order_epochs: float
    minima_examples: int


def two_sizes(examples: int, small: int | None, large: int | None) -> tuple[int, int]:
    """Small and large batch size of the comparison.

    The large one is a power of two, below a tenth of a large data set, as in Keskar et al. 2016, or a third of a small
    one.

    Raises:
        UserError: if they are not in ascending order, or larger than the data set.

    >>> two_sizes(60000, None, None), two_sizes(1437, None, None)
    ((64, 4096), (16, 256))
    """
    wide = examples >= LARGE_SET
    first = small if small is not None else 64 if wide else 16
    last = large if large is not None else 2 ** max(0, (examples // (10 if wide else 3)).bit_length() - 1)
    if not 1 <= first < last <= examples:
        raise UserError(
            f"The batch sizes {first} and {last} cannot be compared on {examples} examples: give a small one below a "
            f"large one, both from 1 to {examples}."
        )
    return first, last


def sizes_for(speed: Speed, *, small: int, large: int, seeds: int, recipes: int, seconds: float, workers: int) -> Sizes:
    """Choose the longest experiments that the time of all workers allows, by the measured step times.

    Args:
        speed: Step times with one thread.
        small: Small batch size.
        large: Large batch size.
        seeds: Number of seeds.
        recipes: Number of recipes at the large batch size.
        seconds: Wall-clock seconds for everything.
        workers: Number of processes.

    Raises:
        UserError: if the large batch size was not timed, because it does not fit or takes too long.
    """
    examples, core_seconds, most = speed.examples, seconds * workers, speed.largest_that_fits
    if large > most:
        raise UserError(
            f"Batch size {large} does not fit, or took too long to time: the largest that did is {most}; give a "
            "smaller one with --large, or more time."
        )

    example = step_seconds_at(speed, large).value / large

    def epoch(size: int) -> float:
        return step_seconds_at(speed, size).value * examples / size

    study_sizes = tuple(size for size in usual_batch_sizes(examples) if size <= most)
    first, last = study_sizes[0], study_sizes[-1]
    middle = study_sizes[len(study_sizes) // 2]

    def lengths(epochs: float) -> tuple[int, float]:
        affordable = 2 * epochs * epoch(first) / step_seconds_at(speed, last).value
        return max(FEWEST_STEPS, int(min(epochs * examples / middle, affordable))), epochs * epoch(first) / 2

    def of_study(epochs: float) -> float:
        steps, equal_seconds = lengths(epochs)
        of_run = [
            max(epochs * epoch(size), steps * step_seconds_at(speed, size).value, equal_seconds) for size in study_sizes
        ]
        return runs_per_size(STUDY_SEEDS) * sum(OVERHEAD * one + RUN_SECONDS for one in of_run)

    def of_pairs(epochs: float) -> float:
        return seeds * sum(OVERHEAD * epochs * epoch(size) + RUN_SECONDS for size in (small, large))

    def of_recipes(epochs: float) -> float:
        many = (recipes + 1) * (OVERHEAD * epochs * epoch(large) + RUN_SECONDS)
        return runs_per_size(seeds) * (many + OVERHEAD * epochs * epoch(small) + RUN_SECONDS)

    def of_orders(epochs: float) -> float:
        return 4 * seeds * (OVERHEAD * epochs * epoch(small) / 2 + RUN_SECONDS)

    study_epochs = _longest(STUDY_EPOCHS, of_study, STUDY * core_seconds)
    steps, equal_seconds = lengths(study_epochs)
    return Sizes(
        small=small,
        large=large,
        study_sizes=study_sizes,
        study_epochs=study_epochs,
        study_steps=steps,
        study_seconds=equal_seconds,
        pair_epochs=_longest(LONG_EPOCHS, of_pairs, PAIRS * core_seconds),
        recipe_epochs=_longest(LONG_EPOCHS, of_recipes, RECIPES * core_seconds),
        order_epochs=_longest(STUDY_EPOCHS, of_orders, ORDERS * core_seconds),
        minima_examples=int(min(2000, max(100, MINIMA * core_seconds / (2 * seeds * GRADIENTS * example)))),
    )


def runs_per_size(seeds: int) -> int:
    """Runs per batch size in a search by widening."""
    return FIRST_SEED + OTHER_SEEDS * (seeds - 1)


def _longest(lengths: Sequence[float], cost: Callable[[float], float], core_seconds: float) -> float:
    """The first, and so the longest, that the time allows; otherwise the shortest."""
    return next((epochs for epochs in lengths if cost(epochs) <= core_seconds), lengths[-1])
