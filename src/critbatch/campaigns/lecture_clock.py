"""Seconds of an update by batch size, with one thread, with all, and on the accelerator where there is one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from critbatch.campaigns.kept import kept
from critbatch.device import use_threads
from critbatch.measure.speed import doublings, speed
from critbatch.norm_statistics import has_batch_norm
from critbatch.predict.knee import step_seconds_at
from critbatch.progress import Display
from critbatch.records import Speed
from critbatch.task import Task

# Of timed steps at one size, if the time for all of them does not allow more.
SECONDS_PER_POINT = 0.25


def timed_sizes(task: Task, small: int, large: int) -> list[int]:
    """Those of the lecture's figure as far as the task has examples, the two that are compared, and all doublings.

    Batch norm cannot train on one example: with it they begin at 2.
    """
    first = 2 if has_batch_norm(task.new_model(0)) else 1
    decades = [size for size in (10, 100, 1000, 10_000) if size < task.examples]
    return sorted({*(size for size in doublings(task.examples) if size >= first), *decades, small, large})


def clocks(
    task: Task,
    *,
    small: int,
    large: int,
    device: torch.device,
    folder: Path,
    key: str,
    seconds: float,
    show: Display,
    command: str,
) -> tuple[Speed, ...]:
    """The least parallel hardware first, the most last. Each is measured once for this folder.

    Args:
        key: of the task's model and data.
        seconds: that each may take, if the sizes take longer than their shares.
    """
    cpu, most, before = torch.device("cpu"), os.cpu_count() or 1, torch.get_num_threads()
    ways = [(cpu, 1)] + ([(cpu, most)] if most > 1 else []) + ([(device, before)] if device.type != "cpu" else [])
    sizes = timed_sizes(task, small, large)

    def measured(place: torch.device) -> Speed:
        return speed(
            task,
            sizes,
            device=place,
            seconds_per_point=max(SECONDS_PER_POINT, seconds / (2 * len(sizes))),
            budget=seconds,
            progress=lambda at: show.update(trying=f"batch size {at.batch_size}", done=at.done, total=at.total),
            command=command,
        )

    found = []
    for place, threads in ways:
        use_threads(threads)
        show.update(stage=f"clock of {task.name} on {place.type}, {threads} thread{'s' if threads > 1 else ''}")
        asked = {"task": key, "device": str(place), "threads": threads, "sizes": sizes}
        found.append(kept(folder, Speed, asked, lambda place=place: measured(place)))  # type: ignore[misc]
    use_threads(before)
    return tuple(found)


def fastest(speeds: Sequence[Speed], batch_size: int) -> Speed:
    """The accelerator's where there is one, else that with the threads that make an update of this size fastest."""
    if speeds[-1].provenance.machine.accelerator:
        return speeds[-1]
    return min(speeds, key=lambda speed: step_seconds_at(speed, batch_size).value)
