"""Runs seen from another target, and how far they have come."""

from __future__ import annotations

from dataclasses import replace

import pytest

from critbatch.law.schedule_length import observations, prior_from, rung_near, with_decay
from critbatch.law.target_progress import (
    estimated_steps_left,
    fits_training_set,
    learns_nothing,
    progress_to_target,
    rejudge,
    truncate,
)
from critbatch.records.core import CurvePoint, Outcome, Quantity, Run, Target
from simulated_training import TARGET, World, fit, made

EASIER = Target(quantity=Quantity.VALIDATION_LOSS, value=0.6)
HARDER = Target(quantity=Quantity.VALIDATION_LOSS, value=0.1)


def with_curve(run: Run, *losses: float, train: float = 1.0) -> Run:
    curve = tuple(
        CurvePoint(
            step=step,
            examples=step,
            epoch=step,
            seconds=step,
            learning_rate=0.1,
            train_loss=train * loss,
            train_metric=0.0,
            validation_loss=loss,
            validation_metric=0.0,
        )
        for step, loss in zip((0, *(2**k for k in range(len(losses) - 1))), losses, strict=True)
    )
    return replace(run, curve=curve, steps=curve[-1].step)


RUN = with_curve(made(64, 0.1, took=15.0), 2.3, 1.1, 0.7, 0.5, 0.3, 0.2)


def test_a_run_to_a_harder_target_has_come_to_the_easier_one_where_its_curve_did() -> None:
    found = rejudge(RUN, EASIER)
    assert found.outcome is Outcome.REACHED and found.target == EASIER
    assert found.crossing is not None and found.crossing.step == pytest.approx(3.0)
    assert (found.steps, len(found.curve)) == (4, 4)


def test_a_run_to_an_easier_target_is_a_bound_for_the_harder_one() -> None:
    found = rejudge(RUN, HARDER)
    assert (found.outcome, found.crossing, found.steps) == (Outcome.INTERRUPTED, None, RUN.steps)
    assert fit([replace(made(64, 0.1, took=50), target=HARDER), found]).reached == 1


def test_one_that_diverged_stays_so_unless_it_had_come_there_before() -> None:
    lost = replace(RUN, outcome=Outcome.DIVERGED, crossing=None, diverged_at=20)
    assert rejudge(lost, HARDER).outcome is Outcome.DIVERGED
    assert (rejudge(lost, EASIER).outcome, rejudge(lost, EASIER).diverged_at) == (Outcome.REACHED, None)


def test_for_its_own_target_it_is_the_same() -> None:
    assert rejudge(RUN, TARGET) is RUN


def test_a_run_that_is_ahead_is_seen_as_it_was() -> None:
    assert [point.step for point in truncate(RUN, 4).curve] == [0, 1, 2, 4]
    assert truncate(RUN, 99) is RUN


def test_steps_to_go_follow_a_power_law() -> None:
    # The loss halves whenever the steps double: from 0.25 at 16 steps to 0.2 it takes 2^0.32 times as many.
    run = with_curve(made(64, 0.1), 8.0, 4.0, 2.0, 1.0, 0.5, 0.25)
    assert estimated_steps_left(run, TARGET) == pytest.approx(16 * (0.25 / 0.2 - 1))
    assert progress_to_target(run, TARGET) < 1
    assert estimated_steps_left(with_curve(made(64, 0.1), 8.0, 1.0, 0.5, 0.5, 0.5, 0.5), TARGET) is None
    assert estimated_steps_left(RUN, TARGET) == 0.0


def test_a_loss_that_only_swings_learns_nothing() -> None:
    swings = [1.10, 1.12, 1.08, 1.11, 1.05, 1.13, 1.10, 1.09, 1.12, 1.10, 1.04, 1.11]
    falls = [2.3, 2.0, 1.8, 1.5, 1.2, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.5]
    noise, learner = with_curve(made(64, 0.1), *swings), with_curve(made(64, 0.2), *falls)
    assert learns_nothing([noise], TARGET)
    assert not learns_nothing([noise, learner], TARGET)
    assert not learns_nothing([with_curve(made(64, 0.1), 2.3, 2.2)], TARGET)  # too short to tell
    assert fits_training_set([learner]) and not fits_training_set([noise])


def test_of_planned_lengths_the_shortest_that_came_counts_and_the_longest_that_did_not() -> None:
    short, long = made(64, 0.1, took=90), made(64, 0.1, took=120)
    runs = {
        (64, 0.1, 0): {91: short, 128: long, 64: made(64, 0.1, ran=64)},
        (64, 0.2, 0): {64: made(64, 0.2, ran=64), 91: made(64, 0.2, ran=91)},
        (64, 0.4, 0): {64: made(64, 0.4, diverged=True)},
    }
    told = {run.learning_rate: run for run in observations(runs)}
    assert told[0.1] is short
    assert (told[0.2].steps, told[0.2].outcome) == (91, Outcome.INTERRUPTED)
    assert told[0.4].outcome is Outcome.DIVERGED


def test_a_schedule_that_decays_wants_smaller_batches_and_higher_peaks() -> None:
    world = World(seed=3)
    constant = fit([world.run(size, world.best_rate(size), steps=10**5) for size in (16, 64, 256)])
    decaying = with_decay(constant)
    prior = prior_from(decaying)
    assert prior.log_noise[0] < prior_from(constant).log_noise[0]
    for size in (16, 256):
        ratio = float(decaying.best_rate(size).mean() / constant.best_rate(size).mean())
        assert 1 < ratio < 4
    assert prior.log_min_steps[1] > prior_from(constant).log_min_steps[1]


def test_planned_lengths_are_met_again() -> None:
    assert rung_near(rung_near(100)) == rung_near(100)
    assert rung_near(0.1) == 1
