from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from critbatch.errors import UserError
from critbatch.optim.lr_schedule import constant
from critbatch.recipes import RECIPES, adam, sgd
from critbatch.recipes.plan import Phase, Plan
from critbatch.records.core import Outcome, Quantity, Run, Target
from critbatch.tasks.task import Task, accuracy, cross_entropy
from critbatch.training.evaluation import Evaluation
from critbatch.training.state import Budget
from critbatch.training.step import Step
from critbatch.training.trainer import Training, train
from tiny import blobs, tiny_plan, tiny_task


def same_but_for_the_clock(run: Run) -> Run:
    curve = tuple(replace(point, seconds=0.0) for point in run.curve)
    crossing = run.crossing and replace(run.crossing, seconds=0.0)
    members = tuple(replace(member, seconds=0.0) for member in run.replicas)
    timeless = {"seconds": 0.0, "evaluation_seconds": 0.0, "parallel_seconds": None}
    return replace(run, curve=curve, crossing=crossing, replicas=members, **timeless)


def weights(training: Training) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in training.model.parameters()])


def test_accumulation_over_unequal_micro_batches_is_the_full_batch_gradient() -> None:
    task = tiny_task(dtype=torch.float64)
    model = task.new_model(0)
    inputs, targets = task.train.span(0, 17)
    step = Step(task, model, torch.optim.SGD(model.parameters(), lr=0.1))
    cuts = [(0, 1), (1, 9), (9, 17)]
    loss = step.gradient([(inputs[a:b], targets[a:b]) for a, b in cuts], 17)
    truth = nn.functional.cross_entropy(model(inputs), targets)
    expected = torch.autograd.grad(truth, list(model.parameters()))
    assert loss.item() == pytest.approx(truth.item(), rel=1e-14)
    for weight, grad in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(weight.grad, grad, rtol=1e-12, atol=1e-14)


