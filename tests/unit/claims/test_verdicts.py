"""Verdicts follow from intervals: held, not held, and undecided where the interval does not tell."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import product
from statistics import NormalDist
from typing import Any

import pytest

import sample_records
import sample_studies
from critbatch.claims.effects import (
    difference,
    judge_effect,
    judge_equality,
    mean,
    mean_ratio,
    network_pair,
    paired_end,
    ratio,
    validation_at,
)
from critbatch.claims.summary import combine_verdicts, judge_claims, on_summary, summary_table
from critbatch.claims.tables import recipe_row, untuned_row
from critbatch.claims.verdicts import (
    on_batches,
    on_both,
    on_choice,
    on_generalization,
    on_noise,
    on_optimization,
    on_paths,
    on_time,
)
from critbatch.records.claims import (
    ClaimId,
    ClaimVerdict,
    DirectionSpread,
    Measure,
    NetworkPair,
    Partition,
    Paths,
    RecipeRow,
    Winner,
)
from critbatch.records.core import Estimate, Outcome, Run
from critbatch.records.loss_surface import Escape, EscapeCount

HELD, NOT_HELD, UNDECIDED = ClaimVerdict.HELD, ClaimVerdict.NOT_HELD, ClaimVerdict.UNDECIDED


def around(value: float, half: float, n: int = 5) -> Estimate:
    return Estimate(value=value, n=n, low=value - half, high=value + half)


def alone(value: float) -> Estimate:
    return Estimate(value=value, n=1, reason="lecture_one_seed")


# --- effects ---------------------------------------------------------------------------------------------------------


def test_independent_intervals_add_in_quadrature() -> None:
    told = difference(around(5.0, 0.3), around(3.0, 0.4))
    assert (told.value, told.low, told.high) == (2.0, pytest.approx(1.5), pytest.approx(2.5))


def test_a_ratio_is_a_difference_of_logarithms() -> None:
    first = Estimate(value=8.0, n=5, low=4.0, high=16.0)
    second = Estimate(value=2.0, n=5, low=2.0, high=2.0)
    told = ratio(first, second)
    assert (told.value, told.low, told.high) == (pytest.approx(4.0), pytest.approx(2.0), pytest.approx(8.0))


def test_skewed_intervals_stay_skewed() -> None:
    told = difference(Estimate(value=0.0, n=9, low=-1.0, high=3.0), Estimate(value=0.0, n=9, low=0.0, high=0.0))
    assert (told.low, told.high) == (-1.0, 3.0)


def test_intervals_of_differences_cover_what_they_say() -> None:
    """Over 4,000 draws of two groups of five: 95 % within four standard errors, and not narrower than that."""
    draws = random.Random(0)
    covered = 0
    for _ in range(4000):
        first, second = ([draws.gauss(at, 1.0 + at) for _ in range(5)] for at in (1.0, 0.5))
        told = difference(mean(first), mean(second))
        assert told.low is not None and told.high is not None
        covered += told.low <= 0.5 <= told.high
    assert 0.95 - 4 * (0.95 * 0.05 / 4000) ** 0.5 <= covered / 4000 <= 0.99


def test_a_mean_has_students_interval_and_one_value_none() -> None:
    told = mean([1.0, 2.0, 3.0])
    assert told.high == pytest.approx(2.0 + 4.302652729911275 / 3**0.5)
    assert mean([1.0]).low is None and mean([1.0]).reason == "lecture_one_seed"


def test_a_mean_of_ratios_is_geometric_and_leaves_out_what_has_no_logarithm() -> None:
    told = mean_ratio([(2.0, 1.0), (8.0, 1.0), (0.0, 1.0)])
    assert told is not None
    assert (told.value, told.n) == (pytest.approx(4.0), 2)
    assert mean_ratio([(0.0, 1.0)]) is None


@pytest.mark.parametrize(
    ("low", "high", "holds"),
    [
        (0.1, 2.0, HELD),
        (-1.0, 2.0, UNDECIDED),
        (-1.0, 0.05, NOT_HELD),
        (0.01, 0.05, NOT_HELD),  # surely there, and surely too small to matter
        (-2.0, -1.0, NOT_HELD),
    ],
)
def test_the_interval_decides(low: float, high: float, holds: ClaimVerdict) -> None:
    effect = Estimate(value=(low + high) / 2, n=5, low=low, high=high)
    told = judge_effect("key", effect, measure=Measure.DIFFERENCE, margin=0.1)
    assert told.holds is holds
    assert (told.reason == "lecture_wide") is (holds is UNDECIDED)


def test_that_there_is_no_effect_is_held_where_the_interval_is_small() -> None:
    def holds(low: float, high: float) -> ClaimVerdict:
        effect = Estimate(value=(low + high) / 2, n=5, low=low, high=high)
        return judge_equality("key", effect, measure=Measure.RATIO, margin=1.5).holds

    assert (holds(0.9, 1.2), holds(1.2, 1.8), holds(1.8, 2.5)) == (HELD, UNDECIDED, NOT_HELD)


def test_all_pairs_of_verdicts_join_as_the_record_says() -> None:
    for first, second in product(ClaimVerdict, repeat=2):
        both = {first, second}
        expected = NOT_HELD if NOT_HELD in both else UNDECIDED if UNDECIDED in both else HELD
        assert combine_verdicts([first, second]) is expected
    assert combine_verdicts([]) is UNDECIDED


# --- batches, paths, time --------------------------------------------------------------------------------------------


def partition(order: str, *epochs: tuple[int, ...]) -> Partition:
    return Partition(order=order, batch_size=2, epochs=epochs)


@pytest.mark.parametrize(
    ("epochs", "once", "new"),
    [
        (((0, 1, 2, 3), (0, 2, 1, 3)), HELD, HELD),
        (((0, 1, 2, 3), (2, 3, 1, 0)), HELD, NOT_HELD),  # the same batches in another order
        (((0, 1, 2, 3), (0, 0, 1, 3)), NOT_HELD, HELD),
    ],
)
def test_an_epoch_is_every_example_once_and_another_partition_each_time(
    epochs: tuple[tuple[int, ...], ...], once: ClaimVerdict, new: ClaimVerdict
) -> None:
    told = {each.key: each.holds for each in on_batches([partition("reshuffle", *epochs)], None)}
    assert told == {"every_example_once": once, "new_partition": new}


def test_an_order_costs_what_it_takes_more_steps_than_reshuffling_seed_by_seed() -> None:
    base = sample_records.runs()
    made = next(run for run in base if run.crossing is not None)

    def run(order: str | None, seed: int, steps: float) -> Run:
        assert made.crossing is not None
        options = {} if order is None else {"order": order}
        return replace(made, seed=seed, options=options, crossing=replace(made.crossing, step=steps))

    runs = [run(None, seed, 100.0 + seed) for seed in range(4)]
    runs += [run("sequential", seed, 2 * (100.0 + seed)) for seed in range(4)]
    runs += [run("shuffle_once", seed, 100.0 + seed) for seed in range(4)]
    runs += [replace(run("with_replacement", 0, 1.0), crossing=None)]
    told = {each.subject: each for each in on_batches([], replace(sample_records.study(), runs=tuple(runs)))}
    assert told["sequential"].holds is HELD
    assert told["sequential"].effect is not None and told["sequential"].effect.value == pytest.approx(2.0)
    assert told["shuffle_once"].holds is NOT_HELD
    assert told["with_replacement"].reason == "lecture_not_reached"


def paths_of(spread: Estimate, full_over: Estimate) -> Paths:
    return Paths(
        data="diabetes",
        weights=("slope", "intercept"),
        examples=20,
        draws=5,
        paths=(),
        first=(),
        second=(),
        heights=(),
        spreads=(
            DirectionSpread(batch_size=1, spread=spread, loss=around(0.1, 0.01), full_over=full_over),
            DirectionSpread(batch_size=20, spread=around(0.0, 0.0), loss=around(0.2, 0.01)),
        ),
        provenance=sample_records.PROVENANCE,
    )


def test_small_steps_are_unsteady_where_their_directions_are_spread() -> None:
    told = on_paths(paths_of(around(0.4, 0.1), around(1.0, 0.2)))
    assert [each.holds for each in told] == [HELD, UNDECIDED]
    assert [each.main for each in told] == [True, False]


def clocked(*seconds: tuple[int, float]) -> Any:
    speed = sample_records.speed()
    points = tuple(
        replace(speed.points[0], batch_size=size, step_seconds=around(value, 0.02 * value)) for size, value in seconds
    )
    return replace(speed, examples=4000, points=points)


def test_a_clock_that_is_flat_and_then_linear_holds_what_the_lecture_says_of_time() -> None:
    told = {each.key: each for each in on_time([clocked((1, 1e-3), (1000, 1.1e-3), (4000, 4e-3))])}
    assert {key: each.holds for key, each in told.items()} == {
        "parallel_update": HELD,
        "about_the_same": HELD,
        "grows": HELD,
        "shorter_epoch": HELD,
    }
    assert told["about_the_same"].large_batch_size == 1000


def test_a_clock_in_proportion_to_the_batch_holds_none_of_it() -> None:
    told = {each.key: each.holds for each in on_time([clocked((1, 1e-3), (1000, 1.0), (4000, 4.0))])}
    assert told["parallel_update"] is told["about_the_same"] is told["shorter_epoch"] is NOT_HELD


def test_parallel_hardware_is_one_thread_over_all_at_the_largest_size_of_both() -> None:
    both = [clocked((1, 1e-3), (1000, 4e-3)), clocked((1, 1e-3), (1000, 2e-3), (4000, 8e-3))]
    told = {each.key: each for each in on_time(both)}["parallel_hardware"]
    assert told.effect is not None and told.effect.value == pytest.approx(2.0)
    assert (told.holds, told.main, told.large_batch_size) == (HELD, False, 1000)


# --- training --------------------------------------------------------------------------------------------------------


def test_larger_batches_train_worse_where_the_intervals_say_so() -> None:
    told = {each.key: each for each in on_optimization(sample_studies.study())}
    assert told["train_worse_fixed"].main and told["train_worse_tuned"].main
    assert not told["train_worse_steps"].main
    assert told["train_worse_tuned"].holds is HELD
    even = replace(sample_studies.study(), analysis=replace(sample_studies.analysis(), budgets=()))
    assert on_optimization(even) == []


def escape_of(small: int, full: int, starts: int, **standings: int) -> Escape:
    from critbatch.measure.escape import binomial

    def count(size: int, escapes: int) -> EscapeCount:
        share = binomial(escapes, starts)
        return EscapeCount(batch_size=size, share=share, escapes=escapes, steps=None, loss=alone(1.0))

    return Escape(
        task="mine",
        unit="example",
        examples=64,
        starts=starts,
        learning_rate=0.1,
        descent_steps=10,
        steps=10,
        drop=0.05,
        standings=standings,
        start_losses=(1.0,) * starts,
        counts=(count(1, small), count(64, full)),
        provenance=sample_records.PROVENANCE,
    )


@pytest.mark.parametrize(
    ("escape", "holds", "reason"),
    [
        (escape_of(50, 0, 50, saddle=50), HELD, ""),
        (escape_of(0, 0, 50, minimum=50), NOT_HELD, ""),
        (escape_of(1, 0, 1, saddle=1), UNDECIDED, "lecture_one_seed"),
        (escape_of(3, 0, 6, saddle=6), UNDECIDED, "lecture_wide"),
        (escape_of(50, 50, 50, minimum=50), UNDECIDED, "lecture_not_stuck"),
        (escape_of(50, 0, 50, descending=50), UNDECIDED, "lecture_not_stuck"),
    ],
)
def test_noise_helps_where_small_batches_get_on_and_full_ones_do_not(
    escape: Escape, holds: ClaimVerdict, reason: str
) -> None:
    (told,) = on_noise([escape], "mine")
    assert (told.holds, told.reason, told.main) == (holds, reason, True)
    (told,) = on_noise([escape], "another")
    assert not told.main


def test_batch_size_matters_where_the_worse_end_takes_longer() -> None:
    advice = sample_records.advice()
    told = {each.key: each for each in on_choice(advice)}
    assert told["size_matters"].effect is not None and told["size_matters"].effect.value > 1
    flat = replace(advice, points=tuple(replace(point, seconds=around(1.0, 0.01)) for point in advice.points))
    assert flat.best is not None
    flat = replace(flat, best=replace(flat.best, seconds=around(1.0, 0.01)))
    assert {each.key: each.holds for each in on_choice(flat)}["size_matters"] is NOT_HELD
    assert on_choice(sample_records.unanswered())[0].reason == "lecture_not_reached"


def row(recipe: str, size: int, steps: float, metric: float, half: float = 0.001) -> RecipeRow:
    return RecipeRow(
        recipe=recipe,
        batch_size=size,
        tuned=True,
        learning_rate=0.1,
        runs=9,
        seeds=5,
        reached=5,
        steps=around(steps, 0.05 * steps),
        epochs=around(1.0, 0.1),
        seconds=around(steps / 100, 0.05 * steps / 100),
        train_metric=around(metric, half),
        validation_metric=around(metric, half),
    )


BASE = row("sgd", 16, 1000.0, 0.97)


@pytest.mark.parametrize(
    ("rows", "holds", "subject"),
    [
        ([row("lars2017", 512, 100.0, 0.97), row("lamb2020", 512, 50.0, 0.90)], HELD, "lars2017"),
        ([row("lars2017", 512, 100.0, 0.90), row("lamb2020", 512, 2000.0, 0.97)], NOT_HELD, None),
        ([row("lars2017", 512, 100.0, 0.968, half=0.02)], UNDECIDED, "lars2017"),
    ],
)
def test_one_has_both_if_one_recipe_takes_fewer_steps_and_loses_nothing(
    rows: list[RecipeRow], holds: ClaimVerdict, subject: str | None
) -> None:
    told = on_both([BASE, *rows], 16)
    assert (told[0].key, told[0].holds, told[0].main) == ("one_has_both", holds, True)
    assert subject is None or told[0].subject == subject
    assert not any(each.main for each in told[1:])
    assert on_both([BASE], 16) == []


def test_a_recipe_of_which_some_runs_missed_the_target_has_no_steps_to_compare() -> None:
    lucky = replace(row("lars2017", 512, 100.0, 0.97), reached=2)
    told = {each.key: each for each in on_both([BASE, lucky], 16)}
    assert told["fewer_steps"].effect is None and told["fewer_steps"].reason == "lecture_not_reached"
    assert told["one_has_both"].holds is UNDECIDED


# --- generalization --------------------------------------------------------------------------------------------------


def ended(seed: int, size: int, *points: tuple[float, float]) -> Run:
    made = sample_records.runs()[0]
    curve = tuple(
        replace(made.curve[0], step=i, train_metric=t, validation_metric=v) for i, (t, v) in enumerate(points)
    )
    return replace(made, seed=seed, batch_size=size, outcome=Outcome.FINISHED, curve=curve)


def test_runs_that_are_trained_alike_are_compared_at_their_ends() -> None:
    end = paired_end(ended(0, 16, (0.1, 0.1), (1.0, 0.9), (1.0, 0.95)), ended(0, 256, (0.1, 0.1), (1.0, 0.93)))
    assert end is not None
    assert (end.small_validation, end.large_validation) == (0.95, 0.93)


def test_a_run_that_is_better_trained_is_read_where_the_other_ended() -> None:
    end = paired_end(ended(0, 16, (0.0, 0.0), (0.8, 0.7), (1.0, 0.95)), ended(0, 256, (0.0, 0.1), (0.9, 0.8)))
    assert end is not None
    assert end.level == 0.9
    assert end.small_validation == pytest.approx(0.825)
    assert end.large_validation == 0.8


def test_a_level_that_is_never_reached_gives_the_end() -> None:
    curve = ended(0, 16, (0.1, 0.2), (0.5, 0.6)).curve
    assert validation_at(curve, 0.9) == 0.6
    assert validation_at(curve, 0.3) == pytest.approx(0.4)


def pair(*gaps: float) -> NetworkPair:
    ends = [
        paired_end(ended(seed, 16, (0.1, 0.1), (1.0, 0.9 + gap)), ended(seed, 256, (0.1, 0.1), (1.0, 0.9)))
        for seed, gap in enumerate(gaps)
    ]
    made = network_pair(
        [end for end in ends if end is not None],
        task="net",
        network="F1",
        examples=10,
        of_examples=10,
        metric_name="accuracy",
    )
    assert made is not None
    return made


def test_small_batches_generalize_better_where_the_gaps_of_seeds_agree() -> None:
    told = [on_generalization([each])[0].holds for each in (pair(0.02, 0.021, 0.019), pair(-0.02, 0.03), pair(0.02))]
    assert told == [HELD, UNDECIDED, UNDECIDED]
    assert on_generalization([pair(0.0, 0.0, 0.0)])[0].holds is NOT_HELD


# --- the table and the whole -----------------------------------------------------------------------------------------


def test_the_table_marks_the_winner_and_says_ties() -> None:
    alone_clock, parallel = clocked((16, 1e-3), (256, 1.6e-2)), clocked((16, 1e-3), (256, 1.02e-3))
    rows = summary_table(
        small=16,
        large=256,
        speeds=[alone_clock, parallel],
        noise=sample_records.noise(),
        study=sample_studies.study(),
        networks=[pair(0.02, 0.021, 0.019)],
    )
    better = {each.key: each.better for each in rows}
    assert better == {
        "update_alone": Winner.SMALL,
        "update_parallel": Winner.EVEN,
        "epoch": Winner.LARGE,
        "gradient": Winner.LARGE,
        "optimization": better["optimization"],
        "generalization": Winner.SMALL,
    }
    assert all(each.holds is HELD for each in on_summary(rows) if each.subject != "optimization")


def test_a_cell_without_an_interval_has_no_winner_and_no_verdict() -> None:
    rows = summary_table(small=16, large=256, speeds=[], noise=None, study=None, networks=[pair(0.02)])
    assert [each.better for each in rows] == [Winner.OPEN]
    assert on_summary(rows) == []


def test_ten_claims_are_told_and_those_that_nothing_was_measured_for_say_why() -> None:
    told = judge_claims(task="mine", small=16, missing={ClaimId.BOTH: "lecture_no_time"})
    assert [claim.name for claim in told] == list(ClaimId)
    assert all(claim.holds is UNDECIDED for claim in told)
    assert {claim.reason for claim in told} == {"lecture_not_asked", "lecture_no_time"}


def test_with_one_seed_nothing_that_varies_is_decided() -> None:
    one = paths_of(alone(0.4), alone(1.2))
    told = judge_claims(
        task="mine",
        small=16,
        paths=one,
        escapes=[escape_of(1, 0, 1, saddle=1)],
        networks=[pair(0.05)],
        recipes=[
            replace(BASE, steps=alone(1000.0), validation_metric=alone(0.97)),
            replace(BASE, recipe="lars2017", batch_size=512, steps=alone(10.0), validation_metric=alone(0.98)),
        ],
    )
    measured = [claim for claim in told if claim.statements]
    assert len(measured) == 4
    assert all(claim.holds is UNDECIDED for claim in measured)
    assert all(s.reason == "lecture_one_seed" for claim in measured for s in claim.statements if s.main)


# --- recipes ---------------------------------------------------------------------------------------------------------


def test_a_recipe_is_read_at_the_rate_that_ends_best_of_those_with_the_most_seeds() -> None:
    def at(rate: float, seed: int, metric: float, outcome: Outcome = Outcome.FINISHED) -> Run:
        return replace(ended(seed, 256, (0.1, 0.1), (1.0, metric)), learning_rate=rate, outcome=outcome)

    runs = [at(0.1, seed, 0.9) for seed in range(3)] + [at(0.2, seed, 0.92) for seed in range(3)]
    runs += [at(0.4, 0, 0.99)] + [at(0.8, seed, 0.95, Outcome.DIVERGED) for seed in range(3)]
    study = sample_studies.study()
    assert study.analysis is not None
    size = replace(study.analysis.sizes[-1], batch_size=256)
    study = replace(study, runs=tuple(runs), analysis=replace(study.analysis, sizes=(size,)))
    told = recipe_row(study)
    assert told is not None and told.validation_metric is not None
    assert (told.validation_metric.value, told.validation_metric.n) == (pytest.approx(0.92), 3)
    untuned = untuned_row(study, 0.4)
    assert untuned is not None and untuned.validation_metric is not None
    assert (untuned.tuned, untuned.seeds, untuned.validation_metric.value) == (False, 1, 0.99)
    assert untuned_row(study, 0.5) is None


def test_the_normal_quantile_of_the_level_is_that_of_the_intervals() -> None:
    """The t interval of very many values is the normal one."""
    told = mean([float(i % 2) for i in range(10_000)])
    assert told.high is not None
    assert told.high - told.value == pytest.approx(NormalDist().inv_cdf(0.975) * 0.5 / 100, rel=1e-3)
