"""Steps to one target at each batch size, from runs or points, and the best learning rate at each size."""

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

# Groups of runs that differ only in their seed.


@dataclass(frozen=True, kw_only=True)
class AlikeRuns:
    """Runs of one batch size with one learning rate and the same options.

    Args:
        options: those options of recipe and plan that differ between runs of the study.
    """

    batch_size: int
    learning_rate: float
    options: dict[str, OptionValue]
    runs: tuple[Run, ...]


def alike_runs(runs: Sequence[Run]) -> dict[int, list[AlikeRuns]]:
    """Groups of alike runs for each batch size. Batch sizes and learning rates ascend."""
    varied = _varied_options(runs)
    groups: dict[tuple[int, float, str], list[Run]] = {}
    for run in runs:
        others = repr([run.options.get(name) for name in varied])
        groups.setdefault((run.batch_size, run.learning_rate, others), []).append(run)
    groups_by_size: dict[int, list[AlikeRuns]] = {}
    for (size, rate, _), alike in sorted(groups.items()):
        options = {name: alike[0].options.get(name) for name in varied}
        group = AlikeRuns(batch_size=size, learning_rate=rate, options=options, runs=tuple(alike))
        groups_by_size.setdefault(size, []).append(group)
    return groups_by_size


def _varied_options(runs: Iterable[Run]) -> list[str]:
    all_options = [run.options for run in runs]
    names = sorted({name for options in all_options for name in options})
    return [name for name in names if len({repr(options.get(name)) for options in all_options}) > 1]


SOONEST = 0.5
"""Steps of a run that met its target before the first step. Zero would have no logarithm."""

USABLE = 2.0
"""A rate is usable if it takes at most this many times the steps of the best rate."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """All runs at one batch size with one learning rate and the same options.

    Args:
        points: of runs that reached the target, and bounds from runs that stopped before it.
        runs: all of them.
        diverged, out_of_memory: numbers of runs that failed and give no point.
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
        """The share of runs that did not reach the target."""
        return 1 - len(self.reached) / self.runs

    @cached_property
    def median_work(self) -> float:
        """Median of `work_of` over the runs that reached the target. Infinite if none did."""
        return median(works) if (works := [work_of(point) for point in self.reached]) else math.inf


BySize = Mapping[int, Sequence[Tried]]
"""The settings tried at each batch size. Batch sizes and learning rates ascend."""


def work_of(point: GoalPoint) -> float:
    """Steps. If they are not known, epochs / batch size, which is proportional to the steps."""
    if point.steps is not None:
        return point.steps
    assert point.epochs is not None  # `completed` ensures it
    return point.epochs / point.batch_size


def completed(point: GoalPoint, examples: int | None) -> GoalPoint:
    """The same point with those of steps, epochs and examples that can be computed.

    >>> completed(GoalPoint(batch_size=10, epochs=2.0), examples=1000).steps
    200.0
    """
    total = point.examples
    if total is None and point.steps is not None:
        total = point.steps * point.batch_size
    if total is None and point.epochs is not None and examples is not None:
        total = point.epochs * examples
    if total is None:
        return point
    steps = point.steps if point.steps is not None else total / point.batch_size
    epochs = point.epochs if point.epochs is not None or examples is None else total / examples
    if (steps, total, epochs) == (point.steps, point.examples, point.epochs):
        return point
    return replace(point, steps=steps, examples=total, epochs=epochs)


def crossing_of(run: Run, target: Target) -> Crossing | None:
    """Where a run reached a target, which need not be its own target."""
    if run.crossing is not None and run.target == target:
        return run.crossing
    return target.crossing(run.curve)


def goal_point(run: Run, target: Target) -> GoalPoint | None:
    """The point of a run for a target. None if the run diverged, ran out of memory or never began."""
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
    """Settings for each batch size. Batch sizes and learning rates ascend. Without a target there are no points."""
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
    """Like `tried_by_runs`, for points returned by `completed`."""
    groups: dict[tuple[int, float], list[GoalPoint]] = {}
    for point in points:
        groups.setdefault((point.batch_size, point.learning_rate or 0.0), []).append(point)
    by_size: dict[int, list[Tried]] = {}
    for (size, _), alike in sorted(groups.items()):
        tried = Tried(batch_size=size, learning_rate=alike[0].learning_rate, points=tuple(alike), runs=len(alike))
        by_size.setdefault(size, []).append(tried)
    return by_size


