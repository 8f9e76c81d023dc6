"""What an advice is asked for beside the target: which batch sizes that leaves, and whether the answer keeps to it.

Every objective makes the time to target small, over the sizes that it allows. Seconds on one device and device-seconds
are the same, so on one device the cheapest is the soonest; with several devices the fewest are the cheapest, and the
question is how few are soon enough.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from scipy.special import ndtri

from critbatch.errors import UserError
from critbatch.law.model import Array, failure_probability, log_slowdown
from critbatch.law.posterior import LEVEL, Posterior
from critbatch.law.scaling import checked_devices
from critbatch.law.step_time import step_seconds_at
from critbatch.records.core import AccuracyCheck, Estimate, Goal, Objective, Outcome, Run, Speed, SpeedPoint, TimePoint
from critbatch.records.scaling import ScalePoint

# What an answer does not know, as keys of the report's table of reasons.

NEAR = 1.5
"""A batch size within this factor of one that was run is not extrapolated."""

UNSTEADY = 2.0
"""Between the quartiles of a step's seconds: on a machine of one's own they differ by some per cent."""


def find_cautions(posterior: Posterior, speed: Speed, runs: Sequence[Run], best: TimePoint | None) -> list[str]:
    """Each key once, those of the answer first. `best` is None where there is no answer."""
    if best is None:
        found = [_why_none(posterior, runs)]
    else:
        found = _of_best(speed, runs, best)
        if speed.check is None and any(_unsteady(point) for point in speed.fitting):
            found.append("unsteady_times")
        if posterior.reason:
            found.append(posterior.reason)
        if len({run.seed for run in runs if run.crossing is not None}) == 1:
            found.append("one_seed")
        if posterior.noise is None:
            found.append("no_noise_measured")
    found += speed.check.signs if speed.check is not None else ()
    if len(speed.fitting) < len(speed.points) or any(run.outcome is Outcome.OUT_OF_MEMORY for run in runs):
        found.append("out_of_memory")
    return found


def _why_none(posterior: Posterior, runs: Sequence[Run]) -> str:
    if posterior.reached:
        return "clock_unusable"
    return "all_diverged" if {run.outcome for run in runs} == {Outcome.DIVERGED} else "no_run_reached_target"


def _of_best(speed: Speed, runs: Sequence[Run], best: TimePoint) -> list[str]:
    found = []
    timed = [point.batch_size for point in speed.fitting]
    if len(timed) > 1 and best.batch_size in (min(timed), max(timed)):
        found.append("best_at_edge")
    near = [run for run in runs if 1 / NEAR <= run.batch_size / best.batch_size <= NEAR]
    came = [run for run in near if run.crossing is not None]
    if not came:
        return [*found, "extrapolated"]
    fastest = min(came, key=lambda run: run.crossing.step if run.crossing else 0.0)
    rates = [run.learning_rate for run in near]
    if fastest.learning_rate in (min(rates), max(rates)):
        found.append("rate_at_edge")
    return found


def _unsteady(point: SpeedPoint) -> bool:
    """Whether a quarter of the steps took more than UNSTEADY times as long as another quarter."""
    return point.quartiles is not None and point.quartiles[1] > UNSTEADY * point.quartiles[0]


# The law times the clock: which learning rate to use at a batch size, what that costs, and which size costs least.

RISK = 1.0
"""What a run that misses the target costs, in log(time), on top of its own.

