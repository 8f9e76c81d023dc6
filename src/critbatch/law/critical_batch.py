"""Steps against examples to a target: `(S / S_min - 1)(E / E_min - 1) = 1`, fitted to points.

With E = B S it is `S = S_min (1 + B_crit / B)` and `E = E_min (1 + B / B_crit)`, B_crit = E_min / S_min. McCandlish et
al. 2018, arXiv:1812.06162, equation 2.11; fitted as there in logarithms, each batch size at its best learning rate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from scipy.optimize import isotonic_regression

from critbatch.law.censored_fit import LEVEL, Flags, LawFit, fit_law
from critbatch.law.goodness_of_fit import REPEATS, check_law, is_budget
from critbatch.law.model import Array
from critbatch.law.target_points import work_of
from critbatch.law.wider_law import WiderLaw, fit_wider_law, log_exponent, log_min_examples, log_min_steps
from critbatch.records.core import Estimate
from critbatch.records.study import GoalPoint, Regime, TradeOff

# Regimes of a batch size: perfect scaling, diminishing returns, maximal parallelism.
#
# Shallue et al. 2018, arXiv:1811.03600, section 4.1, see three regimes in steps to a target against batch size: at
# first twice the batch halves the steps, then it saves less, and finally nothing. They define no borders. Here the
# local slope `-d log S / d log B` decides: perfect scaling from 5/6, maximal parallelism up to 1/6. By the law
# `S = S_min (1 + B_crit / B)` the slope is `B_crit / (B + B_crit)`. So the borders are B = B_crit / 5, which needs 20 %
# more examples than the fewest (the border of Zhang et al. 2024, arXiv:2410.21676), and B = 5 B_crit, which needs 20 %
# more steps than the fewest.

PERFECT = 5 / 6
MAXIMAL = 1 / 6
SLOPE_ROUNDING = 1e-9


def regimes(steps: Mapping[int, float], trade_off: TradeOff | None) -> dict[int, Regime | None]:
    """The regime of each batch size that reached the target.

    If the law holds or may hold, it gives the slope; the regime is None if the interval of B_crit reaches from one
    outer regime to the other. If the law does not hold or cannot be fitted, the slopes are those between neighbouring
    sizes. Isotonic regression makes them fall with the batch size, so that scatter cannot mix regimes.

    Args:
        steps: median steps to the target at the best rate, or a multiple of them, by batch size.
        trade_off: the fitted law.
    """
    if trade_off is not None and trade_off.reason == "constant_budget":
        return dict.fromkeys(steps)
    if trade_off is not None and (trade_off.is_consistent or trade_off.undecided):
        return {size: _by_law(size, trade_off) for size in steps}
    return {size: _of_slope(slope) for size, slope in _measured_slopes(steps).items()}


def perfect_until(regime_by_size: Mapping[int, Regime | None]) -> int | None:
    """The largest batch size up to which all known sizes scale perfectly; None if the first does not."""
    last = None
    for size, regime in sorted(regime_by_size.items()):
        if regime is Regime.PERFECT_SCALING:
            last = size
        elif regime is not None:
            break
    return last


def useful_until(regime_by_size: Mapping[int, Regime | None]) -> int | None:
    """The largest batch size below maximal parallelism; None if no size or every size is in that regime."""
    last = None
    for size, regime in sorted(regime_by_size.items()):
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
    """The slope at each size: the mean of the slopes on its two sides."""
    sizes = sorted(steps)
    if len(sizes) < 2:
        return {}
    x, y = np.log(sizes), np.log([steps[size] for size in sizes])
    gaps = np.diff(x)
    slopes = isotonic_regression(-np.diff(y) / gaps, weights=gaps**2, increasing=False).x
    sides = np.concatenate([slopes[:1], slopes, slopes[-1:]])
    return dict(zip(sizes, ((sides[:-1] + sides[1:]) / 2).tolist(), strict=True))


FEWEST_SIZES = 3

MOST_SIZES = 200
"""Most batch sizes in a fit: more are merged into this number."""

ROUNDING = 1e-6
"""Relative rounding error of float32 results."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedTradeOff:
    """The fitted law, with the unit of its numbers.

    Args:
        law: the likelihood; if `in_epochs`, its "steps" are epochs divided by the batch size.
        wider: the law with an exponent and a drift, which gives the intervals; None if nothing is bounded.
        in_epochs: whether only epochs are known.
        examples: in the training set, if known.
        record: the numbers of the fit.
    """

    law: LawFit
    wider: WiderLaw | None
    in_epochs: bool
    examples: int | None
    record: TradeOff