def best_of(tried: Sequence[Tried]) -> Tried | None:
    """The rate that misses the target least often and, among equals, takes the fewest steps. None if all miss it."""
    able = [one for one in tried if one.reached]
    return min(able, key=lambda one: (round(one.missed_share, 9), one.median_work), default=None)


def rates_beside(best: Tried, tried: Sequence[Tried]) -> list[Tried]:
    """All settings with the options of the best, by ascending learning rate."""
    alike = [one for one in tried if one.options == best.options and one.learning_rate is not None]
    return sorted(alike, key=lambda one: one.learning_rate or 0.0)


def usable_rates(best: Tried, tried: Sequence[Tried]) -> tuple[float, float] | None:
    """The range of rates around the best in which most runs reach the target in at most twice its steps."""
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
    """The longest run at a size where no run reached the target: a lower bound on the steps of a tuned run."""
    missed = [point for one in tried for point in one.points]
    return max(missed, key=work_of, default=None)


# Interval of the steps at the best learning rate of a batch size. It accounts for the choice of the rate.

LEVEL = 0.95
DRAWS = 400

MOST_DRAWN = 1000
"""Most runs of one rate that a draw simulates: with more, the scatter of their median falls as 1 / sqrt(runs)."""


class SeedScatter:
    """Scatter between seeds, in log(steps), pooled over batch sizes and usable rates.

    A few seeds at one size say little about the scatter there, but all sizes together determine it well. Deviations
    from the mean of k runs are enlarged by sqrt(k / (k - 1)), Davison and Hinkley 1997, "Bootstrap methods and their
    application", section 3.2.
    """

    def __init__(self, by_size: Iterable[Sequence[Tried]]) -> None:
        deviations: list[Array] = [np.zeros(0)]
        self.freedom = 0
        for tried in by_size:
            for one in _contenders(tried):
                logs = np.sort(np.log([work_of(point) for point in one.reached]))
                if len(logs) > 1:
                    deviations.append((logs - logs.mean()) * math.sqrt(len(logs) / (len(logs) - 1)))
                    self.freedom += len(logs) - 1
        self.deviations = np.concatenate(deviations)

    def draw(self, generator: np.random.Generator, draws: int, runs: int) -> Array:
        """Simulated deviations of runs, shape (draws, runs). They include the uncertainty of the scatter itself."""
        share = np.sqrt(self.freedom / generator.chisquare(self.freedom, (draws, 1)))
        return np.asarray(share * generator.choice(self.deviations, (draws, runs)))


def tuned_factor(tried: Sequence[Tried], scatter: SeedScatter, generator: np.random.Generator) -> tuple[float, float]:
    """The interval of the steps at the best rate, as multiples of their median, by the bootstrap over seeds.

    Each draw simulates every run at every usable rate, with the scatter of seeds and the observed share of misses, and
    then chooses the best rate again.

    Args:
        tried: at one batch size; at least one rate reached the target.
        scatter: of seeds, with at least one degree of freedom.
    """
    best = best_of(tried)
    assert best is not None
    medians, missed = [], []
    for one in _contenders(tried):
        reached = len(one.reached)
        drawn = min(reached, MOST_DRAWN)
        shifts = np.median(scatter.draw(generator, DRAWS, drawn), axis=1) * math.sqrt(drawn / reached)
        medians.append(math.log(one.median_work / best.median_work) + shifts)
        share = 1 - generator.binomial(one.runs, reached / one.runs, DRAWS) / one.runs
        missed.append(np.where(share == 1, 1e3, share))
    # The share of misses decides; the steps decide only among equal shares.
    rank = np.round(np.array(missed), 9) * 1e6 + np.array(medians)
    chosen = rank.argmin(0)
    logs = np.array(medians)[chosen, np.arange(DRAWS)]
    low, high = np.quantile(logs, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return min(1.0, bounded_exp(low)), max(1.0, bounded_exp(high))


def with_factor(value: float, n: int, factor: tuple[float, float] | None) -> Estimate:
    """A median with its interval, or with the reason why there is none: no setting has two seeds."""
    if factor is None:
        return Estimate(value=value, n=n, level=LEVEL, reason="one_seed")
    return Estimate(value=value, n=n, low=value * factor[0], high=value * factor[1], level=LEVEL)


def _contenders(tried: Sequence[Tried]) -> list[Tried]:
    best = best_of(tried)
    if best is None:
        return []
    return [one for one in tried if one.reached and one.median_work <= USABLE * best.median_work]
