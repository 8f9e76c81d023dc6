"""Likelihood of logarithms around a curve of known shape, some of them known as lower bounds only.

A run that missed its target says that it needs more steps than it made: a bound, not a missing value. With log-normal
scatter that is the regression of Tobin 1958, Econometrica 26(1), section 3, here with one free level and one scatter.
In `1 / scatter` and `level / scatter` the log-likelihood is concave: Olsen 1978, Econometrica 46(5).
"""

from __future__ import annotations

import numpy as np
from scipy.special import log_ndtr

from critbatch.predict.law import Array

LEAST_VARIANCE = 1e-24
"""Of logarithms in float64: below it is rounding."""

LEAST_SCATTER = 1e-4
"""Where some values are bounds: steps are not known to more than one in ten thousand."""

NEWTON_STEPS = 60
HALVINGS = 30
SECANT_STEPS = 12


class BoundedValues:
    """Some logarithms, and which of them are lower bounds.

    Args:
        logs: shape (n,).
        censored: which are bounds, shape (n,).
    """

    def __init__(self, logs: Array, censored: np.ndarray) -> None:
        self.logs = logs
        self.told, self.bound = np.flatnonzero(~censored), np.flatnonzero(censored)

    @property
    def reached(self) -> int:
        return len(self.told)

    def best_levels(self, shapes: Array) -> tuple[Array, Array, Array]:
        """The level and scatter of highest likelihood around each shape, and that log-likelihood but for a constant.

        Args:
            shapes: what to add to the level, shape (shapes, n).

        Returns:
            levels, scatters and log-likelihoods, each of shape (shapes,).
        """
        rest = self.logs - shapes
        known = rest[:, self.told]
        levels = known.mean(1)
        variances = np.maximum(known.var(1), LEAST_VARIANCE)
        if not len(self.bound):
            return levels, np.sqrt(variances), -self.reached / 2 * np.log(variances)
        middle = levels[:, None]
        inverse = 1 / np.maximum(np.sqrt(variances), LEAST_SCATTER)
        level, inverse = self._climb(rest - middle, np.zeros_like(inverse), inverse)
        scatters = 1 / inverse
        return levels + level * scatters, scatters, self._log_likelihood(rest - middle, level, inverse)

    def level_ends(self, shapes: Array, threshold: float) -> tuple[Array, Array]:
        """The lowest and the highest level around each shape whose log-likelihood, with the best scatter, is at least
        `threshold`. Of no meaning for shapes whose best is below it. Each of shape (shapes,).
        """
        levels, scatters, best = self.best_levels(shapes)
        if not len(self.bound):
            variance = np.exp(-2 * best / self.reached)
            wide = np.sqrt(np.maximum(np.exp(-2 * threshold / self.reached) - variance, 0.0))
            return levels - wide, levels + wide
        start = scatters / np.sqrt(self.reached)
        drop = np.sqrt(2 * np.maximum(best - threshold, 0.0))
        ends = [self._end(self.logs - shapes, levels, best, scatters, sign * start, drop) for sign in (-1.0, 1.0)]
        return ends[0], ends[1]

    def _end(self, rest: Array, levels: Array, best: Array, scatters: Array, start: Array, drop: Array) -> Array:
        """By the secant method on the signed root of the likelihood ratio, which is near a straight line."""
        before, at = np.zeros_like(start), start
        root_before = np.zeros_like(start)
        for _ in range(SECANT_STEPS):
            root = np.sqrt(2 * np.maximum(best - self._profile(rest, levels + at, 1 / scatters), 0.0))
            slope = (root - root_before) / np.where(at != before, at - before, 1.0)
            usable = slope * np.sign(start) > 1e-12
            step = np.where(usable, (drop - root) / np.where(usable, slope, 1.0), 0.0)
            before, root_before = at, root
            at = at + np.clip(step, -4 * np.abs(at) - np.abs(start), 4 * np.abs(at) + np.abs(start))
            at = np.sign(start) * np.maximum(at * np.sign(start), 0.0)
            if (np.abs(drop - root) < 1e-9).all():
                break
        return np.asarray(levels + at)

    def _profile(self, rest: Array, levels: Array, inverse: Array) -> Array:
        """The log-likelihood at given levels, with the best scatter for each."""
        away = rest - levels[:, None]
        none = np.zeros_like(levels)
        _, inverse = self._climb(away, none, inverse, level_is_free=False)
        return self._log_likelihood(away, none, inverse)

    def _log_likelihood(self, rest: Array, level: Array, inverse: Array) -> Array:
        z = inverse[:, None] * rest - level[:, None]
        squares = np.square(z[:, self.told]).sum(1)
        return np.asarray(self.reached * np.log(inverse) - squares / 2 + log_ndtr(-z[:, self.bound]).sum(1))

    def _climb(self, rest: Array, level: Array, inverse: Array, *, level_is_free: bool = True) -> tuple[Array, Array]:
        """Newton's method in (level / scatter, 1 / scatter), halving a step that does not climb."""
        here = self._log_likelihood(rest, level, inverse)
        known, bounds = rest[:, self.told], rest[:, self.bound]
        for _ in range(NEWTON_STEPS):
            z = inverse[:, None] * rest - level[:, None]
            near, beyond = z[:, self.told], z[:, self.bound]
            hazard = np.exp(-np.square(beyond) / 2 - log_ndtr(-beyond)) / np.sqrt(2 * np.pi)
            bend = hazard * (hazard - beyond)
            slope_level = near.sum(1) + hazard.sum(1)
            slope_inverse = self.reached / inverse - (known * near).sum(1) - (bounds * hazard).sum(1)
            second = self.reached / np.square(inverse) + np.square(known).sum(1) + (np.square(bounds) * bend).sum(1)
            if level_is_free:
                first = self.reached + bend.sum(1)
                mixed = -known.sum(1) - (bounds * bend).sum(1)
                determinant = first * second - mixed * mixed
                up_level = (second * slope_level - mixed * slope_inverse) / determinant
                up_inverse = (first * slope_inverse - mixed * slope_level) / determinant
            else:
                up_level, up_inverse = np.zeros_like(level), slope_inverse / second
            share = np.ones_like(inverse)
            for _ in range(HALVINGS):
                new_level = level + share * up_level
                new_inverse = np.clip(inverse + share * up_inverse, inverse / 10, 1 / LEAST_SCATTER)
                there = self._log_likelihood(rest, new_level, new_inverse)
                worse = ~(there >= here - 1e-12)
                if not worse.any():
                    break
                share = np.where(worse, share / 2, share)
            gained = there - here
            level, inverse = np.where(worse, level, new_level), np.where(worse, inverse, new_inverse)
            here = np.where(worse, here, there)
            if (np.abs(gained) < 1e-11).all():
                break
        return level, inverse
