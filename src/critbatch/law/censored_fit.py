"""The likelihood of `S = S_min (1 + B_crit / B)`, given steps to a target, and the intervals derived from it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize_scalar
from scipy.special import log_ndtr, stdtrit

from critbatch.law.model import Array
from critbatch.records.core import Estimate

# Likelihood of logarithms around a curve of known shape. Some values are only lower bounds.
#
# A run that missed its target needs more steps than it made: a bound, not a missing value. With log-normal scatter this
# is the regression of Tobin 1958, Econometrica 26(1), section 3, here with one free level and one scatter.
# In `1 / scatter` and `level / scatter` the log-likelihood is concave: Olsen 1978, Econometrica 46(5).

Flags = NDArray[np.bool_]

LEAST_VARIANCE = 1e-24
"""Least variance of logarithms in float64. Smaller values are rounding errors."""

LEAST_SCATTER = 1e-4
"""Least scatter if some values are bounds: steps are not known more precisely than this."""

NEWTON_STEPS = 60
HALVINGS = 30
SECANT_STEPS = 12


@dataclass(frozen=True, eq=False)
class _Residuals:
    """Means and bounds minus a curve. Shapes (curves, means) and (curves, bounds)."""

    means: Array
    bounds: Array

    def less(self, levels: Array) -> _Residuals:
        return _Residuals(self.means - levels[:, None], self.bounds - levels[:, None])


class BoundedValues:
    """Some logarithms, and which of them are lower bounds. Values at one place are stored as their mean and scatter.

    Args:
        places: positions of the values, shape (n,); a curve has one value at each.
        logs: the values, shape (n,).
        censored: which values are bounds, shape (n,).
    """

    def __init__(self, places: Array, logs: Array, censored: Flags) -> None:
        self.logs = logs
        self.places, which = np.unique(places, return_inverse=True)
        self.reached = int((~censored).sum())
        counts = np.bincount(which[~censored], minlength=len(self.places))
        sums = np.bincount(which[~censored], logs[~censored], minlength=len(self.places))
        self._with_means = np.flatnonzero(counts)
        self._counts = counts[self._with_means]
        self._means = sums[self._with_means] / self._counts
        whole = np.zeros(len(self.places))
        whole[self._with_means] = self._means
        self._within = float(np.square(logs[~censored] - whole[which[~censored]]).sum())
        bounds, self._times = np.unique(np.stack([which[censored], logs[censored]]), axis=1, return_counts=True)
        self._bounded, self._bounds = bounds[0].astype(np.int64), bounds[1]

    @property
    def has_bounds(self) -> bool:
        return len(self._bounds) > 0

    def best_levels(self, curves: Array) -> tuple[Array, Array, Array]:
        """The level and scatter of highest likelihood around each curve, and that log-likelihood up to a constant.

        Args:
            curves: added to the level at each of `places`, shape (curves, places).

        Returns:
            levels, scatters and log-likelihoods, each of shape (curves,).
        """
        residuals = self._residuals(curves)
        levels = residuals.means @ self._counts / self.reached
        squares = np.square(residuals.means - levels[:, None]) @ self._counts + self._within
        variances = np.maximum(squares / self.reached, LEAST_VARIANCE)
        if not self.has_bounds:
            return levels, np.sqrt(variances), -self.reached / 2 * np.log(variances)
        residuals = residuals.less(levels)
        inverse = 1 / np.maximum(np.sqrt(variances), LEAST_SCATTER)
        level, inverse = self._climb(residuals, np.zeros_like(inverse), inverse)
        return levels + level / inverse, 1 / inverse, self._log_likelihood(residuals, level, inverse)

    def level_ends(self, curves: Array, threshold: float) -> tuple[Array, Array]:
        """The lowest and the highest level around each curve whose log-likelihood, with the best scatter, is at least
        `threshold`. Meaningless for curves whose best is below it. Each of shape (curves,).
        """
        levels, scatters, best = self.best_levels(curves)
        if not self.has_bounds:
            variance = np.exp(-2 * best / self.reached)
            wide = np.sqrt(np.maximum(np.exp(-2 * threshold / self.reached) - variance, 0.0))
            return levels - wide, levels + wide
        start = scatters / np.sqrt(self.reached)
        drop = np.sqrt(2 * np.maximum(best - threshold, 0.0))
        residuals = self._residuals(curves).less(levels)
        low, high = (levels + self._end(residuals, best, scatters, sign * start, drop) for sign in (-1.0, 1.0))
        return low, high

    def _residuals(self, curves: Array) -> _Residuals:
        return _Residuals(self._means - curves[:, self._with_means], self._bounds - curves[:, self._bounded])

    def _end(self, residuals: _Residuals, best: Array, scatters: Array, start: Array, drop: Array) -> Array:
        """Find an end by the secant method on the signed root of the likelihood ratio, which is nearly linear."""
        before, at = np.zeros_like(start), start
        root_before = np.zeros_like(start)
        for _ in range(SECANT_STEPS):
            root = np.sqrt(2 * np.maximum(best - self._profile(residuals, at, 1 / scatters), 0.0))
            slope = (root - root_before) / np.where(at != before, at - before, 1.0)
            usable = slope * np.sign(start) > 1e-12
            step = np.where(usable, (drop - root) / np.where(usable, slope, 1.0), 0.0)
            before, root_before = at, root
            most = 4 * np.abs(at) + np.abs(start)
            at = np.sign(start) * np.maximum((at + np.clip(step, -most, most)) * np.sign(start), 0.0)
            if (np.abs(drop - root) < 1e-9).all():
                break
        return np.asarray(at)

    def _profile(self, residuals: _Residuals, levels: Array, inverse: Array) -> Array:
        """The log-likelihood at given levels, with the best scatter for each."""
        shifted, none = residuals.less(levels), np.zeros_like(levels)
        _, inverse = self._climb(shifted, none, inverse, level_is_free=False)
        return self._log_likelihood(shifted, none, inverse)

    def _log_likelihood(self, residuals: _Residuals, level: Array, inverse: Array) -> Array:
        near = inverse[:, None] * residuals.means - level[:, None]
        beyond = inverse[:, None] * residuals.bounds - level[:, None]
        squares = np.square(near) @ self._counts + np.square(inverse) * self._within
        return np.asarray(self.reached * np.log(inverse) - squares / 2 + log_ndtr(-beyond) @ self._times)

    def _climb(
        self, residuals: _Residuals, level: Array, inverse: Array, *, level_is_free: bool = True
    ) -> tuple[Array, Array]:
        """Newton's method in (level / scatter, 1 / scatter). A step that lowers the likelihood is halved."""
        here = self._log_likelihood(residuals, level, inverse)
        for _ in range(NEWTON_STEPS):
            up_level, up_inverse = self._newton_step(residuals, level, inverse, level_is_free)
            share = np.ones_like(inverse)
            for _ in range(HALVINGS):
                new_level = level + share * up_level
                new_inverse = np.clip(inverse + share * up_inverse, inverse / 10, 1 / LEAST_SCATTER)
                there = self._log_likelihood(residuals, new_level, new_inverse)
                worse = ~(there >= here - 1e-12)
                if not worse.any():
                    break
                share = np.where(worse, share / 2, share)
            gained = np.where(worse, 0.0, there - here)
            level, inverse = np.where(worse, level, new_level), np.where(worse, inverse, new_inverse)
            here = here + gained
            if (np.abs(gained) < 1e-11 * (1 + np.abs(here))).all():
                break
        return level, inverse

    def _newton_step(
        self, residuals: _Residuals, level: Array, inverse: Array, level_is_free: bool
    ) -> tuple[Array, Array]:
        near = inverse[:, None] * residuals.means - level[:, None]
        beyond = inverse[:, None] * residuals.bounds - level[:, None]
        hazard = np.exp(-np.square(beyond) / 2 - log_ndtr(-beyond)) / np.sqrt(2 * np.pi)
        bend = hazard * (hazard - beyond)
        slope_inverse = self.reached / inverse - (residuals.means * near) @ self._counts - inverse * self._within
        slope_inverse -= (residuals.bounds * hazard) @ self._times
        second = self.reached / np.square(inverse) + np.square(residuals.means) @ self._counts + self._within
        second += (np.square(residuals.bounds) * bend) @ self._times
        if not level_is_free:
            return np.zeros_like(level), slope_inverse / second
        slope_level = near @ self._counts + hazard @ self._times
        first = self.reached + bend @ self._times
        mixed = -(residuals.means @ self._counts) - (residuals.bounds * bend) @ self._times
        determinant = first * second - mixed * mixed
        return (
            (second * slope_level - mixed * slope_inverse) / determinant,
            (first * slope_inverse - mixed * slope_level) / determinant,
        )


