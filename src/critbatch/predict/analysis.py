"""All that a study says of its batch sizes: from runs, or from points that were measured elsewhere, to one record."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from statistics import median

from critbatch.predict.equal_budgets import read_budgets
from critbatch.predict.goal_points import SOONEST, BySize, best_of, bound_of, completed, tried_by_points, tried_by_runs
from critbatch.predict.rate_law import fit_rate_law
from critbatch.predict.regimes import perfect_until, regimes, useful_until
from critbatch.predict.size_results import size_results
from critbatch.predict.trade_off import FittedTradeOff, fit_trade_off
from critbatch.records.core import CurvePoint, Outcome, Run, Target
from critbatch.records.study import Analysis, BudgetReading, GoalPoint, SizeResult, Spent

FEW_EVALUATIONS = 4
"""Of a run up to the target, with that at its start: with fewer, the straight line between two decides."""


def analyse(
    runs: Sequence[Run],
    *,
    target: Target | None,
    examples: int | None = None,
    amounts: Mapping[Spent, float] | None = None,
    seed: int = 0,
) -> Analysis:
    """What the runs of one task and recipe say together. The answer is the same each time, in any order of the runs.

    A run that did not come to the target is a bound on its steps, whether it finished, was stopped early or was
    interrupted. One that diverged or ran out of memory is a failure of its learning rate.

    Args:
        runs: of one task and recipe.
        target: may be another than that of the runs: it is looked for on their curves. None for no target at all.
        examples: in the training set.
        amounts: what batch sizes are compared at, as `read_budgets` takes it.
        seed: of the bootstrap.
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
    """As `analyse`, of points alone. One learning rate at a batch size counts as the best of those tried elsewhere."""
    return analyse_with_fit(points, examples=examples, seed=seed)[0]


def analyse_with_fit(
    points: Sequence[GoalPoint], *, examples: int | None = None, seed: int = 0
) -> tuple[Analysis, FittedTradeOff | None]:
    """As `analyse_points`, with the fitted law that `predict_runs` takes."""
    by_size = tried_by_points(completed(point, examples) for point in points)
    fitted = fit_trade_off(points_for_law(by_size), examples=examples)
    return _analysis(by_size, fitted, target=None, seed=seed, tuned_before=True), fitted


def points_for_law(by_size: BySize) -> list[GoalPoint]:
    """Those of the best rate of each batch size; where no rate came to the target, the largest bound."""
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
    found = regimes({size: one.median_work for size, one in best.items()}, record)
    sizes = size_results(by_size, found, seed=seed, tuned_before=tuned_before)
    return Analysis(
        target=target,
        sizes=sizes,
        trade_off=record,
        perfect_until=perfect_until(found),
        useful_until=useful_until(found),
        rate_law=fit_rate_law(by_size.values(), tuned_before=tuned_before),
        budgets=budgets,
        cautions=(*(_cautions(by_size, sizes, fitted) if target is not None or tuned_before else ()), *cautions),
    )


def _cautions(by_size: BySize, sizes: Sequence[SizeResult], fitted: FittedTradeOff | None) -> list[str]:
    found = []
    reached = [point for tried in by_size.values() for one in tried for point in one.reached]
    if not reached:
        return ["no_run_reached_target"]
    if fitted is None:
        found.append("few_sizes")
    elif fitted.record.reason == "constant_budget":
        found.append("constant_budget")
    elif fitted.record.rounded:
        found.append("rounded_repeats")
    if any(not size.reached for size in sizes):
        found.append("censored_sizes")
    if any(size.at_edge for size in sizes):
        found.append("rate_at_edge")
    if not any(size.reached > 1 for size in sizes):
        found.append("one_seed")
    if all(point.steps is not None and point.steps <= SOONEST for point in reached):
        found.append("target_met_at_start")
    return found


def _cautions_of_runs(runs: Sequence[Run], target: Target | None) -> list[str]:
    outcomes = {run.outcome for run in runs}
    found = []
    own = [run for run in runs if run.crossing is not None and run.target == target and run.curve]
    if own and median(bisect_left(run.curve, _crossed(run), key=_step) for run in own) < FEW_EVALUATIONS:
        found.append("coarse_evaluations")
    if outcomes == {Outcome.DIVERGED}:
        found.append("all_diverged")
    elif Outcome.DIVERGED in outcomes:
        found.append("some_diverged")
    if Outcome.OUT_OF_MEMORY in outcomes:
        found.append("out_of_memory")
    return found


def _crossed(run: Run) -> float:
    assert run.crossing is not None
    return run.crossing.step


def _step(point: CurvePoint) -> int:
    return point.step
