"""Test whether the law of steps against examples holds, whether the test had power, and how the law fails.

- `lack_of_fit`, where batch sizes were repeated: the misfit of the sizes' means against the scatter within the sizes,
  by the F-test of Fisher 1922, J. R. Stat. Soc. 85(4). What it finds is let pass where it is too small to matter.
- `bend`: laws with one number more, that bend otherwise, are fitted too. They are `S_min (1 + (B_crit / B)^a)`;
  `S_min (1 + B_crit / B) B^d`; one whose steps rise at last, `S_min (1 + B_crit / B + B / D)`; and one whose examples
  fall at first, `S_min (1 + B_crit / B + (D / B)^2)`. How much better the best of them is has no known distribution,
  since the number has no effect in some limits (Davies 1977, Biometrika 64(2)): so the same is done to points that are
  drawn from the fitted law.
- The law is said to hold only where the points had the power to refute it: where points drawn from OTHERS, with the
  scatter at its upper limit, would have failed the same test in POWER of the cases. Elsewhere nothing can be told.

Points that missed the target are left out of all, with all others of their batch size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import chdtri, fdtrc, stdtrit

from critbatch.law.censored_fit import LIMIT, Flags, LawFit, fit_law
from critbatch.law.model import Array

DOUBT = 0.05
"""The law does not hold where scatter alone would miss it as far with less probability than this."""

SMALL = 0.05
"""A misfit that does not matter, in log(steps): half a grid step of the rate, on a grid of doublings, costs 6 %."""

WIDE = 0.4
"""A scatter of log(steps) over seeds larger than ever observed: residuals were 0.1 to 0.2 on all tasks."""

SAME = 0.01
"""Largest difference of log(examples) if the number of epochs was fixed in advance and not measured."""

LEAST_SCATTER = 1e-6
"""Smaller scatter is rounding."""

REPEATS = 3
"""Fewest repeats, over all sizes, from which the scatter within the sizes is estimated."""

FEWEST_TO_BEND = 5
"""Fewest batch sizes to fit three numbers and a scatter. With repeats, which give the scatter, one less."""

OTHERS = ((0.8, 0.0), (1.25, 0.0), (1.0, 0.1), (1.0, -0.1))
"""Exponents and drifts that put the critical batch size off by a factor of two, so that they must not pass unseen."""

POWER = 0.8
POWER_DRAWS = 200
LEAST_DISTANCE = 2.4
"""Of another law from the nearest plain one, in scatters: from less no test at DOUBT has POWER."""

UPPER = 0.2
"""The scatter is below its upper limit with a probability of 1 - UPPER."""

DRAWS = 500
BLOCK = 50
ENOUGH = 25
SEED = 0
POWERS = np.geomspace(0.25, 4.0, 13)
DRIFTS = (-0.4, -0.2, -0.1, 0.1, 0.2, 0.4)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """As in `TradeOff`.

    Args:
        common: sizes miss the law by more than their points scatter, so that points of one size are not independent.
    """

    p_value: float | None
    test: str
    common: bool = False
    holds: bool
    reason: str


@dataclass(frozen=True, eq=False)
class _Sizes:
    """What a test looks at: a mean for each batch size, of shape (sizes,), and the scatter of points around it.

    Args:
        x: logarithms of the batch sizes.
        means: of log(steps).
        counts: points behind each mean.
        within: the sum of squares of the points around the means of their sizes.
    """

    x: Array
    means: Array
    counts: Array
    within: float

    @property
    def points(self) -> int:
        return int(self.counts.sum())

    @property
    def repeats(self) -> int:
        return self.points - len(self.x)

    def alone(self) -> _Sizes:
        """The same sizes with one point each."""
        return _Sizes(self.x, self.means, np.ones_like(self.counts), 0.0)


def is_budget(log_examples: Array) -> bool:
    """Whether all points have the same number of examples or epochs."""
    return bool(np.ptp(log_examples) < SAME)


def check_law(fit: LawFit, censored: Flags, *, rounding: float = 0.0) -> Verdict:
    """Test the law against the points it was fitted to.

    Args:
        fit: of the points.
        censored: which of them are lower bounds, shape (n,).
        rounding: standard deviation of log(steps) by rounding, where results are rounded.
    """
    missed = np.isin(fit.log_batch, fit.log_batch[censored])
    sizes = _gathered(fit.log_batch[~missed], fit.values.logs[~missed])
    repeated = sizes.repeats >= REPEATS
    bends = len(sizes.x) >= FEWEST_TO_BEND - repeated
    if len(sizes.x) < 3 or not (repeated or bends):
        return Verdict(p_value=None, test="", holds=False, reason="too_few_points")
    whole = fit if not missed.any() else fit_law(fit.log_batch[~missed], fit.values.logs[~missed], missed[~missed])
    tests: dict[str, float] = {}
    misfit = math.inf
    if repeated:
        tests["lack_of_fit"], misfit = _lack_of_fit(sizes, whole)
    if bends:
        tests["bend"] = _Bend(sizes, whole, rounding).p_value()
    first = next(iter(tests))
    p_value = min(1.0, len(tests) * min(tests.values()))
    by_lack = tests.get("lack_of_fit", 1.0) * len(tests) < DOUBT
    verdict = Verdict(
        p_value=p_value, test=first if by_lack or p_value >= DOUBT else "bend", common=by_lack, holds=False, reason=""
    )
    if by_lack:
        # What misses the law at a size is common to its points: each size is one point.
        alone = fit_law(sizes.x, sizes.means, np.zeros(len(sizes.x), dtype=bool))
        bend, bends = _Bend(sizes.alone(), alone, rounding), len(sizes.x) >= FEWEST_TO_BEND
        fails = misfit > SMALL or not bends or bend.p_value() < DOUBT
    else:
        bend, fails = _Bend(sizes, whole, rounding), p_value < DOUBT
    if fails:
        within = math.sqrt(sizes.within / max(1, sizes.repeats)), sizes.repeats
        scatter = within if repeated else bend.scatter_around_best()
        return replace(verdict, reason=_forbidden(sizes, *scatter) or "law_misfit")
    if fit.scatter > WIDE:
        return replace(verdict, reason="wide_scatter")
    if not bends or not bend.has_power(DOUBT / len(tests)):
        return replace(verdict, reason="little_power")
    return replace(verdict, holds=True, reason="small_misfit" if by_lack else "")


def _gathered(x: Array, y: Array) -> _Sizes:
    sizes, which, counts = np.unique(x, return_inverse=True, return_counts=True)
    means = np.bincount(which, y, minlength=len(sizes)) / counts
    return _Sizes(sizes, means, counts.astype(float), float(np.square(y - means[which]).sum()))


def _lack_of_fit(sizes: _Sizes, fit: LawFit) -> tuple[float, float]:
    """The probability of a misfit as large, and the misfit of a size (root mean square)."""
    away = np.square(sizes.means - fit.law_at(sizes.x))
    misfit = math.sqrt(float(away.mean()))
    spread = max(sizes.within / sizes.repeats, LEAST_SCATTER**2)
    ratio = float(away @ sizes.counts) / (len(sizes.x) - 2) / spread
    return float(fdtrc(len(sizes.x) - 2, sizes.repeats, ratio)), misfit


class _Bend:
    """The test against laws with one number more, and its power.

    Args:
        sizes: the points.
        fit: the law of the same points.
        rounding: as for `check_law`.
    """

    def __init__(self, sizes: _Sizes, fit: LawFit, rounding: float) -> None:
        self.sizes, self.fit = sizes, fit
        self.generator = np.random.default_rng(SEED)
        self.freedom = sizes.points - 2
        self.scatter = max(fit.scatter, rounding)
        self.law = fit.law_at(sizes.x)
        self.curves: Array | None = None
        self.squares = np.zeros(0)

    def p_value(self) -> float:
        """No more is drawn once ENOUGH draws gain as much as the points did: Besag and Clifford 1991, Biometrika
        78(2)."""
        if self.scatter < LEAST_SCATTER:
            return 1.0
        gain = self._gains(self.sizes.means[:, None], np.array([self.sizes.within]))[0]
        drawn = as_large = 0
        while drawn < DRAWS and as_large < ENOUGH:
            as_large += int((self._drawn_gains(self.law, self.scatter, BLOCK) >= gain).sum())
            drawn += BLOCK
        return as_large / drawn if as_large >= ENOUGH else (1 + as_large) / (1 + drawn)

    def has_power(self, doubt: float) -> bool:
        """Whether each of OTHERS would be refuted in POWER of the cases, where the test doubts at `doubt`."""
        upper = self.scatter * math.sqrt(self.freedom / float(chdtri(self.freedom, 1 - UPPER)))
        if upper < LEAST_SCATTER:
            return True
        if abs(self.fit.log_critical) >= LIMIT:
            return False
        others = np.array(
            [np.logaddexp(0.0, a * (self.fit.log_critical - self.sizes.x)) + d * self.sizes.x for a, d in OTHERS]
        )
        distances = self._least_squares(others.T, np.zeros(len(others)))[0]
        if math.sqrt(distances.min()) < LEAST_DISTANCE * upper:
            return False
        least = float(np.quantile(self._drawn_gains(self.law, upper, DRAWS), 1 - doubt))
        return all((self._drawn_gains(other, upper, POWER_DRAWS) >= least).mean() >= POWER for other in others)

    def scatter_around_best(self) -> tuple[float, int]:
        """Of a point, around the best of the laws with one number more, and its freedom."""
        _, more = self._least_squares(self.sizes.means[:, None], np.array([self.sizes.within]))
        freedom = self.sizes.points - 3
        return math.sqrt(float(more[0]) / freedom), freedom

    def _drawn_gains(self, curve: Array, scatter: float, draws: int) -> Array:
        away = self.generator.standard_normal((len(curve), draws)) / np.sqrt(self.sizes.counts)[:, None]
        repeats = self.sizes.repeats
        within = self.generator.chisquare(repeats, draws) if repeats else np.zeros(draws)
        return self._gains(curve[:, None] + scatter * away, scatter**2 * within)

    def _gains(self, means: Array, within: Array) -> Array:
        plain, more = self._least_squares(means, within)
        return np.asarray(np.log(np.maximum(plain, 1e-20) / np.maximum(more, 1e-20)))

    def _least_squares(self, means: Array, within: Array) -> tuple[Array, Array]:
        """The least sum of squares of the law, and of the laws with one number more. Both of shape (columns,).

        Args:
            means: of the sizes, shape (sizes, columns).
            within: the sum of squares around them, shape (columns,).
        """
        weights = self.sizes.counts
        if self.curves is None:
            curves = self._curves()
            self.curves = curves - (curves @ weights / weights.sum())[..., None]
            self.squares = np.square(self.curves) @ weights
        centred = means - (weights @ means) / weights.sum()
        total = weights @ np.square(centred) + within
        least = self._least(centred * weights[:, None])
        plain, more = least[0], least[1:].min(0)
        plain = np.maximum(total + plain, within)
        return plain, np.minimum(plain, np.maximum(total + more, within))

    def _least(self, weighted: Array) -> Array:
        """By family, shape (families, columns): the least sum of squares less that of no curve at all."""
        assert self.curves is not None
        families, tried, sizes = self.curves.shape
        across = (self.curves.reshape(-1, sizes) @ weighted).reshape(families, tried, -1)
        misfit = self.squares[..., None] - 2 * across
        best = np.clip(misfit.argmin(1), 1, tried - 2)[:, None]
        before, here, after = (np.take_along_axis(misfit, best + shift, axis=1)[:, 0] for shift in (-1, 0, 1))
        bend = before - 2 * here + after
        # Below the grid's least, by the parabola through it and its neighbours.
        within = (bend > 0) & (here <= before) & (here <= after)
        lower = np.where(within, (before - after) ** 2 / (8 * np.where(within, bend, 1.0)), 0.0)
        return np.asarray(np.minimum(here - lower, misfit.min(1)))

    def _curves(self) -> Array:
        """Those of the law first, then of the others, each for a range of critical batch sizes: shape (families, tried,
        sizes)."""
        x = self.sizes.x - self.sizes.x.mean()
        criticals = np.arange(x.min() - 7, x.max() + 7, 0.25)[:, None]
        law = np.logaddexp(0.0, criticals - x)
        others = [np.logaddexp(0.0, power * (criticals - x)) for power in POWERS]
        others += [law + drift * x for drift in DRIFTS]
        for place in np.arange(x.min() - 2, x.max() + 2.01, 0.7):
            others += [np.logaddexp(law, x - place), np.logaddexp(law, 2 * (place - x))]
        return np.array([law, *others])


def _forbidden(sizes: _Sizes, scatter: float, freedom: int) -> str:
    """Which way two batch sizes break the law beyond their scatter: more steps, or fewer examples, at the larger one.

    Of all pairs, one does so by scatter with probability DOUBT at most, by Bonferroni's bound.
    """
    low, high = np.triu_indices(len(sizes.x), 1)
    error = max(scatter, LEAST_SCATTER) * np.sqrt(1 / sizes.counts[low] + 1 / sizes.counts[high])
    least = float(stdtrit(freedom, 1 - DOUBT / len(low)))
    rise = (sizes.means[high] - sizes.means[low]) / error
    fall = (sizes.means[low] + sizes.x[low] - sizes.means[high] - sizes.x[high]) / error
    if max(rise.max(), fall.max()) < least:
        return ""
    return "steps_rise" if rise.max() > fall.max() else "examples_fall"
