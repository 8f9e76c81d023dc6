"""Does the law of steps against examples hold? Tests of the fit, and what is wrong where it does not.

- `lack_of_fit`, where batch sizes were repeated: the misfit of the sizes' means against the scatter within the sizes,
  by the F-test of Fisher 1922, J. R. Stat. Soc. 85(4). What it finds is let pass where it is too small to matter.
- `bend`, otherwise: three laws with one number more, that bend otherwise, are fitted too. They are
  `S_min (1 + (B_crit / B)^p)`; one whose steps rise at last, `S_min (1 + B_crit / B + B / D)`; and one whose examples
  fall at first, `S_min (1 + B_crit / B + (D / B)^2)`. How much better the best of them is has no known distribution,
  since the number has no effect in some limits (Davies 1977, Biometrika 64(2)): so the same is done to points that are
  drawn from the fitted law.

Points that missed the target are left out of both, with all others of their batch size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import fdtrc, stdtrit

from critbatch.predict.bounds import Flags
from critbatch.predict.law import Array
from critbatch.predict.law_fit import LawFit, fit_law

DOUBT = 0.05
"""The law does not hold where scatter alone would miss it as far with less probability than this."""

SMALL = 0.05
"""A misfit that does not matter, in log(steps): a rate half a rung off on a grid by factors of two costs 6 %."""

WIDE = 0.4
"""Standard deviation of log(steps) over seeds that was never seen: residuals were 0.1 to 0.2 on all tasks."""

SAME = 0.01
"""So little do examples differ, in logarithms, where a number of epochs was given, not found."""

LEAST_SCATTER = 1e-6
"""What is below is rounding."""

REPEATS = 3
"""Points beyond the first of their size that the scatter within the sizes is told from."""

FEWEST_TO_BEND = 5
"""Batch sizes, for three numbers and a scatter."""

DRAWS = 500
BLOCK = 50
ENOUGH = 25
SEED = 0
POWERS = np.geomspace(0.25, 4.0, 9)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """As in `TradeOff`."""

    p_value: float | None
    test: str
    holds: bool
    reason: str


def is_budget(log_examples: Array) -> bool:
    """Whether all points took the same number of examples, or of epochs."""
    return bool(np.ptp(log_examples) < SAME)


def check_law(fit: LawFit, censored: Flags) -> Verdict:
    """Test the law against the points it was fitted to. `censored`, of shape (n,), tells which are lower bounds."""
    missed = np.isin(fit.log_batch, fit.log_batch[censored])
    x, y = fit.log_batch[~missed], fit.values.logs[~missed]
    sizes = np.unique(x)
    repeated = len(x) - len(sizes) >= REPEATS
    if len(sizes) < (3 if repeated else FEWEST_TO_BEND):
        return Verdict(p_value=None, test="", holds=False, reason="too_few_points")
    whole = fit if not missed.any() else fit_law(x, y, np.zeros(len(x), dtype=bool))
    test = "lack_of_fit" if repeated else "bend"
    p_value, misfit, scatter, freedom = _lack_of_fit(whole) if repeated else _bend(whole)
    if p_value < DOUBT:
        small = repeated and misfit <= SMALL
        reason = "small_misfit" if small else _forbidden(x, y, scatter, freedom) or "law_misfit"
        return Verdict(p_value=p_value, test=test, holds=small, reason=reason)
    wide = fit.scatter > WIDE
    return Verdict(p_value=p_value, test=test, holds=not wide, reason="wide_scatter" if wide else "")


def _lack_of_fit(fit: LawFit) -> tuple[float, float, float, int]:
    """The probability of a misfit as large, the misfit of a size (root mean square), the scatter, and its freedom."""
    _, which, counts = np.unique(fit.log_batch, return_inverse=True, return_counts=True)
    y = fit.values.logs
    means = np.bincount(which, y) / counts
    freedom, within = len(y) - len(counts), float(np.square(y - means[which]).sum())
    away = (means[which] - fit.fitted()) ** 2
    misfit = math.sqrt(float((np.bincount(which, away) / counts).mean()))
    spread = max(within / freedom, LEAST_SCATTER**2)
    ratio = float(away.sum()) / (len(counts) - 2) / spread
    return float(fdtrc(len(counts) - 2, freedom, ratio)), misfit, math.sqrt(spread), freedom


def _bend(fit: LawFit) -> tuple[float, float, float, int]:
    """As `_lack_of_fit`, the scatter being that around the best of the laws with one number more.

    No more is drawn once ENOUGH draws gain as much as the points did: Besag and Clifford 1991, Biometrika 78(2).
    """
    y, freedom = fit.values.logs, len(fit.log_batch) - 3
    plain, more = _least_squares(fit, y[:, None])
    scatter = math.sqrt(float(more[0]) / freedom)
    if fit.scatter < LEAST_SCATTER:
        return 1.0, fit.scatter, scatter, freedom
    gain = _gain(plain, more)[0]
    generator = np.random.default_rng(SEED)
    drawn = as_large = 0
    while drawn < DRAWS and as_large < ENOUGH:
        away = fit.scatter * generator.standard_normal((len(y), BLOCK))
        as_large += int((_gain(*_least_squares(fit, fit.fitted()[:, None] + away)) >= gain).sum())
        drawn += BLOCK
    p_value = as_large / drawn if as_large >= ENOUGH else (1 + as_large) / (1 + drawn)
    return p_value, fit.scatter, scatter, freedom


def _gain(plain: Array, more: Array) -> Array:
    return np.asarray(np.log(np.maximum(plain, 1e-20) / np.maximum(more, 1e-20)))


def _least_squares(fit: LawFit, rows: Array) -> tuple[Array, Array]:
    """The least sum of squares of the law, and of the laws with one number more. Both of shape (columns of `rows`,)."""
    x = fit.log_batch - fit.middle
    criticals = np.arange(x.min() - 7, x.max() + 7, 0.25)
    centred = rows - rows.mean(0)
    total = np.square(centred).sum(0)

    def least(curves: Array) -> Array:
        curves = curves - curves.mean(1, keepdims=True)
        misfit = np.square(curves).sum(1)[:, None] - 2 * curves @ centred
        best = np.clip(misfit.argmin(0), 1, len(curves) - 2)
        columns = np.arange(rows.shape[1])
        before, here, after = (misfit[best + shift, columns] for shift in (-1, 0, 1))
        bend = before - 2 * here + after
        # Below the grid's least, by the parabola through it and its neighbours.
        within = (bend > 0) & (here <= before) & (here <= after)
        lower = np.where(within, (before - after) ** 2 / (8 * np.where(within, bend, 1.0)), 0.0)
        return np.asarray(np.maximum(total + np.minimum(here - lower, misfit.min(0)), 0.0))

    law = np.logaddexp(0.0, criticals[:, None] - x)
    plain = least(law)
    more = [least(np.logaddexp(0.0, power * (criticals[:, None] - x))) for power in POWERS]
    for place in np.arange(x.min() - 2, x.max() + 2.01, 0.7):
        more += [least(np.logaddexp(law, x - place)), least(np.logaddexp(law, 2 * (place - x)))]
    return plain, np.minimum(plain, np.minimum.reduce(more))


def _forbidden(x: Array, y: Array, scatter: float, freedom: int) -> str:
    """Which way two batch sizes break the law beyond their scatter: more steps, or fewer examples, at the larger one.

    Of all pairs, one does so by scatter with probability DOUBT at most, by Bonferroni's bound.
    """
    sizes, which, counts = np.unique(x, return_inverse=True, return_counts=True)
    means = np.bincount(which, y) / counts
    low, high = np.triu_indices(len(sizes), 1)
    error = max(scatter, LEAST_SCATTER) * np.sqrt(1 / counts[low] + 1 / counts[high])
    least = float(stdtrit(freedom, 1 - DOUBT / len(low)))
    rise = (means[high] - means[low]) / error
    fall = (means[low] + sizes[low] - means[high] - sizes[high]) / error
    if max(rise.max(), fall.max()) < least:
        return ""
    return "steps_rise" if rise.max() > fall.max() else "examples_fall"
