"""Progress of a run towards a target, and an estimate of the steps left."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from statistics import median

from critbatch.records.core import Outcome, Quantity, Run, Target

# Runs judged by another target than their own.


def rejudge(run: Run, target: Target) -> Run:
    """The run as it would have been with `target` as its target. Unchanged if it already is.

    If its curve reaches the target, the run ends at that evaluation. If not, a run that diverged or ran out of memory
    keeps its outcome, and any other run counts as interrupted. Its steps are then a bound. The reason why it ended does
    not count, because runs often rank differently at an easier target than at a harder one.

    The crossing is interpolated linearly between the run's own evaluations.
    """
    if run.target == target:
        return run
    crossing = target.crossing(run.curve)
    if crossing is None:
        failed = run.outcome in (Outcome.DIVERGED, Outcome.OUT_OF_MEMORY)
        outcome = run.outcome if failed else Outcome.INTERRUPTED
        return replace(run, target=target, outcome=outcome, crossing=None, pruned=False)
    evaluations = next(number for number, point in enumerate(run.curve, start=1) if target.reached_by(point))
    last = run.curve[evaluations - 1]
    return replace(
        run,
        target=target,
        outcome=Outcome.REACHED,
        crossing=crossing,
        steps=last.step,
        examples=last.examples,
        epochs=last.epoch,
        seconds=last.seconds,
        evaluation_seconds=run.evaluation_seconds * evaluations / len(run.curve),
        diverged_at=None,
        curve=run.curve[:evaluations],
        noise=tuple(point for point in run.noise if point.step <= last.step),
        pruned=False,
    )


def truncate(run: Run, steps: int) -> Run:
    """The run with its curve cut after so many steps, so that runs can be compared at equal steps.

    If there is no evaluation at exactly this step, the last one before it counts.
    """
    if run.steps <= steps:
        return run
    return replace(run, curve=tuple(point for point in run.curve if point.step <= steps))


LEAST_PROGRESS = 0.01
"""Smallest progress over a doubling of the steps. A run with less makes no progress."""

MOST_DOUBLINGS = 10.0
"""Most doublings of its steps that a run is estimated to need. More would be as good as never."""

NOTHING = 0.1
"""Progress that a metric may show by luck."""

START, SMOOTH = 3, 5


def progress_to_target(run: Run, target: Target) -> float:
    """Progress of a run in log(loss) or log(error): 0 at its first evaluation, 1 at the target.

    The error is 1 - metric for a metric between 0 and 1. Any other metric is used as it is.
    """
    values = _values(run, target)
    return _progress(values[0], max(values), target) if len(values) > 1 else 0.0


def estimated_steps_left(run: Run, target: Target) -> float | None:
    """Steps that a run may still need, if it continues as over the last doubling of its steps.

    Progress is assumed to grow with the logarithm of the steps, as it does if the loss is a power of the steps. None if
    the run made no progress over that doubling. The estimate is too low for a run that levels off.
    """
    now = progress_to_target(run, target)
    then = progress_to_target(truncate(run, run.steps // 2), target)
    if now >= 1:
        return 0.0
    if now - then < LEAST_PROGRESS:
        return None
    return float(run.steps * (2 ** min((1 - now) / (now - then), MOST_DOUBLINGS) - 1))


def learns_nothing(runs: Iterable[Run], target: Target) -> bool:
    """Whether no run came closer to the target than after its first evaluations, so that its loss may be noise.

    Evaluations vary, and the best of many may be good by luck. So the best median of `SMOOTH` consecutive evaluations
    is compared with the best of the first `START`.
    """
    curves = [values for run in runs if len(values := _values(run, target)) > START + SMOOTH]
    return bool(curves) and all(
        _progress(max(values[:START]), max(_medians(values[START:])), target) < NOTHING for values in curves
    )


def fits_training_set(runs: Iterable[Run]) -> bool:
    """Whether some run halved its training loss."""
    return any(
        min(point.train_loss for point in run.curve) < run.curve[0].train_loss / 2 for run in runs if len(run.curve) > 1
    )


def _values(run: Run, target: Target) -> list[float]:
    """The target's quantity along the run, with its sign chosen so that higher is better."""
    if target.quantity is Quantity.VALIDATION_LOSS:
        return [-point.validation_loss for point in run.curve]
    return [point.validation_metric for point in run.curve]


def _progress(first: float, best: float, target: Target) -> float:
    if target.quantity is Quantity.VALIDATION_LOSS:
        first, best, goal = -first, -best, target.value
    else:
        goal = target.value
        if 0 <= first <= 1 and 0 <= best <= 1 and goal < 1:
            first, best, goal = 1 - first, 1 - best, 1 - goal
    if min(first, best, goal) > 0:
        first, best, goal = math.log(first), math.log(best), math.log(goal)
    return (first - best) / (first - goal) if first != goal else 1.0


def _medians(values: list[float]) -> list[float]:
    return [median(values[start : start + SMOOTH]) for start in range(len(values) - SMOOTH + 1)]
