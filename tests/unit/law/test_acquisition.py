from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from critbatch.errors import UserError
from critbatch.law.acquisition import advise_record, first_size, next_races
from critbatch.law.objective import best_size, candidate_sizes, recommended_rate, time_points, within
from critbatch.recipes import RECIPES
from critbatch.records.core import Advice, Estimate, Outcome, Run, SpeedPoint, TimePoint
from simulated_training import PROVENANCE, TARGET, World, affine, fit, made


def advise(runs: list[Run], *, world: World | None = None, **settings: int) -> Advice:
    world = world or World(recipe="sgd")
    return advise_record(fit(runs), world.speed(), runs, target=TARGET, recipe="sgd", provenance=PROVENANCE, **settings)


def test_the_time_is_no_surer_than_the_steps_or_the_clock():
    posterior = fit([made(64, 0.1, took=500)])
    speed = World().speed()
    (point,) = time_points(posterior, speed, [64], runs=[])
    assert point.seconds.high / point.seconds.low > point.steps.high / point.steps.low
    unsure = [
        replace(timed, step_seconds=Estimate(value=timed.step_seconds.value, n=2, reason="too_few_visits"))
        for timed in speed.points
    ]
    (point,) = time_points(posterior, replace(speed, points=tuple(unsure)), [64], runs=[])
    assert (point.seconds.low, point.seconds.high, point.seconds.reason) == (None, None, "too_few_visits")


def test_the_runs_at_a_size_are_counted():
    runs = [made(64, 0.1, took=500), made(64, 0.2, diverged=True), made(128, 0.1, took=300)]
    counts = {point.batch_size: point.runs for point in advise(runs).points}
    assert (counts[64], counts[128], counts[256]) == (2, 1, 0)


def test_no_run_at_the_target_is_no_answer():
    advice = advise([made(64, 0.1), made(64, 0.2, diverged=True)])
    assert not advice.answered
    assert advice.cautions[0] == "no_run_reached_target"
    assert (advice.best, advice.law, advice.near_optimal_range, advice.points) == (None, None, None, ())


def test_only_diverged_runs_are_no_answer_either():
    advice = advise([made(64, 0.1, diverged=True)])
    assert not advice.answered
    assert "all_diverged" in advice.cautions


def test_one_run_is_an_answer_with_its_doubts():
    advice = advise([made(64, 0.1, took=500)])
    assert advice.answered
    assert {"few_points", "one_seed", "no_noise_measured"} <= set(advice.cautions)
    assert advice.best.seconds.high > 2 * advice.best.seconds.low


def test_a_recommendation_far_from_all_runs_says_so():
    # All time goes into the step, none into the examples: the largest batch is best.
    world = World(seconds=affine(1e-3, 1e6))
    advice = advise([made(32, 0.05, took=900), made(32, 0.1, took=500)], world=world)
    assert advice.best.batch_size == 4096
    assert {"extrapolated", "best_at_edge"} <= set(advice.cautions)


def test_the_best_rate_at_the_edge_of_those_tried_says_so():
    # Time grows in proportion to the batch: the smallest is best.
    world = World(seconds=affine(1e-6, 1e-3))
    edge = [made(1, 0.001, took=9000), made(1, 0.002, took=5000)]
    inside = [*edge, made(1, 0.004, took=9000)]
    assert "rate_at_edge" in advise(edge, world=world).cautions
    assert "rate_at_edge" not in advise(inside, world=world).cautions


def test_a_clock_that_swings_is_cautioned_against():
    runs = [made(64, 0.1, took=500), made(256, 0.2, took=200)]
    speed = World(recipe="sgd").speed()
    for quartiles, unsteady in (((1.0, 1.9), False), ((1.0, 2.1), True)):
        points = tuple(replace(point, quartiles=quartiles) for point in speed.points)
        advice = advise_record(
            fit(runs), replace(speed, points=points), runs, target=TARGET, recipe="sgd", provenance=PROVENANCE
        )
        assert ("unsteady_times" in advice.cautions) is unsteady


def test_cautions_of_the_campaign_come_first_and_each_once():
    runs = [made(64, 0.1, took=500)]
    advice = advise_record(
        fit(runs),
        World().speed(),
        runs,
        target=TARGET,
        recipe="sgd",
        provenance=PROVENANCE,
        cautions=("budget_ended", "one_seed"),
    )
    assert advice.cautions[:2] == ("budget_ended", "one_seed")
    assert len(set(advice.cautions)) == len(advice.cautions)


def test_memory_that_ran_out_is_said():
    speed = World().speed()
    runs = [made(64, 0.1, took=500)]
    advice = advise_record(
        fit(runs),
        replace(speed, points=(*speed.points, SpeedPoint(batch_size=8192, fits=False))),
        runs,
        target=TARGET,
        recipe="sgd",
        provenance=PROVENANCE,
    )
    assert "out_of_memory" in advice.cautions
    assert advice.largest.batch_size == 4096


def test_where_nothing_fits_there_is_one_clear_sentence():
    speed = replace(World().speed(), points=(SpeedPoint(batch_size=1, fits=False),))
    with pytest.raises(UserError, match="No batch size fits"):
        first_size(speed, 1000)


