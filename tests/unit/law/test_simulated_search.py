from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import simulated_search as simulated_campaign
from critbatch.law import prior
from critbatch.law.acquisition import advise_record
from critbatch.law.step_time import throughput_knee
from critbatch.records.core import Advice, Run
from simulated_search import Campaign, campaign
from simulated_training import PROVENANCE, TARGET, any_world, fit

WORLDS = 100


@cache
def searched(seed: int) -> Campaign:
    return campaign(any_world(seed))


def regrets(campaigns: list[Campaign]) -> np.ndarray:
    return np.array([one.regret for one in campaigns])


def test_the_search_comes_close_to_the_best_in_simulated_worlds():
    regret = regrets([searched(seed) for seed in range(WORLDS)])
    assert np.median(regret) < 1.10
    assert np.quantile(regret, 0.9, method="higher") < 1.35
    assert np.isinf(regret).mean() <= 0.02


def test_the_search_costs_a_few_of_the_best_runs():
    cost = [searched(seed).cost for seed in range(WORLDS)]
    assert np.median(cost) < 10
    assert np.quantile(cost, 0.9) < 20


def test_the_stated_interval_holds_for_the_next_run_at_the_recommendation():
    held = np.mean([searched(seed).covers for seed in range(WORLDS)])
    assert 0.72 < held < 0.95  # 80 % is stated; one standard error is 4 %


def test_the_search_beats_common_rules_that_know_the_best_rate():
    worlds = [any_world(seed) for seed in range(WORLDS)]
    ours = regrets([searched(seed) for seed in range(WORLDS)])

    def rule(sizes: list[int]) -> np.ndarray:
        return np.array(
            [
                world.time(size, world.best_rate(size)) / world.best_time()
                for world, size in zip(worlds, sizes, strict=True)
            ]
        )

    for theirs in (
        rule([32 for _ in worlds]),
        rule([world.largest for world in worlds]),
        rule([throughput_knee(world.speed()) for world in worlds]),
    ):
        assert np.median(ours) < np.median(theirs)
        assert np.quantile(ours, 0.9, method="higher") < np.quantile(theirs, 0.9, method="higher")


def test_twice_the_recommended_rate_does_worse():
    ours, doubled = [], []
    for seed in range(WORLDS):
        one = searched(seed)
        size, rate = one.advice.best.batch_size, one.advice.best.learning_rate.value
        ours.append(one.regret)
        doubled.append(one.world.time(size, 2 * rate) / one.world.best_time())
    assert np.mean(np.isinf(doubled)) > np.mean(np.isinf(ours)) + 0.1
    assert np.median(doubled) > np.median(ours) + 0.1


def test_a_wrong_constant_for_the_noise_does_worse(monkeypatch: pytest.MonkeyPatch):
    ours = regrets([searched(seed) for seed in range(30)])
    # As if the noise scale at initialization were taken for the law's.
    monkeypatch.setattr(prior, "NOISE_TO_LAW", 0.05)
    monkeypatch.setattr(prior, "NOISE_SPREAD", 0.1)
    wrong = regrets([campaign(any_world(seed)) for seed in range(30)])
    assert np.median(wrong) > np.median(ours) + 0.2


def test_a_second_race_at_the_recommendation_pays():
    ours = regrets([searched(seed) for seed in range(30)])
    without = regrets([campaign(any_world(seed), local_races=False) for seed in range(30)])
    assert np.median(without) > np.median(ours)


def test_the_whole_search_is_the_same_each_time():
    assert campaign(any_world(4)).advice == searched(4).advice


def test_the_answer_follows_from_the_records_alone():
    one = searched(6)
    runs = [Run.from_json(run.to_json()) for run in one.advice.runs]
    again = advise_record(
        fit(runs, draws=simulated_campaign.DRAWS),
        one.advice.speed,
        runs,
        target=TARGET,
        recipe=one.advice.recipe,
        provenance=PROVENANCE,
        current=64,
    )
    assert again == one.advice


def test_the_order_of_the_runs_changes_no_answer():
    runs = list(searched(8).advice.runs)
    one, other = (
        advise_record(fit(order), any_world(8).speed(), order, target=TARGET, recipe="sgd", provenance=PROVENANCE)
        for order in (runs, runs[::-1])
    )
    assert (one.best, one.law, one.points) == (other.best, other.law, other.points)


def test_an_answer_goes_to_json_and_comes_back():
    advice = searched(2).advice
    assert Advice.from_json(advice.to_json()) == advice


def test_every_point_has_an_interval_around_its_value():
    for point in searched(2).advice.points:
        for estimate in (point.seconds, point.steps, point.learning_rate):
            assert estimate.low < estimate.value < estimate.high
            assert estimate.level == 0.8
        assert point.seconds.value == pytest.approx(point.steps.value * point.step_seconds.value)


def test_no_race_is_proposed_twice():
    for seed in range(WORLDS):
        proposals = searched(seed).proposals
        keys = [(proposal.batch_size, rate) for proposal in proposals for rate in proposal.learning_rates]
        assert len(set(keys)) == len(keys)
