from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from critbatch.errors import UserError
from critbatch.law.model import failure_probability, log_saturation, log_slowdown
from critbatch.law.posterior import SLOW_SIDE, Posterior
from critbatch.recipes import recipe_info
from critbatch.records.core import Law, Outcome, Run
from simulated_training import TARGET, World, fit, made


def by_the_law(theta: np.ndarray, size: int, log_rho: float, chance: np.random.Generator, *, ran: float = 1e9) -> Run:
    """A run just as the fit assumes it: with log-normal scatter, and failing by chance at a rate too large."""
    log_min_steps, log_noise, log_rate, exponent, log_scatter = theta
    saturation = float(log_saturation(log_noise, math.log(size)))
    rate = math.exp(log_rate - exponent * saturation + log_rho)
    took = math.exp(
        log_min_steps + saturation + float(log_slowdown(log_rho)) + math.exp(log_scatter) * chance.standard_normal()
    )
    if chance.random() < failure_probability(log_rho):
        return made(size, rate, diverged=True)
    return made(size, rate, took=took) if took <= ran else made(size, rate, ran=int(ran))


def center(draws: np.ndarray) -> float:
    return float(np.median(np.log(draws)))


def test_eighty_per_cent_intervals_hold_the_truth_in_about_eighty_per_cent():
    prior, cases = recipe_info("sgd").law_prior, 200
    chance = np.random.default_rng(5)
    held = np.zeros(7)
    for case in range(cases):
        theta = prior.theta(chance.standard_normal((1, 5)))[0]
        ran = math.exp(theta[0] + 3)
        runs = [
            by_the_law(theta, 2 ** int(chance.integers(3, 11)), chance.uniform(-1.5, 1.0), chance, ran=ran)
            for _ in range(8)
        ]
        posterior = fit(runs, prior=prior, draws=256, seed=case)
        saturation = math.log1p(math.exp(theta[1]) / 64)
        pairs = [
            (posterior.log_min_steps, theta[0]),
            (posterior.log_noise, theta[1]),
            (posterior.log_rate, theta[2]),
            (posterior.exponent, theta[3]),
            (posterior.scatter, math.exp(theta[4])),
            (posterior.best_rate(64), math.exp(theta[2] - theta[3] * saturation)),
            (posterior.steps(64), math.exp(theta[0] + saturation)),
        ]
        for i, (draws, truth) in enumerate(pairs):
            low, high = np.quantile(draws, [0.1, 0.9])
            held[i] += low < truth < high
    # One standard error is 2.8 %.
    assert ((held / cases > 0.70) & (held / cases < 0.90)).all(), held / cases


def test_many_runs_give_the_law_its_numbers_back():
    theta = np.array([math.log(300), math.log(200), math.log(0.5), 1.1, math.log(0.1)])
    chance = np.random.default_rng(0)
    runs = [by_the_law(theta, 2 ** (3 + i % 9), chance.uniform(-1, 0.5), chance) for i in range(40)]
    law = fit(runs).record()
    for estimate, truth, within in (
        (law.min_steps, 300, 1.2),
        (law.noise_examples, 200, 1.3),
        (law.rate, 0.5, 1.3),
        (law.exponent, 1.1, 1.1),
    ):
        assert truth / within < estimate.value < truth * within
        assert estimate.low < estimate.value < estimate.high
        assert estimate.level == 0.8
    assert law.holds and not law.reason
    assert 0.05 < law.misfit < 0.15


def test_the_posterior_follows_the_law_it_is_of():
    ones = np.ones(1)
    posterior = Posterior(
        log_min_steps=math.log(100) * ones,
        log_noise=math.log(64) * ones,
        log_rate=math.log(0.8) * ones,
        exponent=ones,
        scatter=0.2 * ones,
        luck=ones,
        reached=1,
        noise=None,
        misfit=0.0,
        reason="",
    )
    assert posterior.steps(64) == pytest.approx(200)  # at B = B_noise, twice S_min
    assert posterior.best_rate(64) == pytest.approx(0.4)
    assert posterior.steps(64, 0.8) == pytest.approx(250)  # twice the best rate costs a quarter more
    assert posterior.steps(64, 0.2) == pytest.approx(250)
    # A run that takes longer than the law says takes longer by more than a quick one takes less.
    assert posterior.stated_run(64, 0.4) == pytest.approx(200 * math.exp(SLOW_SIDE * 0.2))
    assert replace(posterior, luck=-ones).stated_run(64, 0.4) == pytest.approx(200 * math.exp(-0.2))
    assert posterior.next_run(64, 0.4) == pytest.approx(200 * math.exp(0.2))
    assert posterior.failure(64, 0.8) == pytest.approx(0.30, abs=0.01)


def test_the_order_of_the_runs_changes_nothing():
    world = World(seed=3)
    runs = [world.run(size, rate, steps=4000) for size in (16, 64, 256) for rate in (0.02, 0.06, 0.2)]
    one = fit(runs)
    for order in (reversed(runs), np.random.default_rng(0).permutation(np.array(runs, dtype=object))):
        other = fit(list(order))
        assert np.array_equal(one.steps(32), other.steps(32))
        assert np.array_equal(one.best_rate(32), other.best_rate(32))


