"""What is asked beside the target, on posteriors made by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from critbatch.errors import UserError
from critbatch.law.noninferiority import compared, tail_metrics
from critbatch.law.objective import (
    MARGIN,
    allowed,
    best_size,
    candidate_sizes,
    chance_within_examples,
    chance_within_seconds,
    cheapest,
    checked_objective,
    examples_needed,
    up_to,
)
from critbatch.law.posterior import Posterior
from critbatch.records.core import AccuracyCheck, CurvePoint, Estimate, Goal, Objective, Run
from critbatch.records.scaling import ScalePoint
from critbatch.reports.views.chapters import summary
from sample_records import advice
from simulated_training import World, affine, made

SPEED = World(seconds=affine(1e-3, 1e6)).speed()  # a step takes as long whatever its batch


def sure(*, min_steps: float = 100.0, noise: float = 200.0, scatter: float = 1e-6) -> Posterior:
    """A posterior that knows: S(B) = 100 (1 + 200 / B)."""
    one = np.ones(64)
    return Posterior(
        log_min_steps=math.log(min_steps) * one,
        log_noise=math.log(noise) * one,
        log_rate=math.log(0.5) * one,
        exponent=one,
        scatter=scatter * one,
        luck=np.linspace(-2, 2, 64),
        reached=5,
        noise=noise,
        misfit=0.0,
        reason="",
    )


def test_examples_are_batch_size_times_steps_of_the_law() -> None:
    # At the recommended rate, a little below the best, steps are some per cent more.
    assert np.median(examples_needed(sure(), 200)) == pytest.approx(200 * 200, rel=0.05)


def test_a_limit_of_examples_allows_the_sizes_below_it() -> None:
    # E(B) = 100 B + 20,000: 40,000 examples allow B = 128 (32,800), not 256 (45,600).
    posterior = sure()
    kept = allowed(SPEED, Objective(goal=Goal.EXAMPLES, examples_limit=40_000), posterior)
    assert candidate_sizes(kept)[-1] == 128 == best_size(posterior, kept)
    assert best_size(posterior, SPEED) == 4096
    assert chance_within_examples(posterior, 128, 40_000) > 0.9 > chance_within_examples(posterior, 256, 40_000)


def test_a_limit_that_no_size_keeps_allows_those_that_come_near_it() -> None:
    kept = allowed(SPEED, Objective(goal=Goal.EXAMPLES, examples_limit=100), sure())
    assert candidate_sizes(kept)[-1] == 16  # within 10 % of the 20,100 examples at batch size 1; 32 is not


def test_a_chance_of_a_time_counts_luck_and_failures() -> None:
    posterior = sure(scatter=0.2)
    seconds = float(np.median(examples_needed(posterior, 256))) / 256 * 1e-3
    half = chance_within_seconds(posterior, 256, 1e-3, seconds)
    assert 0.4 < half < 0.5
    assert 0.9 < chance_within_seconds(posterior, 256, 1e-3, 10 * seconds) < 1.0


def check(size: int, falls: bool | None) -> AccuracyCheck:
    return AccuracyCheck(
        batch_size=size,
        learning_rate=0.1,
        small_batch_size=32,
        small_learning_rate=0.02,
        train_seconds=3.0,
        metric=0.95,
        small_metric=0.96,
        gap=0.03,
        small_gap=0.02,
        difference=Estimate(value=-0.01, n=3, low=-0.02, high=0.001, level=0.9),
        margin=0.005,
        falls=falls,
    )


@pytest.mark.parametrize(("falls", "largest"), [(False, 4096), (True, 2048), (None, 2048)])
def test_an_accuracy_that_may_fall_forbids_the_size_and_those_above(falls: bool | None, largest: int) -> None:
    objective = Objective(goal=Goal.ACCURACY, accuracy_margin=0.005)
    assert candidate_sizes(allowed(SPEED, objective, sure(), [check(4096, falls)]))[-1] == largest


def test_nothing_is_forbidden_below_the_small_size() -> None:
    objective = Objective(goal=Goal.ACCURACY, accuracy_margin=0.005)
    assert candidate_sizes(allowed(SPEED, objective, sure(), [check(64, True)]))[-1] == 32


def test_the_clock_up_to_a_size_that_was_not_timed_is_interpolated() -> None:
    cut = up_to(SPEED, 100)
    assert candidate_sizes(cut)[-1] == 100
    assert cut.points[-1].step_seconds is not None
    assert up_to(SPEED, 128).points == SPEED.points[:8]


def on(devices: int, seconds: float) -> ScalePoint:
    return ScalePoint(
        devices=devices,
        nodes=1,
        batch_size=64,
        micro_batch_size=64,
        passes=1,
        compute_seconds=1.0,
        sync_seconds=0.0,
        ring_seconds=0.0,
        halving_doubling_seconds=0.0,
        waiting_seconds=0.0,
        joining_seconds=0.0,
        step_seconds=1.0,
        seconds=Estimate(value=seconds, n=3),
        device_hours=devices * seconds / 3600,
        speed_up=1.0,
        efficiency=1.0,
    )


def test_the_cheapest_within_a_time_is_the_fewest_devices_that_keep_it() -> None:
    offers = [on(1, 100.0), on(2, 60.0), on(4, 40.0), on(8, 45.0)]
    assert cheapest(offers, None) == (offers[0], None)
    assert cheapest(offers, 70.0) == (offers[1], True)
    assert cheapest(offers, 30.0) == (offers[2], False)


def test_an_accuracy_objective_has_a_usual_margin() -> None:
    assert checked_objective(Objective(goal=Goal.ACCURACY)).accuracy_margin == MARGIN


@pytest.mark.parametrize(
    ("objective", "sentence"),
    [
        (Objective(goal=Goal.EXAMPLES), "needs a limit"),
        (Objective(goal=Goal.EXAMPLES, examples_limit=0), "examples_limit=0 is not possible"),
        (Objective(accuracy_margin=0.1), "accuracy_margin=0.1 belongs to the objective accuracy, not to time"),
        (Objective(devices=(2,)), "belong to the objective cost"),
        (Objective(goal=Goal.COST, devices=(0, 1)), "0 devices are not possible"),
        (Objective(goal=Goal.COST, price_per_device_hour=-1), "A price of -1"),
    ],
)
def test_an_objective_that_cannot_be_is_one_sentence(objective: Objective, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        checked_objective(objective)


def test_an_unknown_objective_is_one_sentence() -> None:
    with pytest.raises(UserError, match="'fastest' is not known: use time, cost, accuracy, examples"):
        Objective(goal="fastest")  # type: ignore[arg-type]


# Accuracy, seed by seed.


def ended(size: int, seed: int, metric: float, train: float = 1.0) -> Run:
    curve = tuple(
        CurvePoint(
            step=step,
            examples=step * size,
            epoch=step,
            seconds=step,
            learning_rate=0.1,
            train_loss=0.1,
            train_metric=train,
            validation_loss=0.2,
            validation_metric=metric if step > 50 else 0.1,
        )
        for step in (0, 50, 80, 100)
    )
    return replace(made(size, 0.1, ran=100, seed=seed), curve=curve)


def test_the_end_of_a_run_is_the_mean_over_its_last_quarter() -> None:
    assert tail_metrics(ended(8, 0, 0.9)) == pytest.approx((0.9, 0.1))


def test_a_metric_falls_where_the_interval_is_below_the_margin() -> None:
    small = [ended(8, seed, 0.95 + 0.001 * seed) for seed in range(3)]
    worse = [ended(64, seed, 0.90 + 0.001 * seed) for seed in range(3)]
    alike = [ended(64, seed, 0.95 + 0.002 * seed) for seed in range(3)]
    assert compared(worse, small, margin=0.01, train_seconds=1.0).falls is True
    assert compared(alike, small, margin=0.01, train_seconds=1.0).falls is False
    spread = [ended(64, seed, 0.94 + 0.02 * seed) for seed in range(3)]
    assert compared(spread, small, margin=0.01, train_seconds=1.0).falls is None


def test_the_interval_is_students_over_the_pairs() -> None:
    small = [ended(8, seed, 0.5) for seed in range(4)]
    large = [ended(64, seed, 0.5 + shift) for seed, shift in enumerate((-0.03, -0.01, 0.01, 0.03))]
    found = compared(large, small, margin=0.01, train_seconds=1.0).difference
    # t(3, 0.95) = 2.353 times 0.02582 / 2
    assert (found.value, found.n) == (pytest.approx(0.0, abs=1e-12), 4)
    assert found.high == pytest.approx(2.3534 * 0.0258199 / 2, rel=1e-4)


def test_one_seed_tells_nothing_and_seeds_must_be_shared() -> None:
    one = compared([ended(64, 0, 0.1)], [ended(8, 0, 0.9)], margin=0.01, train_seconds=1.0)
    assert one.falls is None and one.difference.reason == "one_seed"
    with pytest.raises(ValueError, match="No seed"):
        compared([ended(64, 0, 0.1)], [ended(8, 1, 0.9)], margin=0.01, train_seconds=1.0)


# Told.


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"objective": Objective(goal=Goal.COST, max_time=9.0), "bound_met": True, "bound_probability": 0.93}, "93 %"),
        ({"objective": Objective(goal=Goal.COST, max_time=9.0), "bound_met": False, "bound_probability": 0.2}, "20 %"),
        (
            {
                "objective": Objective(goal=Goal.EXAMPLES, examples_limit=5e4),
                "bound_met": False,
                "bound_probability": 0.2,
            },
            "50,000",
        ),
        ({"objective": Objective(goal=Goal.ACCURACY, accuracy_margin=0.005), "accuracy": (check(64, None),)}, "0.005"),
        ({"objective": Objective(goal=Goal.ACCURACY, accuracy_margin=0.005), "accuracy": (check(64, True),)}, "0.005"),
        ({"options": {"lr_decay": "cosine"}, "planned_epochs": 12.5}, "12.5"),
        (
            {
                "objective": Objective(goal=Goal.COST, devices=(1, 4), price_per_device_hour=2.5),
                "devices": 4,
            },
            "2.5",
        ),
    ],
)
def test_the_objective_is_told(changes: dict[str, object], words: str, language: str) -> None:
    text = summary(replace(advice(), device_hours=0.01, **changes), language)  # type: ignore[arg-type]
    assert words in text
