"""Timed training steps at one batch size after another, with one model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch

from critbatch.measure.memory import StepMemory, step_memory
from critbatch.recipes.plan import Plan
from critbatch.runtime.device import wait_for
from critbatch.runtime.distributed import Shard
from critbatch.runtime.host import processor_seconds, usable_cores
from critbatch.tasks.data import Tree
from critbatch.tasks.sampler import Cursor, Feed, training_source
from critbatch.tasks.task import Task
from critbatch.training.step import Step

# The weights must stay those of a fresh model, whatever the number of steps, and yet no product of two changes may come
# near float32's denormal numbers (below 1e-38), on which a CPU is slow.
LEARNING_RATE = 1e-6

WARM_UP_SHARE = 0.1
"""Of the seconds given to a visit go to steps that are not counted, at least one. The first makes the optimizer's state
and asks the allocator for buffers of the new size; in small, quick steps the caches take longer to fill."""


class Parts(NamedTuple):
    """Where one step's seconds went. Their sum is the step."""

    data: float  # order, gather or load, copy to the device, `Task.prepare`
    compute: float  # forward, loss and backward
    optimizer: float  # clear the gradients, change the weights


class Visit(NamedTuple):
    """Steps of one batch size, timed one after the other."""

    steps: tuple[float, ...]  # seconds of each
    parts: tuple[Parts, ...]  # of these steps on a CPU; of others on an accelerator
    waited: float | None = None  # share of the time to run in which processors did other work; None if not known


class TimedSteps:
    """One fresh model, and steps of any batch size on it.

    On a CPU each step's parts are clocked within it. An accelerator works behind the host's back: to clock a part the
    host must wait for it, which makes the step slower. There every other step is clocked whole, and only the others in
    parts.

    Args:
        task: model, data, loss.
        plan_of: the optimizer and the micro-batch size that belong to a batch size.
        micro_batch_size: instead of the plan's.
        device: where.
        seed: of the weights and of the order of the examples.
    """

    def __init__(
        self,
        task: Task,
        plan_of: Callable[[int], Plan],
        *,
        micro_batch_size: int | None,
        device: torch.device,
        seed: int,
    ) -> None:
        self.task, self.plan_of, self.micro_batch_size, self.device = task, plan_of, micro_batch_size, device
        self.source = training_source(task, device)
        self.model = task.new_model(seed, device).train()
        self.cursor = Cursor(task.examples, seed=seed, drop_last=True)

    def piece(self, batch_size: int) -> int:
        """Examples in one forward pass."""
        wanted = self.micro_batch_size or self.plan_of(batch_size).micro_batch_size
        return min(batch_size, wanted or batch_size)

    @property
    def model_bytes(self) -> int:
        return sum(part.nbytes for part in (*self.model.parameters(), *self.model.buffers()))

    def memory(self, batch_size: int) -> StepMemory:
        """Memory of a step that is not timed."""
        step, feed = self._open(batch_size)
        self._whole(step, feed)
        return step_memory(step, feed, learning_rate=LEARNING_RATE)

    def visit(self, batch_size: int, seconds: float) -> Visit:
        """Steps for that many seconds, at least one after the warm-up."""
        step, feed = self._open(batch_size)
        together = self.device.type == "cpu"
        began = time.perf_counter()
        self._whole(step, feed)
        while time.perf_counter() - began < WARM_UP_SHARE * seconds:
            self._whole(step, feed)
        steps: list[float] = []
        parts: list[Parts] = []
        before = _processor_seconds()
        began = time.perf_counter()
        # A step is begun only if one like the last one still fits.
        while not steps or time.perf_counter() - began + steps[-1] <= seconds:
            if not together:
                steps.append(self._whole(step, feed))
            parts.append(self._in_parts(step, feed))
            if together:
                steps.append(sum(parts[-1]))
        return Visit(tuple(steps), tuple(parts), _share_waited(before, _processor_seconds()))

    def _open(self, batch_size: int) -> tuple[Step, Feed]:
        self.model.zero_grad(set_to_none=True)
        step = Step(self.task, self.model, self.plan_of(batch_size).phases[0].optimizer(self.model.parameters()))
        piece = self.piece(batch_size)
        feed = Feed(
            self.source,
            self.cursor,
            batch_size=batch_size,
            shard=Shard(),
            piece=lambda n: piece,
            augment=self.task.augment,
        )
        return step, feed

    def _whole(self, step: Step, feed: Feed) -> float:
        wait_for(self.device)
        began = time.perf_counter()
        size, pieces = next(feed)
        step.gradient(pieces, size)
        step.update(LEARNING_RATE)
        wait_for(self.device)
        return time.perf_counter() - began

    def _in_parts(self, step: Step, feed: Feed) -> Parts:
        watch = _Watch(self.device)

        def forward_begins(*_: object) -> None:
            watch.turn("compute")

        with self.model.register_forward_pre_hook(forward_begins):
            watch.turn("data")
            size, pieces = next(feed)
            watch.turn("optimizer")
            step.gradient(_watched(pieces, watch), size)
            watch.turn("optimizer")
            step.update(LEARNING_RATE)
            watch.turn("")
        return Parts(*(watch.seconds[part] for part in Parts._fields))


def _processor_seconds() -> tuple[float, float] | None:
    """Not known where torch has more threads than there are cores: then they wait for each other."""
    return processor_seconds() if torch.get_num_threads() <= usable_cores() else None


def _share_waited(before: tuple[float, float] | None, after: tuple[float, float] | None) -> float | None:
    if before is None or after is None:
        return None
    ran, waited = after[0] - before[0], after[1] - before[1]
    return waited / (ran + waited) if ran > 0 and waited >= 0 else None


class _Watch:
    """Gives the seconds between two turns to the part that the first began."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.part = device, ""
        self.seconds = dict.fromkeys(("", *Parts._fields), 0.0)
        self.since = time.perf_counter()

    def turn(self, part: str) -> None:
        wait_for(self.device)
        now = time.perf_counter()
        self.seconds[self.part] += now - self.since
        self.part, self.since = part, now


def _watched(pieces: Iterable[tuple[Tree, Tree]], watch: _Watch) -> Iterator[tuple[Tree, Tree]]:
    watch.turn("data")
    for piece in pieces:
        yield piece
        watch.turn("data")
    watch.turn("compute")
