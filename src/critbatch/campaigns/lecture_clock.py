"""Seconds of an update by batch size, with one thread, with all, and on the accelerator where there is one."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from critbatch.campaigns.kept import kept
from critbatch.errors import UserError
from critbatch.law.clock_check import merged, untimed
from critbatch.law.step_time import step_seconds_at
from critbatch.measure.step_time import doublings, speed
from critbatch.records.core import Speed
from critbatch.runtime.device import use_threads
from critbatch.runtime.progress import Display
from critbatch.studies.spec import usual_batch_sizes
from critbatch.tasks.task import Task
from critbatch.training.batch_norm import has_batch_norm

# Of timed steps at one size, if the time for all of them does not allow more.
SECONDS_PER_POINT = 0.25
# Sizes that an experiment needs are timed on, with twice the time, so often at the most.
LONGER = 3


def timed_sizes(task: Task, small: int, large: int) -> list[int]:
    """Those of the lecture's figure as far as the task has examples, the two that are compared, and all doublings.

    Batch norm cannot train on one example: with it they begin at 2.
    """
    first = 2 if has_batch_norm(task.new_model(0)) else 1
    decades = [size for size in (10, 100, 1000, 10_000) if size < task.examples]
    return sorted({*(size for size in doublings(task.examples) if size >= first), *decades, small, large})


def needed_sizes(task: Task, small: int, large: int) -> list[int]:
    """Those whose seconds the lengths of experiments follow from: the two that are compared, and those of the study."""
    return sorted({small, large, *usual_batch_sizes(task.examples)})


def clocks(
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
    """The least parallel hardware first, the most last. Each is measured once for this folder.

    What a call before had no time for is timed now, and so is what it timed while the machine was busy.

    Args:
        key: of the task's model and data.
        seconds: that each may take, if the sizes take longer than their shares. The first, from which the lengths of
            the experiments follow, takes more where sizes that these need are missing.
        deadline: a value of `time.monotonic()` after which nothing more is timed; None for none.

    Raises:
        UserError: if the deadline came before the sizes that experiments need were timed.
    """
    cpu, most, before = torch.device("cpu"), os.cpu_count() or 1, torch.get_num_threads()
    ways = [(cpu, 1)] + ([(cpu, most)] if most > 1 else []) + ([(device, before)] if device.type != "cpu" else [])
    sizes = timed_sizes(task, small, large)
    needed = needed_sizes(task, small, large)

    def left() -> float:
        return math.inf if deadline is None else deadline - time.monotonic()

    def measured(place: torch.device, which: Sequence[int], room: float) -> Speed:
        return speed(
            task,
            which,
            device=place,
            seconds_per_point=max(SECONDS_PER_POINT, seconds / (2 * len(sizes))),
            budget=max(1e-3, min(room, left())),
            progress=lambda at: show.update(trying=f"batch size {at.batch_size}", done=at.done, total=at.total),
            command=command,
        )

    def extended(clock: Speed, place: torch.device, must: Sequence[int]) -> Speed:
        """With what it lacks, in the time that there is; what it `must` have in more."""
        if clock.check is not None and clock.check.is_busy and left() > 0:
            clock = merged(clock, measured(place, [point.batch_size for point in clock.fitting], seconds))
        room = seconds
        for _ in range(1 + LONGER):
            lacking = untimed(clock, must)
            if not lacking or left() <= 0:
                break
            clock = merged(clock, measured(place, lacking, room))
            room *= 2
        others = untimed(clock, sizes)
        return merged(clock, measured(place, others, seconds)) if others and left() > 0 else clock

    taken: list[Speed] = []
    for place, threads in ways:
        use_threads(threads)
        show.update(stage=f"clock of {task.name} on {place.type}, {threads} thread{'s' if threads > 1 else ''}")
        asked = {"task": key, "device": str(place), "threads": threads, "sizes": sizes}
        must = needed if not taken else [large]

        def make(place: torch.device = place, must: Sequence[int] = must) -> Speed:
            # Those that are needed first: the budget may end in between.
            return extended(measured(place, must, seconds), place, must)

        def extend(clock: Speed, place: torch.device = place, must: Sequence[int] = must) -> Speed:
            return extended(clock, place, must)

        taken.append(kept(folder, Speed, asked, make, extend=extend))
        if lacking := untimed(taken[-1], must):
            raise UserError(
                f"The budget ended before a step of batch size {lacking[0]} was timed: give the same command again, "
                "which goes on from there, or more time with --budget."
            )
    use_threads(before)
    return tuple(taken)


def fastest(speeds: Sequence[Speed], batch_size: int) -> Speed:
    """The accelerator's where there is one, else that with the threads that make an update of this size fastest."""
    if speeds[-1].provenance.machine.accelerator:
        return speeds[-1]
    return min(speeds, key=lambda speed: step_seconds_at(speed, batch_size).value)
