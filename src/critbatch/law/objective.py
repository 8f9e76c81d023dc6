"""The objective of an advice: which batch sizes it allows, which size is best, and the cautions of the answer.

Every objective minimizes the time to target over the sizes that it allows. On one device, seconds and device-seconds
are the same, so the cheapest size is also the fastest. With several devices, fewer devices are cheaper, and the
question is how few are fast enough.
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

# Cautions: the limits of an answer, as keys of the report's table of reasons.

NEAR = 1.5
"""A batch size within this factor of one that was run is not extrapolated."""

UNSTEADY = 2.0
"""Step seconds are unsteady above this ratio of their quartiles. On an idle machine they differ by a few percent."""


def find_cautions(posterior: Posterior, speed: Speed, runs: Sequence[Run], best: TimePoint | None) -> list[str]:
    """The cautions, each once, those of the answer first. `best` is None if there is no answer."""
    if best is None:
        cautions = [_why_no_answer(posterior, runs)]
    else:
        cautions = _best_cautions(speed, runs, best)
        if speed.check is None and any(_unsteady(point) for point in speed.fitting):
            cautions.append("unsteady_times")
        if posterior.reason:
            cautions.append(posterior.reason)
        if len({run.seed for run in runs if run.crossing is not None}) == 1:
            cautions.append("one_seed")
        if posterior.noise is None:
            cautions.append("no_noise_measured")
    cautions += speed.check.signs if speed.check is not None else ()
    if len(speed.fitting) < len(speed.points) or any(run.outcome is Outcome.OUT_OF_MEMORY for run in runs):
        cautions.append("out_of_memory")
    return cautions


def _why_no_answer(posterior: Posterior, runs: Sequence[Run]) -> str:
    if posterior.reached:
        return "clock_unusable"
    return "all_diverged" if {run.outcome for run in runs} == {Outcome.DIVERGED} else "no_run_reached_target"


def _best_cautions(speed: Speed, runs: Sequence[Run], best: TimePoint) -> list[str]:
    cautions = []
    timed = [point.batch_size for point in speed.fitting]
    if len(timed) > 1 and best.batch_size in (min(timed), max(timed)):
        cautions.append("best_at_edge")
    near = [run for run in runs if 1 / NEAR <= run.batch_size / best.batch_size <= NEAR]
    reached = [run for run in near if run.crossing is not None]
    if not reached:
        return [*cautions, "extrapolated"]
    fastest = min(reached, key=lambda run: run.crossing.step if run.crossing else 0.0)
    rates = [run.learning_rate for run in near]
    if fastest.learning_rate in (min(rates), max(rates)):
        cautions.append("rate_at_edge")
    return cautions


def _unsteady(point: SpeedPoint) -> bool:
    """Whether a quarter of the steps took more than UNSTEADY times as long as another quarter."""
    return point.quartiles is not None and point.quartiles[1] > UNSTEADY * point.quartiles[0]


# Steps by the law times seconds per step: the learning rate at a batch size, its cost, and the size of least cost.

RISK = 1.0
"""The cost of missing the target, in log(time), in addition to the time of the run.

With this value, the recommended rate is about 0.83 times the estimated best rate if that is uncertain by a factor of
1.6, and about 0.88 times if it is known. A value of 1.5 gives 0.78 and 0.84, and on the tasks of the advisor's study as
many runs missed the target.
"""

_SHADES = np.linspace(-2.0, 0.5, 26)


def two_digits(rate: float) -> float:
    """Round a rate to two digits, as people type it.

    >>> two_digits(0.034567)
    0.035
    """
    return float(f"{rate:.2g}")


def recommended_rate(posterior: Posterior, batch_size: int) -> float:
    """The learning rate with the lowest expected log(steps) and risk.

    It is below the best rate, and further below if less is known: twice the best rate costs more than half the best
    rate, and fails in a third of the cases.
    """
    best = posterior.log_best_rate(batch_size)
    middle = float(np.median(best))
    log_rho = middle + _SHADES[:, None] - best
    cost = (log_slowdown(log_rho) + RISK * failure_probability(log_rho)).mean(1)
    return two_digits(math.exp(middle + _SHADES[cost.argmin()]))


def log_costs(posterior: Posterior, batch_size: int, learning_rate: float, step_seconds: float) -> Array:
    """log(seconds to the target) plus the cost of the risk of missing it. Shape (draws,)."""
    seconds = posterior.steps(batch_size, learning_rate) * step_seconds
    return np.asarray(np.log(seconds) + RISK * posterior.failure(batch_size, learning_rate))


def candidate_sizes(speed: Speed) -> tuple[int, ...]:
    """The sizes that were timed and fit, and the powers of two between them: sizes that people type."""
    timed = [point.batch_size for point in speed.fitting]
    powers = (2**k for k in range(speed.largest_that_fits.bit_length()))
    return tuple(sorted({*timed, *(size for size in powers if size >= min(timed))}))


def best_size(posterior: Posterior, speed: Speed) -> int:
    """The candidate with the lowest expected log(seconds to the target), each at its `recommended_rate`.

    The uncertainty of the rate counts: a size far from the measured ones must promise more to be chosen.
    """

    def cost(size: int) -> float:
        seconds = step_seconds_at(speed, size).value
        return float(log_costs(posterior, size, recommended_rate(posterior, size), seconds).mean())

    return min(candidate_sizes(speed), key=cost)


def time_points(
    posterior: Posterior, speed: Speed, batch_sizes: Iterable[int], *, runs: Sequence[Run]
) -> tuple[TimePoint, ...]:
    """The time to target of each batch size at its recommended rate: the posterior median and a prediction interval.

    Args:
        posterior: of the law.
        speed: of the machine.
        batch_sizes: from the smallest that was timed to the largest that fits.
        runs: counted at each size.

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
    """The product of independent estimates: squared half-widths of intervals add up, in logarithms and at one level."""
    value = steps.value * step_seconds.value
    if steps.low is None or steps.high is None or step_seconds.low is None or step_seconds.high is None:
        return Estimate(value=value, n=steps.n, level=LEVEL, reason=steps.reason or step_seconds.reason)
    narrower = float(ndtri((1 + LEVEL) / 2) / ndtri((1 + step_seconds.level) / 2))
    below = math.hypot(math.log(steps.value / steps.low), narrower * math.log(step_seconds.value / step_seconds.low))
    above = math.hypot(math.log(steps.high / steps.value), narrower * math.log(step_seconds.high / step_seconds.value))
    return Estimate(value=value, n=steps.n, low=value * math.exp(-below), high=value * math.exp(above), level=LEVEL)


