"""A run seen from another target than the one it was made for."""

from __future__ import annotations

from dataclasses import replace

from critbatch.records.core import Outcome, Run, Target


def judged(run: Run, target: Target) -> Run:
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
        return replace(run, target=target, outcome=outcome, crossing=None, stopped_early=False)
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
        stopped_early=False,
    )


def seen_until(run: Run, steps: int) -> Run:
    """The run with its curve as it was after so many steps: runs are compared at equal steps, also where one is ahead.

    Of a run that is ahead there may be no evaluation at just so many steps; the last one before counts.
    """
    if run.steps <= steps:
        return run
    return replace(run, curve=tuple(point for point in run.curve if point.step <= steps))
