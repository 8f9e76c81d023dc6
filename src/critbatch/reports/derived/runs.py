"""Values derived from runs: groups, medians, metrics at an equal epoch, and the runs to show."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from statistics import fmean, median
from typing import Any, TypeVar

from critbatch.records.core import CurvePoint, OptionValue, Outcome, Quantity, Run, Speed, SpeedPoint, Target

# Results are cached while a page is written, since both languages and several sections need them.

T = TypeVar("T")

_memory: ContextVar[dict[tuple[str, int], tuple[Any, Any]] | None] = ContextVar("memory", default=None)


@contextmanager
def cached_readings() -> Iterator[None]:
    """Cache the results of `cached_reading` functions inside this context."""
    token = _memory.set({})
    try:
        yield
    finally:
        _memory.reset(token)


def cached_reading(function: Callable[[Sequence[Run]], T]) -> Callable[[Sequence[Run]], T]:
    """Cache the result of a function of runs inside `cached_readings`."""

    @wraps(function)
    def remembered(runs: Sequence[Run]) -> T:
        memory = _memory.get()
        if memory is None:
            return function(runs)
        key = (function.__name__, id(runs))
        if key not in memory:
            # Keep a reference to the runs, so that no other object can get their id.
            memory[key] = (runs, function(runs))
        result: T = memory[key][1]
        return result

    return remembered


# Limits of what a reader can tell apart: curves, points of a curve, marks, and table rows.
MOST_CURVES = 32
MOST_POINTS = 80
MOST_MARKS = 400
MOST_ROWS = 300


MISSED = (Outcome.FINISHED, Outcome.INTERRUPTED)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Runs that differ only in their seed."""

    batch_size: int
    learning_rate: float
    options: dict[str, OptionValue]
    runs: tuple[Run, ...]

    @property
    def seconds(self) -> list[float]:
        return sorted(run.crossing.seconds for run in self.runs if run.crossing)

    @property
    def reaches(self) -> bool:
        """Whether most of its runs reached the target."""
        return 2 * len(self.seconds) > len(self.runs)


@dataclass(frozen=True, kw_only=True)
class Score:
    """Metrics of one batch size after the same number of epochs, at its best learning rate."""

    batch_size: int
    learning_rate: float
    train: tuple[float, ...]  # one value per seed
    validation: tuple[float, ...]

    @property
    def mean(self) -> float:
        return fmean(self.validation)


def metric_name(runs: Sequence[Run]) -> str:
    return runs[0].metric_name if runs else "metric"


def timed_points(speed: Speed) -> list[SpeedPoint]:
    """The points with a measured time, in order of batch size."""
    points = [point for point in speed.fitting if point.step_seconds is not None]
    return sorted(points, key=lambda point: point.batch_size)


def groups_of(runs: Sequence[Run]) -> list[Group]:
    """The runs by batch size, learning rate and options."""
    groups: defaultdict[tuple[int, float, str], list[Run]] = defaultdict(list)
    for run in runs:
        # Options may have values that cannot be ordered.
        groups[run.batch_size, run.learning_rate, repr(sorted(run.options.items())) if run.options else ""].append(run)
    return [
        Group(batch_size=size, learning_rate=rate, options=group[0].options, runs=tuple(group))
        for (size, rate, _), group in sorted(groups.items(), key=lambda entry: entry[0])
    ]


@cached_reading
def soonest_settings(runs: Sequence[Run]) -> list[Group]:
    """For each batch size, the setting whose median run reached the target first."""
    best: dict[int, Group] = {}
    for group in groups_of(runs):
        best_group = best.get(group.batch_size)
        if group.reaches and (best_group is None or median(group.seconds) < median(best_group.seconds)):
            best[group.batch_size] = group
    return list(best.values())


def closest(runs: Sequence[Run], target: Target | None) -> tuple[Run, CurvePoint] | None:
    """The run and evaluation with the best validation value, by the quantity of the target or else by the metric."""
    by_loss = target is not None and target.quantity is Quantity.VALIDATION_LOSS

    def goodness(point: CurvePoint) -> float:
        value = -point.validation_loss if by_loss else point.validation_metric
        return value if math.isfinite(value) else -math.inf

    ends = [(run, max(run.curve, key=goodness)) for run in runs if run.curve]
    best = max(ends, key=lambda pair: goodness(pair[1]), default=None)
    return best if best is not None and goodness(best[1]) > -math.inf else None


