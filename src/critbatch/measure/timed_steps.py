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
from critbatch.tasks.sampler import BatchIterator, EpochSampler, training_source
from critbatch.tasks.task import Task
from critbatch.training.step import Step

# The weights must stay those of a fresh model for any number of steps. But the rate must not be so small that products
# of two updates become denormal float32 numbers (below 1e-38), because a CPU is slow on these.
LEARNING_RATE = 1e-6

WARM_UP_SHARE = 0.1
"""Share of a visit for steps that are not timed, at least one. The first one creates the state of the optimizer and
allocates buffers of the new size. With small, fast steps, caches take longer to fill."""


class Parts(NamedTuple):
    """Seconds of the parts of one step. Their sum is the step."""

    data: float  # order, gather or load, copy to the device, `Task.prepare`
    compute: float  # forward, loss and backward
    optimizer: float  # clear the gradients, change the weights


class Visit(NamedTuple):
    """Times of consecutive steps at one batch size."""

    steps: tuple[float, ...]  # seconds of each
    parts: tuple[Parts, ...]  # on a CPU of the same steps, on an accelerator of other ones
    waited: float | None = None  # share of runnable time in which processors did other work; None if unknown


class TimedSteps:
    """Times training steps of any batch size on one fresh model.

    On a CPU, the parts of each step are timed within the step. An accelerator works asynchronously: to time a part, the
    host must wait for it, which makes the step slower. There, every other step is timed as a whole, and the steps
    between are timed in parts.

    Args:
        task: Task with model, data and loss.
        plan_of: Function that gives the plan for a batch size. Its optimizer and micro-batch size are used.
        micro_batch_size: Micro-batch size to use instead of the plan's.
        device: Device of the steps.
        seed: Seed of the weights and of the order of the examples.
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
        self.cursor = EpochSampler(task.examples, seed=seed, drop_last=True)

    def piece(self, batch_size: int) -> int:
        """Examples in one forward pass."""
        micro_batch_size = self.micro_batch_size or self.plan_of(batch_size).micro_batch_size
        return min(batch_size, micro_batch_size or batch_size)

    @property
    def model_bytes(self) -> int:
        return sum(part.nbytes for part in (*self.model.parameters(), *self.model.buffers()))

    def memory(self, batch_size: int) -> StepMemory:
        """Memory of one step, which is not timed."""
        step, feed = self._open(batch_size)
        self._whole(step, feed)
        return step_memory(step, feed, learning_rate=LEARNING_RATE)

    def visit(self, batch_size: int, seconds: float) -> Visit:
        """Time steps for this many seconds, at least one after the warm-up."""
        step, feed = self._open(batch_size)
        parts_within_step = self.device.type == "cpu"
        start = time.perf_counter()
        self._whole(step, feed)
        while time.perf_counter() - start < WARM_UP_SHARE * seconds:
            self._whole(step, feed)
        steps: list[float] = []
        parts: list[Parts] = []
        before = _processor_seconds()
        start = time.perf_counter()
        # A step begins only if there is time for one as long as the last.
        while not steps or time.perf_counter() - start + steps[-1] <= seconds:
            if not parts_within_step:
                steps.append(self._whole(step, feed))
            parts.append(self._in_parts(step, feed))
            if parts_within_step:
                steps.append(sum(parts[-1]))
        return Visit(tuple(steps), tuple(parts), _share_waited(before, _processor_seconds()))

    def _open(self, batch_size: int) -> tuple[Step, BatchIterator]:
        self.model.zero_grad(set_to_none=True)
        step = Step(self.task, self.model, self.plan_of(batch_size).phases[0].optimizer(self.model.parameters()))
        piece = self.piece(batch_size)
        feed = BatchIterator(
            self.source,
            self.cursor,
            batch_size=batch_size,
            shard=Shard(),
            piece=lambda n: piece,
            augment=self.task.augment,
        )
        return step, feed

    def _whole(self, step: Step, feed: BatchIterator) -> float:
        wait_for(self.device)
        start = time.perf_counter()
        size, pieces = next(feed)
        step.gradient(pieces, size)
        step.update(LEARNING_RATE)
        wait_for(self.device)
        return time.perf_counter() - start

    def _in_parts(self, step: Step, feed: BatchIterator) -> Parts:
        timer = _PartTimer(self.device)

        def forward_begins(*_: object) -> None:
            timer.switch_to("compute")

        with self.model.register_forward_pre_hook(forward_begins):
            timer.switch_to("data")
            size, pieces = next(feed)
            timer.switch_to("optimizer")
            step.gradient(_timed(pieces, timer), size)
            timer.switch_to("optimizer")
            step.update(LEARNING_RATE)
            timer.switch_to("")
        return Parts(*(timer.seconds[part] for part in Parts._fields))


def _processor_seconds() -> tuple[float, float] | None:
    """None if torch has more threads than there are cores, because then the threads wait for each other."""
    return processor_seconds() if torch.get_num_threads() <= usable_cores() else None


def _share_waited(before: tuple[float, float] | None, after: tuple[float, float] | None) -> float | None:
    if before is None or after is None:
        return None
    ran, waited = after[0] - before[0], after[1] - before[1]
    return waited / (ran + waited) if ran > 0 and waited >= 0 else None


class _PartTimer:
    """Adds up the seconds of each part between two calls of `switch_to`."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.part = device, ""
        self.seconds = dict.fromkeys(("", *Parts._fields), 0.0)
        self.since = time.perf_counter()

    def switch_to(self, part: str) -> None:
        wait_for(self.device)
        now = time.perf_counter()
        self.seconds[self.part] += now - self.since
        self.part, self.since = part, now


def _timed(pieces: Iterable[tuple[Tree, Tree]], timer: _PartTimer) -> Iterator[tuple[Tree, Tree]]:
    timer.switch_to("data")
    for piece in pieces:
        yield piece
        timer.switch_to("data")
    timer.switch_to("compute")
