"""What runs say of one target, batch size by batch size, and which learning rate is best at each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import median

import numpy as np

from critbatch.law.censored_fit import bounded_exp
from critbatch.law.model import Array
from critbatch.records.core import Crossing, Estimate, OptionValue, Outcome, Run, Target
from critbatch.records.study import GoalPoint

# Runs of a study in groups that differ by their seed alone.


@dataclass(frozen=True, kw_only=True)
class AlikeRuns:
    """Runs of one batch size with one learning rate and the same options.

    Args:
        options: of recipe and plan, those that are not the same for all runs of the study.
    """

    batch_size: int
    learning_rate: float
    options: dict[str, OptionValue]
    runs: tuple[Run, ...]


def alike_runs(runs: Sequence[Run]) -> dict[int, list[AlikeRuns]]:
    """By batch size, ascending, with the learning rates of each ascending."""
    varied = _varied_options(runs)
    groups: dict[tuple[int, float, str], list[Run]] = {}
    for run in runs:
        others = repr([run.options.get(name) for name in varied])
        groups.setdefault((run.batch_size, run.learning_rate, others), []).append(run)
    found: dict[int, list[AlikeRuns]] = {}
    for (size, rate, _), alike in sorted(groups.items()):
        options = {name: alike[0].options.get(name) for name in varied}
        group = AlikeRuns(batch_size=size, learning_rate=rate, options=options, runs=tuple(alike))
        found.setdefault(size, []).append(group)
    return found


def _varied_options(runs: Iterable[Run]) -> list[str]:
    told = [run.options for run in runs]
    names = sorted({name for options in told for name in options})
    return [name for name in names if len({repr(options.get(name)) for options in told}) > 1]


SOONEST = 0.5
"""Steps of a run that met its target before the first step, so that it has a logarithm."""

USABLE = 2.0
"""A rate is usable where it takes at most this many times the steps of the best."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """All runs at one batch size with one learning rate and the same options.

    Args:
        points: of runs that came to the target, and of those that stopped short of it: bounds.
        runs: all of them.
        diverged, out_of_memory: runs that failed, and are no points.
    """

    batch_size: int
    learning_rate: float | None = None
    options: dict[str, OptionValue] = field(default_factory=dict)
    points: tuple[GoalPoint, ...]
    runs: int
    diverged: int = 0
    out_of_memory: int = 0

    @cached_property
    def reached(self) -> tuple[GoalPoint, ...]:
        return tuple(point for point in self.points if not point.censored)

    @cached_property
    def missed_share(self) -> float:
        """Of the runs: how many did not come to the target."""
        return 1 - len(self.reached) / self.runs

    @cached_property
    def median_work(self) -> float:
        """Of `work_of`, over the runs that came to the target. Infinite where none did."""
        return median(works) if (works := [work_of(point) for point in self.reached]) else math.inf


BySize = Mapping[int, Sequence[Tried]]
"""What was tried at each batch size, ascending, with the rates of each ascending."""


def work_of(point: GoalPoint) -> float:
    """Steps, or where they are not known epochs per example of the batch: a multiple of the steps."""
    if point.steps is not None:
        return point.steps
    assert point.epochs is not None  # as `completed` left it
    return point.epochs / point.batch_size


def completed(point: GoalPoint, examples: int | None) -> GoalPoint:
    """The same point with steps, epochs and examples, as far as one follows from another.

    >>> completed(GoalPoint(batch_size=10, epochs=2.0), examples=1000).steps
    200.0
    """
    seen = point.examples
    if seen is None and point.steps is not None:
        seen = point.steps * point.batch_size
    if seen is None and point.epochs is not None and examples is not None:
        seen = point.epochs * examples
    if seen is None:
        return point
    steps = point.steps if point.steps is not None else seen / point.batch_size
    epochs = point.epochs if point.epochs is not None or examples is None else seen / examples
    if (steps, seen, epochs) == (point.steps, point.examples, point.epochs):
        return point
    return replace(point, steps=steps, examples=seen, epochs=epochs)


def crossing_of(run: Run, target: Target) -> Crossing | None:
    """Where a run came to a target, which may be another than its own."""
    if run.crossing is not None and run.target == target:
        return run.crossing
    return target.crossing(run.curve)


def goal_point(run: Run, target: Target) -> GoalPoint | None:
    """A run as seen from a target. None where it is no bound either: it diverged, ran out of memory, or never began."""
    crossing = crossing_of(run, target)
    if crossing is None and (run.outcome in (Outcome.DIVERGED, Outcome.OUT_OF_MEMORY) or run.steps < 1):
        return None
    if crossing is None:
        steps, epochs, seconds = float(run.steps), run.epochs, run.seconds
    else:
        steps, epochs, seconds = max(SOONEST, crossing.step), crossing.epoch, crossing.seconds
    return GoalPoint(
        batch_size=run.batch_size,
        steps=steps,
        epochs=epochs if epochs > 0 else None,
        censored=crossing is None,
        seed=run.seed,
        learning_rate=run.learning_rate,
        step_seconds=seconds / steps if seconds > 0 else None,
    )


def tried_by_runs(runs: Sequence[Run], target: Target | None, examples: int | None) -> dict[int, list[Tried]]:
    """By batch size, ascending, with the rates of each ascending. Without a target no run has a point."""
    return {size: [_tried(one, target, examples) for one in alike] for size, alike in alike_runs(runs).items()}


def _tried(alike: AlikeRuns, target: Target | None, examples: int | None) -> Tried:
    points = [None if target is None else goal_point(run, target) for run in alike.runs]
    lost = [run.outcome for run, point in zip(alike.runs, points, strict=True) if point is None]
    return Tried(
        batch_size=alike.batch_size,
        learning_rate=alike.learning_rate,
        options=alike.options,
        points=tuple(completed(point, examples) for point in points if point is not None),
        runs=len(alike.runs),
        diverged=lost.count(Outcome.DIVERGED),
        out_of_memory=lost.count(Outcome.OUT_OF_MEMORY),
    )


def tried_by_points(points: Iterable[GoalPoint]) -> dict[int, list[Tried]]:
    """As `tried_by_runs`, of points that were completed."""
    groups: dict[tuple[int, float], list[GoalPoint]] = {}
    for point in points:
        groups.setdefault((point.batch_size, point.learning_rate or 0.0), []).append(point)
    found: dict[int, list[Tried]] = {}
    for (size, _), alike in sorted(groups.items()):
        tried = Tried(batch_size=size, learning_rate=alike[0].learning_rate, points=tuple(alike), runs=len(alike))
        found.setdefault(size, []).append(tried)
    return found


def best_of(tried: Sequence[Tried]) -> Tried | None:
    """The rate that misses the target least often, and of such that of the fewest steps; None where all miss it."""
    able = [one for one in tried if one.reached]
    return min(able, key=lambda one: (round(one.missed_share, 9), one.median_work), default=None)


def rates_beside(best: Tried, tried: Sequence[Tried]) -> list[Tried]:
    """All that were tried with the options of the best, from the smallest rate to the largest."""
    alike = [one for one in tried if one.options == best.options and one.learning_rate is not None]
    return sorted(alike, key=lambda one: one.learning_rate or 0.0)


def usable_rates(best: Tried, tried: Sequence[Tried]) -> tuple[float, float] | None:
    """The range of rates around the best in which most runs come to the target in at most twice the steps."""
    beside = rates_beside(best, tried)
    if best not in beside:
        return None
    most = USABLE * best.median_work
    good = [one is best or (one.median_work <= most and one.missed_share <= 0.5) for one in beside]
    low = high = beside.index(best)
    while low > 0 and good[low - 1]:
        low -= 1
    while high < len(good) - 1 and good[high + 1]:
        high += 1
    first, last = beside[low].learning_rate, beside[high].learning_rate
    assert first is not None and last is not None
    return first, last


def bound_of(tried: Sequence[Tried]) -> GoalPoint | None:
    """The longest run that missed the target, where none came to it: a tuned run takes more."""
    missed = [point for one in tried for point in one.points]
    return max(missed, key=work_of, default=None)


# Steps to the target at the best learning rate of a batch size: an interval that knows that the rate was chosen.

LEVEL = 0.95
DRAWS = 400

MOST_DRAWN = 1000
"""Runs of one rate that a draw makes anew: with more, their median scatters like one over the square root of them."""


class SeedScatter:
    """How runs scatter that differ by their seed alone, in log(steps): pooled over batch sizes and usable rates.

    Few seeds at a size tell little of the scatter there; that of all sizes together is known well. Deviations from the
    mean of k runs are enlarged by sqrt(k / (k - 1)), Davison and Hinkley 1997, "Bootstrap methods and their
    application", section 3.2.
    """

    def __init__(self, by_size: Iterable[Sequence[Tried]]) -> None:
        found: list[Array] = [np.zeros(0)]
        self.freedom = 0
        for tried in by_size:
            for one in _contenders(tried):
                logs = np.sort(np.log([work_of(point) for point in one.reached]))
                if len(logs) > 1:
                    found.append((logs - logs.mean()) * math.sqrt(len(logs) / (len(logs) - 1)))
                    self.freedom += len(logs) - 1
        self.deviations = np.concatenate(found)

    def draw(self, generator: np.random.Generator, draws: int, runs: int) -> Array:
        """Deviations of runs that might have been, shape (draws, runs). The scatter's own uncertainty is in them."""
        share = np.sqrt(self.freedom / generator.chisquare(self.freedom, (draws, 1)))
        return np.asarray(share * generator.choice(self.deviations, (draws, runs)))


