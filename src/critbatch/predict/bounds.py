"""Likelihood of logarithms around a curve of known shape, some of them known as lower bounds only.

A run that missed its target says that it needs more steps than it made: a bound, not a missing value. With log-normal
scatter that is the regression of Tobin 1958, Econometrica 26(1), section 3, here with one free level and one scatter.
In `1 / scatter` and `level / scatter` the log-likelihood is concave: Olsen 1978, Econometrica 46(5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from critbatch.predict.law import Array

Flags = NDArray[np.bool_]

LEAST_VARIANCE = 1e-24
"""Of logarithms in float64: below it is rounding."""

LEAST_SCATTER = 1e-4
"""Where some values are bounds: steps are not known to more than one in ten thousand."""

NEWTON_STEPS = 60
HALVINGS = 30
SECANT_STEPS = 12


@dataclass(frozen=True, eq=False)
class _Rest:
    """What remains of means and of bounds when a curve is taken away, each of shape (curves, its number)."""

    means: Array
    bounds: Array

    def less(self, levels: Array) -> _Rest:
        return _Rest(self.means - levels[:, None], self.bounds - levels[:, None])


class BoundedValues:
    """Some logarithms, and which of them are lower bounds. Those at one place are told by their mean and their scatter.

    Args:
        places: where they are, shape (n,); a curve has one value at each.
        logs: shape (n,).
        censored: which are bounds, shape (n,).
    """

    def __init__(self, places: Array, logs: Array, censored: Flags) -> None:
        self.logs = logs
        self.places, which = np.unique(places, return_inverse=True)
        self.reached = int((~censored).sum())
        counts = np.bincount(which[~censored], minlength=len(self.places))
        sums = np.bincount(which[~censored], logs[~censored], minlength=len(self.places))
        self._told = np.flatnonzero(counts)
        self._counts = counts[self._told]
        self._means = sums[self._told] / self._counts
        whole = np.zeros(len(self.places))
        whole[self._told] = self._means
        self._within = float(np.square(logs[~censored] - whole[which[~censored]]).sum())
        bounds, self._times = np.unique(np.stack([which[censored], logs[censored]]), axis=1, return_counts=True)
        self._bounded, self._bounds = bounds[0].astype(np.int64), bounds[1]

    @property
    def has_bounds(self) -> bool:
        return len(self._bounds) > 0

    def best_levels(self, curves: Array) -> tuple[Array, Array, Array]:
        """The level and scatter of highest likelihood around each curve, and that log-likelihood but for a constant.

        Args:
            curves: what to add to the level at each of `places`, shape (curves, places).

        Returns:
            levels, scatters and log-likelihoods, each of shape (curves,).
        """
        rest = self._rest(curves)
        levels = rest.means @ self._counts / self.reached
        squares = np.square(rest.means - levels[:, None]) @ self._counts + self._within
        variances = np.maximum(squares / self.reached, LEAST_VARIANCE)
        if not self.has_bounds:
            return levels, np.sqrt(variances), -self.reached / 2 * np.log(variances)
        rest = rest.less(levels)
        inverse = 1 / np.maximum(np.sqrt(variances), LEAST_SCATTER)
        level, inverse = self._climb(rest, np.zeros_like(inverse), inverse)
        return levels + level / inverse, 1 / inverse, self._log_likelihood(rest, level, inverse)

    def level_ends(self, curves: Array, threshold: float) -> tuple[Array, Array]:
        """The lowest and the highest level around each curve whose log-likelihood, with the best scatter, is at least
        `threshold`. Of no meaning for curves whose best is below it. Each of shape (curves,).
        """
        levels, scatters, best = self.best_levels(curves)
        if not self.has_bounds:
            variance = np.exp(-2 * best / self.reached)
            wide = np.sqrt(np.maximum(np.exp(-2 * threshold / self.reached) - variance, 0.0))
            return levels - wide, levels + wide
        start = scatters / np.sqrt(self.reached)
        drop = np.sqrt(2 * np.maximum(best - threshold, 0.0))
        rest = self._rest(curves).less(levels)
        low, high = (levels + self._end(rest, best, scatters, sign * start, drop) for sign in (-1.0, 1.0))
        return low, high

    def _rest(self, curves: Array) -> _Rest:
        return _Rest(self._means - curves[:, self._told], self._bounds - curves[:, self._bounded])

    def _end(self, rest: _Rest, best: Array, scatters: Array, start: Array, drop: Array) -> Array:
        """By the secant method on the signed root of the likelihood ratio, which is near a straight line."""
        before, at = np.zeros_like(start), start
        root_before = np.zeros_like(start)
        for _ in range(SECANT_STEPS):
            root = np.sqrt(2 * np.maximum(best - self._profile(rest, at, 1 / scatters), 0.0))
            slope = (root - root_before) / np.where(at != before, at - before, 1.0)
            usable = slope * np.sign(start) > 1e-12
            step = np.where(usable, (drop - root) / np.where(usable, slope, 1.0), 0.0)
            before, root_before = at, root
            most = 4 * np.abs(at) + np.abs(start)
            at = np.sign(start) * np.maximum((at + np.clip(step, -most, most)) * np.sign(start), 0.0)
            if (np.abs(drop - root) < 1e-9).all():
                break
        return np.asarray(at)

    def _profile(self, rest: _Rest, levels: Array, inverse: Array) -> Array:
        """The log-likelihood at given levels, with the best scatter for each."""
        away, none = rest.less(levels), np.zeros_like(levels)
        _, inverse = self._climb(away, none, inverse, level_is_free=False)
        return self._log_likelihood(away, none, inverse)

    def _log_likelihood(self, rest: _Rest, level: Array, inverse: Array) -> Array:
        near = inverse[:, None] * rest.means - level[:, None]
        beyond = inverse[:, None] * rest.bounds - level[:, None]
        squares = np.square(near) @ self._counts + np.square(inverse) * self._within
        return np.asarray(self.reached * np.log(inverse) - squares / 2 + log_ndtr(-beyond) @ self._times)

    def _climb(self, rest: _Rest, level: Array, inverse: Array, *, level_is_free: bool = True) -> tuple[Array, Array]:
        """Newton's method in (level / scatter, 1 / scatter), halving a step that does not climb."""
        here = self._log_likelihood(rest, level, inverse)
        for _ in range(NEWTON_STEPS):
            up_level, up_inverse = self._newton_step(rest, level, inverse, level_is_free)
            share = np.ones_like(inverse)
            for _ in range(HALVINGS):
                new_level = level + share * up_level
                new_inverse = np.clip(inverse + share * up_inverse, inverse / 10, 1 / LEAST_SCATTER)
                there = self._log_likelihood(rest, new_level, new_inverse)
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

    def _newton_step(self, rest: _Rest, level: Array, inverse: Array, level_is_free: bool) -> tuple[Array, Array]:
        near = inverse[:, None] * rest.means - level[:, None]
        beyond = inverse[:, None] * rest.bounds - level[:, None]
        hazard = np.exp(-np.square(beyond) / 2 - log_ndtr(-beyond)) / np.sqrt(2 * np.pi)
        bend = hazard * (hazard - beyond)
        slope_inverse = self.reached / inverse - (rest.means * near) @ self._counts - inverse * self._within
        slope_inverse -= (rest.bounds * hazard) @ self._times
        second = self.reached / np.square(inverse) + np.square(rest.means) @ self._counts + self._within
        second += (np.square(rest.bounds) * bend) @ self._times
        if not level_is_free:
            return np.zeros_like(level), slope_inverse / second
        slope_level = near @ self._counts + hazard @ self._times
        first = self.reached + bend @ self._times
        mixed = -(rest.means @ self._counts) - (rest.bounds * bend) @ self._times
        determinant = first * second - mixed * mixed
        return (
            (second * slope_level - mixed * slope_inverse) / determinant,
            (first * slope_inverse - mixed * slope_level) / determinant,
        )