LEVEL = 0.95

FAR = math.log(1e4)
"""Critical batch sizes are searched up to this far, in logarithms, outside the sizes of the runs."""

LIMIT = 1e5
"""The logarithm of an infinite critical batch size. In float64, exp(LIMIT) is infinite and exp(-LIMIT) is zero."""

LARGEST_LOG = 600.0
"""The largest logarithm of a number that is reported."""

SPACING = 0.1
"""Distance between the critical batch sizes tried, in logarithms: the likelihood is nearly linear over it."""

Quantity = Callable[[Array], Array]
"""Maps the logarithm of the critical batch size to the logarithm of a quantity, minus the law's level."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LawFit:
    """The likelihood of the law, given points of one task and target.

    The law's level is log(steps) at `middle`, the geometric mean of the batch sizes: unlike S_min and E_min it stays
    finite in both limits, perfect scaling (B_crit infinite) and no saving at all (B_crit zero).

    Args:
        log_batch: logarithms of the batch sizes, shape (n,).
        values: logarithms of the steps, or of a multiple of them.
        grid: logarithms of B_crit tried, ascending, with the two limits first and last.
        heights: their log-likelihoods, shaped like `grid`.
        log_critical: the best logarithm of B_crit; -LIMIT or LIMIT at a limit.
        log_level: the level at `log_critical`.
        best: the log-likelihood at `log_critical`.
        scatter: standard deviation of a point around the law, in logarithms.
        cached_ends: intervals of B_crit computed so far, by their level.
    """

    log_batch: Array
    values: BoundedValues
    grid: Array
    heights: Array
    log_critical: float
    log_level: float
    best: float
    scatter: float
    cached_ends: dict[float, tuple[float, float]] = field(default_factory=dict)

    @property
    def middle(self) -> float:
        return float(self.log_batch.mean())

    def log_steps(self, batch_size: float) -> Quantity:
        return lambda log_critical: _shape(log_critical, math.log(batch_size), self.middle)

    def log_min_steps(self, log_critical: Array) -> Array:
        return np.asarray(-np.logaddexp(0.0, log_critical - self.middle))

    def log_min_examples(self, log_critical: Array) -> Array:
        return np.asarray(self.middle - np.logaddexp(0.0, self.middle - log_critical))

    def value(self, quantity: Quantity) -> float:
        """The logarithm of a quantity, at the highest likelihood."""
        return self.log_level + float(quantity(np.array([self.log_critical]))[0])

    def law_at(self, log_batch: Array) -> Array:
        """log(steps) by the law, shaped like `log_batch`."""
        return self.log_level + _shape(np.array(self.log_critical), log_batch, self.middle)

    def critical_ends(self, level: float) -> tuple[float, float]:
        """The interval of log(B_crit). An end is -LIMIT or LIMIT if the interval contains that limit."""
        if level not in self.cached_ends:
            self.cached_ends[level] = self._find_critical_ends(level)
        return self.cached_ends[level]

    def _find_critical_ends(self, level: float) -> tuple[float, float]:
        threshold = self._threshold(level)
        inside = [self.log_critical, *self.grid[self.heights >= threshold]]
        first, last = min(inside), max(inside)
        below = float(self.grid[max(0, np.searchsorted(self.grid, first) - 1)])
        above = float(self.grid[min(len(self.grid) - 1, np.searchsorted(self.grid, last, side="right"))])
        return self._edge(first, below, threshold), self._edge(last, above, threshold)

    def ends(self, quantity: Quantity, level: float) -> tuple[float, float]:
        """The profile likelihood interval of the logarithm of a quantity. -LIMIT and LIMIT are not bounds."""
        low, high = self.critical_ends(level)
        spread = np.linspace(max(low, self.grid[1]), min(high, self.grid[-2]), 101)
        tried = self.grid[(self.grid >= low) & (self.grid <= high)]
        log_criticals = np.unique(np.concatenate([tried, spread, [self.log_critical]]))
        lows, highs = self.values.level_ends(self._shapes(log_criticals), self._threshold(level))
        shifts = quantity(log_criticals)
        return float((lows + shifts).min()), float((highs + shifts).max())

    def estimate(self, quantity: Quantity, *, level: float = LEVEL) -> Estimate:
        """The exponential of a quantity, with its interval. If that is open, a reason names the limit it contains."""
        return self._estimate(self.value(quantity), self.ends(quantity, level), level)

    def critical_batch_size(self, *, level: float = LEVEL) -> Estimate:
        return self._estimate(self.log_critical, self.critical_ends(level), level)

    def _estimate(self, value: float, ends: tuple[float, float], level: float) -> Estimate:
        first, last = self.critical_ends(level)
        open_below, open_above = first <= -LIMIT, last >= LIMIT
        reason = "too_few_points" if open_below and open_above else ""
        reason = reason or ("all_perfect_scaling" if open_above else "no_perfect_scaling" if open_below else "")
        with np.errstate(over="ignore"):
            middle, low, high = (float(np.exp(one)) for one in (value, *ends))
        bounded = low > 0 and high < math.inf
        return Estimate(
            value=middle,
            n=len(self.log_batch),
            low=low if low > 0 else None,
            high=high if high < math.inf else None,
            level=level,
            reason="" if bounded else reason,
        )

    def _threshold(self, level: float) -> float:
        """The lowest log-likelihood inside an interval.

        `n log(1 + t^2 / (n - 2))` for twice the difference makes it the F-test's region of a curve with two numbers:
        Bates and Watts 1988, "Nonlinear regression analysis and its applications", section 6.1. Bounds add nothing to
        n.
        """
        n = self.values.reached
        t = float(stdtrit(n - 2, (1 + level) / 2))
        return self.best - n / 2 * math.log1p(t * t / (n - 2))

    def _shapes(self, log_criticals: Array) -> Array:
        return _shape(log_criticals[:, None], self.values.places, self.middle)

    def _edge(self, inside: float, outside: float, threshold: float) -> float:
        def above(log_critical: float) -> float:
            return float(self.values.best_levels(self._shapes(np.array([log_critical])))[2][0]) - threshold

        if inside == outside or above(inside) <= 0 or above(outside) >= 0:
            return inside
        # A limit is very far away: a point nearer to the sizes has practically the same likelihood.
        nearer = max(min(outside, self.log_batch.max() + 2 * FAR), self.log_batch.min() - 2 * FAR)
        return float(brentq(above, inside, nearer, xtol=1e-12)) if above(nearer) < 0 else outside


def fit_law(log_batch: Array, log_steps: Array, censored: Flags) -> LawFit:
    """Fit the law by maximum likelihood with log-normal scatter. Without bounds this is least squares in logarithms.

    Args:
        log_batch: logarithms of the batch sizes, shape (n,).
        log_steps: logarithms of the steps to the target, or of a multiple of them. Shape (n,).
        censored: which of the steps are lower bounds, shape (n,). At least three are not.
    """
    values = BoundedValues(log_batch, log_steps, censored)
    middle = float(log_batch.mean())
    inner = np.arange(log_batch.min() - FAR, log_batch.max() + FAR, SPACING)
    grid = np.concatenate([[-LIMIT], inner, [LIMIT]])
    heights = values.best_levels(_shape(grid[:, None], values.places, middle))[2]
    at = float(grid[heights.argmax()])
    if abs(at) < LIMIT:
        at = _refined(values, middle, at)
    level, scatter, height = (
        float(one[0]) for one in values.best_levels(_shape(np.array([[at]]), values.places, middle))
    )
    return LawFit(
        log_batch=log_batch,
        values=values,
        grid=grid,
        heights=heights,
        log_critical=at,
        log_level=level,
        best=max(height, float(heights.max())),
        scatter=scatter * math.sqrt(values.reached / (values.reached - 2)),
    )


def bounded_exp(log_value: float) -> float:
    """The exponential, above 0 and below infinity."""
    return math.exp(min(max(log_value, -LARGEST_LOG), LARGEST_LOG))


def _shape(log_critical: Array, log_batch: Array | float, middle: float) -> Array:
    """log((1 + B_crit / B) / (1 + B_crit / middle)): finite however large or small B_crit is."""
    return np.asarray(np.logaddexp(0.0, log_critical - log_batch) - np.logaddexp(0.0, log_critical - middle))


def _refined(values: BoundedValues, middle: float, near: float) -> float:
    def misfit(log_critical: float) -> float:
        _, scatter, height = values.best_levels(_shape(np.array([[log_critical]]), values.places, middle))
        # Without bounds, both have the same minimum; the square is smooth there even if it is zero.
        return -float(height[0]) if values.has_bounds else float(scatter[0] ** 2)

    minimum = minimize_scalar(
        misfit, bounds=(near - SPACING, near + SPACING), method="bounded", options={"xatol": 1e-12}
    )
    return float(minimum.x)
