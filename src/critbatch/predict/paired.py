"""Runs with small and with large batches in pairs of one seed, compared where both are trained as well.

Keskar et al. 2016, arXiv:1609.04836, table 2, compares the ends of runs that all have nearly fitted the training set.
Where one of two runs is better trained in the end, what it does on new data mixes that up with the batch size: both are
then read where they first come to the training metric that the other ended with.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from critbatch.predict.effects import mean
from critbatch.records.claims import NetworkPair, PairedEnd
from critbatch.records.core import CurvePoint, Run

# Training metrics in the end that differ by less than this share of them are alike.
ALIKE = 0.001


def paired_end(small: Run, large: Run) -> PairedEnd | None:
    """Both runs where they are trained as well. None if one of them was never evaluated, or its metric is no number."""
    if not (small.curve and large.curve):
        return None
    ends = [run.curve[-1].train_metric for run in (small, large)]
    if any(end != end for end in ends):
        return None
    level = min(ends)
    if max(ends) - level <= ALIKE * abs(level):
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
    """The validation metric where the training metric first comes to `level`, in a line between two evaluations."""
    for before, after in pairwise(curve):
        if after.train_metric >= level:
            gained = after.train_metric - before.train_metric
            share = min(1.0, max(0.0, (level - before.train_metric) / gained)) if gained > 0 else 1.0
            return before.validation_metric + share * (after.validation_metric - before.validation_metric)
    return curve[-1].validation_metric


def network_pair(
    ends: Sequence[PairedEnd], *, task: str, network: str, examples: int, of_examples: int, metric_name: str
) -> NetworkPair | None:
    """One row of Keskar's table; None without a pair."""
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