With it a rate is about 0.83 of the best one's estimate where that is uncertain by a factor of 1.6, and about 0.88 where
it is known. With 1.5, 0.78 and 0.84, as many runs missed the target on the tasks of the advisor's study.
"""

_SHADES = np.linspace(-2.0, 0.5, 26)


def two_digits(rate: float) -> float:
    """As people type it.

    >>> two_digits(0.034567)
    0.035
    """
    return float(f"{rate:.2g}")


def recommended_rate(posterior: Posterior, batch_size: int) -> float:
    """The learning rate with the lowest expected log(steps) and risk.

    It is below the best rate, the more so the less that is known: twice the best rate costs more than half of it, and
    fails in a third of the cases.
    """
    best = posterior.log_best_rate(batch_size)
    middle = float(np.median(best))
    log_rho = middle + _SHADES[:, None] - best
    cost = (log_slowdown(log_rho) + RISK * failure_probability(log_rho)).mean(1)
    return two_digits(math.exp(middle + _SHADES[cost.argmin()]))


def log_costs(posterior: Posterior, batch_size: int, learning_rate: float, step_seconds: float) -> Array:
    """log(seconds to the target), and what the risk of missing it adds. Shape (draws,)."""
    seconds = posterior.steps(batch_size, learning_rate) * step_seconds
    return np.asarray(np.log(seconds) + RISK * posterior.failure(batch_size, learning_rate))


def candidate_sizes(speed: Speed) -> tuple[int, ...]:
    """The sizes that were timed and fit, and the powers of two between them: sizes that people type."""
    timed = [point.batch_size for point in speed.fitting]
    powers = (2**k for k in range(speed.largest_that_fits.bit_length()))
    return tuple(sorted({*timed, *(size for size in powers if size >= min(timed))}))


def best_size(posterior: Posterior, speed: Speed) -> int:
    """The candidate with the lowest expected log(seconds to the target), each at its `recommended_rate`.

    The rate's uncertainty counts: at the edge of the law's knowledge a size must promise more to be chosen.
    """

    def cost(size: int) -> float:
        seconds = step_seconds_at(speed, size).value
        return float(log_costs(posterior, size, recommended_rate(posterior, size), seconds).mean())

    return min(candidate_sizes(speed), key=cost)


def time_points(
    posterior: Posterior, speed: Speed, batch_sizes: Iterable[int], *, runs: Sequence[Run]
) -> tuple[TimePoint, ...]:
    """What each batch size costs at its recommended rate: the median over the posterior, and where the next run falls.

    Args:
        posterior: of the law.
        speed: of the machine.
        batch_sizes: from the smallest that was timed to the largest that fits.
        runs: to count those that were made at each size.

    Raises:
        UserError: if a size is outside of those that were timed.
    """
    return tuple(_time_point(posterior, speed, size, runs) for size in batch_sizes)


def _time_point(posterior: Posterior, speed: Speed, size: int, runs: Sequence[Run]) -> TimePoint:
    rate = recommended_rate(posterior, size)
    best = posterior.best_rate(size)
    shade = rate / float(np.median(best))
    interval = posterior.estimate(shade * best)
    steps = posterior.estimate(posterior.stated_run(size, rate))
    step_seconds = step_seconds_at(speed, size)
    return TimePoint(
        batch_size=size,
        learning_rate=Estimate(value=rate, n=interval.n, low=interval.low, high=interval.high, level=LEVEL),
        steps=steps,
        step_seconds=step_seconds,
        seconds=_product(steps, step_seconds),
        runs=sum(run.batch_size == size for run in runs),
    )


def _product(steps: Estimate, step_seconds: Estimate) -> Estimate:
    """Of independent factors: the half-widths of their intervals, in logarithms and at one level, add as squares."""
    value = steps.value * step_seconds.value
    if steps.low is None or steps.high is None or step_seconds.low is None or step_seconds.high is None:
        return Estimate(value=value, n=steps.n, level=LEVEL, reason=steps.reason or step_seconds.reason)
    narrower = float(ndtri((1 + LEVEL) / 2) / ndtri((1 + step_seconds.level) / 2))
    below = math.hypot(math.log(steps.value / steps.low), narrower * math.log(step_seconds.value / step_seconds.low))
    above = math.hypot(math.log(steps.high / steps.value), narrower * math.log(step_seconds.high / step_seconds.value))
    return Estimate(value=value, n=steps.n, low=value * math.exp(-below), high=value * math.exp(above), level=LEVEL)


def within(points: Sequence[TimePoint], best: TimePoint, fraction: float = 0.10) -> tuple[int, int]:
    """The smallest and the largest size around the best from which no size between takes `fraction` more time.

    Args:
        fraction: a tenth, and more by `critbatch.law.clock_check.leeway` where the clock swings.
    """
    ordered = sorted(points, key=lambda point: point.batch_size)
    good = [point.seconds.value <= best.seconds.value * (1 + fraction) for point in ordered]
    low = high = ordered.index(best)
    while low > 0 and good[low - 1]:
        low -= 1
    while high < len(good) - 1 and good[high + 1]:
        high += 1
    return ordered[low].batch_size, ordered[high].batch_size


SURE = 0.8
"""How likely a bound must be kept for a batch size to be allowed."""

FRUGAL = 1.1
"""Times the fewest examples: where no size keeps a limit, the largest that comes as near to it as this is allowed."""

MARGIN = 0.005
"""Of a metric between 0 and 1: half a per cent, about what two seeds differ by on the tasks of the documentation."""


def checked_objective(objective: Objective) -> Objective:
    """The same, or one whose margin is the usual one where none was given.

    Raises:
        UserError: if a bound is missing, not possible, or of another goal.
    """
    goal, bounds = (
        objective.goal,
        {
            Goal.COST: ("max_time", objective.max_time),
            Goal.EXAMPLES: ("examples_limit", objective.examples_limit),
            Goal.ACCURACY: ("accuracy_margin", objective.accuracy_margin),
        },
    )
    for owner, (name, value) in bounds.items():
        if value is not None and owner is not goal:
            raise UserError(f"{name}={value:g} belongs to the objective {owner}, not to {goal}: give one or the other.")
        if value is not None and not (0 < value < math.inf):
            raise UserError(f"{name}={value:g} is not possible: use a number above 0.")
    if goal is Goal.EXAMPLES and objective.examples_limit is None:
        raise UserError("The objective examples needs a limit: give the number of examples.")
    price = objective.price_per_device_hour
    if (objective.devices != (1,) or price is not None) and goal is not Goal.COST:
        raise UserError(f"Numbers of devices and a price belong to the objective {Goal.COST}, not to {goal}.")
    if price is not None and not price >= 0:
        raise UserError(f"A price of {price} for an hour is not possible: use 0 or more.")
    checked_devices(objective.devices)
    if goal is Goal.ACCURACY and objective.accuracy_margin is None:
        return replace(objective, accuracy_margin=MARGIN)
    return objective


def allowed(
    speed: Speed, objective: Objective, posterior: Posterior | None, checks: Sequence[AccuracyCheck] = ()
) -> Speed:
    """The clock, with the batch sizes that the objective allows, one at least.

    Args:
        speed: of the machine.
        objective: what is asked.
        posterior: of the law; None where nothing is known of it, and all sizes are allowed.
        checks: of accuracy, made by now: a size whose metric falls, or may fall, forbids it and all above.
    """
    sizes = candidate_sizes(speed)
    if posterior is None or not posterior.reached or not sizes:
        return speed
    largest = sizes[-1]
    if objective.examples_limit is not None:
        kept = [size for size in sizes if chance_within_examples(posterior, size, objective.examples_limit) >= SURE]
        least = [float(np.median(examples_needed(posterior, size))) for size in sizes]
        frugal = [size for size, examples in zip(sizes, least, strict=True) if examples <= FRUGAL * min(least)]
        largest = max(kept or frugal)
    elif objective.goal is Goal.ACCURACY:
        forbidden = [check.batch_size for check in checks if check.falls is not False]
        small = max((check.small_batch_size for check in checks), default=sizes[0])
        largest = max((size for size in sizes if size < min(forbidden, default=math.inf)), default=sizes[0])
        largest = max(largest, small) if forbidden else largest
    return up_to(speed, largest)


def up_to(speed: Speed, largest: int) -> Speed:
    """The clock without the batch sizes above `largest`; its time is interpolated where it was not measured."""
    points = tuple(point for point in speed.points if point.batch_size <= largest)
    if largest in {point.batch_size for point in points} or len(points) == len(speed.points):
        return replace(speed, points=points)
    after = min((point for point in speed.fitting if point.batch_size > largest), key=lambda point: point.batch_size)
    between = replace(after, batch_size=largest, step_seconds=step_seconds_at(speed, largest), quartiles=None)
    return replace(speed, points=(*points, between))


def examples_needed(posterior: Posterior, batch_size: int) -> Array:
    """Examples that one more run at the recommended rate sees on its way to the target. Shape (draws,)."""
    return np.asarray(batch_size * posterior.stated_run(batch_size, recommended_rate(posterior, batch_size)))


def chance_within_examples(posterior: Posterior, batch_size: int, limit: float) -> float:
    """How likely one more run is to come to the target within so many examples; failing counts as not."""
    return _chance(posterior, batch_size, examples_needed(posterior, batch_size) <= limit)


def chance_within_seconds(posterior: Posterior, batch_size: int, step_seconds: float, within: float) -> float:
    """How likely one more run is to come to the target within so many seconds; failing counts as not."""
    steps = examples_needed(posterior, batch_size) / batch_size
    return _chance(posterior, batch_size, steps * step_seconds <= within)


def cheapest(points: Sequence[ScalePoint], within: float | None) -> tuple[ScalePoint, bool | None]:
    """The fewest device-hours within a time, by the median; the soonest where none is within it.

    Args:
        points: numbers of devices, each at the batch size that is best for it, with a time to target.
        within: seconds; None for any.

    Returns:
        The point, and whether it is within the time; None where no time was given.
    """
    soon = [point for point in points if within is None or _seconds(point) <= within]
    if soon:
        best = min(soon, key=lambda point: (point.device_hours or 0.0, _seconds(point)))
        return best, None if within is None else True
    return min(points, key=_seconds), False


def _seconds(point: ScalePoint) -> float:
    return point.seconds.value if point.seconds is not None else math.inf


def _chance(posterior: Posterior, batch_size: int, kept: np.ndarray) -> float:
    fails = posterior.failure(batch_size, recommended_rate(posterior, batch_size))
    return float(((1 - fails) * kept).mean())
