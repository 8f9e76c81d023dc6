"""Steps against examples to a target: `(S / S_min - 1)(E / E_min - 1) = 1`, fitted to points.

With E = B S it is `S = S_min (1 + B_crit / B)` and `E = E_min (1 + B / B_crit)`, B_crit = E_min / S_min. McCandlish et
al. 2018, arXiv:1812.06162, equation 2.11; fitted as there in logarithms, each batch size at its best learning rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from critbatch.predict.bounds import Flags
from critbatch.predict.goal_points import work_of
from critbatch.predict.law import Array
from critbatch.predict.law_check import DOUBT, Verdict, check_law, is_budget
from critbatch.predict.law_fit import LEVEL, LawFit, fit_law
from critbatch.records import Estimate
from critbatch.study_records import GoalPoint, TradeOff

FEWEST_SIZES = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedTradeOff:
    """The fit, and what its numbers count.

    Args:
        law: the likelihood; where `in_epochs`, its "steps" are epochs per example of the batch.
        in_epochs: whether only epochs are known.
        examples: in the training set, where that is known.
        record: the numbers.
    """

    law: LawFit
    in_epochs: bool
    examples: int | None
    record: TradeOff


def fit_trade_off(points: Sequence[GoalPoint], *, examples: int | None = None) -> FittedTradeOff | None:
    """Fit the law to points of one target, by likelihood with log-normal scatter.

    A point that missed the target counts as a bound. Without such points this is least squares in logarithms. The
    intervals are those of the profile likelihood at the F-test's threshold, so they hold for few points too; one is
    open, with a reason, where the points cannot tell the law from its limit: steps in proportion to 1 / B
    (`all_perfect_scaling`), or the same at every size (`no_perfect_scaling`). In a limit the value is 0 or infinite.
    Where repeated sizes show that the law is not exact, the intervals are those of the sizes' means. Where all sizes
    took the same number of epochs, the table tells a budget and not a need: then nothing is bounded
    (`constant_budget`).

    Args:
        points: after `completed`, all in steps, or all in epochs alone.
        examples: in the training set.

    Returns:
        None where fewer than three batch sizes came to the target.
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
        verdict = Verdict(p_value=None, test="", holds=False, reason="constant_budget")
        spent = math.exp(law.log_level + law.middle)
        steps, seen, critical = (_unknown(value, len(points), verdict.reason) for value in (0.0, spent, math.inf))
    else:
        law = fit_law(log_batch, log_work, censored)
        verdict = check_law(law, censored)
        if verdict.test == "lack_of_fit" and verdict.p_value is not None and verdict.p_value < DOUBT:
            # What misses the law at a size is common to its points: they are not so many independent ones.
            law = replace(fit_law(*_size_means(log_batch, log_work, censored)), scatter=law.scatter)
        steps, seen = law.estimate(law.log_min_steps), law.estimate(law.log_min_examples)
        critical = law.critical_batch_size()
    record = TradeOff(
        min_steps=None if in_epochs else steps,
        min_examples=None if in_epochs else seen,
        min_epochs=seen if in_epochs else None if examples is None else scaled(seen, 1 / examples),
        critical_batch_size=critical,
        n=len(points),
        sizes=len(set(log_batch)),
        scatter=law.scatter,
        p_value=verdict.p_value,
        test=verdict.test,
        holds=verdict.holds,
        reason=verdict.reason,
    )
    return FittedTradeOff(law=law, in_epochs=in_epochs, examples=examples, record=record)


def _size_means(log_batch: Array, log_work: Array, censored: Flags) -> tuple[Array, Array, Flags]:
    """One point for each batch size all of whose points came to the target; the others' as they are."""
    missed = np.isin(log_batch, log_batch[censored])
    sizes, which, counts = np.unique(log_batch[~missed], return_inverse=True, return_counts=True)
    means = np.bincount(which, log_work[~missed]) / counts
    flags = np.concatenate([np.zeros(len(sizes), dtype=bool), censored[missed]])
    return np.concatenate([sizes, log_batch[missed]]), np.concatenate([means, log_work[missed]]), flags


def _unknown(value: float, n: int, reason: str) -> Estimate:
    return Estimate(value=value, n=n, level=LEVEL, reason=reason)


def scaled(estimate: Estimate, factor: float) -> Estimate:
    """The estimate of a multiple.

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
