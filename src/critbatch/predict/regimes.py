"""Perfect scaling, diminishing returns, maximal parallelism: where each batch size stands.

Shallue et al. 2018, arXiv:1811.03600, section 4.1, see three regimes in steps to a target against batch size: at first
twice the batch takes half the steps, then it saves less, and at last nothing. They name no borders. Here a batch size
belongs by the local slope `-d log S / d log B`: perfect scaling from 5/6, maximal parallelism up to 1/6. By the law
`S = S_min (1 + B_crit / B)` the slope is `B_crit / (B + B_crit)`, so that these are B = B_crit / 5, where 20 % more
examples are seen than the fewest (the border of Zhang et al. 2024, arXiv:2410.21676), and B = 5 B_crit, where the steps
are 20 % above the fewest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from scipy.optimize import isotonic_regression

from critbatch.records.study import Regime, TradeOff

PERFECT = 5 / 6
MAXIMAL = 1 / 6
SLOPE_ROUNDING = 1e-9


def regimes(steps: Mapping[int, float], trade_off: TradeOff | None) -> dict[int, Regime | None]:
    """The regime of each batch size that came to the target.

    Where the law holds, or may hold, it gives the slope; None where the interval of B_crit reaches from one outer
    regime to the other. Where it does not hold, or cannot be fitted, the slope is that between neighbouring sizes, made
    to fall with the batch size by isotonic regression, so that scatter mixes no regimes.

    Args:
        steps: median steps to the target at the best rate, or a multiple of them, by batch size.
        trade_off: the fitted law.
    """
    if trade_off is not None and trade_off.reason == "constant_budget":
        return dict.fromkeys(steps)
    if trade_off is not None and (trade_off.holds or trade_off.undecided):
        return {size: _by_law(size, trade_off) for size in steps}
    return {size: _of_slope(slope) for size, slope in _measured_slopes(steps).items()}


def perfect_until(found: Mapping[int, Regime | None]) -> int | None:
    """The largest batch size up to which all that are known scale perfectly; None where the first does not."""
    last = None
    for size, regime in sorted(found.items()):
        if regime is Regime.PERFECT_SCALING:
            last = size
        elif regime is not None:
            break
    return last


def useful_until(found: Mapping[int, Regime | None]) -> int | None:
    """The largest batch size before those of maximal parallelism; None where there are none of these, or no other."""
    last = None
    for size, regime in sorted(found.items()):
        if regime is Regime.MAXIMAL_PARALLELISM:
            return last
        last = size
    return None


def _by_law(size: int, trade_off: TradeOff) -> Regime | None:
    critical = trade_off.critical_batch_size
    low = critical.low if critical.low is not None else 0.0
    high = critical.high if critical.high is not None else math.inf
    of_low, here, of_high = (_of_slope(1 / (1 + size / at) if at > 0 else 0.0) for at in (low, critical.value, high))
    return None if {of_low, of_high} == {Regime.PERFECT_SCALING, Regime.MAXIMAL_PARALLELISM} else here


def _of_slope(slope: float) -> Regime:
    if slope >= PERFECT - SLOPE_ROUNDING:
        return Regime.PERFECT_SCALING
    return Regime.MAXIMAL_PARALLELISM if slope <= MAXIMAL + SLOPE_ROUNDING else Regime.DIMINISHING_RETURNS


def _measured_slopes(steps: Mapping[int, float]) -> dict[int, float]:
    """At each size, the mean of the slopes on its two sides."""
    sizes = sorted(steps)
    if len(sizes) < 2:
        return {}
    x, y = np.log(sizes), np.log([steps[size] for size in sizes])
    gaps = np.diff(x)
    slopes = isotonic_regression(-np.diff(y) / gaps, weights=gaps**2, increasing=False).x
    sides = np.concatenate([slopes[:1], slopes, slopes[-1:]])
    return dict(zip(sizes, ((sides[:-1] + sides[1:]) / 2).tolist(), strict=True))