def test_the_same_record_twice_counts_once():
    runs = [made(64, 0.1, took=500), made(64, 0.2, diverged=True)]
    copies = [Run.from_json(run.to_json()) for run in runs]
    assert np.array_equal(fit(runs).steps(64), fit(runs + copies).steps(64))


def test_the_seed_alone_decides_the_draws():
    runs = [made(64, 0.1, took=500)]
    assert np.array_equal(fit(runs).log_noise, fit(runs).log_noise)
    assert not np.array_equal(fit(runs).log_noise, fit(runs, seed=1).log_noise)


def test_one_run_gives_wide_intervals_and_says_that_it_is_one():
    law = fit([made(64, 0.1, took=500)]).record()
    assert law.reason == "few_points" and not law.holds
    assert law.noise_examples.high > 10 * law.noise_examples.low
    assert law.rate.high > 10 * law.rate.low
    assert law.rate.n == 1


def test_a_rate_that_diverged_lowers_the_best_rate():
    runs = [made(64, 0.1, took=500)]
    without = fit(runs)
    too_large = fit([*runs, made(64, 0.2, diverged=True)])
    assert center(too_large.best_rate(64)) < center(without.best_rate(64)) - 0.1


def test_a_run_that_stopped_short_is_a_lower_bound():
    runs = [made(64, 0.1, took=500)]
    early, late = (fit([*runs, made(64, 0.01, ran=ran)]) for ran in (10, 5000))
    assert np.quantile(late.steps(64, 0.01), 0.1) > 2 * np.quantile(early.steps(64, 0.01), 0.1)
    assert (late.steps(64, 0.01) > 5000).mean() > 0.5 > 0.3 > (early.steps(64, 0.01) > 5000).mean()


def test_a_run_dropped_from_a_race_was_probably_slower():
    survivor = made(64, 0.1, took=500)
    alone = fit([survivor])
    raced = fit([survivor, made(64, 0.4, ran=50), made(64, 0.025, ran=50)])

    def spread(posterior: Posterior) -> float:
        return float(np.std(np.log(posterior.best_rate(64))))

    assert spread(raced) < 0.6 * spread(alone)
    assert (raced.steps(64, 0.4) > raced.steps(64, 0.1)).mean() > 0.8
    # The same records of runs that were merely interrupted say no such thing.
    paused = [replace(run, outcome=Outcome.INTERRUPTED) for run in (made(64, 0.4, ran=50), made(64, 0.025, ran=50))]
    assert spread(fit([survivor, *paused])) > 1.3 * spread(raced)


def test_runs_out_of_memory_say_nothing():
    runs = [made(64, 0.1, took=500)]
    without = fit(runs)
    full = replace(made(8192, 0.1, ran=0), outcome=Outcome.OUT_OF_MEMORY)
    assert np.array_equal(without.steps(64), fit([*runs, full]).steps(64))


def test_a_law_that_does_not_hold_is_found_out():
    sizes = [8, 16, 32, 64, 128, 256, 512, 1024]
    world = World(wrong=0.0, scatter=0.1)
    fine = [world.run(size, world.best_rate(size), steps=10**6) for size in sizes]
    # Steps that jump up and down by a factor of 3 from size to size follow no smooth law.
    rough = [
        made(run.batch_size, run.learning_rate, took=run.crossing.step * 3 ** (i % 2)) for i, run in enumerate(fine)
    ]
    assert fit(fine).reason == ""
    law = fit(rough).record()
    assert (law.holds, law.reason) == (False, "law_misfit")
    assert law.misfit > 0.3


def test_scatter_alone_is_rarely_taken_for_a_law_that_does_not_hold():
    found = 0
    for seed in range(40):
        world = World(wrong=0.07, scatter=0.15, failing=math.log(4), seed=seed)
        chance = np.random.default_rng(seed)
        sizes = [int(2 ** chance.integers(3, 11)) for _ in range(10)]
        runs = [
            world.run(size, world.best_rate(size) * math.exp(chance.uniform(-0.7, 0.4)), steps=10**6, seed=i)
            for i, size in enumerate(sizes)
        ]
        found += fit(runs, draws=256).reason == "law_misfit"
    assert found <= 4  # at 5 % each, more than that have a probability of 5 %


def test_runs_of_several_targets_are_not_fitted_together():
    run = made(64, 0.1, took=500)
    for other in (
        replace(run, task="another"),
        replace(run, recipe="adam"),
        replace(run, target=replace(TARGET, value=0.1)),
    ):
        with pytest.raises(UserError, match="Fit them apart"):
            fit([run, other])
    with pytest.raises(UserError, match="at least one"):
        fit([])


def test_a_law_goes_to_json_and_comes_back():
    law = fit([made(64, 0.1, took=500)]).record()
    assert Law.from_json(law.to_json()) == law