def fit_trade_off(points: Sequence[GoalPoint], *, examples: int | None = None) -> FittedTradeOff | None:
    """Fit the law to points of one target, by maximum likelihood with log-normal scatter.

    A point that missed the target counts as a bound. Without such points this is least squares in logarithms. The
    values are those of the law. The intervals are those of the wider law of `wider_law.py`, because points can seldom
    distinguish another exponent from another critical batch size. `critical_if_exact` has the interval if the law were
    exact: that of the profile likelihood at the threshold of the F-test. An interval is open, with a reason, where the
    points cannot distinguish the law from its limit: steps in proportion to 1 / B (`all_perfect_scaling`), or the same
    at every size (`no_perfect_scaling`). In a limit the value is 0 or infinite.

    If repeats are equal at most sizes, they show no scatter, because the results were rounded. Then each size is one
    point, whose scatter is at least that of rounding (`rounded`). If all sizes took the same number of epochs, the
    table shows a budget and not what was needed; then nothing is bounded (`constant_budget`).

    Args:
        points: The points after `completed`, all in steps, or all in epochs only.
        examples: Number of examples in the training set.

    Returns:
        The fit, or None if fewer than three batch sizes reached the target.
    """
    if len({point.batch_size for point in points if not point.censored}) < FEWEST_SIZES:
        return None
    points = sorted(points, key=lambda point: (point.batch_size, work_of(point), point.censored))
    log_batch = np.log([float(point.batch_size) for point in points])
    log_work = np.log([work_of(point) for point in points])
    censored = np.array([point.censored for point in points])
    in_epochs = any(point.steps is None for point in points)
    if is_budget((log_batch + log_work)[~censored]):
        law = fit_law(log_batch[~censored], log_work[~censored], censored[~censored])
        return _budget(law, points, in_epochs=in_epochs, examples=examples)
    rounding = rounding_of(points)
    sizes = len(np.unique(log_batch))
    if sizes > MOST_SIZES:
        log_batch, log_work = _at_fewer_sizes(log_batch, log_work)
    at, work, bounds = (
        (log_batch, log_work, censored) if rounding is None else _size_means(log_batch, log_work, censored)
    )
    law = fit_law(at, work, bounds)
    by_rounding = None if rounding is None else rounding / np.exp(work if not in_epochs else work + at)
    wider = fit_wider_law(at, work, bounds, law=law, rounding=by_rounding)
    verdict = check_law(law, bounds, rounding=0.0 if by_rounding is None else float(by_rounding.max()))
    if verdict.common:
        law = replace(fit_law(*_size_means(at, work, bounds)), scatter=law.scatter)
    steps = _estimate(law, wider, law.value(law.log_min_steps), wider.ends(log_min_steps, LEVEL), limit=math.inf)
    least_examples = _estimate(
        law, wider, law.value(law.log_min_examples), wider.ends(log_min_examples, LEVEL), limit=-math.inf
    )
    # The wider law contains the plain one, so its interval must not be narrower, even by its estimate of the scatter.
    exact, wide = law.critical_ends(LEVEL), wider.noise_ends(LEVEL)
    ends = min(exact[0], wide[0]), max(exact[1], wide[1])
    record = TradeOff(
        min_steps=None if in_epochs else steps,
        min_examples=None if in_epochs else least_examples,
        min_epochs=least_examples if in_epochs else None if examples is None else scaled(least_examples, 1 / examples),
        critical_batch_size=_estimate(law, wider, law.log_critical, ends),
        critical_if_exact=law.critical_batch_size(),
        exponent=_estimate(law, wider, wider.value(log_exponent), wider.ends(log_exponent, LEVEL)),
        n=len(points),
        sizes=sizes,
        scatter=law.scatter,
        rounded=rounding is not None,
        p_value=verdict.p_value,
        test=verdict.test,
        is_consistent=verdict.holds,
        reason=verdict.reason,
    )
    return FittedTradeOff(law=law, wider=wider, in_epochs=in_epochs, examples=examples, record=record)


def _budget(law: LawFit, points: Sequence[GoalPoint], *, in_epochs: bool, examples: int | None) -> FittedTradeOff:
    reason = "constant_budget"
    spent = math.exp(law.log_level + law.middle)
    steps, least_examples, critical = (_unknown(value, len(points), reason) for value in (0.0, spent, math.inf))
    record = TradeOff(
        min_steps=None if in_epochs else steps,
        min_examples=None if in_epochs else least_examples,
        min_epochs=least_examples if in_epochs else None if examples is None else scaled(least_examples, 1 / examples),
        critical_batch_size=critical,
        n=len(points),
        sizes=len({point.batch_size for point in points}),
        scatter=law.scatter,
        p_value=None,
        is_consistent=False,
        reason=reason,
    )
    return FittedTradeOff(law=law, wider=None, in_epochs=in_epochs, examples=examples, record=record)


