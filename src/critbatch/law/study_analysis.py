"""Analyse the batch sizes of a study: one record from runs, or from points measured elsewhere."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median

import numpy as np
from scipy.special import stdtrit

from critbatch.errors import UserError
from critbatch.law.censored_fit import bounded_exp
from critbatch.law.critical_batch import FittedTradeOff, fit_trade_off, perfect_until, regimes, useful_until
from critbatch.law.equal_budgets import read_budgets
from critbatch.law.lr_law import fit_rate_law
from critbatch.law.target_points import (
    SOONEST,
    BySize,
    SeedScatter,
    Tried,
    best_of,
    bound_of,
    completed,
    rates_beside,
    tried_by_points,
    tried_by_runs,
    tuned_factor,
    usable_rates,
    with_factor,
)
from critbatch.law.wider_law import WiderLaw, log_steps
from critbatch.records.core import CurvePoint, Estimate, Outcome, Run, Target
from critbatch.records.study import Analysis, BudgetReading, BudgetUnit, GoalPoint, Prediction, Regime, SizeResult

# The result at each batch size, at its best learning rate.


def size_results(
    by_size: BySize, regime_by_size: Mapping[int, Regime | None], *, seed: int, tuned_before: bool
) -> tuple[SizeResult, ...]:
    """One record for each batch size. Numbers are medians over seeds at the best rate, with intervals by the bootstrap.

    Args:
        by_size: the settings tried at each size.
        regime_by_size: the regime of each size.
        seed: of the bootstrap.
        tuned_before: whether a single rate at a batch size is the best of rates tried elsewhere, and so not at an edge.
    """
    scatter, generator = SeedScatter(by_size.values()), np.random.default_rng(seed)
    results = []
    for size, tried in by_size.items():
        best = best_of(tried)
        factor = None if best is None or not scatter.freedom else tuned_factor(tried, scatter, generator)
        results.append(_result(tried, best, factor, regime_by_size.get(size), tuned_before=tuned_before))
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


FEW_EVALUATIONS = 4
"""Evaluations up to the target, including the first one. With fewer, the result depends on interpolation."""


def analyse(
    runs: Sequence[Run],
    *,
    target: Target | None,
    examples: int | None = None,
    amounts: Mapping[BudgetUnit, float] | None = None,
    seed: int = 0,
) -> Analysis:
    """Return what the runs of one task and recipe say together. The result does not depend on the order of the runs.

    A run that did not reach the target is a bound on its steps, whether it finished, was stopped early or was
    interrupted. A run that diverged or ran out of memory is a failure of its learning rate.

    Args:
        runs: Runs of one task and recipe.
        target: The target; it may differ from that of the runs, because it is searched for on their curves. None for no
            target.
        examples: Number of examples in the training set.
        amounts: The budgets at which batch sizes are compared, as `read_budgets` takes them.
        seed: Seed of the bootstrap.
    """
    by_size = tried_by_runs(runs, target, examples)
    fitted = fit_trade_off(points_for_law(by_size), examples=examples)
    return _analysis(
        by_size,
        fitted,
        target=target,
        seed=seed,
        tuned_before=False,
        budgets=read_budgets(runs, target=target, amounts=amounts),
        cautions=_cautions_of_runs(runs, target),
    )


def analyse_points(points: Sequence[GoalPoint], *, examples: int | None = None, seed: int = 0) -> Analysis:
    """Like `analyse`, for points. A single learning rate at a batch size counts as the best of some tried elsewhere."""
    return analyse_with_fit(points, examples=examples, seed=seed)[0]


def analyse_with_fit(
    points: Sequence[GoalPoint], *, examples: int | None = None, seed: int = 0
) -> tuple[Analysis, FittedTradeOff | None]:
    """Like `analyse_points`, and also returns the fitted law for `predict_runs`."""
    by_size = tried_by_points(completed(point, examples) for point in points)
    fitted = fit_trade_off(points_for_law(by_size), examples=examples)
    return _analysis(by_size, fitted, target=None, seed=seed, tuned_before=True), fitted


def points_for_law(by_size: BySize) -> list[GoalPoint]:
    """Points of the best rate at each batch size, or the largest bound if no rate reached the target."""
    points: list[GoalPoint] = []
    for tried in by_size.values():
        best = best_of(tried)
        if best is not None:
            points += best.points
        elif (bound := bound_of(tried)) is not None:
            points.append(bound)
    return points


def _analysis(
    by_size: BySize,
    fitted: FittedTradeOff | None,
    *,
    target: Target | None,
    seed: int,
    tuned_before: bool,
    budgets: tuple[BudgetReading, ...] = (),
    cautions: Sequence[str] = (),
) -> Analysis:
    record = fitted.record if fitted is not None else None
    best = {size: one for size, tried in by_size.items() if (one := best_of(tried)) is not None}
    regime_by_size = regimes({size: one.median_work for size, one in best.items()}, record)
    sizes = size_results(by_size, regime_by_size, seed=seed, tuned_before=tuned_before)
    return Analysis(
        target=target,
        sizes=sizes,
        trade_off=record,
        perfect_until=perfect_until(regime_by_size),
        useful_until=useful_until(regime_by_size),
        rate_law=fit_rate_law(by_size.values(), tuned_before=tuned_before),
        budgets=budgets,
        cautions=(*(_cautions(by_size, sizes, fitted) if target is not None or tuned_before else ()), *cautions),
    )


def _cautions(by_size: BySize, sizes: Sequence[SizeResult], fitted: FittedTradeOff | None) -> list[str]:
    keys = []
    reached = [point for tried in by_size.values() for one in tried for point in one.reached]
    if not reached:
        return ["no_run_reached_target"]
    if fitted is None:
        keys.append("few_sizes")
    elif fitted.record.reason == "constant_budget":
        keys.append("constant_budget")
    elif fitted.record.rounded:
        keys.append("rounded_repeats")
    if any(not size.reached for size in sizes):
        keys.append("censored_sizes")
    if any(size.at_edge for size in sizes):
        keys.append("rate_at_edge")
    if not any(size.reached > 1 for size in sizes):
        keys.append("one_seed")
    if all(point.steps is not None and point.steps <= SOONEST for point in reached):
        keys.append("target_met_at_start")
    return keys


def _cautions_of_runs(runs: Sequence[Run], target: Target | None) -> list[str]:
    outcomes = {run.outcome for run in runs}
    keys = []
    own = [run for run in runs if run.crossing is not None and run.target == target and run.curve]
    if own and median(bisect_left(run.curve, _crossed(run), key=_step) for run in own) < FEW_EVALUATIONS:
        keys.append("coarse_evaluations")
    if outcomes == {Outcome.DIVERGED}:
        keys.append("all_diverged")
    elif Outcome.DIVERGED in outcomes:
        keys.append("some_diverged")
    if Outcome.OUT_OF_MEMORY in outcomes:
        keys.append("out_of_memory")
    return keys


def _crossed(run: Run) -> float:
    assert run.crossing is not None
    return run.crossing.step


def _step(point: CurvePoint) -> int:
    return point.step


# Prediction: steps of one tuned run at another batch size, by the fitted law.

LEVEL = 0.8


def predict_runs(fitted: FittedTradeOff, batch_sizes: Iterable[int], *, level: float = LEVEL) -> tuple[Prediction, ...]:
    """Return steps and epochs to the target at each batch size, with the interval of one more tuned run.

    It adds, as squares of logarithms, the interval of the wider law at that size, and Student's t times the scatter of
    a run. For a straight line this is the usual prediction interval. The wider law has an exponent and a drift, so the
    interval grows with the distance from the measured batch sizes. There is no prediction if the points show only a
    budget.

    Raises:
        UserError: If a size is not possible.
    """
    sizes = tuple(batch_sizes)
    for size in sizes:
        if size < 1:
            raise UserError(f"A batch size of {size} is not possible: use 1 or more.")
    return () if fitted.wider is None else tuple(_prediction(fitted, fitted.wider, size, level) for size in sizes)


def run_ends(law: WiderLaw, batch_size: float, level: float = LEVEL) -> tuple[float, float, float]:
    """The low end, the middle and the high end of log(steps) of one more run."""
    quantity = log_steps(batch_size)
    middle = law.value(quantity)
    low, high = law.ends(quantity, level)
    run_half_width = float(stdtrit(law.freedom, (1 + level) / 2)) * law.scatter
    return middle - math.hypot(middle - low, run_half_width), middle, middle + math.hypot(high - middle, run_half_width)


def _prediction(fitted: FittedTradeOff, law: WiderLaw, batch_size: int, level: float) -> Prediction:
    low, middle, high = (bounded_exp(one) for one in run_ends(law, batch_size, level))
    if fitted.in_epochs:
        low, middle, high = (one * batch_size for one in (low, middle, high))
        return Prediction(batch_size=batch_size, steps=None, epochs=middle, low=low, high=high, level=level)
    epochs = None if fitted.examples is None else middle * batch_size / fitted.examples
    return Prediction(batch_size=batch_size, steps=middle, epochs=epochs, low=low, high=high, level=level)
