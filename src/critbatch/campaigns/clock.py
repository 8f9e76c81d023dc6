"""The clock of an advice: seconds per step at every batch size, taken once, and again where the answer lies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from critbatch.device import describe_machine
from critbatch.measure.rounds import SpeedProgress
from critbatch.measure.speed import doublings, speed
from critbatch.predict.knee import with_fit
from critbatch.progress import Display
from critbatch.record_files import save_record
from critbatch.records import Speed
from critbatch.task import Task

# Of the budget, and of the clock: what timing all sizes may take, and those near the answer.
SHARE, SECONDS, SECONDS_NEAR = 0.1, 15.0, 10.0
# Fewer timed sizes than this are those of a `critbatch speed` that asked for a few.
FEWEST_SIZES = 6
# If time was up before a size as large as this was timed, or a tenth of the examples, it is taken anew with twice the
# time, so often at the most.
ENOUGH, LONGER = 512, 2
# Sizes within this factor of the answer are timed again.
NEAR = 4


class Clock:
    """Times the steps of a task with a recipe's optimizer on a device, and keeps them in a folder.

    Args:
        micro_batch_size: examples in one forward pass; None for a whole batch.
        budget: seconds of the whole campaign.
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
        show: Display,
        command: str,
    ) -> None:
        self.task, self.recipe, self.device, self.seed = task, recipe, device, seed
        self.micro_batch_size = micro_batch_size
        self.folder, self.budget, self.show, self.command = folder, budget, show, command

    def take(self) -> Speed:
        """All sizes: from the folder if they are of this task, optimizer and machine, or measured now."""
        kept = self.folder / "speed.json"
        if kept.is_file():
            found = Speed.from_json(kept.read_bytes())
            here = (
                self.task.name,
                self.task.examples,
                self.recipe,
                self.micro_batch_size,
                describe_machine(self.device),
            )
            its = (found.task, found.examples, found.recipe, found.micro_batch_size, found.provenance.machine)
            if its == here and len(found.fitting) >= min(FEWEST_SIZES, len(doublings(self.task.examples))):
                return found
        seconds = min(SECONDS, SHARE * self.budget)
        measured = self._measure(None, seconds)
        for _ in range(LONGER):
            enough = min(ENOUGH, max(1, self.task.examples // 10))
            if measured.largest_that_fits >= enough or len(measured.fitting) < len(measured.points):
                break
            # Something else took the time, such as the first use of a library.
            seconds *= 2
            measured = self._measure(None, seconds)
        return self._keep(measured)

    def take_again(self, speed: Speed, batch_size: int) -> Speed:
        """Time the sizes around `batch_size` anew, with more steps, and put them in the place of the old ones."""
        near = [
            point.batch_size for point in speed.fitting if batch_size / NEAR <= point.batch_size <= batch_size * NEAR
        ]
        again = self._measure(near, min(SECONDS_NEAR, SHARE * self.budget))
        newer = {point.batch_size: point for point in again.fitting if point.step_seconds and point.step_seconds.low}
        points = tuple(newer.get(point.batch_size, point) for point in speed.points)
        return self._keep(with_fit(replace(speed, points=points, fit=None)))

    def _measure(self, sizes: list[int] | None, seconds: float) -> Speed:
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