def at_epoch(run: Run, epoch: float) -> tuple[float, float] | None:
    """Interpolated train and validation metric after `epoch` epochs. None if the run ended before."""
    for before, after in zip(run.curve, run.curve[1:], strict=False):
        if before.epoch <= epoch <= after.epoch * (1 + 1e-9):
            share = (epoch - before.epoch) / (after.epoch - before.epoch) if after.epoch > before.epoch else 1.0
            train = before.train_metric + share * (after.train_metric - before.train_metric)
            return train, before.validation_metric + share * (after.validation_metric - before.validation_metric)
    return None


@cached_reading
def scores_at_equal_epochs(runs: Sequence[Run]) -> tuple[float, list[Score]]:
    """The largest number of epochs that all batch sizes completed, and the metrics there. (0, []) if there is none.

    If there are several recipes, only the one with the most batch sizes is compared.
    """
    fine = [run for run in runs if run.outcome not in (Outcome.DIVERGED, Outcome.OUT_OF_MEMORY) and len(run.curve) > 1]
    sizes: defaultdict[str, set[int]] = defaultdict(set)
    for run in fine:
        sizes[run.recipe].add(run.batch_size)
    recipe = max(sizes, key=lambda name: len(sizes[name]), default="")
    sound = [run for run in fine if run.recipe == recipe]
    longest: dict[int, float] = {}
    for run in sound:
        longest[run.batch_size] = max(longest.get(run.batch_size, 0.0), run.curve[-1].epoch)
    epoch = min(longest.values(), default=0.0)
    best: dict[int, Score] = {}
    for group in groups_of(sound):
        pairs = [pair for run in group.runs if (pair := at_epoch(run, epoch)) is not None]
        if not pairs or epoch <= 0:
            continue
        train, validation = zip(*pairs, strict=True)
        score = Score(
            batch_size=group.batch_size, learning_rate=group.learning_rate, train=train, validation=validation
        )
        best_score = best.get(score.batch_size)
        if best_score is None or score.mean > best_score.mean:
            best[score.batch_size] = score
    return (epoch, list(best.values())) if best else (0.0, [])


@cached_reading
def curves_worth_drawing(runs: Sequence[Run]) -> list[Run]:
    """Runs with a curve, at most MOST_CURVES."""
    return best_of_each_size([run for run in runs if run.curve], MOST_CURVES)


@cached_reading
def runs_worth_marking(runs: Sequence[Run]) -> list[Run]:
    """Runs with a target and at least one step, at most MOST_MARKS."""
    ended = [run for run in runs if run.target is not None and run.outcome is not Outcome.OUT_OF_MEMORY]
    return best_of_each_size([run for run in ended if run.steps > 0], MOST_MARKS)


@cached_reading
def runs_worth_listing(runs: Sequence[Run]) -> list[Run]:
    """Runs for a table, at most MOST_ROWS."""
    return best_of_each_size(runs, MOST_ROWS)


def best_of_each_size(runs: Sequence[Run], most: int) -> list[Run]:
    """At most `most` runs: if there are more, the best of each batch size, then the second best, and so on."""
    if len(runs) > most:
        by_size: defaultdict[int, list[Run]] = defaultdict(list)
        for run in sorted(runs, key=_soonest_first):
            by_size[run.batch_size].append(run)
        ranked_runs = [(rank, size, run) for size, group in by_size.items() for rank, run in enumerate(group[:most])]
        runs = [run for _, _, run in sorted(ranked_runs, key=lambda entry: entry[:2])[:most]]
    return sorted(runs, key=lambda run: run.batch_size)


def _soonest_first(run: Run) -> tuple[float, float]:
    if run.crossing is not None:
        return run.crossing.seconds, 0.0
    finite = [point.validation_metric for point in run.curve if math.isfinite(point.validation_metric)]
    return math.inf, -max(finite, default=-math.inf)


def thin(points: Sequence[T], most: int = MOST_POINTS) -> list[T]:
    """At most `most` of the points, evenly spread, including the first and the last."""
    if len(points) <= most:
        return list(points)
    return [points[round(i * (len(points) - 1) / (most - 1))] for i in range(most)]
