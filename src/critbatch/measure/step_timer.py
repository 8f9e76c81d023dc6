"""The clock of an advice: seconds per step at every batch size, kept, extended, and taken again where in doubt."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch

from critbatch.errors import UserError
from critbatch.law.clock_check import merged, untimed, with_check
from critbatch.measure.step_time import ROUNDS, SpeedProgress, doublings, speed
from critbatch.records.core import Run, Speed
from critbatch.records.io import save_record
from critbatch.runtime.device import describe_machine
from critbatch.runtime.progress import Display
from critbatch.tasks.task import Task

# Of the budget, and of the clock: what timing all sizes may take, and those near the answer.
SHARE, SECONDS, SECONDS_NEAR = 0.1, 15.0, 10.0
# Fewer timed sizes than this are those of a `critbatch speed` that asked for a few.
FEWEST_SIZES = 6
# If time was up before a size as large as this was timed, or a tenth of the examples, it is taken anew with twice the
# time, so often at the most.
ENOUGH, LONGER = 512, 2
# Sizes within this factor of the answer are timed again.
NEAR = 4
# Steps that one visit of a size that is new takes at least: two for its memory, one to warm up, one that is timed.
STEPS_OF_A_VISIT = 4


class Clock:
    """Times the steps of a task with a recipe's optimizer on a device, and keeps them in a folder.

    Args:
        micro_batch_size: examples in one forward pass; None for a whole batch.
        budget: seconds of the whole campaign.
        deadline: a value of `time.monotonic()` at which the campaign ends; None for none.
        show: where to show how far it is.
        command: kept in the records.
    """

    def __init__(
        self,
        task: Task,
        *,
        recipe: str,
        micro_batch_size: int | None = None,
        device: torch.device,
        seed: int,
        folder: Path,
        budget: float,
        deadline: float | None = None,
        show: Display,
        command: str,
    ) -> None:
        self.task, self.recipe, self.device, self.seed = task, recipe, device, seed
        self.micro_batch_size = micro_batch_size
        self.folder, self.budget, self.deadline = folder, budget, deadline
        self.show, self.command = show, command

    def take(self, needed: Sequence[int] = (), *, anew: bool = True) -> Speed:
        """All sizes: from the folder if they are of this task, optimizer and machine, or measured now.

        What an earlier call left out, for lack of time or since the machine was busy, is timed now, as far as there is
        time for it.

        Args:
            needed: sizes that must be among them, as far as they fit and the deadline allows.
            anew: whether what was taken while the machine was busy, or with too few visits, is taken again. Not where
                something rests on it already.
        """
        seconds = min(SECONDS, SHARE * self.budget)
        clock = self._kept()
        if clock is None:
            clock = self._keep(self._measure(None, self._at_most(seconds)))
        elif anew:
            clock = self._improved(clock, seconds)
        for _ in range(LONGER):
            missing = self._missing(clock, needed)
            if not missing or self._left() <= 0:
                break
            # Something else took the time, such as the first use of a library, or other work on the machine.
            seconds *= 2
            clock = self._extended(clock, missing, self._at_most(seconds))
        return clock

    def take_again(self, speed: Speed, batch_size: int) -> Speed:
        """Time the sizes around `batch_size` anew, with more steps, and put them in the place of the old ones."""
        near = [
            point.batch_size for point in speed.fitting if batch_size / NEAR <= point.batch_size <= batch_size * NEAR
        ]
        return self._extended(speed, near, self._at_most(min(SECONDS_NEAR, SHARE * self.budget)))

    def compare(self, speed: Speed, runs: Sequence[Run]) -> Speed:
        """Hold the clock against the steps of runs that were made just now, and take it again if they do not agree."""
        checked = with_check(speed, runs)
        if checked.check is None or "clock_runs" not in checked.check.signs or self._left() <= 0:
            return checked
        sizes = sorted({run.batch_size for run in runs} & {point.batch_size for point in speed.fitting})
        seconds = self._at_most(min(SECONDS_NEAR, SHARE * self.budget))
        return self._keep(with_check(self._extended(speed, sizes, seconds), runs)) if sizes else checked

    def _kept(self) -> Speed | None:
        """The clock in the folder, if it is one of this task, optimizer and machine."""
        file = self.folder / "speed.json"
        if not file.is_file():
            return None
        with suppress(UserError):  # one of another version is taken anew
            kept = Speed.from_json(file.read_bytes())
            here = (self.task.name, self.task.examples, self.recipe, self.micro_batch_size)
            its = (kept.task, kept.examples, kept.recipe, kept.micro_batch_size)
            few = len(kept.fitting) < min(FEWEST_SIZES, len(doublings(self.task.examples)))
            if its == here and kept.provenance.machine == describe_machine(self.device) and not few:
                return kept
        return None

    def _improved(self, clock: Speed, seconds: float) -> Speed:
        """What was kept, with sizes that it lacks or has without an interval, or all of it if the machine was busy."""
        if clock.check is not None and clock.check.is_busy:
            return self._extended(clock, [point.batch_size for point in clock.fitting], self._at_most(seconds))
        largest = clock.largest_that_fits
        beyond = [] if len(clock.fitting) < len(clock.points) else doublings(self.task.examples)
        thin = [
            point.batch_size
            for point in clock.fitting
            if point.step_seconds is not None and point.step_seconds.low is None
        ]
        sizes = sorted({*thin, *(size for size in beyond if size > largest)})
        affordable = [size for size in sizes if (2 * ROUNDS) * _expected(clock, size) <= seconds]
        return self._extended(clock, affordable, self._at_most(seconds)) if affordable else clock

    def _missing(self, clock: Speed, needed: Sequence[int]) -> list[int]:
        """Sizes that an answer needs and that were not timed, though nothing says that they do not fit."""
        wanted = set(needed)
        if clock.largest_that_fits < min(ENOUGH, max(1, self.task.examples // 10)):
            wanted |= {size for size in doublings(self.task.examples) if size > clock.largest_that_fits}
        return untimed(clock, wanted)

    def _extended(self, clock: Speed, sizes: Sequence[int], seconds: float) -> Speed:
        """With these sizes timed now. One that would take longer than there is time is left as it is."""
        possible = [size for size in sizes if _expected(clock, size) * STEPS_OF_A_VISIT <= max(seconds, self._slack())]
        return self._keep(merged(clock, self._measure(possible, seconds))) if possible and seconds > 0 else clock

    def _left(self) -> float:
        return math.inf if self.deadline is None else self.deadline - time.monotonic()

    def _slack(self) -> float:
        """What a single size may take at the most."""
        return min(self.budget, self._left())

    def _at_most(self, seconds: float) -> float:
        return max(1e-3, min(seconds, self._left()))

    def _measure(self, sizes: Sequence[int] | None, seconds: float) -> Speed:
        def tell(at: SpeedProgress) -> None:
            self.show.update(trying=f"batch size {at.batch_size}", part=None, done=at.done, total=at.total)

        self.show.update(stage=f"{self.task.name}: timing steps")
        measured = speed(
            self.task,
            sizes,
            recipe=self.recipe,
            micro_batch_size=self.micro_batch_size,
            device=self.device,
            seed=self.seed,
            budget=seconds,
            progress=tell,
            command=self.command,
        )
        self.show.update(total=None)
        return measured

    def _keep(self, speed: Speed) -> Speed:
        save_record(speed, self.folder)
        return speed


def _expected(clock: Speed, size: int) -> float:
    """Seconds of a step, in proportion to the examples beyond what was timed."""
    known = [point for point in clock.fitting if point.step_seconds is not None]
    if not known:
        return 0.0
    nearest = min(known, key=lambda point: abs(math.log(point.batch_size / size)))
    assert nearest.step_seconds is not None
    return nearest.step_seconds.value * max(1.0, size / nearest.batch_size)
