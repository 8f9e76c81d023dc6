from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from critbatch.advisor import race
from critbatch.advisor.advise import advise
from critbatch.errors import UserError
from critbatch.records.core import Advice, Outcome, Quantity, Target
from critbatch.runtime.progress import Display
from critbatch.tasks.task import accuracy
from tiny import tiny_task

TASK = tiny_task(examples=256, target=0.75)


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Advice]:
    out = tmp_path_factory.mktemp("advice")
    # Whatever else this machine does while its tests run, there is to be an answer.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("critbatch.law.clock_check.UNUSABLE", math.inf)
        return out, advise(TASK, out=out, current_batch_size=8, budget=600)


def test_the_answer_is_a_size_that_was_timed_with_its_cost_beside_others(answer: tuple[Path, Advice]) -> None:
    _, advice = answer
    assert advice.answered and advice.best is not None and advice.near_optimal_range is not None
    assert advice.best.batch_size in {point.batch_size for point in advice.speed.fitting}
    low, high = advice.near_optimal_range
    assert low <= advice.best.batch_size <= high
    assert advice.current is not None and advice.current.batch_size == 8
    assert advice.largest is not None and advice.largest.batch_size == 256
    assert {"one_machine", "generalization_not_measured"} <= set(advice.cautions)
    assert Advice.from_json(advice.to_json()) == advice


def test_the_recommendation_was_checked_with_other_seeds(answer: tuple[Path, Advice]) -> None:
    _, advice = answer
    assert {run.seed for run in advice.runs} == {0, 1, 2}


def test_runs_that_were_dropped_are_told_too(answer: tuple[Path, Advice]) -> None:
    _, advice = answer
    outcomes = {run.outcome for run in advice.runs}
    assert Outcome.REACHED in outcomes and outcomes - {Outcome.REACHED}


def test_asked_again_it_makes_no_run_again(answer: tuple[Path, Advice], monkeypatch: pytest.MonkeyPatch) -> None:
    out, advice = answer
    made: list[object] = []
    monkeypatch.setattr(race.Race, "_advance_one", lambda self, key, *rest: made.append(key))
    monkeypatch.setattr("critbatch.measure.step_timer.StepTimer.take_again", lambda self, speed, size: advice.speed)
    monkeypatch.setattr("critbatch.measure.step_timer.StepTimer.take", lambda self: advice.speed)
    monkeypatch.setattr("critbatch.measure.step_timer.StepTimer.compare", lambda self, speed, runs: advice.speed)
    monkeypatch.setattr("critbatch.law.clock_check.UNUSABLE", math.inf)
    again = advise(TASK, out=out, current_batch_size=8, budget=600)
    known = {(run.batch_size, run.learning_rate, run.seed): run for run in advice.runs}
    shared = [run for run in again.runs if (run.batch_size, run.learning_rate, run.seed) in known]
    assert len(shared) >= 6
    assert all(run == known[run.batch_size, run.learning_rate, run.seed] for run in shared)


def test_a_target_that_no_rate_reaches_is_said_plainly(tmp_path: Path) -> None:
    task = replace(
        TASK,
        metric=lambda outputs, targets: 0.9 * accuracy(outputs, targets),
        target=Target(quantity=Quantity.VALIDATION_METRIC, value=0.95),
    )
    advice = advise(task, out=tmp_path, budget=600)
    assert not advice.answered
    assert advice.best is None and advice.points == ()
    assert "no_run_reached_target" in advice.cautions and "budget_ended" not in advice.cautions


def test_a_budget_that_ends_before_the_first_race_is_said_plainly(tmp_path: Path) -> None:
    advice = advise(TASK, out=tmp_path, budget=1e-3)
    assert not advice.answered
    assert {"no_run_reached_target", "budget_ended"} <= set(advice.cautions)


def test_ctrl_c_ends_it_and_the_store_keeps_what_was_learned(tmp_path: Path) -> None:
    import os
    import signal

    class Impatient(Display):
        def watch(self, progress: object) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        advise(TASK, out=tmp_path, budget=60, progress=Impatient())
    assert list((tmp_path / "checkpoints").glob("*.pt"))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"budget": 0}, "budget=0 allows nothing"),
        ({"current_batch_size": 257}, "current_batch_size=257 is not possible: use a batch size from 1 to 256"),
        ({"recipe": "magic"}, "Recipe 'magic' is not known"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, object], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        advise(TASK, out=tmp_path, **settings)  # type: ignore[arg-type]
