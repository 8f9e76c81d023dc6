"""The analysis of a study, on runs whose truth is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from critbatch.law.critical_batch import fit_trade_off, perfect_until, regimes, useful_until
from critbatch.law.study_analysis import analyse, analyse_points
from critbatch.law.target_points import tried_by_runs, usable_rates
from critbatch.records.core import CurvePoint, Outcome, Quantity, Run, Target
from critbatch.records.study import BudgetReading, BudgetUnit, GoalPoint, Regime

TARGET = Target(quantity=Quantity.VALIDATION_METRIC, value=0.9)
EXAMPLES = 50_000
SIZES = tuple(2**k for k in range(3, 12))
MIN_STEPS, CRITICAL = 300.0, 200.0
FACTORS = (0.2, 0.5, 1.0, 2.0, 5.0)


def needed(size: int, factor: float = 1.0) -> float:
    """Steps to the target at `factor` times the best rate."""
    return MIN_STEPS * (1 + CRITICAL / size) * (factor + 1 / factor) / 2


def best_rate(size: int, exponent: float = 1.0) -> float:
    return 0.001 * size**exponent


def run(
    size: int,
    *,
    factor: float = 1.0,
    seed: int = 0,
    steps: float | None = None,
    ends: float = 2.0,
    points: int = 41,
    outcome: Outcome = Outcome.FINISHED,
    exponent: float = 1.0,
    **others: object,
) -> Run:
    """Its metric rises in a straight line to 0.9 at `steps`, and it goes on to `ends` times that."""
    steps = needed(size, factor) if steps is None else steps
    curve = []
    for i in range(points):
        step = round(steps * ends * i / (points - 1))
        metric = 0.9 * step / steps
        curve.append(
            CurvePoint(
                step=step,
                examples=step * size,
                epoch=step * size / EXAMPLES,
                seconds=step * (0.001 + 1e-6 * size),
                learning_rate=0.1,
                train_loss=3 - metric,
                train_metric=metric + 0.05,
                validation_loss=3.1 - metric,
                validation_metric=metric,
            )
        )
    last = curve[-1]
    made = Run(
        task="a task",
        recipe="sgd",
        batch_size=size,
        micro_batch_size=size,
        learning_rate=factor * best_rate(size, exponent),
        seed=seed,
        target=None,
        outcome=outcome,
        crossing=None,
        steps=last.step,
        examples=last.examples,
        epochs=last.epoch,
        seconds=last.seconds,
        evaluation_seconds=0.0,
        curve=tuple(curve),
    )
    return replace(made, **others)


def study(*, seeds: int = 3, scatter: float = 0.05, exponent: float = 1.0, chance_seed: int = 0) -> list[Run]:
    chance = np.random.default_rng(chance_seed)
    return [
        run(
            size,
            factor=factor,
            seed=seed,
            steps=needed(size, factor) * math.exp(scatter * chance.standard_normal()),
            exponent=exponent,
        )
        for size in SIZES
        for factor in FACTORS
        for seed in range(seeds)
    ]


def test_a_study_gives_back_the_law_the_rates_and_the_regimes_it_was_made_with():
    found = analyse(study(scatter=0.02), target=TARGET, examples=EXAMPLES)
    law, rates = found.trade_off, found.rate_law
    assert law is not None and law.min_steps is not None and law.is_consistent and law.test == "lack_of_fit"
    for estimate, truth in ((law.min_steps, MIN_STEPS), (law.critical_batch_size, CRITICAL)):
        assert estimate.low is not None and estimate.high is not None
        assert estimate.low < truth < estimate.high < 2 * truth
    exact = law.critical_if_exact
    assert exact is not None and exact.low is not None and exact.high is not None
    assert exact.low < CRITICAL < exact.high < 1.1 * CRITICAL
    assert rates is not None and rates.linear and not rates.square_root and not rates.bends
    assert rates.n == len(SIZES) and rates.sizes == (SIZES[0], SIZES[-1])
    for size in found.sizes:
        assert size.learning_rate == pytest.approx(best_rate(size.batch_size))
        assert size.runs == 15 and size.rates == 5 and size.seeds == size.reached == 3 and not size.at_edge
        assert size.steps is not None and size.steps.low is not None and size.steps.high is not None
        assert size.steps.low < size.steps.value < size.steps.high
        assert size.epochs is not None and size.seconds is not None
        assert size.epochs.value == pytest.approx(size.steps.value * size.batch_size / EXAMPLES, rel=0.01)
        assert size.seconds.value == pytest.approx(size.steps.value * (0.001 + 1e-6 * size.batch_size), rel=0.01)
        low, high = size.usable_rates or (0, 0)
        assert (low, high) == pytest.approx((best_rate(size.batch_size) / 2, best_rate(size.batch_size) * 2))
    assert found.sizes[0].regime is Regime.PERFECT_SCALING and found.sizes[-1].regime is Regime.MAXIMAL_PARALLELISM
    assert found.perfect_until == 32 and found.useful_until in (512, 1024)
    assert found.cautions == ()


def test_the_same_runs_in_another_order_say_the_same():
    runs = study(seeds=2)
    assert analyse(runs, target=TARGET, examples=EXAMPLES) == analyse(runs[::-1], target=TARGET, examples=EXAMPLES)


def test_a_target_that_the_runs_did_not_have_is_looked_for_on_their_curves():
    easier = replace(TARGET, value=0.45)
    half, whole = (analyse(study(scatter=0.0), target=target) for target in (easier, TARGET))
    for one, other in zip(half.sizes, whole.sizes, strict=True):
        assert one.steps is not None and other.steps is not None
        assert one.steps.value == pytest.approx(other.steps.value / 2, rel=1e-6)


def test_what_missed_the_target_is_a_bound_and_what_failed_a_failure_of_its_rate():
    fast = [run(64, factor=2.0, seed=0), run(64, factor=2.0, seed=1, outcome=Outcome.DIVERGED, ends=0.2)]
    slow = [run(64, factor=0.5, seed=seed) for seed in (0, 1)]
    late = [run(8, seed=0, ends=0.9, pruned=True), run(8, seed=1, ends=0.8, outcome=Outcome.INTERRUPTED)]
    lost = [run(16, seed=0, ends=0.0, points=2, outcome=Outcome.OUT_OF_MEMORY)]
    found = analyse([*fast, *slow, *late, *lost], target=TARGET, examples=EXAMPLES)
    of_8, of_16, of_64 = found.sizes
    assert of_64.learning_rate == pytest.approx(best_rate(64) / 2) and of_64.diverged == 1 and of_64.reached == 2
    assert of_8.steps is None and of_8.learning_rate is None and of_8.bound == pytest.approx(0.9 * needed(8), rel=0.01)
    assert of_16.out_of_memory == 1 and of_16.bound is None
    assert set(found.cautions) >= {"few_sizes", "censored_sizes", "some_diverged", "out_of_memory"}


def test_with_no_target_budgets_are_read_and_nothing_is_said_of_steps():
    found = analyse(study(seeds=1), target=None)
    assert found.trade_off is None and found.budgets and found.cautions == ()
    assert all(size.steps is None for size in found.sizes)


def test_where_no_run_comes_to_the_target_it_is_said():
    found = analyse([run(size, ends=0.5) for size in SIZES], target=TARGET)
    assert found.cautions == ("no_run_reached_target",) and found.trade_off is None
    assert all(size.bound is not None for size in found.sizes)


def test_rates_whose_best_is_at_the_edge_are_told_and_left_out_of_the_rate_law():
    runs = [one for one in study(seeds=1, scatter=0.0) if one.batch_size > 8 or one.learning_rate <= best_rate(8)]
    found = analyse(runs, target=TARGET)
    assert found.sizes[0].at_edge and "rate_at_edge" in found.cautions
    assert found.rate_law is not None and found.rate_law.sizes[0] == 16


def test_usable_rates_end_where_a_rate_takes_more_than_twice_the_steps_or_fails_too_often():
    runs = [run(64, factor=factor, seed=seed) for factor in (0.2, 0.5, 1.0, 2.0) for seed in (0, 1, 2)]
    runs = [
        replace(one, outcome=Outcome.DIVERGED, curve=one.curve[:5])
        if one.learning_rate > best_rate(64) and one.seed
        else one
        for one in runs
    ]
    (tried,) = tried_by_runs(runs, TARGET, EXAMPLES).values()
    assert usable_rates(tried[2], tried) == pytest.approx((0.5 * best_rate(64), best_rate(64)))


@pytest.mark.parametrize(("exponent", "linear", "square_root"), [(1.0, True, False), (0.5, False, True)])
def test_the_exponent_of_the_best_rate(exponent: float, linear: bool, square_root: bool):
    law = analyse(study(exponent=exponent), target=TARGET).rate_law
    assert law is not None and law.exponent.low is not None and law.exponent.high is not None
    assert law.exponent.low < exponent < law.exponent.high < exponent + 0.3
    assert (law.linear, law.square_root, law.bends) == (linear, square_root, False)


def test_a_rate_that_saturates_bends():
    points = [
        GoalPoint(batch_size=size, steps=needed(size), learning_rate=0.3 / (1 + CRITICAL / size)) for size in SIZES
    ]
    law = analyse_points(points).rate_law
    assert law is not None and law.bends and not law.linear


def test_one_rate_for_all_sizes_is_no_rate_law():
    assert analyse_points([GoalPoint(batch_size=b, steps=needed(b), learning_rate=0.1) for b in SIZES]).rate_law is None


def test_each_regime_begins_where_the_local_slope_says():
    points = [GoalPoint(batch_size=size, steps=needed(size)) for size in (20, 39, 41, 200, 990, 1010, 4000)]
    fitted = fit_trade_off(points)
    assert fitted is not None
    steps = {point.batch_size: point.steps or 0.0 for point in points}
    found = regimes(steps, fitted.record)
    expected = [Regime.PERFECT_SCALING] * 2 + [Regime.DIMINISHING_RETURNS] * 3 + [Regime.MAXIMAL_PARALLELISM] * 2
    assert list(found.values()) == expected
    assert perfect_until(found) == 39 and useful_until(found) == 990


def test_where_the_law_fails_regimes_are_those_of_the_measured_slopes():
    hinge = {size: 1000.0 * max(1.0, 128 / size) for size in (16, 32, 64, 128, 256, 512)}
    found = regimes(hinge, None)
    assert [found[size] for size in (16, 64, 128, 256, 512)] == [
        Regime.PERFECT_SCALING,
        Regime.PERFECT_SCALING,
        Regime.DIMINISHING_RETURNS,
        Regime.MAXIMAL_PARALLELISM,
        Regime.MAXIMAL_PARALLELISM,
    ]


def test_where_b_crit_may_be_anything_no_regime_is_told():
    chance = np.random.default_rng(0)
    points = [GoalPoint(batch_size=b, steps=needed(b) * math.exp(chance.standard_normal())) for b in (190, 200, 210)]
    fitted = fit_trade_off(points)
    assert fitted is not None
    assert set(regimes({200: 1.0}, fitted.record).values()) == {None}


def test_intervals_of_steps_at_the_best_rate_hold_the_truth():
    """Nine sizes in each of 25 studies with three seeds: one standard error is 1.5 %."""
    held = total = 0
    for case in range(25):
        for size in analyse(study(seeds=3, scatter=0.15, chance_seed=case), target=TARGET).sizes:
            assert size.steps is not None and size.steps.low is not None and size.steps.high is not None
            held += size.steps.low <= needed(size.batch_size) <= size.steps.high
            total += 1
    assert 0.90 < held / total < 0.99


def test_one_seed_gives_no_interval():
    found = analyse(study(seeds=1), target=TARGET)
    assert all(size.steps is not None and size.steps.reason == "one_seed" for size in found.sizes)
    assert "one_seed" in found.cautions


def reading(readings: tuple[BudgetReading, ...], spent: BudgetUnit, *, tuned: bool = True) -> BudgetReading:
    return next(one for one in readings if one.spent is spent and one.tuned is tuned)


def test_budgets_are_read_off_the_curves_at_the_most_that_all_sizes_spent():
    runs = [run(size, seed=seed, steps=1000, ends=ends) for size, ends in ((8, 1.0), (64, 0.5)) for seed in (0, 1)]
    runs = [replace(one, learning_rate=0.1) for one in runs]
    found = analyse(runs, target=TARGET, examples=EXAMPLES).budgets
    steps = reading(found, BudgetUnit.STEPS)
    assert steps.amount == 500
    assert [point.validation_metric.value for point in steps.points] == pytest.approx([0.45, 0.45])
    epochs = reading(found, BudgetUnit.EPOCHS)
    assert epochs.amount == pytest.approx(1000 * 8 / EXAMPLES)
    assert [point.validation_metric.value for point in epochs.points] == pytest.approx([0.9, 0.9 / 8])
    assert [point.train_loss.value for point in epochs.points] == pytest.approx([2.1, 3 - 0.9 / 8])
    assert epochs.points[0].validation_metric.low == pytest.approx(0.9)
    seconds = reading(found, BudgetUnit.SECONDS)
    assert seconds.amount == pytest.approx(500 * 0.001064)
    assert len([one for one in found if not one.tuned]) == 3


def test_budgets_are_read_at_what_is_asked_and_leave_out_what_is_shorter():
    runs = [run(8, steps=1000, ends=1.0), run(64, steps=1000, ends=0.5)]
    found = analyse(runs, target=TARGET, amounts={BudgetUnit.STEPS: 800}).budgets
    steps = reading(found, BudgetUnit.STEPS)
    assert steps.amount == 800 and [point.batch_size for point in steps.points] == [8]
    assert steps.points[0].validation_metric.reason == "one_seed"


def test_the_best_rate_for_a_budget_fails_least_often_then_does_best_on_validation():
    good = [run(64, factor=1.0, seed=seed, steps=1000) for seed in (0, 1)]
    better = [run(64, factor=2.0, seed=seed, steps=900) for seed in (0, 1)]
    wild = [run(64, factor=4.0, seed=0, steps=500), run(64, factor=4.0, seed=1, ends=0.1, outcome=Outcome.DIVERGED)]
    amounts = {BudgetUnit.STEPS: 400.0}
    (point,) = reading(
        analyse([*good, *better, *wild], target=TARGET, amounts=amounts).budgets, BudgetUnit.STEPS
    ).points
    assert point.learning_rate == pytest.approx(2 * best_rate(64)) and point.failed == 0
    (point,) = reading(analyse(wild, target=TARGET, amounts=amounts).budgets, BudgetUnit.STEPS).points
    assert point.failed == 1 and point.validation_metric.n == 1


def test_where_the_target_is_a_loss_the_best_rate_has_the_lowest_validation_loss():
    low_loss = [replace(one, validation_loss=0.1) for one in run(64, factor=1.0, steps=1000).curve]
    runs = [run(64, factor=1.0, steps=1000, ends=1.0), run(64, factor=2.0, steps=900, ends=1.0)]
    runs[0] = replace(runs[0], curve=tuple(low_loss))
    loss = Target(quantity=Quantity.VALIDATION_LOSS, value=0.2)
    (point,) = reading(analyse(runs, target=loss).budgets, BudgetUnit.STEPS).points
    assert point.learning_rate == pytest.approx(best_rate(64))


def test_a_curve_that_is_no_number_any_more_is_a_failure():
    bad = run(64, steps=1000)
    bad = replace(bad, curve=(*bad.curve[:20], *(replace(one, train_loss=math.nan) for one in bad.curve[20:])))
    found = analyse([bad, run(64, seed=1, steps=1000)], target=TARGET, amounts={BudgetUnit.STEPS: 1500.0})
    (point,) = reading(found.budgets, BudgetUnit.STEPS).points
    assert point.failed == 1 and math.isfinite(point.train_loss.value)


def test_options_that_vary_are_part_of_what_is_best():
    slow = [replace(run(size, factor=1.5), options={"momentum": 0.0, "nesterov": True}) for size in SIZES]
    fast = [replace(run(size), options={"momentum": 0.9, "nesterov": True}) for size in SIZES]
    found = analyse([*slow, *fast], target=TARGET)
    assert all(size.options == {"momentum": 0.9} for size in found.sizes)


def test_few_evaluations_before_the_target_are_told():
    own = [replace(run(size, ends=1.0, points=3), target=TARGET, outcome=Outcome.REACHED) for size in SIZES]
    own = [replace(one, crossing=TARGET.crossing(one.curve)) for one in own]
    assert "coarse_evaluations" in analyse(own, target=TARGET).cautions


def test_the_one_rate_for_all_is_one_that_was_tried_everywhere_and_not_the_best_of_the_smallest_size_alone():
    tried = [(8, 0.01, 800), (8, 0.1, 1000), (64, 0.1, 900), (512, 0.1, 900), (512, 1.0, 700)]
    runs = [replace(run(size, steps=steps), learning_rate=rate) for size, rate, steps in tried]
    one = reading(analyse(runs, target=TARGET, amounts={BudgetUnit.STEPS: 500}).budgets, BudgetUnit.STEPS, tuned=False)
    assert [(point.batch_size, point.learning_rate) for point in one.points] == [(8, 0.1), (64, 0.1), (512, 0.1)]
