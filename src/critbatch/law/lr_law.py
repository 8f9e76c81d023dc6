"""Fit how the best learning rate grows with the batch size: linearly, like the square root, or more slowly."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from scipy.special import stdtrit

from critbatch.law.model import Array
from critbatch.law.target_points import Tried, best_of, rates_beside
from critbatch.records.core import Estimate
from critbatch.records.study import RateLaw

LEVEL = 0.95
FEWEST_SIZES = 3
FEWEST_TO_BEND = 4


def fit_rate_law(by_size: Iterable[Sequence[Tried]], *, tuned_before: bool = False) -> RateLaw | None:
    """Fit `best rate = a B^exponent` by least squares in logarithms.

    The exponent is 1 for plain SGD below the critical batch size (Goyal et al. 2017, arXiv:1706.02677, section 2.1),
    about 1/2 for Adam (Malladi et al. 2022, arXiv:2205.10287), and falls to 0 above it (McCandlish et al. 2018,
    arXiv:1812.06162, section 2.2).

    The best rate on a grid is uncertain by half a grid step on each side. The scatter around the line is at least the
    standard deviation of a uniform distribution over one grid step. The interval is Student's.

    Args:
        by_size: the settings tried at each batch size. A size counts if rates on both sides of the best were tried.
        tuned_before: whether a size with a single rate counts, too: it is the best of those tried elsewhere.

    Returns:
        The law, or None if fewer than three sizes count or all have the same single rate.
    """
    best_rates = [point for tried in by_size if (point := _best_rate(tried, tuned_before)) is not None]
    untuned = len({rate for _, rate, _ in best_rates}) == 1 and not any(rung for *_, rung in best_rates)
    if len(best_rates) < FEWEST_SIZES or untuned:
        return None
    x, y, rungs = (np.array(column) for column in zip(*sorted(best_rates), strict=True))
    least = math.sqrt(float(np.square(rungs).mean()) / 12)
    line = np.column_stack([np.ones_like(x), x - x.mean()])
    (_, exponent), (_, half) = _regression(line, y, least)
    low, high = exponent - half, exponent + half
    return RateLaw(
        exponent=Estimate(value=exponent, n=len(x), low=low, high=high, level=LEVEL),
        sizes=(round(math.exp(x[0])), round(math.exp(x[-1]))),
        n=len(x),
        linear=low <= 1 <= high,
        square_root=low <= 0.5 <= high,
        bends=_bends(line, x, y, least),
    )


def _best_rate(tried: Sequence[Tried], tuned_before: bool) -> tuple[float, float, float] | None:
    """log(batch size), log(best rate), and the width of a grid step there, in logarithms."""
    best = best_of(tried)
    if best is None or best.learning_rate is None:
        return None
    rates = [one.learning_rate for one in rates_beside(best, tried) if one.learning_rate is not None]
    at = rates.index(best.learning_rate)
    if len(rates) == 1 and tuned_before:
        return math.log(best.batch_size), math.log(best.learning_rate), 0.0
    if at in (0, len(rates) - 1):
        return None
    return math.log(best.batch_size), math.log(best.learning_rate), math.log(rates[at + 1] / rates[at - 1]) / 2


def _regression(columns: Array, y: Array, least: float) -> tuple[list[float], list[float]]:
    """The coefficients of least squares, and the half-widths of their intervals."""
    inverse = np.linalg.inv(columns.T @ columns)
    values = inverse @ columns.T @ y
    freedom = len(y) - columns.shape[1]
    scatter = max(math.sqrt(float(np.square(y - columns @ values).sum()) / freedom), least)
    t = float(stdtrit(freedom, (1 + LEVEL) / 2))
    return values.tolist(), (t * scatter * np.sqrt(np.diag(inverse))).tolist()


def _bends(line: Array, x: Array, y: Array, least: float) -> bool:
    """Whether the slope falls at the middle of the sizes, beyond its interval."""
    if len(x) < FEWEST_TO_BEND:
        return False
    values, halves = _regression(np.column_stack([line, np.maximum(0.0, x - np.median(x))]), y, least)
    return values[2] + halves[2] < 0
