"""The law times the clock: which learning rate to use at a batch size, what that costs, and which size costs least."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from scipy.special import ndtri

from critbatch.predict.knee import step_seconds_at
from critbatch.predict.law import Array, failure_probability, log_slowdown
from critbatch.predict.time_to_target import LEVEL, Posterior
from critbatch.records.core import Estimate, Run, Speed, TimePoint

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
        fraction: a tenth, and more by `critbatch.predict.clock_check.leeway` where the clock swings.
    """
    ordered = sorted(points, key=lambda point: point.batch_size)
    good = [point.seconds.value <= best.seconds.value * (1 + fraction) for point in ordered]
    low = high = ordered.index(best)
    while low > 0 and good[low - 1]:
        low -= 1
    while high < len(good) - 1 and good[high + 1]:
        high += 1
    return ordered[low].batch_size, ordered[high].batch_size
