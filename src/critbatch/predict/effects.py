"""Effects with intervals, from measurements that have one, and what such an interval says of a claim."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

from scipy.special import stdtrit

from critbatch.records.claims import Holds, Measure, Statement
from critbatch.records.core import Estimate

LEVEL = 0.95
ONE_SEED, WIDE = "lecture_one_seed", "lecture_wide"
NO_EFFECT = {Measure.RATIO: 1.0, Measure.DIFFERENCE: 0.0, Measure.CORRELATION: 0.0}


def difference(first: Estimate, second: Estimate) -> Estimate:
    """`first - second` of two independent estimates, with an interval recovered from theirs.

    The method of variance estimates recovery, which needs no more than both intervals and keeps their skewness: Zou and
    Donner 2008, Statistics in Medicine 27, p. 1693.
    """
    n, value = min(first.n, second.n), first.value - second.value
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return Estimate(value=value, n=n, reason=ONE_SEED if n < 2 else WIDE)
    below = math.hypot(first.value - first.low, second.high - second.value)
    above = math.hypot(first.high - first.value, second.value - second.low)
    return Estimate(value=value, n=n, low=value - below, high=value + above, level=min(first.level, second.level))


def ratio(first: Estimate, second: Estimate) -> Estimate:
    """`first / second` of two independent, positive estimates: `difference` of their logarithms.

    Without an interval where a bound is not positive.
    """
    told = difference(_logarithm(first), _logarithm(second))
    if told.low is None or told.high is None:
        return Estimate(value=math.exp(told.value), n=told.n, reason=told.reason)
    low, high = (math.exp(min(bound, 700.0)) for bound in (told.low, told.high))
    return Estimate(value=math.exp(told.value), n=told.n, low=low, high=high, level=told.level)


def _logarithm(estimate: Estimate) -> Estimate:
    value = math.log(estimate.value) if estimate.value > 0 else -math.inf
    if estimate.low is None or estimate.high is None or estimate.low <= 0:
        return Estimate(value=value, n=estimate.n, reason=estimate.reason or WIDE)
    return Estimate(
        value=value, n=estimate.n, low=math.log(estimate.low), high=math.log(estimate.high), level=estimate.level
    )


def mean(values: Sequence[float]) -> Estimate:
    """The mean with its t interval; of a single value without.

    >>> mean([1.0, 1.0, 1.0]).high
    1.0
    """
    n = len(values)
    if n < 2:
        return Estimate(value=fmean(values), n=n, reason=ONE_SEED)
    half = float(stdtrit(n - 1, (1 + LEVEL) / 2)) * stdev(values) / math.sqrt(n)
    return Estimate(value=fmean(values), n=n, low=fmean(values) - half, high=fmean(values) + half, level=LEVEL)


def mean_ratio(pairs: Sequence[tuple[float, float]]) -> Estimate | None:
    """The geometric mean of the first of each pair over its second. None unless there is a pair of positive numbers."""
    logarithms = [math.log(first / second) for first, second in pairs if first > 0 and second > 0]
    if not logarithms:
        return None
    told = mean(logarithms)
    low, high = (None if bound is None else math.exp(min(bound, 700.0)) for bound in (told.low, told.high))
    return Estimate(value=math.exp(told.value), n=told.n, low=low, high=high, level=told.level, reason=told.reason)


def judged(key: str, effect: Estimate | None, *, measure: Measure, margin: float, **others: Any) -> Statement:
    """A statement that claims an effect above none."""
    reason = others.pop("reason", "")
    if effect is None:
        return Statement(
            key=key, holds=Holds.UNDECIDED, measure=measure, effect=None, margin=margin, reason=reason, **others
        )
    holds = Holds.UNDECIDED
    if effect.low is not None and effect.high is not None:
        if effect.high < margin:
            holds = Holds.NOT_HELD
        elif effect.low > NO_EFFECT[measure]:
            holds = Holds.HELD
    if holds is Holds.UNDECIDED:
        reason = reason or (ONE_SEED if effect.n < 2 else WIDE)
    return Statement(key=key, holds=holds, measure=measure, effect=effect, margin=margin, reason=reason, **others)


def judged_even(key: str, effect: Estimate, *, measure: Measure, margin: float, **others: Any) -> Statement:
    """A statement that claims that there is hardly an effect: the interval lies below `margin`, or above it."""
    holds = Holds.UNDECIDED
    if effect.low is not None and effect.high is not None:
        holds = Holds.HELD if effect.high < margin else Holds.NOT_HELD if effect.low > margin else Holds.UNDECIDED
    reason = "" if holds is not Holds.UNDECIDED else ONE_SEED if effect.n < 2 else WIDE
    return Statement(key=key, holds=holds, measure=measure, effect=effect, margin=margin, reason=reason, **others)


def judged_exactly(key: str, true: bool, **others: Any) -> Statement:
    """A statement that is true or not."""
    holds = Holds.HELD if true else Holds.NOT_HELD
    effect = Estimate(value=float(true), n=1, reason="exact")
    return Statement(key=key, holds=holds, measure=Measure.EXACT, effect=effect, margin=0.0, **others)
