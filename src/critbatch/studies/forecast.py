"""Estimates the time of the missing runs from the finished ones, and finds the best run of each batch size."""

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
    """Estimate the seconds of the missing runs from the finished ones; None if no run has finished.

    For a batch size with finished runs, it uses their mean time. For any other it uses an upper bound: a step takes no
    longer than one of a larger batch, an example takes no longer than in a smaller batch, and no run sees more than
    `examples`.

    Args:
        finished: Runs that have ended.
        missing: The batch size of each missing run.
        examples: By batch size, the examples that a run sees if nothing ends it early.
        workers: Number of runs made at a time.
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
    """At each batch size the run with the fewest steps to the target; without a target, with the lowest loss."""
    best: dict[int, tuple[RunKey, RunSummary]] = {}
    for key, summary in finished.items():
        previous = best.get(key.batch_size)
        if _rank(summary) < (_rank(previous[1]) if previous is not None else NO_RUN):
            best[key.batch_size] = (key, summary)
    return dict(sorted(best.items()))


NO_RUN = (math.inf, math.inf)


def _rank(summary: RunSummary) -> tuple[float, float]:
    return summary.steps_to_target, summary.loss
