"""Batch sizes visited in turn, until each has been timed well enough, one does not fit, or time is up."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import torch

from critbatch.errors import UserError
from critbatch.measure.memory import StepMemory
from critbatch.measure.timed_steps import TimedSteps, Visit
from critbatch.runtime.device import free_bytes, is_out_of_memory

ROUNDS = 6
"""With six visits the quickest and the slowest are a 95 % interval of the median: all fall on one side of it in 1 of 32
cases."""

AGAIN = 3
"""Rounds in which sizes whose times are in doubt are visited again."""

LEAST_STEPS = 3
"""Of a size whose step takes no longer than the seconds for a point."""

MEMORY_MARGIN = 2.0
"""On a CPU the counted bytes leave out what an operation uses within itself, such as bytes made floats on the way to a
product: 1.8 times the counted bytes were seen. And running out ends the whole process."""


PROBE = 32
"""On a CPU a first size of many examples is tried only after a step with this part of them has shown what it needs."""


@dataclass(frozen=True, kw_only=True)
class SpeedProgress:
    """What a display may show: `done` visits are over of `total` at the most, and this batch size comes next."""

    batch_size: int
    done: int
    total: int


class Rounds:
    """Visits to batch sizes, and what they found.

    Args:
        steps: makes and times the steps.
        sizes: batch sizes in ascending order.
        seconds_per_point: of timed steps at one size.
        deadline: a value of `time.perf_counter()`. No visit is begun that is likely to end later, but for the first.
        progress: called before each visit.
        may_skip_one: leave batch size 1 out if batch norm refuses it.
    """

    def __init__(
        self,
        steps: TimedSteps,
        sizes: Sequence[int],
        *,
        seconds_per_point: float,
        deadline: float = math.inf,
        progress: Callable[[SpeedProgress], None] | None = None,
        may_skip_one: bool = False,
    ) -> None:
        self.steps, self.sizes, self.seconds_per_point, self.deadline = steps, sizes, seconds_per_point, deadline
        self.progress, self.may_skip_one = progress, may_skip_one
        self.memory: dict[int, StepMemory] = {}
        self.visits: dict[int, list[Visit]] = {}
        self.too_large: int | None = None
        self._done = 0

    def run(self, order: random.Random) -> None:
        """The first round goes upwards, to find what fits. The others go in random order."""
        first = self.sizes[0]
        if self.steps.device.type == "cpu" and first >= 2 * PROBE:
            self._try(first, lambda: self._weigh(first // PROBE))
        for place, size in enumerate(self.sizes):
            if self.too_large is not None or not self._in_time(size):
                break
            if self._expected_to_fit(size):
                self._visit(size, left=ROUNDS * len(self.sizes) - place)
            else:
                self.too_large = size
        for turn in range(1, ROUNDS):
            turns = [size for size in self.visits if not self._enough(size)]
            order.shuffle(turns)
            for place, size in enumerate(turns):
                if size in self.visits and self._in_time(size):
                    self._visit(size, left=(ROUNDS - turn) * len(turns) - place)

    def again(self, sizes: Sequence[int], order: random.Random) -> bool:
        """Visit these sizes again, in `AGAIN` rounds of random order, or once where a step takes longer than its share.

        Returns:
            Whether there was time for one visit at least.
        """
        before = self._done
        for turn in range(AGAIN):
            turns = [size for size in sizes if size in self.visits and (turn == 0 or not self._is_slow(size))]
            order.shuffle(turns)
            for place, size in enumerate(turns):
                if size in self.visits and self._in_time(size):
                    self._visit(size, left=(AGAIN - turn) * len(turns) - place)
        return self._done > before

    def _is_slow(self, size: int) -> bool:
        return min(seconds for visit in self.visits[size] for seconds in visit.steps) > self.seconds_per_point

    def _visit(self, size: int, *, left: int) -> None:
        if self.progress is not None:
            self.progress(SpeedProgress(batch_size=size, done=self._done, total=self._done + left))
        slot = min(self.seconds_per_point / ROUNDS, self.deadline - time.perf_counter())

        def weigh_and_time() -> None:
            if size not in self.memory:
                self._weigh(size)
            visit = self.steps.visit(size, slot)
            self.visits.setdefault(size, []).append(visit)
            self._done += 1

        self._try(size, weigh_and_time)

    def _weigh(self, size: int) -> None:
        self.memory[size] = self.steps.memory(size)

    def _try(self, size: int, steps: Callable[[], None]) -> None:
        try:
            steps()
        except UserError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                self.too_large = size
            elif not (self.may_skip_one and size == 1 and "more than 1 value per channel" in str(error)):
                why = f"{type(error).__name__}: {error}".splitlines()[0]
                raise UserError(
                    f"Task {self.steps.task.name!r}: a step with batch_size={size} fails ({why}): use other batch "
                    "sizes, or mend the model."
                ) from error
        # Here, where the error is gone, and the tensors of its frames with it.
        if self.too_large == size:
            self._give_up(size)

    def _give_up(self, size: int) -> None:
        """A size that once fitted may not do so again. Neither do the larger ones count then."""
        self.visits = {smaller: visits for smaller, visits in self.visits.items() if smaller < size}
        self.steps.model.zero_grad(set_to_none=True)
        if self.steps.device.type == "cuda":
            torch.cuda.empty_cache()

    def _expected_to_fit(self, size: int) -> bool:
        """On a CPU: whether what a step is expected to add is there twice.

        From the last size on, a peak grows by no more than the larger of two slopes: that between the two sizes before,
        and that of activations. The first alone is too small as long as gradients, not activations, make the peak.
        """
        if self.steps.device.type != "cpu" or not self.memory:
            return True
        piece = self.steps.piece
        *before, last = self.memory
        slopes = [self.memory[last].forward_bytes / piece(last)]
        if before and piece(last) > piece(before[-1]):
            rise = self.memory[last].peak_bytes - self.memory[before[-1]].peak_bytes
            slopes.append(rise / (piece(last) - piece(before[-1])))
        peak = self.memory[last].peak_bytes + max(slopes) * (piece(size) - piece(last))
        return MEMORY_MARGIN * (peak - self.steps.model_bytes) <= free_bytes(self.steps.device)

    def _enough(self, size: int) -> bool:
        steps = [seconds for visit in self.visits[size] for seconds in visit.steps]
        return self._is_slow(size) or (len(steps) >= LEAST_STEPS and sum(steps) >= self.seconds_per_point)

    def _in_time(self, size: int) -> bool:
        if not self.visits:
            return True
        known = size if size in self.visits else max(self.visits)
        step = median(self.visits[known][-1].steps) * size / known
        # Warm-up and one timed step; at a new size two steps for its memory before.
        return time.perf_counter() + (2 if size == known else 4) * step <= self.deadline
