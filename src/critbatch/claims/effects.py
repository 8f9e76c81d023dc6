"""Effects with intervals, and the verdict on a claim that follows from such an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, stdev
from typing import Any

from scipy.special import stdtrit

from critbatch.records.claims import ClaimTest, ClaimVerdict, Measure, NetworkPair, PairedEnd
from critbatch.records.core import CurvePoint, Estimate, Run

LEVEL = 0.95
ONE_SEED, WIDE = "lecture_one_seed", "lecture_wide"
NO_EFFECT = {Measure.RATIO: 1.0, Measure.DIFFERENCE: 0.0, Measure.CORRELATION: 0.0}


def difference(first: Estimate, second: Estimate) -> Estimate:
    """`first - second` of two independent estimates, with an interval computed from their intervals.

    The method of variance estimates recovery needs only both intervals, and keeps their skewness: Zou and Donner 2008,
    Statistics in Medicine 27, p. 1693.
    """
    n, value = min(first.n, second.n), first.value - second.value
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return Estimate(value=value, n=n, reason=ONE_SEED if n < 2 else WIDE)
    below = math.hypot(first.value - first.low, second.high - second.value)
    above = math.hypot(first.high - first.value, second.value - second.low)
    return Estimate(value=value, n=n, low=value - below, high=value + above, level=min(first.level, second.level))


def ratio(first: Estimate, second: Estimate) -> Estimate:
    """`first / second` of two independent, positive estimates: `difference` of their logarithms.

    It has no interval if a bound is not positive.
    """
    estimate = difference(_logarithm(first), _logarithm(second))
    if estimate.low is None or estimate.high is None:
        return Estimate(value=math.exp(estimate.value), n=estimate.n, reason=estimate.reason)
    low, high = (math.exp(min(bound, 700.0)) for bound in (estimate.low, estimate.high))
    return Estimate(value=math.exp(estimate.value), n=estimate.n, low=low, high=high, level=estimate.level)


def _logarithm(estimate: Estimate) -> Estimate:
    value = math.log(estimate.value) if estimate.value > 0 else -math.inf
    if estimate.low is None or estimate.high is None or estimate.low <= 0:
        return Estimate(value=value, n=estimate.n, reason=estimate.reason or WIDE)
    return Estimate(
        value=value, n=estimate.n, low=math.log(estimate.low), high=math.log(estimate.high), level=estimate.level
    )


def mean(values: Sequence[float]) -> Estimate:
    """The mean with its t interval; a single value has none.

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
    estimate = mean(logarithms)
    low, high = (None if bound is None else math.exp(min(bound, 700.0)) for bound in (estimate.low, estimate.high))
    return Estimate(
        value=math.exp(estimate.value), n=estimate.n, low=low, high=high, level=estimate.level, reason=estimate.reason
    )


def judge_effect(key: str, effect: Estimate | None, *, measure: Measure, margin: float, **others: Any) -> ClaimTest:
    """Test the statement that there is an effect in this direction."""
    reason = others.pop("reason", "")
    if effect is None:
        return ClaimTest(
            key=key, holds=ClaimVerdict.UNDECIDED, measure=measure, effect=None, margin=margin, reason=reason, **others
        )
    holds = ClaimVerdict.UNDECIDED
    if effect.low is not None and effect.high is not None:
        if effect.high < margin:
            holds = ClaimVerdict.NOT_HELD
        elif effect.low > NO_EFFECT[measure]:
            holds = ClaimVerdict.HELD
    if holds is ClaimVerdict.UNDECIDED:
        reason = reason or (ONE_SEED if effect.n < 2 else WIDE)
    return ClaimTest(key=key, holds=holds, measure=measure, effect=effect, margin=margin, reason=reason, **others)


def judge_equality(key: str, effect: Estimate, *, measure: Measure, margin: float, **others: Any) -> ClaimTest:
    """Test the statement that there is hardly an effect: it holds if the interval lies below `margin`."""
    holds = ClaimVerdict.UNDECIDED
    if effect.low is not None and effect.high is not None:
        holds = (
            ClaimVerdict.HELD
            if effect.high < margin
            else ClaimVerdict.NOT_HELD
            if effect.low > margin
            else ClaimVerdict.UNDECIDED
        )
    reason = "" if holds is not ClaimVerdict.UNDECIDED else ONE_SEED if effect.n < 2 else WIDE
    return ClaimTest(key=key, holds=holds, measure=measure, effect=effect, margin=margin, reason=reason, **others)


def judge_fact(key: str, true: bool, **others: Any) -> ClaimTest:
    """Test a statement that is exactly true or false."""
    holds = ClaimVerdict.HELD if true else ClaimVerdict.NOT_HELD
    effect = Estimate(value=float(true), n=1, reason="exact")
    return ClaimTest(key=key, holds=holds, measure=Measure.EXACT, effect=effect, margin=0.0, **others)


# Pairs of runs with one seed, with small and with large batches, compared at equal training metric.
#
# Keskar et al. 2016, arXiv:1609.04836, table 2, compares runs that all have nearly fitted the training set. If one of
# two runs is trained better, its validation metric shows that as well as the batch size. So both are read where they
# first reach the lower of the two final training metrics.

# Final training metrics that differ by less than this share count as equal.
SAME_METRIC_SHARE = 0.001


def paired_end(small: Run, large: Run) -> PairedEnd | None:
    """Both runs at equal training metric. None if one was never evaluated, or its metric is NaN."""
    if not (small.curve and large.curve):
        return None
    ends = [run.curve[-1].train_metric for run in (small, large)]
    if any(end != end for end in ends):
        return None
    level = min(ends)
    if max(ends) - level <= SAME_METRIC_SHARE * abs(level):
        values = [run.curve[-1].validation_metric for run in (small, large)]
    else:
        values = [validation_at(run.curve, level) for run in (small, large)]
    return PairedEnd(
        seed=small.seed,
        small=small,
        large=large,
        level=level,
        small_validation=values[0],
        large_validation=values[1],
    )


def validation_at(curve: Sequence[CurvePoint], level: float) -> float:
    """Validation metric where the training metric first reaches `level`, interpolated between two evaluations."""
    for before, after in pairwise(curve):
        if after.train_metric >= level:
            gained = after.train_metric - before.train_metric
            share = min(1.0, max(0.0, (level - before.train_metric) / gained)) if gained > 0 else 1.0
            return before.validation_metric + share * (after.validation_metric - before.validation_metric)
    return curve[-1].validation_metric


def network_pair(
    ends: Sequence[PairedEnd], *, task: str, network: str, examples: int, of_examples: int, metric_name: str
) -> NetworkPair | None:
    """One row of Keskar's table 2. None if there is no pair."""
    if not ends:
        return None

    def end(of: str, quantity: str) -> list[float]:
        return [float(getattr(getattr(pair, of).curve[-1], quantity)) for pair in ends]

    return NetworkPair(
        task=task,
        network=network,
        examples=examples,
        of_examples=of_examples,
        metric_name=metric_name,
        small_batch_size=ends[0].small.batch_size,
        large_batch_size=ends[0].large.batch_size,
        ends=tuple(ends),
        small_train=mean(end("small", "train_metric")),
        large_train=mean(end("large", "train_metric")),
        small_validation=mean(end("small", "validation_metric")),
        large_validation=mean(end("large", "validation_metric")),
        difference=mean([pair.small_validation - pair.large_validation for pair in ends]),
    )