def within(points: Sequence[TimePoint], best: TimePoint, fraction: float = 0.10) -> tuple[int, int]:
    """The range of sizes around the best in which every size takes at most `fraction` more time.

    Args:
        fraction: a tenth, or more where times vary: see `critbatch.law.clock_check.leeway`.
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
"""The probability of satisfying a bound that a batch size needs to be allowed."""

FRUGAL = 1.1
"""If no size satisfies the limit, the largest size within this factor of the fewest examples is allowed."""

MARGIN = 0.005
"""Default accuracy margin of a metric between 0 and 1: about the difference of two seeds on the documented tasks."""


def checked_objective(objective: Objective) -> Objective:
    """Check an objective, and fill in the default margin if none was given.

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
    """The speed restricted to the batch sizes that the objective allows, at least one.

    Args:
        speed: of the machine.
        objective: its bounds are applied.
        posterior: of the law; None if nothing is known, so that all sizes are allowed.
        checks: accuracy checks so far. A size at which the metric falls or may fall forbids itself and larger ones.
    """
    sizes = candidate_sizes(speed)
    if posterior is None or not posterior.reached or not sizes:
        return speed
    largest = sizes[-1]
    if objective.examples_limit is not None:
        within_limit = [
            size for size in sizes if chance_within_examples(posterior, size, objective.examples_limit) >= SURE
        ]
        least = [float(np.median(examples_needed(posterior, size))) for size in sizes]
        frugal = [size for size, examples in zip(sizes, least, strict=True) if examples <= FRUGAL * min(least)]
        largest = max(within_limit or frugal)
    elif objective.goal is Goal.ACCURACY:
        forbidden = [check.batch_size for check in checks if check.falls is not False]
        small = max((check.small_batch_size for check in checks), default=sizes[0])
        largest = max((size for size in sizes if size < min(forbidden, default=math.inf)), default=sizes[0])
        largest = max(largest, small) if forbidden else largest
    return up_to(speed, largest)


def up_to(speed: Speed, largest: int) -> Speed:
    """The speed without batch sizes above `largest`, whose step time is interpolated if it was not measured."""
    points = tuple(point for point in speed.points if point.batch_size <= largest)
    if largest in {point.batch_size for point in points} or len(points) == len(speed.points):
        return replace(speed, points=points)
    after = min((point for point in speed.fitting if point.batch_size > largest), key=lambda point: point.batch_size)
    between = replace(after, batch_size=largest, step_seconds=step_seconds_at(speed, largest), quartiles=None)
    return replace(speed, points=(*points, between))


def examples_needed(posterior: Posterior, batch_size: int) -> Array:
    """Examples to the target of one more run at the recommended rate. Shape (draws,)."""
    return np.asarray(batch_size * posterior.stated_run(batch_size, recommended_rate(posterior, batch_size)))


def chance_within_examples(posterior: Posterior, batch_size: int, limit: float) -> float:
    """The probability that one more run reaches the target within `limit` examples. A failed run does not."""
    return _chance(posterior, batch_size, examples_needed(posterior, batch_size) <= limit)


def chance_within_seconds(posterior: Posterior, batch_size: int, step_seconds: float, within: float) -> float:
    """The probability that one more run reaches the target within so many seconds. A failed run does not."""
    steps = examples_needed(posterior, batch_size) / batch_size
    return _chance(posterior, batch_size, steps * step_seconds <= within)


def cheapest(points: Sequence[ScalePoint], within: float | None) -> tuple[ScalePoint, bool | None]:
    """The point with the fewest median device-hours within a time, or the fastest point if none is within it.

    Args:
        points: one for each number of devices, at its best batch size, with a time to target.
        within: seconds; None for any.

    Returns:
        The point, and whether it is within the time (None if no time was given).
    """
    soon = [point for point in points if within is None or _seconds(point) <= within]
    if soon:
        best = min(soon, key=lambda point: (point.device_hours or 0.0, _seconds(point)))
        return best, None if within is None else True
    return min(points, key=_seconds), False


def _seconds(point: ScalePoint) -> float:
    return point.seconds.value if point.seconds is not None else math.inf


def _chance(posterior: Posterior, batch_size: int, within_limit: np.ndarray) -> float:
    fails = posterior.failure(batch_size, recommended_rate(posterior, batch_size))
    return float(((1 - fails) * within_limit).mean())
