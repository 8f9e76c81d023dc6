"""How far a run has come on its way to a target, and how long the rest of it may take."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from statistics import median

from critbatch.records.core import Outcome, Quantity, Run, Target

# A run seen from another target than the one it was made for.


def rejudge(run: Run, target: Target) -> Run:
    """The run as it would have been, had it been made for `target`; the same one where it was.

    Where its curve comes to the target, it ends at that evaluation. Where it does not, a run that diverged or ran out
    of memory keeps that outcome, and any other has been interrupted on its way: its steps are a bound, and why it was
    ended says nothing, since the order of runs at an easier target is often not that at a harder one.

    The crossing is that of the run's own evaluations: between two it is a straight line.
    """
    if run.target == target:
        return run
    crossing = target.crossing(run.curve)
    if crossing is None:
        failed = run.outcome in (Outcome.DIVERGED, Outcome.OUT_OF_MEMORY)
        outcome = run.outcome if failed else Outcome.INTERRUPTED
        return replace(run, target=target, outcome=outcome, crossing=None, pruned=False)
    seen = next(number for number, point in enumerate(run.curve, start=1) if target.reached_by(point))
    last = run.curve[seen - 1]
    return replace(
        run,
        target=target,
        outcome=Outcome.REACHED,
        crossing=crossing,
        steps=last.step,
        examples=last.examples,
        epochs=last.epoch,
        seconds=last.seconds,
        evaluation_seconds=run.evaluation_seconds * seen / len(run.curve),
        diverged_at=None,
        curve=run.curve[:seen],
        noise=tuple(point for point in run.noise if point.step <= last.step),
        pruned=False,
    )


def truncate(run: Run, steps: int) -> Run:
    """The run with its curve as it was after so many steps: runs are compared at equal steps, also where one is ahead.

    Of a run that is ahead there may be no evaluation at just so many steps; the last one before counts.
    """
    if run.steps <= steps:
        return run
    return replace(run, curve=tuple(point for point in run.curve if point.step <= steps))


LEAST_PROGRESS = 0.01
"""Of the whole way, over a doubling of the steps: below it a run stands still."""

MOST_DOUBLINGS = 10.0
"""That a run is told to need: beyond, it is as good as never."""

NOTHING = 0.1
"""Of the way: less is what a metric gains by luck."""

START, SMOOTH = 3, 5


def progress_to_target(run: Run, target: Target) -> float:
    """How far a run has come: 0 at its first evaluation, 1 at the target, in the logarithm of the loss or of the error.

    The error is 1 minus the metric, where that is a share; any other metric counts as it is.
    """
    values = _values(run, target)
    return _part(values[0], max(values), target) if len(values) > 1 else 0.0


def estimated_steps_left(run: Run, target: Target) -> float | None:
    """Steps that a run may still need, if it goes on as over the last doubling of its steps.

    The part of the way grows with the logarithm of the steps there, as it does where the loss falls by a power of them.
    None where it did not come closer over that doubling. A guess, on the low side where a run levels off.
    """
    now = progress_to_target(run, target)
    then = progress_to_target(truncate(run, run.steps // 2), target)
    if now >= 1:
        return 0.0
    if now - then < LEAST_PROGRESS:
        return None
    return float(run.steps * (2 ** min((1 - now) / (now - then), MOST_DOUBLINGS) - 1))


def learns_nothing(runs: Iterable[Run], target: Target) -> bool:
    """Whether no run came closer to the target than it was after its first evaluations: its loss may be noise.

    Evaluations swing, and the best of many is good by luck: so the best median of `SMOOTH` in a row is compared with
    the best of the first `START`.
    """
    told = [values for run in runs if len(values := _values(run, target)) > START + SMOOTH]
    return bool(told) and all(
        _part(max(values[:START]), max(_medians(values[START:])), target) < NOTHING for values in told
    )


def fits_training_set(runs: Iterable[Run]) -> bool:
    """Whether some run took its training loss down by half."""
    return any(
        min(point.train_loss for point in run.curve) < run.curve[0].train_loss / 2 for run in runs if len(run.curve) > 1
    )


def _values(run: Run, target: Target) -> list[float]:
    """What the target is set on, along the run, as something that is to rise."""
    if target.quantity is Quantity.VALIDATION_LOSS:
        return [-point.validation_loss for point in run.curve]
    return [point.validation_metric for point in run.curve]


def _part(first: float, best: float, target: Target) -> float:
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
