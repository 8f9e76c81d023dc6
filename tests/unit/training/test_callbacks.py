"""Callbacks follow a run and change nothing of it."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from critbatch.records.core import CurvePoint, Outcome, Run
from critbatch.training.callbacks import Callback, StepInfo
from critbatch.training.evaluation import Evaluation
from critbatch.training.state import Budget
from critbatch.training.trainer import Training, train
from tiny import tiny_plan, tiny_task

CPU = torch.device("cpu")


class Recorder(Callback):
    def __init__(self) -> None:
        self.events: list[tuple[str, int]] = []
        self.losses: list[float] = []
        self.points: list[CurvePoint] = []
        self.runs: list[Run] = []

    def on_start(self, run: Run) -> None:
        self.events.append(("start", run.steps))

    def on_step(self, info: StepInfo) -> None:
        self.events.append(("step", info.step))
        self.losses.append(float(info.loss))

    def on_evaluation(self, point: CurvePoint) -> None:
        self.events.append(("evaluation", point.step))
        self.points.append(point)

    def on_end(self, run: Run) -> None:
        self.events.append(("end", run.steps))
        self.runs.append(run)


def test_a_callback_gets_every_step_and_evaluation_in_order() -> None:
    recorder = Recorder()
    run = train(tiny_task(), tiny_plan("sgd", epochs=2.0), device=CPU, callbacks=[recorder])
    assert [number for name, number in recorder.events if name == "step"] == list(range(1, run.steps + 1))
    assert tuple(recorder.points) == run.curve and recorder.runs == [run]
    assert recorder.events[:3] == [("start", 0), ("evaluation", 0), ("step", 1)]
    assert recorder.events[-1] == ("end", run.steps)
    at = {number: place for place, (name, number) in enumerate(recorder.events) if name == "step"}
    for place, (name, number) in enumerate(recorder.events):
        if name == "evaluation" and number:
            assert at[number] < place


def test_the_loss_of_a_step_is_that_of_its_batch_before_the_update() -> None:
    task, recorder = tiny_task(), Recorder()
    plan = tiny_plan("sgd", batch_size=task.examples, epochs=1.0)
    whole = Evaluation(train_examples=task.examples)
    run = train(task, plan, device=CPU, evaluation=whole, callbacks=[recorder])
    assert run.steps == 1
    assert recorder.losses[0] == pytest.approx(run.curve[0].train_loss, rel=1e-5)


def test_a_callback_that_draws_random_numbers_changes_nothing() -> None:
    class Draws(Callback):
        def on_step(self, info: StepInfo) -> None:
            torch.rand(3)

        def on_evaluation(self, point: CurvePoint) -> None:
            torch.rand(3)

    plan = tiny_plan("sgd", epochs=2.0)
    first, second = (train(tiny_task(), plan, device=CPU, callbacks=callbacks) for callbacks in ([], [Draws()]))
    curves = [[replace(point, seconds=0.0) for point in run.curve] for run in (first, second)]
    assert curves[0] == curves[1]


@pytest.mark.parametrize("method", ["on_start", "on_step", "on_evaluation", "on_end"])
def test_a_callback_that_fails_is_warned_of_once_and_ends_nothing(method: str) -> None:
    recorder = Recorder()
    calls: list[object] = []

    def fail(argument: object) -> None:
        calls.append(argument)
        raise OSError("the disk is full")

    broken = Callback()
    setattr(broken, method, fail)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = train(tiny_task(), tiny_plan("sgd", epochs=2.0), device=CPU, callbacks=[broken, recorder])
    (warning,) = caught
    assert "Callback is not called again, since it raised an error (OSError: the disk is full)" in str(warning.message)
    assert len(calls) == 1 and run.outcome is Outcome.FINISHED and recorder.runs == [run]


def test_an_interrupted_run_ends_for_a_callback_and_a_resumed_one_starts_where_it_was(tmp_path: Path) -> None:
    task, plan, file = tiny_task(), tiny_plan("sgd", epochs=2.0), tmp_path / "run.pt"
    first, second = Recorder(), Recorder()
    training = Training(task, plan, device=CPU, checkpoint=file, callbacks=[first])
    training.advance(Budget(steps=2))
    assert first.runs == []
    assert training.advance(pause_at=0.0) is Outcome.INTERRUPTED and len(first.runs) == 1
    run = train(task, plan, device=CPU, checkpoint=file, callbacks=[second])
    assert second.events[0] == ("start", 2) and second.runs == [run]


def test_a_run_ends_after_its_seconds_with_an_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    # A clock on which each step takes one second.
    from critbatch.training.state import RunClock

    def read_clock(self: RunClock, *, step: int, stop_requested: bool, always: bool = False) -> float:
        self.seconds, self.stop = float(step), stop_requested
        return self.seconds

    monkeypatch.setattr(RunClock, "read_clock", read_clock)
    run = train(tiny_task(), tiny_plan("sgd", epochs=50.0), device=CPU, max_seconds=7.5)
    assert (run.outcome, run.steps, run.curve[-1].step) == (Outcome.FINISHED, 8, 8)
