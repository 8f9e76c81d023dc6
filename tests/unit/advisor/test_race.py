from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from critbatch.advisor.race import Race
from critbatch.advisor.run_cache import RunCache, Start
from critbatch.law.target_progress import progress_to_target
from critbatch.recipes import sgd
from critbatch.records.core import CurvePoint, Outcome, Quantity, Target
from critbatch.studies.run_key import RunKey, StudyKey
from critbatch.studies.store import Store
from critbatch.training.trainer import Training
from tiny import tiny_task

TASK = tiny_task(examples=192, target=0.75)
RATES = (0.0003, 0.003, 0.03, 0.3)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    terms = StudyKey(task=TASK.name, fingerprint=TASK.fingerprint(), recipe="sgd", target=None, epochs=100, settings={})
    with Store.open(tmp_path, terms) as store:
        yield store


def start(key: RunKey, checkpoint: Path, noise_every: int) -> Training:
    plan = sgd(batch_size=key.batch_size, learning_rate=key.learning_rate, epochs=100)
    return Training(TASK, plan, seed=key.seed, target=TASK.target, checkpoint=checkpoint)


def known_runs(store: Store, folder: Path, begin: Start = start) -> RunCache:
    return RunCache(store, begin, target=TASK.target, folder=folder)


def test_a_race_gives_most_steps_to_the_rate_that_comes_to_the_target_first(store: Store, tmp_path: Path) -> None:
    race = Race(known_runs(store, tmp_path), pause_at=None, report_progress=lambda key: None)
    runs = {run.learning_rate: run for run in race.run(16, RATES, seed=0)}
    assert set(runs) >= set(RATES)
    reached = [run for run in runs.values() if run.outcome is Outcome.REACHED]
    assert reached
    first = min(run.steps for run in reached)
    assert runs[0.0003].outcome is Outcome.FINISHED
    assert all(run.steps <= 2 * first for run in runs.values())
    assert runs[0.0003].steps <= 2 * first and runs[0.0003].crossing is None
    assert sorted(run.learning_rate for run in store.runs()) == sorted(runs)
    assert not list(store.checkpoint(RunKey(batch_size=16, learning_rate=0.03, seed=0)).parent.glob("*.pt"))


def test_a_race_run_again_comes_from_the_store(store: Store, tmp_path: Path) -> None:
    race = Race(known_runs(store, tmp_path), pause_at=None, report_progress=lambda key: None)
    runs = race.run(16, RATES, seed=0)

    def refuse(key: RunKey, checkpoint: Path, noise_every: int) -> Training:
        raise AssertionError(f"{key} was begun again")

    again = Race(known_runs(store, tmp_path, refuse), pause_at=None, report_progress=lambda key: None)
    assert sorted(run.to_json() for run in again.run(16, RATES, seed=0)) == sorted(run.to_json() for run in runs)


def test_ctrl_c_keeps_the_place_of_every_run_in_the_race(store: Store, tmp_path: Path) -> None:
    told: list[RunKey] = []

    def interrupted_start(key: RunKey, checkpoint: Path, noise_every: int) -> Training:
        training = start(key, checkpoint, noise_every)
        training.progress = lambda progress: os.kill(os.getpid(), signal.SIGINT) if len(told) >= 2 else None
        return training

    race = Race(known_runs(store, tmp_path, interrupted_start), pause_at=None, report_progress=told.append)
    race.run(16, RATES, seed=0)
    assert race.interrupted
    assert {key.learning_rate for key in told} <= set(RATES)
    again = Race(known_runs(store, tmp_path), pause_at=None, report_progress=lambda key: None)
    runs = {run.learning_rate: run for run in again.run(16, RATES, seed=0)}
    assert not again.interrupted
    assert any(run.outcome is Outcome.REACHED for run in runs.values())


def a_curve(*values: float) -> tuple[CurvePoint, ...]:
    return tuple(
        CurvePoint(
            step=step,
            examples=step,
            epoch=step,
            seconds=step,
            learning_rate=0.1,
            train_loss=value,
            train_metric=1 - value,
            validation_loss=value,
            validation_metric=1 - value,
        )
        for step, value in enumerate(values)
    )


@pytest.mark.parametrize(("quantity", "goal"), [(Quantity.VALIDATION_LOSS, 0.02), (Quantity.VALIDATION_METRIC, 0.98)])
@pytest.mark.parametrize(
    ("values", "part"), [((2.0,), 0.0), ((0.9, 0.9), 0.0), ((0.8, 0.1265, 0.5), 0.5), ((0.8, 0.02), 1.0)]
)
def test_the_way_to_the_target_is_measured_in_the_logarithm_of_what_is_left(
    quantity: Quantity, goal: float, values: tuple[float, ...], part: float
) -> None:
    training = start(RunKey(batch_size=4, learning_rate=0.1, seed=0), Path("none"), 0)
    run = replace(training.record(), curve=a_curve(*values))
    assert progress_to_target(run, Target(quantity=quantity, value=goal)) == pytest.approx(part, abs=1e-3)
