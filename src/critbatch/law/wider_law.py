"""The law with two more numbers, so that its intervals are valid even if the plain law is not exact.

`S = S_min (1 + (B_n / B)^a) (B / B_n)^d` is the law for an exponent `a` of 1 and a drift `d` of 0. Points seldom tell
these two from another `B_n`: a law with a = 0.8 or d = 0.1 is fitted within a few per cent by the plain one, at half
the true B_n. So the intervals of a fit are those of this wider law. What is known of the two from elsewhere enters as
two more observations (a penalized profile likelihood, which is the mode of a posterior: Kennedy and O'Hagan 2001, J. R.
Stat. Soc. B 63(3), section 4, on the inadequacy of a model).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq
from scipy.special import chdtri, expit, fdtrc, log_ndtr, stdtrit

from critbatch.law.censored_fit import Flags, LawFit
from critbatch.law.model import Array

EXPONENT_SPREAD = 0.2
"""Standard deviation of log(a) from task to task: about twice what the tuned tables in `docs/fit.md` show, which are of
few kinds of task."""

DRIFT_SPREAD = 0.1
"""Standard deviation of d, likewise."""

PULL = np.array([0.0, EXPONENT_SPREAD**-2, DRIFT_SPREAD**-2])
"""Weights of the squares of `WiderLaw.theta` in the deviance."""

FAR = math.log(1e4)
"""Sizes B_n are tried up to this far, in logarithms, outside of the batch sizes."""

LIMIT = 30.0
"""This far outside, in logarithms, is equivalent to a limit: perfect scaling, or no saving at all."""

SPACING = 0.3
"""Distance between the B_n tried, in logarithms; FINE more are tried inside the interval."""

FINE = 41

STEEPEST = 1.6
"""The largest |log(a)|, and |d|."""

LEAST_SCATTER = 1e-4
"""Steps are not known to more than one in ten thousand."""

FEW = 7
"""With fewer points the scatter is that around the plain law: four numbers would leave none."""

TUNING = 0.05
"""Standard deviation of log(steps) from one tuned size to the next, which its runs have in common: a rate half a rung
off on a grid by factors of two costs 6 %."""

LARGEST_SCATTER = 10.0

DOUBT = 0.05
"""Sizes that lie off the wider law by more than this chance allows are taken as one point each."""

WIDEST = 0.99
"""The highest level of an interval."""

IRRELEVANT = 200.0
"""A deviance beyond which no interval reaches."""

ROUNDS = 4
NEWTON_STEPS = 40
HALVINGS = 6

Quantity = Callable[["WiderLaw"], tuple[Array, Array]]
"""At each B_n that was tried, shape (tried,): the logarithm of a quantity, and its gradient in the three numbers of a
row of `theta`, shape (tried, 3)."""


@dataclass(frozen=True, eq=False)
class _Points:
    """Points of one task, gathered by batch size. `log_batch` is less the middle.

    Args:
        x, y, weights: of the sizes that came to the target: mean logarithms, and how many points each stands for.
        rounding: of the sizes, as for `fit_wider_law`.
        within: the sum of squares of the points around the means of their sizes.
        bound_x, bounds: of the points that missed the target.
    """

    x: Array
    y: Array
    weights: Array
    rounding: Array
    within: float
    bound_x: Array
    bounds: Array

    @property
    def reached(self) -> float:
        return float(self.weights.sum())

    def variances(self, scatter: float, tuning: float) -> Array:
        """Of the means of the sizes."""
        return np.asarray(scatter**2 / self.weights + tuning**2 + np.square(self.rounding))

    def of_sizes(self) -> _Points:
        """Each size that came to the target as one point."""
        return _Points(self.x, self.y, np.ones_like(self.y), self.rounding, 0.0, self.bound_x, self.bounds)


@dataclass(frozen=True, kw_only=True, eq=False)
class WiderLaw:
    """The penalized likelihood of the wider law, by B_n.

    Args:
        middle: geometric mean of the batch sizes, in logarithms.
        log_noise: logarithms of the B_n that were tried, ascending, the two limits first and last; less the middle.
        theta: at each: log(steps) at the middle, log(a) and d, at their best. Shape (tried, 3).
        deviance: at each, -2 log likelihood with the penalties, less the least of all.
        spread: the inverse of the information on `theta` at each, shape (tried, 3, 3).
        scatter: standard deviation of one run, in logarithms.
        freedom: that the scatter is known with.
    """

    middle: float
    log_noise: Array
    theta: Array
    deviance: Array
    spread: Array
    scatter: float
    freedom: float

    def threshold(self, level: float) -> float:
        return float(stdtrit(self.freedom, (1 + level) / 2)) ** 2

    def inside(self, level: float) -> Flags:
        """Which of the B_n that were tried an interval holds."""
        return np.asarray(self.deviance <= self.threshold(level))

    def noise_ends(self, level: float) -> tuple[float, float]:
        """The interval of log(B_n). Infinite where a limit lies within."""
        inside, least = self.inside(level), self.threshold(level)
        first, last = np.flatnonzero(inside)[[0, -1]]
        low = -math.inf if inside[0] else self._edge(first, first - 1, least)
        high = math.inf if inside[-1] else self._edge(last, last + 1, least)
        return low + self.middle, high + self.middle

    def _edge(self, inside: int, outside: int, least: float) -> float:
        """Between two neighbours, where the root of the deviance, which is near a straight line, crosses."""
        near, far = math.sqrt(self.deviance[inside]), math.sqrt(self.deviance[outside])
        share = (math.sqrt(least) - near) / (far - near)
        # Towards a limit the deviance has long been what it is there.
        outer = np.clip(self.log_noise[outside], self.log_noise[1], self.log_noise[-2])
        return float(self.log_noise[inside] + share * (outer - self.log_noise[inside]))

    def ends(self, quantity: Quantity, level: float) -> tuple[float, float]:
        """The interval of the logarithm of a quantity."""
        value, gradient = quantity(self)
        room = np.maximum(self.threshold(level) - self.deviance, 0.0)
        wide = np.sqrt(room * np.einsum("ci,cij,cj->c", gradient, self.spread, gradient))
        inside = self.inside(level)
        return float((value - wide)[inside].min()), float((value + wide)[inside].max())

    def value(self, quantity: Quantity) -> float:
        return float(quantity(self)[0][self.deviance.argmin()])


def log_steps(batch_size: float) -> Quantity:
    """log(steps to the target) at a batch size."""

    def quantity(law: WiderLaw) -> tuple[Array, Array]:
        curve, gradient = _curves(law.theta, law.log_noise, np.array([math.log(batch_size) - law.middle]))
        return curve[:, 0], gradient[:, 0]

    return quantity


def log_min_steps(law: WiderLaw) -> tuple[Array, Array]:
    """log(S_min), from the steps at the middle, without the drift from there."""
    reach = np.exp(law.theta[:, 1]) * law.log_noise
    one = np.ones_like(reach)
    gradient = np.stack([one, -reach * expit(reach), 0 * one], axis=1)
    return law.theta[:, 0] - np.logaddexp(0.0, reach), gradient


def log_min_examples(law: WiderLaw) -> tuple[Array, Array]:
    """log(E_min), from the examples at the middle as by the plain law: with another exponent there is no least."""
    level = law.theta[:, 0]
    return level + law.middle - np.logaddexp(0.0, -law.log_noise), np.tile([1.0, 0.0, 0.0], (len(level), 1))


def log_exponent(law: WiderLaw) -> tuple[Array, Array]:
    return law.theta[:, 1], np.tile([0.0, 1.0, 0.0], (len(law.theta), 1))


def fit_wider_law(
    log_batch: Array, log_steps: Array, censored: Flags, *, law: LawFit, rounding: Array | None = None
) -> WiderLaw:
    """The wider law of the same points as `fit_law` takes.

    Args:
        log_batch, log_steps, censored: as for `fit_law`, each of shape (n,).
        law: the plain law of the same points.
        rounding: standard deviation of log(steps) by rounding, which equal batch sizes have in common, shape (n,).
    """
    middle = float(log_batch.mean())
    points = _gathered(
        log_batch - middle, log_steps, censored, np.zeros_like(log_steps) if rounding is None else rounding
    )
    inner = np.arange(points.x.min() - FAR, points.x.max() + FAR, SPACING)
    near = np.clip(law.log_critical - middle, inner[0], inner[-1])
    log_noise = np.unique([inner[0] - LIMIT, *inner, near, inner[-1] + LIMIT])
    fit = _fit(points, middle, log_noise, law.scatter)
    if points.within > 0 and _lack_of_fit(points, fit) < DOUBT:
        # What misses the law at a size is common to its points: they are not so many independent ones.
        inside = points.within / (points.reached - len(points.x))
        by_size = _fit(points.of_sizes(), middle, log_noise, max(law.scatter, fit.scatter))
        return replace(by_size, scatter=math.sqrt(by_size.scatter**2 + inside))
    return fit


def _fit(points: _Points, middle: float, log_noise: Array, scatter: float) -> WiderLaw:
    theta = np.zeros((len(log_noise), 3))
    theta[:, 0] = float(points.weights @ points.y) / points.reached
    freedom, tuning = points.reached - 2, TUNING
    scatter = max(LEAST_SCATTER, math.sqrt(max(0.0, scatter**2 - tuning**2)))
    for _ in range(ROUNDS):
        theta, information, deviance = _climb(points, log_noise, theta, scatter, tuning)
        best = int(deviance.argmin())
        if points.reached < FEW:
            break
        used = 1 + 3 - float(np.trace(np.linalg.solve(information[best], np.diag(PULL))))
        freedom = max(1.0, points.reached - used)
        away = np.square(points.y - _curves(theta[[best]], log_noise[[best]], points.x)[0][0])
        before, tuning = (scatter, tuning), _possible_tuning(points, away, freedom)
        scatter = _scatter(points, away, tuning, freedom)
        if max(abs(scatter - before[0]), abs(tuning - before[1])) < 0.01 * (scatter + tuning):
            break
    at = np.flatnonzero(deviance <= deviance.min() + float(stdtrit(freedom, (1 + WIDEST) / 2)) ** 2)
    # Beyond the batch sizes the limits alone tell.
    first, last = (log_noise[np.clip(end, 1, len(log_noise) - 2)] for end in (at[0] - 1, at[-1] + 1))
    finer = np.unique([*log_noise, *np.linspace(first, last, FINE)])
    start = np.stack([np.interp(finer, log_noise, column) for column in theta.T], axis=1)
    start[np.isin(finer, log_noise)] = theta
    theta, information, deviance = _climb(points, finer, start, scatter, tuning)
    return WiderLaw(
        middle=middle,
        log_noise=finer,
        theta=theta,
        deviance=deviance - deviance.min(),
        spread=np.asarray(np.linalg.inv(information), dtype=np.float64),
        scatter=math.hypot(scatter, tuning),
        freedom=freedom,
    )


def _chi_squared(points: _Points, away: Array, scatter: float, tuning: float) -> float:
    """Of the squared distances `away` of the sizes from a curve, and of the points from their sizes."""
    return float((away / points.variances(scatter, tuning)).sum() + points.within / scatter**2)


def _scatter(points: _Points, away: Array, tuning: float, freedom: float) -> float:
    """The scatter that makes chi squared its expected value."""

    def excess(log_scatter: float) -> float:
        return math.log(max(_chi_squared(points, away, math.exp(log_scatter), tuning), 1e-300) / freedom)

    low, high = math.log(LEAST_SCATTER), math.log(LARGEST_SCATTER)
    if excess(low) <= 0:
        return LEAST_SCATTER
    return math.exp(brentq(excess, low, high)) if excess(high) < 0 else LARGEST_SCATTER


def _possible_tuning(points: _Points, away: Array, freedom: float) -> float:
    """TUNING, or less where the sizes lie so near to the curve that it cannot be as much."""
    across = max(1.0, len(points.x) - points.reached + freedom)
    most = float(away.sum()) / float(chdtri(across, 1 - DOUBT))
    return min(TUNING, max(LEAST_SCATTER, math.sqrt(most)))


def _gathered(x: Array, y: Array, censored: Flags, rounding: Array) -> _Points:
    sizes, which, counts = np.unique(x[~censored], return_inverse=True, return_counts=True)
    means = np.bincount(which, y[~censored]) / counts
    within = float(np.square(y[~censored] - means[which]).sum())
    rounded = np.sqrt(np.bincount(which, np.square(rounding[~censored])) / counts)
    return _Points(sizes, means, counts.astype(float), rounded, within, x[censored], y[censored])


def _curves(theta: Array, log_noise: Array, x: Array) -> tuple[Array, Array]:
    """log(steps) at `x` for each row of `theta`, shape (rows, places), and its gradient, shape (rows, places, 3)."""
    level, a, drift = theta[:, :1], np.exp(theta[:, 1:2]), theta[:, 2:]
    there, here = a * (log_noise[:, None] - x), a * log_noise[:, None]
    curve = level + np.logaddexp(0.0, there) - np.logaddexp(0.0, here) + drift * x
    bend = there * expit(there) - here * expit(here)
    return curve, np.stack([np.ones_like(curve), bend, np.broadcast_to(x, curve.shape)], axis=2)


def _lack_of_fit(points: _Points, fit: WiderLaw) -> float:
    """The chance that sizes lie as far off the wider law by the scatter of their points, and by TUNING."""
    best = [int(fit.deviance.argmin())]
    away = np.square(points.y - _curves(fit.theta[best], fit.log_noise[best], points.x)[0][0])
    inside = points.reached - len(points.x)
    across = max(1.0, len(points.x) - (points.reached - fit.freedom))
    between = float((away / points.variances(math.sqrt(points.within / inside), TUNING)).sum())
    return float(fdtrc(across, inside, between / across))


def _deviance(points: _Points, log_noise: Array, theta: Array, scatter: float, tuning: float) -> Array:
    curve, _ = _curves(theta, log_noise, points.x)
    deviance = np.square(points.y - curve) @ (1 / points.variances(scatter, tuning))
    if len(points.bounds):
        beyond = (points.bounds - _curves(theta, log_noise, points.bound_x)[0]) / math.hypot(scatter, tuning)
        deviance = deviance - 2 * log_ndtr(-beyond).sum(1)
    return np.asarray(deviance + np.square(theta) @ PULL)


def _climb(
    points: _Points, log_noise: Array, theta: Array, scatter: float, tuning: float
) -> tuple[Array, Array, Array]:
    """The best `theta` at each B_n by Newton's method, the information there, and the deviance."""
    here = _deviance(points, log_noise, theta, scatter, tuning)
    for _ in range(NEWTON_STEPS):
        gradient, information = _gradient(points, log_noise, theta, scatter, tuning)
        up = np.linalg.solve(information, gradient[..., None])[..., 0]
        # From far away a straight line tells little of the exponent.
        up *= np.minimum(1.0, 0.5 / np.maximum(np.abs(up[:, 1:]).max(1), 1e-9))[:, None]
        share = np.ones(len(log_noise))
        for _ in range(HALVINGS):
            moved = theta + share[:, None] * up
            moved[:, 1:] = np.clip(moved[:, 1:], -STEEPEST, STEEPEST)
            there = _deviance(points, log_noise, moved, scatter, tuning)
            worse = ~(there <= here)
            if not worse.any():
                break
            share = np.where(worse, share / 4, share)
        theta = np.where(worse[:, None], theta, moved)
        gained, here = here - np.where(worse, here, there), np.where(worse, here, there)
        if (gained[here < here.min() + IRRELEVANT] < 1e-5).all():
            break
    return theta, _gradient(points, log_noise, theta, scatter, tuning)[1], here


def _gradient(points: _Points, log_noise: Array, theta: Array, scatter: float, tuning: float) -> tuple[Array, Array]:
    """The gradient of the log-likelihood with its penalties, and its information."""
    curve, gradient = _curves(theta, log_noise, points.x)
    weighted = gradient / points.variances(scatter, tuning)[:, None]
    slope = np.einsum("cpi,cp->ci", weighted, points.y - curve) - theta * PULL
    information = np.swapaxes(weighted, 1, 2) @ gradient + np.diag(PULL)
    if len(points.bounds):
        curve, gradient = _curves(theta, log_noise, points.bound_x)
        wide = math.hypot(scatter, tuning)
        beyond = (points.bounds - curve) / wide
        hazard = np.exp(-np.square(beyond) / 2 - log_ndtr(-beyond)) / math.sqrt(2 * math.pi)
        bend = hazard * np.maximum(hazard - beyond, 0.0)
        slope += np.einsum("cpi,cp->ci", gradient, hazard) / wide
        information += np.swapaxes(gradient * bend[..., None], 1, 2) @ gradient / wide**2
    return slope, information