def _estimate(
    law: LawFit, wider: WiderLaw, value: float, ends: tuple[float, float], *, limit: float | None = None
) -> Estimate:
    """The exponential of a value of the law, in an interval of the wider law.

    Args:
        value: its logarithm.
        ends: of the interval, in logarithms.
        limit: the limit of B_n at which the quantity is zero. If that is inside the interval, there is no lower end.
    """
    inside = wider.inside(LEVEL)
    open_below, open_above = bool(inside[0]), bool(inside[-1])
    reason = "too_few_points" if open_below and open_above else ""
    reason = reason or ("all_perfect_scaling" if open_above else "no_perfect_scaling" if open_below else "")
    low, high = min(ends[0], value), max(ends[1], value)
    if (limit == math.inf and open_above) or (limit == -math.inf and open_below):
        low = -math.inf
    with np.errstate(over="ignore"):
        middle, first, last = (float(np.exp(one)) for one in (value, low, high))
    bounded = first > 0 and last < math.inf
    return Estimate(
        value=middle,
        n=len(law.log_batch),
        low=first if first > 0 else None,
        high=last if last < math.inf else None,
        level=LEVEL,
        reason="" if bounded else reason,
    )


def rounding_of(points: Sequence[GoalPoint]) -> float | None:
    """The standard deviation of steps (or epochs if steps are not known) due to rounding.

    None if repeats scatter by more than rounding explains, or if there are none.

    Runs that are evaluated at a fixed interval of steps reach the target at multiples of it, and all repeats of a size
    may reach it at the same multiple. The largest number that divides all results is this interval. The target was
    met anywhere in the interval before the result: a standard deviation of 1 / sqrt(3) intervals around the result.
    """
    reached = [point for point in points if not point.censored]
    results = np.array([point.steps if point.steps is not None else point.epochs or 0.0 for point in reached])
    _, which, counts = np.unique([point.batch_size for point in reached], return_inverse=True, return_counts=True)
    repeats = len(reached) - len(counts)
    different = len(np.unique(np.stack([which, results]), axis=1)[0]) - len(counts)
    if repeats < REPEATS or different > repeats / 2:
        return None
    step = _common_step(results)
    deviations = results - (np.bincount(which, results) / counts)[which]
    # The standard deviation of a rounded number is 1 / sqrt(12) of a step.
    if float(np.square(deviations).sum()) > repeats * max(step**2 / 12, (ROUNDING * results.max()) ** 2):
        return None
    return step / math.sqrt(3)


def _common_step(results: Array) -> float:
    """The largest number that divides all results, rounded to nine digits. 0 if there is none."""
    exact = [Fraction(f"{result:.9g}") for result in np.unique(results)]
    scale = math.lcm(*(one.denominator for one in exact))
    step = math.gcd(*(int(one * scale) for one in exact)) / scale
    return step if step > ROUNDING * max(results) else 0.0


def _at_fewer_sizes(log_batch: Array, log_work: Array) -> tuple[Array, Array]:
    """The points moved to the nearest of MOST_SIZES batch sizes, along the slope between these.

    Over this short distance the law is a straight line to within 1e-4, for tables that cover a factor of a million.
    """
    edges = np.linspace(log_batch.min(), log_batch.max(), MOST_SIZES)
    _, which, counts = np.unique(np.searchsorted(edges, log_batch), return_inverse=True, return_counts=True)
    x, y = (np.bincount(which, values) / counts for values in (log_batch, log_work))
    return x[which], log_work + np.gradient(y, x)[which] * (x[which] - log_batch)


def _size_means(log_batch: Array, log_work: Array, censored: Flags) -> tuple[Array, Array, Flags]:
    """One point for each batch size all of whose points reached the target. Points of other sizes stay as they are."""
    missed = np.isin(log_batch, log_batch[censored])
    sizes, which, counts = np.unique(log_batch[~missed], return_inverse=True, return_counts=True)
    means = np.bincount(which, log_work[~missed], minlength=len(sizes)) / counts
    flags = np.concatenate([np.zeros(len(sizes), dtype=bool), censored[missed]])
    return np.concatenate([sizes, log_batch[missed]]), np.concatenate([means, log_work[missed]]), flags


def _unknown(value: float, n: int, reason: str) -> Estimate:
    return Estimate(value=value, n=n, level=LEVEL, reason=reason)


def scaled(estimate: Estimate, factor: float) -> Estimate:
    """The estimate times a factor.

    >>> scaled(Estimate(value=2.0, n=3, low=1.0, high=4.0), 0.5).high
    2.0
    """
    return Estimate(
        value=estimate.value * factor,
        n=estimate.n,
        low=None if estimate.low is None else estimate.low * factor,
        high=None if estimate.high is None else estimate.high * factor,
        level=estimate.level,
        reason=estimate.reason,
    )
