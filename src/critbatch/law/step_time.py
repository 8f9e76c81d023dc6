"""Seconds per step against batch size, and the knee from which a larger batch takes longer.

A processor that works on many examples at once takes about as long for two as for one, until it is full. So the seconds
of a step are nearly constant for small batches and proportional to the batch size for large ones; those of an epoch
fall first and are nearly constant for large batches. Lee 2021, "Batch and Momentum", shows it for MNIST on a V100, with
1 to 60,000 examples a step. There a line `a + c B` with a of about 6 ms and c of 0.155 ms passes near all points, so
the flat part ends near 40 examples. On an axis up to 10 s, the 0.15 s of 1,000 examples look flat too. The same
line is T_grad in Pollux: Qiao et al. 2021, arXiv:2008.12260.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from statistics import median

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.special import ndtri

from critbatch.errors import UserError
from critbatch.records.core import Estimate, Speed, SpeedFit, SpeedPoint

Array = NDArray[np.float64]

LEVEL = 0.95
DRAWS = 1000
SEED = 0

NEAR_BEST = 0.9
"""A share of the best throughput that counts as no loss."""

FAR = 100.0
"""A knee this many times outside the measured sizes has no visible effect on them."""

GRID = 300
"""Number of knees tried: a few hundredths apart in their logarithm, where the misfit is nearly quadratic."""


def with_fit(speed: Speed) -> Speed:
    """The same record with `fit` filled in."""
    return replace(speed, fit=fit_knee(speed))


def fit_knee(speed: Speed) -> SpeedFit | None:
    """Fit `t(B) = fixed_seconds + example_seconds * B`, both parts above 0, to the points that fit into memory.

    The fit minimizes the sum of squares of log(measured / fitted). Errors are relative, so that a step of a millisecond
    has the same weight as one of a second. Apart from a factor, the line has one parameter, the knee, so the fit is a
    search along one axis and finds the global minimum.

    The interval of the knee is a parametric bootstrap. Each time is drawn again around the fitted line, in logarithms,
    with the larger of two standard deviations: that of the measurement, from its interval, and that of the points
    around the line. The second is itself uncertain with few points, and is drawn too (Student's t). So the interval is
    wide if t(B) is not a straight line, however well it was measured. There is no interval ("knee_outside_sizes") if it
    would reach a hundred times beyond the sizes: then times only grow in proportion, or do not grow at all.

    Returns:
        The fit, or None with fewer than three points.
    """
    points = _timed(speed)
    if len(points) < 3:
        return None
    sizes = np.array([point.batch_size for point in points], dtype=np.float64)
    seconds = np.array([_seconds(point).value for point in points])
    knees = np.geomspace(sizes[0] / FAR, sizes[-1] * FAR, GRID)
    first = float(_best_knees(np.log(seconds)[None], sizes, knees)[0])
    knee = _refine(first, sizes, np.log(seconds), knees)
    shape = np.log1p(sizes / knee)
    log_fixed = float((np.log(seconds) - shape).mean())
    misses = np.log(seconds) - shape - log_fixed
    drawn = _best_knees(_redrawn(log_fixed + shape, misses, points), sizes, knees)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    outside = min(low, knee) <= knees[1] or max(high, knee) >= knees[-2]
    return SpeedFit(
        fixed_seconds=math.exp(log_fixed),
        example_seconds=math.exp(log_fixed) / knee,
        knee=Estimate(
            value=knee,
            n=len(points),
            low=None if outside else min(float(low), knee),
            high=None if outside else max(float(high), knee),
            level=LEVEL,
            reason="knee_outside_sizes" if outside else "",
        ),
        worst_miss=float(np.abs(np.expm1(misses)).max()),
    )


def step_seconds_at(speed: Speed, batch_size: int) -> Estimate:
    """Seconds of a step at a batch size: the measured value, or log-log interpolation between measured sizes.

    The fitted line is not used. An interval between two sizes is interpolated like the value; it does not include how
    t(B) bends between them.

    Raises:
        UserError: if `batch_size` is outside the measured sizes that fit into memory.
    """
    points = _timed(speed)
    if not points or not points[0].batch_size <= batch_size <= points[-1].batch_size:
        timed = f"{points[0].batch_size} to {points[-1].batch_size}" if points else "none"
        raise UserError(f"batch_size={batch_size} is outside of the sizes that were timed ({timed}): time it as well.")
    above = bisect_left(points, batch_size, key=lambda point: point.batch_size)
    if points[above].batch_size == batch_size:
        return _seconds(points[above])
    left, right = points[above - 1], points[above]
    share = math.log(batch_size / left.batch_size) / math.log(right.batch_size / left.batch_size)
    return _between(_seconds(left), _seconds(right), share)


def throughput_knee(speed: Speed) -> int:
    """The smallest measured batch size whose examples per second are within 10 % of the best. 0 if no size fits."""
    rates = {point.batch_size: point.batch_size / _seconds(point).value for point in speed.fitting}
    best = max(rates.values(), default=0.0)
    return min((size for size, rate in rates.items() if rate >= NEAR_BEST * best), default=0)


def _timed(speed: Speed) -> list[SpeedPoint]:
    return sorted(speed.fitting, key=lambda point: point.batch_size)


def _seconds(point: SpeedPoint) -> Estimate:
    assert point.step_seconds is not None  # because the point fits
    return point.step_seconds


def _between(left: Estimate, right: Estimate, share: float) -> Estimate:
    def middle(first: float | None, second: float | None) -> float | None:
        if first is None or second is None:
            return None
        return math.exp((1 - share) * math.log(first) + share * math.log(second))

    value = middle(left.value, right.value)
    assert value is not None
    return Estimate(
        value=value,
        n=min(left.n, right.n),
        low=middle(left.low, right.low),
        high=middle(left.high, right.high),
        level=min(left.level, right.level),
        reason=left.reason or right.reason,
    )


def _best_knees(log_seconds: Array, sizes: Array, knees: Array) -> Array:
    """The knee of least squares for each row of times, shape (rows,), by the grid and a parabola between its points.

    `log_seconds` has shape (rows, sizes). At a knee k the residuals are log t - log(1 + B / k), minus their mean, so
    the sum of squares is a variance.
    """
    shapes = np.log1p(sizes / knees[:, None])
    shapes -= shapes.mean(1, keepdims=True)
    centred = log_seconds - log_seconds.mean(1, keepdims=True)
    misfit = (shapes**2).sum(
        1
    ) - 2 * centred @ shapes.T  # without the rows' own variance, which is the same for all knees
    best = np.clip(misfit.argmin(1), 1, len(knees) - 2)
    rows = np.arange(len(best))
    before, here, after = misfit[rows, best - 1], misfit[rows, best], misfit[rows, best + 1]
    bend = before - 2 * here + after
    shift = np.where(bend > 0, (before - after) / (2 * np.where(bend > 0, bend, 1.0)), 0.0)
    spacing = math.log(knees[1] / knees[0])
    return np.asarray(knees[best] * np.exp(spacing * np.clip(shift, -1.0, 1.0)))


def _refine(knee: float, sizes: Array, log_seconds: Array, knees: Array) -> float:
    """Refine the knee of the grid to that of least squares, to the last digits."""

    def misses(log_knee: Array) -> Array:
        difference = log_seconds - np.log1p(sizes / math.exp(log_knee[0]))
        return np.asarray(difference - difference.mean())

    bounds = (math.log(knees[0]) - 1e-9, math.log(knees[-1]) + 1e-9)
    start = min(max(math.log(knee), bounds[0] + 1e-9), bounds[1] - 1e-9)
    answer = least_squares(misses, start, bounds=bounds, xtol=1e-15, ftol=1e-15, gtol=1e-15)
    return math.exp(answer.x[0])


def _redrawn(fitted: Array, misses: Array, points: list[SpeedPoint]) -> Array:
    """Simulated times, in logarithms, shape (DRAWS, points)."""
    generator = np.random.default_rng(SEED)
    freedom = len(points) - 2
    around = np.sqrt((misses**2).sum() / generator.chisquare(freedom, (DRAWS, 1)))
    measured = np.array([_log_spread(_seconds(point)) for point in points])
    return np.asarray(fitted + np.maximum(around, measured) * generator.standard_normal((DRAWS, len(points))))


def _log_spread(seconds: Estimate) -> float:
    """Standard deviation of the logarithm of a measured time, as if its interval were that of a normal distribution."""
    if seconds.low is None or seconds.high is None or seconds.low <= 0:
        return 0.0
    return math.log(seconds.high / seconds.low) / (2 * float(ndtri((1 + seconds.level) / 2)))


# Seconds per step from any source: given by the user, measured before, or timed during training.

StepSeconds = Speed | Mapping[int, float] | Callable[[int], float]
Curve = Callable[[int], Estimate | None]

FEWEST = 8


def step_curve(given: StepSeconds | None, timed: Iterable[tuple[int, float]] = ()) -> Curve:
    """A function from batch size to seconds of a step, or None if they are not known.

    Args:
        given: a `Speed`, which also covers sizes between its own; seconds by batch size; or a function of the size.
        timed: batch size and seconds of past steps, for sizes that `given` does not cover.

    >>> step_curve({64: 0.01})(64).value, step_curve({64: 0.01})(128)
    (0.01, None)
    """
    seconds_by_size: dict[int, list[float]] = {}
    for size, seconds in timed:
        seconds_by_size.setdefault(size, []).append(seconds)

    def curve(batch_size: int) -> Estimate | None:
        known = _given_seconds(given, batch_size)
        if known is None and batch_size in seconds_by_size:
            return middle(seconds_by_size[batch_size])
        return known

    return curve


def middle(seconds: list[float]) -> Estimate:
    """The median and its 95 % interval, from the k-th smallest to the k-th largest with k = n/2 - 0.98 sqrt(n).

    David and Nagaraja 2003, "Order Statistics", section 7.1.

    >>> middle([1.0, 2.0, 9.0]).value
    2.0
    """
    ordered, n = sorted(seconds), len(seconds)
    if n < FEWEST:
        return Estimate(value=median(ordered), n=n, level=LEVEL, reason="few_timings")
    k = max(1, math.floor(n / 2 - 0.98 * math.sqrt(n)))
    return Estimate(value=median(ordered), n=n, low=ordered[k - 1], high=ordered[n - k], level=LEVEL)


def _given_seconds(given: StepSeconds | None, batch_size: int) -> Estimate | None:
    if isinstance(given, Speed):
        sizes = [point.batch_size for point in given.fitting]
        if not sizes or not min(sizes) <= batch_size <= max(sizes):
            return None
        return step_seconds_at(given, batch_size)
    seconds = given.get(batch_size) if isinstance(given, Mapping) else given(batch_size) if given else None
    if seconds is None:
        return None
    if not 0 < seconds < math.inf:
        raise UserError(f"step_seconds of {seconds} at batch size {batch_size} are not possible: use a number above 0.")
    return Estimate(value=seconds, n=1, level=LEVEL, reason="given")
