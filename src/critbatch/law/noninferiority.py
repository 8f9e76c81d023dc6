"""Test whether a large batch ends with a worse metric than a small one, by pairs of runs and a margin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from scipy.special import stdtrit

from critbatch.records.core import AccuracyCheck, Estimate, Run

TAIL = 0.25
"""Last share of a run's steps. Its metric is the mean over the evaluations there, since single ones vary."""

LEVEL = 0.9
"""Level of the interval of the difference. Each end is then wrong in 5 % of the cases."""


def compared(
    large: Sequence[Run], small: Sequence[Run], *, margin: float, train_seconds: float, level: float = LEVEL
) -> AccuracyCheck:
    """Compare the metric of a large batch with that of a small one, seed by seed.

    The metric falls if the whole interval of the difference (Student's t over the pairs) is below minus the margin, and
    does not fall if the whole interval is above it; otherwise the runs do not decide. This is a test of
    non-inferiority: Piaggio et al. 2012, JAMA 308(24).

    Args:
        large: runs of one batch size and learning rate, one for each seed, without a target.
        small: the same for the small batch, with the same seeds.
        margin: how much lower the metric may be.
        train_seconds: of each run.
        level: of the interval.

    Raises:
        ValueError: if no seed is in both.
    """
    ends = [{run.seed: tail_metrics(run) for run in runs} for runs in (large, small)]
    seeds = sorted(ends[0].keys() & ends[1].keys())
    if not seeds:
        raise ValueError("No seed was run at both batch sizes.")
    (metrics, gaps), (small_metrics, small_gaps) = (
        ([by_seed[seed][0] for seed in seeds], [by_seed[seed][1] for seed in seeds]) for by_seed in ends
    )
    differences = [here - there for here, there in zip(metrics, small_metrics, strict=True)]
    difference = _mean(differences, level)
    falls = None
    if difference.low is not None and difference.high is not None:
        falls = True if difference.high < -margin else False if difference.low > -margin else None
    return AccuracyCheck(
        batch_size=large[0].batch_size,
        learning_rate=large[0].learning_rate,
        small_batch_size=small[0].batch_size,
        small_learning_rate=small[0].learning_rate,
        train_seconds=train_seconds,
        metric=fmean(metrics),
        small_metric=fmean(small_metrics),
        gap=fmean(gaps),
        small_gap=fmean(small_gaps),
        difference=difference,
        margin=margin,
        falls=falls,
    )


def tail_metrics(run: Run, tail: float = TAIL) -> tuple[float, float]:
    """The mean validation metric over the last part of a run, and how much higher the training metric is there.

    A run that diverged has the metric of its last evaluation.
    """
    last = run.curve[-1].step
    points = [point for point in run.curve if point.step >= (1 - tail) * last] or [run.curve[-1]]
    finite_points = [point for point in points if math.isfinite(point.validation_metric)] or points
    metric = fmean(point.validation_metric for point in finite_points)
    return metric, fmean(point.train_metric for point in finite_points) - metric


def _mean(values: Sequence[float], level: float) -> Estimate:
    middle, n = fmean(values), len(values)
    if n < 2:
        return Estimate(value=middle, n=n, level=level, reason="one_seed")
    half = float(stdtrit(n - 1, (1 + level) / 2)) * stdev(values) / math.sqrt(n)
    return Estimate(value=middle, n=n, low=middle - half, high=middle + half, level=level)
