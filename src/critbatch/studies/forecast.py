"""How long the runs that are missing will take, by those that are made; and which of these is the best."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import fmean

from critbatch.runtime.progress import Forecast
from critbatch.studies.run_key import RunKey, RunSummary


def forecast(
    finished: Mapping[RunKey, RunSummary], missing: Iterable[int], *, examples: Mapping[int, float], workers: int = 1
) -> Forecast | None:
    """The seconds that runs at the batch sizes `missing` will take, by those that are there; None if there are none.

    A batch size that has runs takes their mean time. Any other is bounded by those that have: a step is no slower than
    one of a larger batch, an example takes no longer than in a smaller batch, and no run sees more than `examples`.

    Args:
        made: the runs that are at their end.
        missing: the batch size of each run that is not.
        examples: by batch size, those that a run sees if nothing ends it early.
        workers: so many runs are made at a time.
    """
    groups: dict[int, list[RunSummary]] = defaultdict(list)
    for key, summary in finished.items():
        if summary.examples > 0:
            groups[key.batch_size].append(summary)
    if not groups:
        return None
    seconds = {size: fmean(summary.wall_seconds for summary in group) for size, group in groups.items()}
    example_seconds = {size: max(b.wall_seconds / b.examples for b in group) for size, group in groups.items()}
    total, at_most = 0.0, False
    for size in missing:
        if size not in seconds:
            at_most = True
            bounds = [bound * max(1.0, other / size) for other, bound in example_seconds.items()]
            seconds[size] = min(bounds) * examples[size]
        total += seconds[size]
    return Forecast(seconds=total / workers, at_most=at_most)


def best_of_each_size(finished: Mapping[RunKey, RunSummary]) -> dict[int, tuple[RunKey, RunSummary]]:
    """At each batch size the run that was at its target after the fewest steps; without a target, of lowest loss."""
    best: dict[int, tuple[RunKey, RunSummary]] = {}
    for key, summary in finished.items():
        previous = best.get(key.batch_size)
        if _rank(summary) < (_rank(previous[1]) if previous is not None else NO_RUN):
            best[key.batch_size] = (key, summary)
    return dict(sorted(best.items()))


NO_RUN = (math.inf, math.inf)


def _rank(summary: RunSummary) -> tuple[float, float]:
    return summary.steps_to_target, summary.loss
