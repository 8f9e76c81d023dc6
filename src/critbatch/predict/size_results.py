"""What was found at each batch size, with the learning rate that is best there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median

import numpy as np

from critbatch.predict.goal_points import BySize, Tried, best_of, bound_of, rates_beside, usable_rates
from critbatch.predict.tuned_steps import SeedScatter, tuned_factor, with_factor
from critbatch.records.core import Estimate
from critbatch.records.study import GoalPoint, Regime, SizeResult


def size_results(
    by_size: BySize, found: Mapping[int, Regime | None], *, seed: int, tuned_before: bool
) -> tuple[SizeResult, ...]:
    """One record for each batch size. Numbers are medians over seeds at the best rate, with intervals by the bootstrap.

    Args:
        by_size: what was tried.
        found: the regimes.
        seed: of the bootstrap.
        tuned_before: whether one rate at a batch size is the best of those that were tried elsewhere, so at no edge.
    """
    scatter, generator = SeedScatter(by_size.values()), np.random.default_rng(seed)
    results = []
    for size, tried in by_size.items():
        best = best_of(tried)
        factor = None if best is None or not scatter.freedom else tuned_factor(tried, scatter, generator)
        results.append(_result(tried, best, factor, found.get(size), tuned_before=tuned_before))
    return tuple(results)


def _result(
    tried: Sequence[Tried],
    best: Tried | None,
    factor: tuple[float, float] | None,
    regime: Regime | None,
    *,
    tuned_before: bool,
) -> SizeResult:
    def over_seeds(value: Callable[[GoalPoint], float | None]) -> Estimate | None:
        values = [one for point in best.reached if (one := value(point)) is not None] if best is not None else []
        return with_factor(median(values), len(values), factor) if values else None

    bound = bound_of(tried) if best is None else None
    beside = [one.learning_rate for one in rates_beside(best, tried)] if best is not None else []
    single = len(beside) == 1 and tuned_before
    return SizeResult(
        batch_size=tried[0].batch_size,
        runs=sum(one.runs for one in tried),
        rates=len({one.learning_rate for one in tried} - {None}),
        diverged=sum(one.diverged for one in tried),
        out_of_memory=sum(one.out_of_memory for one in tried),
        learning_rate=None if best is None else best.learning_rate,
        options={} if best is None else best.options,
        usable_rates=usable_rates(best, tried) if best is not None and len(beside) > 1 else None,
        at_edge=best is not None and bool(beside) and not single and best.learning_rate in (beside[0], beside[-1]),
        seeds=0 if best is None else best.runs,
        reached=0 if best is None else len(best.reached),
        steps=over_seeds(lambda point: point.steps),
        bound=None if bound is None else bound.steps,
        examples=over_seeds(lambda point: point.examples),
        epochs=over_seeds(lambda point: point.epochs),
        seconds=over_seeds(_seconds),
        regime=regime,
    )


def _seconds(point: GoalPoint) -> float | None:
    return None if point.step_seconds is None or point.steps is None else point.steps * point.step_seconds