def test_the_size_of_today_is_answered_where_it_was_timed():
    runs = [made(64, 0.1, took=500)]
    assert advise(runs, current=100).current.batch_size == 100
    beyond = advise(runs, current=10_000)
    assert beyond.current is None and "current_not_timed" in beyond.cautions
    assert advise(runs).current is None and "current_not_timed" not in advise(runs, current=100).cautions


def point(size: int, seconds: float) -> TimePoint:
    one = Estimate(value=1.0, n=1)
    return TimePoint(
        batch_size=size, learning_rate=one, steps=one, step_seconds=one, seconds=replace(one, value=seconds), runs=0
    )


def test_the_range_within_ten_per_cent_has_no_gap():
    points = [point(size, seconds) for size, seconds in ((8, 1.0), (16, 2.0), (32, 1.09), (64, 1.0), (128, 1.11))]
    assert within(points, points[3]) == (32, 64)
    assert within(points, points[3], fraction=0.2) == (32, 128)
    assert within(points, points[0]) == (8, 8)
    assert within(points[::-1], points[3]) == (32, 64)


def test_candidates_are_sizes_that_were_timed_and_powers_of_two():
    speed = World(largest=64).speed()
    odd = tuple(replace(timed, batch_size=size) for timed, size in zip(speed.points, (5, 10, 100), strict=False))
    assert candidate_sizes(replace(speed, points=odd)) == (5, 8, 10, 16, 32, 64, 100)


def test_the_recommended_rate_is_below_the_best_and_more_so_where_less_is_known():
    few = [made(64, 0.1, took=500)]
    more = [*few, *(made(64, 0.1 * 2**k, took=500 * math.cosh(k * math.log(2)), seed=1) for k in (-1, 1))]
    few_share, more_share = (
        recommended_rate(posterior, 64) / np.median(posterior.best_rate(64)) for posterior in (fit(few), fit(more))
    )
    assert few_share < more_share < 0.95
    assert more_share > 0.7


def test_a_slower_clock_for_large_batches_makes_the_best_size_smaller():
    posterior = fit([made(64, 0.1, took=500), made(64, 0.2, took=600), made(64, 0.05, took=600)])
    sizes = [best_size(posterior, World(seconds=affine(1e-3, knee)).speed()) for knee in (4, 64, 1024)]
    assert sizes[0] < sizes[1] < sizes[2]


def test_the_first_size_follows_the_clock_between_its_bounds():
    assert first_size(World(seconds=affine(1e-3, 1e6)).speed(), 60_000) == 256
    assert first_size(World(seconds=affine(1e-6, 1e-3)).speed(), 60_000) == 16
    assert 16 < first_size(World(seconds=affine(1e-3, 30)).speed(), 60_000) < 256
    assert first_size(World(seconds=affine(1e-3, 1e6)).speed(), 1000) == 64  # at most a tenth of the examples
    assert first_size(World(largest=8).speed(), 60_000) == 8


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_first_rates_are_evenly_spaced_and_wide(recipe: str):
    rates = np.array(RECIPES[recipe].first_learning_rates)
    ratios = rates[1:] / rates[:-1]
    assert (ratios > 2.9).all() and (ratios < 3.5).all()
    assert rates[-1] / rates[0] > 100


def test_the_next_race_is_around_the_recommendation():
    world = World(seed=5)
    speed = world.speed()
    runs = [world.run(64, rate, steps=10**5) for rate in (0.03, 0.1)]
    posterior = fit(runs)
    proposal = next_races(posterior, speed, runs)
    rate = recommended_rate(posterior, proposal.batch_size)
    assert proposal.learning_rates[0] < 0.8 * rate < 1.25 * rate < proposal.learning_rates[-1]
    assert not {(run.batch_size, run.learning_rate) for run in runs} & {
        (proposal.batch_size, rate) for rate in proposal.learning_rates
    }


def test_races_end_where_one_more_is_not_worth_its_cost():
    world = World(seed=5, wrong=0.0)
    runs = [
        world.run(size, float(f"{factor * world.best_rate(size):.3g}"), steps=10**5, seed=1)
        for size in (64, 128, 256)
        for factor in (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0)
    ]
    assert next_races(fit(runs), world.speed(), runs) is None


def test_the_more_was_spent_the_more_a_race_must_bring():
    world = World(seed=5, wrong=0.0)
    runs = [world.run(64, rate, steps=10**5) for rate in (0.03, 0.1)]
    posterior, speed = fit(runs), world.speed()
    assert next_races(posterior, speed, runs) is not None
    far, on_its_way = (
        replace(runs[0], outcome=outcome, crossing=None, steps=100 * runs[0].steps, batch_size=10**6)
        for outcome in (Outcome.FINISHED, Outcome.INTERRUPTED)
    )
    assert next_races(posterior, speed, [*runs, far]) is None
    assert next_races(posterior, speed, [*runs, on_its_way]) is not None


def test_there_is_no_next_race_before_a_run_has_come_to_the_target():
    runs = [made(64, 0.1)]
    assert next_races(fit(runs), World().speed(), runs) is None


def test_prediction_needs_no_torch():
    code = "import sys, critbatch.law.acquisition; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
