"""What pictures and sentences read off runs: groups, medians, the same epoch in all, the curves worth drawing."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import TypeVar

from critbatch.records import CurvePoint, Outcome, Quantity, Run, Speed, SpeedPoint, Target

# More curves than this cannot be told apart, more points of one cannot be seen.
MOST_CURVES = 32
MOST_POINTS = 80

T = TypeVar("T")

MISSED = (Outcome.FINISHED, Outcome.INTERRUPTED)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The runs that differ by seed alone."""

    batch_size: int
    learning_rate: float
    runs: tuple[Run, ...]

    @property
    def seconds(self) -> list[float]:
        return sorted(run.crossing.seconds for run in self.runs if run.crossing)

    @property
    def reaches(self) -> bool:
        """Most of its runs came to their target."""
        return 2 * len(self.seconds) > len(self.runs)


@dataclass(frozen=True, kw_only=True)
class Score:
    """Metrics at one batch size after the same number of epochs, at its best learning rate: means over the seeds."""

    batch_size: int
    learning_rate: float
    train: tuple[float, ...]  # one of each seed
    validation: tuple[float, ...]

    @property
    def mean(self) -> float:
        return fmean(self.validation)


def metric_name(runs: Sequence[Run]) -> str:
    return runs[0].metric_name if runs else "metric"


def timed(speed: Speed) -> list[SpeedPoint]:
    """The points that hold a time, small batches first."""
    points = [point for point in speed.fitting if point.step_seconds is not None]
    return sorted(points, key=lambda point: point.batch_size)


def settings(runs: Sequence[Run]) -> list[Setting]:
    groups: defaultdict[tuple[int, float], list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.batch_size, run.learning_rate].append(run)
    return [Setting(batch_size=b, learning_rate=lr, runs=tuple(group)) for (b, lr), group in sorted(groups.items())]


def soonest_settings(runs: Sequence[Run]) -> list[Setting]:
    """At each batch size the learning rate whose median run came to the target first."""
    best: dict[int, Setting] = {}
    for setting in settings(runs):
        held = best.get(setting.batch_size)
        if setting.reaches and (held is None or median(setting.seconds) < median(held.seconds)):
            best[setting.batch_size] = setting
    return list(best.values())


def closest(runs: Sequence[Run], target: Target | None) -> tuple[Run, CurvePoint] | None:
    """The run and evaluation with the best validation value of all: by the target's quantity, else by the metric."""
    by_loss = target is not None and target.quantity is Quantity.VALIDATION_LOSS

    def goodness(seen: tuple[Run, CurvePoint]) -> float:
        return -seen[1].validation_loss if by_loss else seen[1].validation_metric

    seen = [(run, point) for run in runs for point in run.curve]
    return max((s for s in seen if math.isfinite(goodness(s))), key=goodness, default=None)


def at_epoch(run: Run, epoch: float) -> tuple[float, float] | None:
    """Train and validation metric after `epoch` epochs, interpolated; None where the run did not get there."""
    for before, after in zip(run.curve, run.curve[1:], strict=False):
        if before.epoch <= epoch <= after.epoch * (1 + 1e-9):
            share = (epoch - before.epoch) / (after.epoch - before.epoch) if after.epoch > before.epoch else 1.0
            train = before.train_metric + share * (after.train_metric - before.train_metric)
            return train, before.validation_metric + share * (after.validation_metric - before.validation_metric)
    return None


def scores_at_equal_epochs(runs: Sequence[Run]) -> tuple[float, list[Score]]:
    """The most epochs that every batch size has had, and the metrics there. (0, []) where none can be compared.

    Of runs by several recipes those of one are compared: of the recipe that was tried at the most batch sizes.
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
    for setting in settings(sound):
        pairs = [pair for run in setting.runs if (pair := at_epoch(run, epoch)) is not None]
        if not pairs or epoch <= 0:
            continue
        train, validation = zip(*pairs, strict=True)
        score = Score(
            batch_size=setting.batch_size, learning_rate=setting.learning_rate, train=train, validation=validation
        )
        held = best.get(score.batch_size)
        if held is None or score.mean > held.mean:
            best[score.batch_size] = score
    return (epoch, list(best.values())) if best else (0.0, [])


def curves_worth_drawing(runs: Sequence[Run]) -> list[Run]:
    """All runs, or where they are many the best of each batch size, then the next best, up to `MOST_CURVES`."""
    drawn = [run for run in runs if run.curve]
    if len(drawn) <= MOST_CURVES:
        return sorted(drawn, key=lambda run: run.batch_size)
    by_size: defaultdict[int, list[Run]] = defaultdict(list)
    for run in sorted(drawn, key=_soonest_first):
        by_size[run.batch_size].append(run)
    ranked = [(rank, size, run) for size, group in by_size.items() for rank, run in enumerate(group)]
    ranked.sort(key=lambda entry: entry[:2])
    return sorted((run for _, _, run in ranked[:MOST_CURVES]), key=lambda run: run.batch_size)


def _soonest_first(run: Run) -> tuple[float, float]:
    finite = [point.validation_metric for point in run.curve if math.isfinite(point.validation_metric)]
    return (run.crossing.seconds if run.crossing else math.inf), -max(finite, default=-math.inf)


def thin(points: Sequence[T], most: int = MOST_POINTS) -> list[T]:
    """At most `most` of the points, evenly spread, first and last among them."""
    if len(points) <= most:
        return list(points)
    return [points[round(i * (len(points) - 1) / (most - 1))] for i in range(most)]
