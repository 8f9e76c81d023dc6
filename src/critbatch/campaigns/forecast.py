"""How long the runs that are missing will take, by those that are made; and which of these is the best."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean

from critbatch.campaigns.terms import lowest_validation_loss
from critbatch.progress import Forecast
from critbatch.records import Run


def forecast(runs: Sequence[Run], missing: Iterable[int], *, examples: int) -> Forecast | None:
    """The seconds that runs at the batch sizes `missing` will take, by those that are there; None if there are none.

    A batch size that has runs takes their mean time. Any other is bounded by those that have: a step is no slower than
    one of a larger batch, an example takes no longer than in a smaller batch, and no run sees more than `examples`.

    Args:
        runs: that are made.
        missing: the batch size of each run that is not.
        examples: that a run sees if nothing ends it early.
    """
    made: dict[int, list[Run]] = defaultdict(list)
    for run in runs:
        if run.examples > 0:
            made[run.batch_size].append(run)
    if not made:
        return None
    seconds = {size: fmean(map(wall_seconds, group)) for size, group in made.items()}
    example_seconds = {size: max(wall_seconds(run) / run.examples for run in group) for size, group in made.items()}
    total, at_most = 0.0, False
    for size in missing:
        if size not in seconds:
            at_most = True
            bounds = [each * max(1.0, other / size) for other, each in example_seconds.items()]
            seconds[size] = min(bounds) * examples
        total += seconds[size]
    return Forecast(seconds=total, at_most=at_most)


def wall_seconds(run: Run) -> float:
    """All that the run took: training, evaluation, compilation."""
    return run.seconds + run.evaluation_seconds + run.compile_seconds


def best_of(runs: Iterable[Run]) -> Run | None:
    """The run that was at its target after the fewest seconds; without a target, the one of lowest validation loss."""
    return min((run for run in runs if _rank(run) < math.inf), key=_rank, default=None)


def _rank(run: Run) -> float:
    if run.target is None:
        return lowest_validation_loss(run)
    return run.crossing.seconds if run.crossing is not None else math.inf
