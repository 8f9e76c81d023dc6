"""Step times of a task for `advise`: measured at every batch size, stored, and measured again if in doubt."""

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

# Limits for timing: a share of the budget, and seconds for all sizes and for the sizes near the answer.
SHARE, SECONDS, SECONDS_NEAR = 0.1, 15.0, 10.0
# With fewer sizes than this, the file comes from a `critbatch speed` for a few sizes, and is not used.
FEWEST_SIZES = 6
# If time was up before this size (or a tenth of the examples) was timed, timing continues with twice the seconds, at
# most this many times.
ENOUGH, LONGER = 512, 2
# Sizes within this factor of the answer are timed again.
NEAR = 4
# Steps that a visit to a new size needs: two for its memory, one warm-up step, one timed step.
STEPS_OF_A_VISIT = 4


class StepTimer:
    """Times the steps of a task with the optimizer of a recipe on a device, and stores the times in a folder.

    Args:
        task: Task to time.
        recipe: Recipe whose optimizer is used.
        micro_batch_size: Examples in one forward pass. None: a whole batch.
        device: Device of the steps.
        seed: Seed of the weights and of the order of the examples.
        folder: Folder of speed.json.
        budget: Seconds of the whole advice.
        deadline: Value of `time.monotonic()` at which the advice must end. None: no limit.
        show: Progress display.
        command: Command that the user gave, kept in the records.
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
        """Step times at all sizes: from the folder if they match task, optimizer and machine, or measured now.

        Sizes that an earlier call left out, because time was short or the machine was busy, are timed now if there is
        time.

        Args:
            needed: Sizes that must be included, if they fit and the deadline allows it.
            anew: Measure again what was measured on a busy machine or with too few visits. False if results already
                depend on these times.
        """
        seconds = min(SECONDS, SHARE * self.budget)
        times = self._load()
        if times is None:
            times = self._save(self._measure(None, self._at_most(seconds)))
        elif anew:
            times = self._improved(times, seconds)
        for _ in range(LONGER):
            missing = self._missing(times, needed)
            if not missing or self._left() <= 0:
                break
            # Something else took the time, such as the first use of a library or other work on the machine.
            seconds *= 2
            times = self._extended(times, missing, self._at_most(seconds))
        return times

    def take_again(self, speed: Speed, batch_size: int) -> Speed:
        """Time the sizes around `batch_size` again, with more steps, and replace the old times."""
        near = [
            point.batch_size for point in speed.fitting if batch_size / NEAR <= point.batch_size <= batch_size * NEAR
        ]
        return self._extended(speed, near, self._at_most(min(SECONDS_NEAR, SHARE * self.budget)))

    def compare(self, speed: Speed, runs: Sequence[Run]) -> Speed:
        """Compare the times with the steps of recent runs, and measure them again if they disagree."""
        checked = with_check(speed, runs)
        if checked.check is None or "clock_runs" not in checked.check.signs or self._left() <= 0:
            return checked
        sizes = sorted({run.batch_size for run in runs} & {point.batch_size for point in speed.fitting})
        seconds = self._at_most(min(SECONDS_NEAR, SHARE * self.budget))
        return self._save(with_check(self._extended(speed, sizes, seconds), runs)) if sizes else checked

    def _load(self) -> Speed | None:
        """The times in the folder, if they match task, optimizer and machine."""
        file = self.folder / "speed.json"
        if not file.is_file():
            return None
        with suppress(UserError):  # a file of another version is measured again
            stored = Speed.from_json(file.read_bytes())
            wanted = (self.task.name, self.task.examples, self.recipe, self.micro_batch_size)
            actual = (stored.task, stored.examples, stored.recipe, stored.micro_batch_size)
            few = len(stored.fitting) < min(FEWEST_SIZES, len(doublings(self.task.examples)))
            if actual == wanted and stored.provenance.machine == describe_machine(self.device) and not few:
                return stored
        return None

    def _improved(self, times: Speed, seconds: float) -> Speed:
        """Time sizes that are missing or have no interval, or all sizes again if the machine was busy."""
        if times.check is not None and times.check.is_busy:
            return self._extended(times, [point.batch_size for point in times.fitting], self._at_most(seconds))
        largest = times.largest_that_fits
        beyond = [] if len(times.fitting) < len(times.points) else doublings(self.task.examples)
        thin = [
            point.batch_size
            for point in times.fitting
            if point.step_seconds is not None and point.step_seconds.low is None
        ]
        sizes = sorted({*thin, *(size for size in beyond if size > largest)})
        affordable = [size for size in sizes if (2 * ROUNDS) * _expected(times, size) <= seconds]
        return self._extended(times, affordable, self._at_most(seconds)) if affordable else times

    def _missing(self, times: Speed, needed: Sequence[int]) -> list[int]:
        """Sizes that an answer needs and that were not timed, unless they are known not to fit."""
        wanted = set(needed)
        if times.largest_that_fits < min(ENOUGH, max(1, self.task.examples // 10)):
            wanted |= {size for size in doublings(self.task.examples) if size > times.largest_that_fits}
        return untimed(times, wanted)

    def _extended(self, times: Speed, sizes: Sequence[int], seconds: float) -> Speed:
        """Time these sizes now. A size that would take longer than there is time is left as it is."""
        possible = [size for size in sizes if _expected(times, size) * STEPS_OF_A_VISIT <= max(seconds, self._slack())]
        return self._save(merged(times, self._measure(possible, seconds))) if possible and seconds > 0 else times

    def _left(self) -> float:
        return math.inf if self.deadline is None else self.deadline - time.monotonic()

    def _slack(self) -> float:
        """Maximum of seconds for a single size."""
        return min(self.budget, self._left())

    def _at_most(self, seconds: float) -> float:
        return max(1e-3, min(seconds, self._left()))

    def _measure(self, sizes: Sequence[int] | None, seconds: float) -> Speed:
        def report_progress(at: SpeedProgress) -> None:
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
            progress=report_progress,
            command=self.command,
        )
        self.show.update(total=None)
        return measured

    def _save(self, speed: Speed) -> Speed:
        save_record(speed, self.folder)
        return speed


def _expected(times: Speed, size: int) -> float:
    """Expected seconds of a step. Beyond the timed sizes they are proportional to the examples."""
    timed = [point for point in times.fitting if point.step_seconds is not None]
    if not timed:
        return 0.0
    nearest = min(timed, key=lambda point: abs(math.log(point.batch_size / size)))
    assert nearest.step_seconds is not None
    return nearest.step_seconds.value * max(1.0, size / nearest.batch_size)
