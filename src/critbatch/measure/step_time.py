"""Seconds and memory of one training step, against batch size."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

import torch

from critbatch.arguments import checked_call
from critbatch.errors import UserError
from critbatch.law.clock_check import disagreement, quiet_visits, suspects, with_check
from critbatch.measure.memory import StepMemory
from critbatch.measure.timed_steps import LEARNING_RATE, TimedSteps, Visit
from critbatch.recipes import find_recipe
from critbatch.recipes.plan import Plan
from critbatch.records.core import Estimate, Speed, SpeedPoint
from critbatch.runtime.device import as_device, free_bytes, is_out_of_memory
from critbatch.runtime.process import RandomState
from critbatch.runtime.provenance import RunTimer
from critbatch.tasks.registry import as_task
from critbatch.tasks.task import Task

ROUNDS = 6
"""With six visits, the fastest and the slowest form a 95 % interval of the median: all visits lie on one side of it in
1 of 32 cases."""

AGAIN = 3
"""Additional rounds for batch sizes whose times disagree."""

LEAST_STEPS = 3
"""Minimum of timed steps at one batch size, unless a single step takes longer than the seconds for a point."""

MEMORY_MARGIN = 2.0
"""On a CPU, the counted bytes leave out what an operation allocates internally, such as floats converted from bytes. We
measured up to 1.8 times the counted bytes. Running out of memory would end the whole process."""


PROBE = 32
"""On a CPU, a large first batch size is tried only after a step with 1/32 of it has shown how much it needs."""


@dataclass(frozen=True, kw_only=True)
class SpeedProgress:
    """Progress: `done` of at most `total` visits are finished, and this batch size is next."""

    batch_size: int
    done: int
    total: int


class Rounds:
    """Visits batch sizes in rounds, and keeps their times.

    It ends when each size has been timed long enough, or time is up. Sizes above one that does not fit are left out.

    Args:
        steps: Runs and times the steps.
        sizes: Batch sizes in ascending order.
        seconds_per_point: Seconds of timed steps at one size.
        deadline: Value of `time.perf_counter()`. After the first visit, no visit begins that would probably end later.
        progress: Function to call before each visit.
        may_skip_one: Leave out batch size 1 if batch norm refuses it.
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
        """Visit all sizes: first in ascending order, to learn which fit, then in random order."""
        first = self.sizes[0]
        if self.steps.device.type == "cpu" and first >= 2 * PROBE:
            self._try(first, lambda: self._measure_memory(first // PROBE))
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
        """Visit these sizes again, in `AGAIN` rounds in random order. Sizes with slow steps are visited only once.

        Returns:
            Whether there was time for at least one visit.
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
        seconds = min(self.seconds_per_point / ROUNDS, self.deadline - time.perf_counter())

        def measure() -> None:
            if size not in self.memory:
                self._measure_memory(size)
            visit = self.steps.visit(size, seconds)
            self.visits.setdefault(size, []).append(visit)
            self._done += 1

        self._try(size, measure)

    def _measure_memory(self, size: int) -> None:
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
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
                raise UserError(
                    f"Task {self.steps.task.name!r}: a step with batch_size={size} fails ({reason}): use other batch "
                    "sizes, or fix the model."
                ) from error
        # The error must be gone before memory is freed: its frames hold tensors.
        if self.too_large == size:
            self._give_up(size)

    def _give_up(self, size: int) -> None:
        """Drop this size and all larger ones: a size that fitted once may not fit again."""
        self.visits = {smaller: visits for smaller, visits in self.visits.items() if smaller < size}
        self.steps.model.zero_grad(set_to_none=True)
        if self.steps.device.type == "cuda":
            torch.cuda.empty_cache()

    def _expected_to_fit(self, size: int) -> bool:
        """On a CPU, whether free memory is `MEMORY_MARGIN` times what a step is expected to add.

        Beyond the last size, the peak is expected to grow with the larger of two slopes: the slope between the last two
        sizes, and the slope of the activations. The first alone is too small while gradients dominate the peak.
        """
        if self.steps.device.type != "cpu" or not self.memory:
            return True
        piece = self.steps.piece
        *smaller, last = self.memory
        slopes = [self.memory[last].forward_bytes / piece(last)]
        if smaller and piece(last) > piece(smaller[-1]):
            increase = self.memory[last].peak_bytes - self.memory[smaller[-1]].peak_bytes
            slopes.append(increase / (piece(last) - piece(smaller[-1])))
        peak = self.memory[last].peak_bytes + max(slopes) * (piece(size) - piece(last))
        return MEMORY_MARGIN * (peak - self.steps.model_bytes) <= free_bytes(self.steps.device)

    def _enough(self, size: int) -> bool:
        steps = [seconds for visit in self.visits[size] for seconds in visit.steps]
        return self._is_slow(size) or (len(steps) >= LEAST_STEPS and sum(steps) >= self.seconds_per_point)

    def _in_time(self, size: int) -> bool:
        if not self.visits:
            return True
        timed_size = size if size in self.visits else max(self.visits)
        step = median(self.visits[timed_size][-1].steps) * size / timed_size
        # A warm-up step and a timed step. A new size has two more steps before, for its memory.
        return time.perf_counter() + (2 if size == timed_size else 4) * step <= self.deadline


SECONDS_PER_POINT = 0.5

TIMES_AGAIN = 2
"""How often batch sizes whose times disagree are timed again before there is a warning."""


@checked_call
def speed(
    task: Task | str,
    batch_sizes: Sequence[int] | None = None,
    *,
    recipe: str | None = None,
    plan_of: Callable[[int], Plan] | None = None,
    micro_batch_size: int | None = None,
    device: torch.device | str | None = None,
    seed: int = 0,
    budget: float | None = None,
    seconds_per_point: float = SECONDS_PER_POINT,
    progress: Callable[[SpeedProgress], None] | None = None,
    command: str = "",
) -> Speed:
    """Time a training step at each batch size, and its memory.

    The sizes are visited in six rounds, the first in ascending order, the others in random order, so that a slow minute
    of a shared machine affects all of them. A visit begins with steps that are not counted: one, or as many as fit
    into a tenth of the visit. The device has finished before each reading of the clock. Steps are never compiled.

    A point's `step_seconds` is the median over the steps of its fastest visits, a quarter of them: other work on the
    machine makes steps slower, never faster. `n` counts all steps. Steps of one visit are correlated, so the 95 %
    interval is that of the median of the visits' medians, by order statistics, and it includes the point. With fewer
    than six visits there is no interval. The three parts are medians too, scaled so that they sum to `step_seconds`.

    Times that should agree are compared. Sizes that do not agree are visited again, twice in three rounds, as far as
    the budget allows. If they still do not agree, `Speed.check` describes the signs of a busy machine, and all
    intervals are widened by the factor by which times vary.

    A size that does not fit is a point with `fits=False`, and no larger size is tried. On an accelerator it has run out
    of memory. On a CPU that would end the process, so a size is not tried if the memory that it needs, extrapolated
    from the smaller sizes, is more than half of what is free.

    The model is a new one, and torch's random state is restored.

    Args:
        task: Task, or its name: a built-in task, path/to/file.py:task or package.module:task.
        batch_sizes: Batch sizes to time. Default: 1, 2, 4 ... up to the whole data set, without 1 if batch norm
            refuses it.
        recipe: Recipe whose optimizer takes the steps. Default: the task's own.
        plan_of: Plan for a batch size, instead of a recipe. Its first optimizer and its micro-batch size are used.
        micro_batch_size: Examples in one forward pass. Default: the whole batch.
        device: Device, such as cpu, cuda or cuda:1. Default: an accelerator if there is one, else cpu.
        seed: Seed of the weights, of the order of the examples and of the order of the visits.
        budget: Wall-clock limit in seconds. It means fewer rounds, and if necessary no larger sizes. Default: no limit.
        seconds_per_point: Seconds of counted steps at each batch size. At least three steps are made, or one if it
            takes longer.
        progress: Function to call before each visit.
        command: Command that the user gave, kept in the record.

    Raises:
        UserError: if a batch size is below 1 or above the data set, a limit allows nothing, or a step fails.
    """
    task = as_task(task)
    sizes = _checked(batch_sizes, task.examples)
    for name, limit in (
        ("budget", budget),
        ("seconds_per_point", seconds_per_point),
        ("micro_batch_size", micro_batch_size),
    ):
        if limit is not None and limit <= 0:
            raise UserError(f"{name}={limit} allows nothing: use a number above 0.")
    make = find_recipe(recipe or task.recipe)
    device = as_device(device)
    watch, began = RunTimer(), time.perf_counter()
    with RandomState(seed, device).in_place():
        steps = TimedSteps(
            task,
            plan_of or (lambda size: make(batch_size=size, learning_rate=LEARNING_RATE, epochs=1)),
            micro_batch_size=micro_batch_size,
            device=device,
            seed=seed,
        )
        rounds = Rounds(
            steps,
            sizes,
            seconds_per_point=seconds_per_point,
            deadline=began + budget if budget is not None else math.inf,
            progress=progress,
            may_skip_one=batch_sizes is None,
        )
        points = settled(rounds, random.Random(seed))
    return with_check(
        Speed(
            task=task.name,
            unit=task.unit,
            examples=task.examples,
            points=points,
            recipe="" if plan_of is not None else recipe or task.recipe,
            micro_batch_size=micro_batch_size,
            provenance=watch.provenance(command=command, seed=seed, device=device),
        )
    )


def settled(rounds: Rounds, order: random.Random) -> tuple[SpeedPoint, ...]:
    """Run all rounds, then visit again the batch sizes whose times disagree."""
    rounds.run(order)
    for _ in range(TIMES_AGAIN):
        doubtful = suspects(_points(rounds))
        if not doubtful or not rounds.again(doubtful, order):
            break
    return _points(rounds)


def doublings(examples: int) -> tuple[int, ...]:
    """Batch sizes 1, 2, 4 ... and the whole data set.

    >>> doublings(10)
    (1, 2, 4, 8, 10)
    """
    return (*(2**k for k in range((examples - 1).bit_length())), examples)


def median_interval(values: Iterable[float], level: float = 0.95) -> tuple[float, float] | None:
    """An interval for the median of the distribution of `values`, whatever the distribution is.

    It reaches from the k-th smallest to the k-th largest value, with the largest k whose binomial probability allows
    it. The actual level is at least `level`. None if k = 1 is not enough: below 6 values at 95 %. David and
    Nagaraja 2003, "Order Statistics", section 7.1.

    >>> median_interval([3, 1, 2, 6, 5, 4])
    (1, 6)
    """
    ordered = sorted(values)
    n, k, tail = len(ordered), 0, 0.0
    while (tail := tail + math.comb(n, k) / 2**n) <= (1 - level) / 2:
        k += 1
    return (ordered[k - 1], ordered[n - k]) if k else None


def _points(rounds: Rounds) -> tuple[SpeedPoint, ...]:
    points = [_point(size, visits, rounds.memory[size].peak_bytes) for size, visits in rounds.visits.items()]
    if rounds.too_large is not None:
        points.append(SpeedPoint(batch_size=rounds.too_large, fits=False))
    return tuple(points)


def _point(batch_size: int, visits: Sequence[Visit], peak_bytes: int) -> SpeedPoint:
    quiet = [visits[i] for i in quiet_visits([visit.steps for visit in visits])]
    steps = [seconds for visit in visits for seconds in visit.steps]
    middle = median(seconds for visit in quiet for seconds in visit.steps)
    interval = median_interval(median(visit.steps) for visit in visits)
    low, high = (min(interval[0], middle), max(interval[1], middle)) if interval else (None, None)
    parts = [median(part) for part in zip(*(parts for visit in quiet for parts in visit.parts), strict=True)]
    data, compute, optimizer = (middle * part / sum(parts) for part in parts)
    quarters = quantiles(steps, n=4, method="inclusive") if len(steps) > 1 else None
    swing, signs = disagreement([visit.steps for visit in visits])
    waited = [visit.waited for visit in quiet if visit.waited is not None]
    return SpeedPoint(
        batch_size=batch_size,
        step_seconds=Estimate(
            value=middle, n=len(steps), low=low, high=high, reason="" if interval else "too_few_visits"
        ),
        quartiles=(min(quarters[0], middle), max(quarters[2], middle)) if quarters else None,
        data_seconds=data,
        compute_seconds=compute,
        optimizer_seconds=optimizer,
        peak_bytes=peak_bytes,
        swing=swing,
        waited=median(waited) if waited else None,
        signs=signs,
    )


def _checked(batch_sizes: Sequence[int] | None, examples: int) -> tuple[int, ...]:
    """The batch sizes in ascending order, without duplicates."""
    if batch_sizes is None:
        return doublings(examples)
    if not batch_sizes:
        raise UserError("batch_sizes is empty: give at least one size, or leave it out for 1, 2, 4 and so on.")
    for size in batch_sizes:
        if size < 1:
            raise UserError(f"batch_size={size} is not possible: use 1 or more.")
        if size > examples:
            raise UserError(f"batch_size={size} is above the {examples} examples: use {examples} or less.")
    return tuple(sorted(set(batch_sizes)))