def tuned_factor(tried: Sequence[Tried], scatter: SeedScatter, generator: np.random.Generator) -> tuple[float, float]:
    """The interval of the steps at the best rate, as multiples of their median, by the bootstrap over seeds.

    Each draw makes every run at every usable rate anew, within the scatter of seeds and as often short of the target as
    was seen, and chooses the best rate anew.

    Args:
        tried: at one batch size; one rate at least came to the target.
        scatter: of seeds, with a freedom of one at least.
    """
    best = best_of(tried)
    assert best is not None
    medians, missed = [], []
    for one in _contenders(tried):
        came = len(one.reached)
        drawn = min(came, MOST_DRAWN)
        moved = np.median(scatter.draw(generator, DRAWS, drawn), axis=1) * math.sqrt(drawn / came)
        medians.append(math.log(one.median_work / best.median_work) + moved)
        share = 1 - generator.binomial(one.runs, came / one.runs, DRAWS) / one.runs
        missed.append(np.where(share == 1, 1e3, share))
    # The share of misses decides, the steps only among equals.
    rank = np.round(np.array(missed), 9) * 1e6 + np.array(medians)
    chosen = rank.argmin(0)
    logs = np.array(medians)[chosen, np.arange(DRAWS)]
    low, high = np.quantile(logs, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return min(1.0, bounded_exp(low)), max(1.0, bounded_exp(high))


def with_factor(value: float, n: int, factor: tuple[float, float] | None) -> Estimate:
    """A median and its interval, or the reason why there is none: no setting was run with two seeds."""
    if factor is None:
        return Estimate(value=value, n=n, level=LEVEL, reason="one_seed")
    return Estimate(value=value, n=n, low=value * factor[0], high=value * factor[1], level=LEVEL)


def _contenders(tried: Sequence[Tried]) -> list[Tried]:
    best = best_of(tried)
    if best is None:
        return []
    return [one for one in tried if one.reached and one.median_work <= USABLE * best.median_work]