def test_plain_sgd_is_a_hand_written_loop() -> None:
    task = tiny_task(dtype=torch.float64)
    training = Training(task, sgd(batch_size=10, learning_rate=0.1, epochs=2, momentum=0.9), seed=5)
    training.advance()
    model = task.new_model(5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    cursor = Training(task, sgd(batch_size=10, learning_rate=0.1, epochs=2), seed=5).cursor
    for _ in range(20):
        inputs, targets = task.train.take(cursor.take(10))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    expected = torch.cat([weight.detach().flatten() for weight in model.parameters()])
    torch.testing.assert_close(weights(training), expected, rtol=1e-12, atol=1e-13)
    assert training.record().steps == 20
    assert training.record().epochs == 2


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_learns_and_its_record_goes_to_json_and_back(recipe: str) -> None:
    task = tiny_task()
    run = train(task, tiny_plan(recipe), target=task.target, noise_every=2)
    assert run.outcome is Outcome.REACHED
    assert run.crossing is not None and run.crossing.step <= run.steps
    assert run.curve[-1].validation_metric >= 0.7 > run.curve[0].validation_metric
    assert Run.from_json(run.to_json()) == run


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("interrupted_after", [1, 7, 28])
def test_a_resumed_run_ends_where_the_unbroken_one_ends(recipe: str, interrupted_after: int, tmp_path: Path) -> None:
    task = tiny_task(dropout=0.3)
    schedule = {"warmup_epochs": 1, "lr_decay": "cosine"} if recipe in ("sgd", "adam") else {}
    plan = tiny_plan(recipe, batch_size=10, epochs=7.5, **schedule)
    unbroken = Training(task, plan, noise_every=3)
    unbroken.advance()
    path = tmp_path / "run.pt"

    def interrupt(progress) -> None:  # type: ignore[no-untyped-def]
        if progress.step >= interrupted_after:
            os.kill(os.getpid(), signal.SIGINT)

    first = Training(task, plan, noise_every=3, checkpoint=path, progress=interrupt)
    assert first.advance() is Outcome.INTERRUPTED
    assert path.exists()
    second = Training(task, plan, noise_every=3, checkpoint=path)
    assert second.run_state.step == first.run_state.step < unbroken.run_state.step
    assert second.advance() is Outcome.FINISHED
    assert torch.equal(weights(second), weights(unbroken))
    assert same_but_for_the_clock(second.record()) == same_but_for_the_clock(unbroken.record())
    assert not path.exists()


def test_a_run_advanced_piece_by_piece_has_the_weights_of_one_advanced_at_once() -> None:
    task, plan = tiny_task(dropout=0.2), sgd(batch_size=7, learning_rate=0.05, epochs=3)
    whole, pieces = Training(task, plan), Training(task, plan)
    whole.advance()
    for steps in (3, 11, 12, 1000):
        pieces.advance(Budget(steps=steps))
    assert torch.equal(weights(whole), weights(pieces))


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    task = tiny_task()
    plan = sgd(batch_size=10, learning_rate=0.02, epochs=50)
    threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    assert (
        train(task, replace(plan, phases=(replace(plan.phases[0], epochs=1e6),)), checkpoint=path).outcome
        is Outcome.INTERRUPTED
    )
    with pytest.raises(UserError, match=r"belongs to another run.*batch_size 10 there, 12 here"):
        train(task, sgd(batch_size=12, learning_rate=0.02, epochs=50), checkpoint=path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match="is damaged"):
        train(task, plan, checkpoint=path)


def test_divergence_is_a_result_with_its_step() -> None:
    def model() -> nn.Module:
        return nn.Linear(4, 1)

    inputs, _ = blobs(64)
    data = (inputs, inputs.sum(1, keepdim=True))

    def squared(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (outputs - targets).square().mean(1)

    task = Task(
        "linear",
        model=model,
        train=data,
        validation=data,
        loss=squared,
        metric=squared,
        target=Target(quantity=Quantity.VALIDATION_LOSS, value=1e-3),
    )
    run = train(task, sgd(batch_size=64, learning_rate=10.0, epochs=1000), target=task.target)
    assert run.outcome is Outcome.DIVERGED
    assert run.diverged_at is not None and 0 < run.diverged_at <= run.steps < 1000
    assert Run.from_json(run.to_json()) == run


def test_nan_in_the_loss_names_the_very_step() -> None:
    calls = []

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        values = nn.functional.cross_entropy(outputs, targets, reduction="none")
        if outputs.requires_grad:
            calls.append(len(calls))
        return values * float("nan") if len(calls) == 14 else values

    task = replace(tiny_task(), loss=loss)
    calls.clear()
    run = train(task, sgd(batch_size=8, learning_rate=0.1, epochs=10))
    assert run.outcome is Outcome.DIVERGED
    assert run.diverged_at == 14


def test_running_out_of_memory_is_a_result() -> None:
    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if len(outputs) > 20:
            raise torch.OutOfMemoryError("out of memory")
        return nn.functional.cross_entropy(outputs, targets, reduction="none")

    task = replace(tiny_task(), loss=loss)
    settings = {"evaluation": Evaluation(validation_examples=4)}
    assert train(task, sgd(batch_size=32, learning_rate=0.1, epochs=1), **settings).outcome is Outcome.OUT_OF_MEMORY
    plan = replace(sgd(batch_size=32, learning_rate=0.1, epochs=1), micro_batch_size=16)
    assert train(task, plan, **settings).outcome is Outcome.FINISHED


@pytest.mark.parametrize(("budget", "steps"), [(Budget(steps=5), 5), (Budget(examples=31), 4), (Budget(), 24)])
def test_a_run_stops_at_its_budget(budget: Budget, steps: int) -> None:
    run = train(tiny_task(), sgd(batch_size=8, learning_rate=0.1, epochs=2), budget=budget)
    assert (run.outcome, run.steps) == (Outcome.FINISHED, steps)


def test_a_run_that_is_paused_by_the_clock_goes_on_later(tmp_path: Path) -> None:
    path, plan = tmp_path / "run.pt", sgd(batch_size=8, learning_rate=0.1, epochs=2)
    paused = train(tiny_task(), plan, checkpoint=path, pause_at=time.monotonic())
    assert (paused.outcome, paused.steps) == (Outcome.INTERRUPTED, 0)
    assert train(tiny_task(), plan, checkpoint=path, keeps_checkpoint=True).steps == 24
    assert path.is_file()  # whoever dies before the record is kept does not lose the run
    again = train(tiny_task(), plan, checkpoint=path)
    assert again.steps == 24 and not path.is_file()


# A run that stops itself, the step at which it does, and whether it does so within an evaluation.
STOPPING: list[tuple[Training, int, bool]] = []
CHUNKS: list[int] = []


def stopping_metric(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    for run, step, within in STOPPING:
        if run.run_state.step == step:
            CHUNKS.append(len(outputs))
            if within:
                os.kill(os.getpid(), signal.SIGINT)
    return accuracy(outputs, targets)


def stopping_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    for run, step, within in STOPPING:
        if not within and outputs.requires_grad and run.run_state.step == step - 1:
            os.kill(os.getpid(), signal.SIGINT)
    return cross_entropy(outputs, targets)


@pytest.mark.parametrize(("stopped_at", "within"), [(0, True), (7, True), (24, True), (7, False), (24, False)])
def test_a_run_stopped_at_an_evaluation_makes_it_when_it_goes_on(
    stopped_at: int, within: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its first chunk of examples or after it; also at the last evaluation, after which nothing else is due."""
    monkeypatch.setattr("critbatch.training.evaluation.CHUNK", 40)
    task = replace(tiny_task(), metric=stopping_metric, loss=stopping_loss)
    plan, path = sgd(batch_size=8, learning_rate=0.1, epochs=2), tmp_path / "run.pt"
    unbroken = Training(task, plan, compile=False)
    unbroken.advance()
    run = Training(task, plan, checkpoint=path, compile=False)
    CHUNKS.clear()
    STOPPING.append((run, stopped_at, within))
    try:
        assert run.advance() is Outcome.INTERRUPTED
    finally:
        STOPPING.clear()
    assert run.run_state.step == stopped_at and all(point.step < stopped_at for point in run.run_state.curve)
    assert len(CHUNKS) == (1 if within else 0)
    again = Training(task, plan, checkpoint=path, compile=False)
    assert again.advance() is Outcome.FINISHED
    assert torch.equal(weights(again), weights(unbroken))
    assert same_but_for_the_clock(again.record()) == same_but_for_the_clock(unbroken.record())


def test_seconds_of_training_leave_evaluation_out() -> None:
    def slow(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        time.sleep(0.02)
        return (outputs.argmax(1) == targets).float()

    run = train(replace(tiny_task(), metric=slow), sgd(batch_size=48, learning_rate=0.1, epochs=3))
    assert run.evaluation_seconds > 0.02 * 2 * len(run.curve)
    assert [point.seconds for point in run.curve] == sorted(point.seconds for point in run.curve)
    assert run.curve[-1].seconds == run.seconds


def test_phases_follow_each_other_each_with_its_own_batch_size_and_optimizer() -> None:
    phases = (
        Phase(epochs=1, batch_size=8, optimizer=lambda p: torch.optim.SGD(p, lr=1.0), learning_rate=constant(0.1)),
        Phase(
            epochs=2, batch_size=32, optimizer=lambda p: torch.optim.Adam(p), learning_rate=lambda epoch: 0.01 + epoch
        ),
    )
    training = Training(tiny_task(), Plan(recipe="two", peak=0.1, phases=phases))
    assert training.advance() is Outcome.FINISHED
    run = training.record()
    assert run.steps == 96 // 8 + 2 * 96 // 32
    assert isinstance(training.optimizer, torch.optim.Adam)
    assert run.curve[-1].learning_rate == pytest.approx(2.01)


def test_the_callers_random_state_and_weights_stay_as_they_were() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    train(tiny_task(dropout=0.5), adam(batch_size=8, learning_rate=0.01, epochs=1))
    assert torch.equal(before, torch.get_rng_state())


def test_a_batch_above_the_data_set_is_refused_in_one_sentence() -> None:
    with pytest.raises(UserError, match=r"batch_size=97 is above the 96 training examples: use 96 or less\."):
        train(tiny_task(), sgd(batch_size=97, learning_rate=0.1, epochs=1))


def test_batch_norm_on_a_single_example_is_one_sentence() -> None:
    task = replace(tiny_task(), model=lambda: nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)))
    with pytest.raises(
        UserError,
        match=r"Batch norm .* with batch_size=95 there is such a batch at the end of an epoch of 96: give drop_",
    ):
        Training(task, sgd(batch_size=95, learning_rate=0.1, epochs=1))
    plan = replace(sgd(batch_size=95, learning_rate=0.1, epochs=1), drop_last=True)
    assert train(task, plan).outcome is Outcome.FINISHED


def test_the_training_set_is_not_copied() -> None:
    task = tiny_task()
    training = Training(task, sgd(batch_size=8, learning_rate=0.1, epochs=1), device=torch.device("cpu"))
    assert training.source.data is task.train


def test_nothing_is_compiled_while_the_clock_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(tiny_task(), sgd(batch_size=16, learning_rate=0.1, epochs=100))
    running: list[bool] = []

    def prepare(size: int) -> float:
        running.append(training.clock._started is not None)
        return 7.0

    monkeypatch.setattr(training.compiled, "prepare", prepare)
    training.advance(Budget(steps=3))
    assert running and not any(running)
    assert training.record().compile_seconds == 7.0 * len(running)
