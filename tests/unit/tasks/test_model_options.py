"""Options of a task's model: given once, varied by a sweep, kept in keys and records."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import critbatch
from critbatch.errors import UserError
from critbatch.records.core import Quantity, Run, Target
from critbatch.studies.run_key import RunKey
from critbatch.tasks.task import Task
from critbatch.training.trainer import train
from tiny import blobs, tiny_plan

CPU = torch.device("cpu")


def net(dropout: float = 0.0, width: int = 8) -> nn.Module:
    return nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Dropout(dropout), nn.Linear(width, 3))


def task_with(**options: float) -> Task:
    target = Target(quantity=Quantity.VALIDATION_METRIC, value=0.7)
    train, validation = blobs(96), blobs(60, seed=1)
    return Task("net", model=net, train=train, validation=validation, target=target, model_options=options)


def dropout_of(task: Task) -> float:
    return next(layer.p for layer in task.new_model(0).modules() if isinstance(layer, nn.Dropout))


def test_options_with_the_prefix_reach_the_model_and_others_do_not() -> None:
    task = task_with(dropout=0.1).with_options({"model.width": 5, "momentum": 0.9})
    assert dropout_of(task) == 0.1 and task.new_model(0)[0].out_features == 5
    assert dropout_of(task.with_options({"model.dropout": 0.3})) == 0.3
    assert task.with_options({"momentum": 0.9}) is task


def test_an_option_that_the_model_does_not_take_is_one_sentence() -> None:
    with pytest.raises(UserError, match=r"Task 'net': `model` could not make a model .*unexpected keyword"):
        task_with().with_options({"model.depth": 3})


def test_tasks_that_differ_in_model_options_have_other_fingerprints_and_those_without_keep_theirs() -> None:
    without, half, third = task_with(), task_with(dropout=0.5), task_with(dropout=0.3)
    assert len({task.fingerprint() for task in (without, half, third)}) == 3
    assert without.fingerprints()["model options"] == ""


def test_a_run_holds_the_options_of_its_model() -> None:
    run = train(task_with(dropout=0.1), tiny_plan("sgd", epochs=1.0), device=CPU)
    assert run.options == {"model.dropout": 0.1}
    assert Run.from_json(run.to_json()) == run
    assert train(task_with(), tiny_plan("sgd", epochs=1.0), device=CPU).options == {}


def test_a_sweep_varies_the_dropout(tmp_path: Path) -> None:
    study = critbatch.sweep(
        task_with(),
        batch_sizes=[32],
        learning_rates=[0.1],
        seeds=[0],
        epochs=2.0,
        stop_at_target=False,
        option_grid={"model.dropout": [0.0, 0.5]},
        device="cpu",
        out=tmp_path,
    )
    losses = {run.options["model.dropout"]: run.curve[-1].validation_loss for run in study.runs}
    for dropout, loss in losses.items():
        plan = tiny_plan("sgd", batch_size=32, learning_rate=0.1, epochs=2.0)
        alone = train(task_with(dropout=float(str(dropout))), plan, device=CPU)
        assert alone.curve[-1].validation_loss == loss
    assert losses[0.0] != losses[0.5]


def test_a_sweep_refuses_an_option_that_the_model_does_not_take(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="could not make a model"):
        critbatch.sweep(task_with(), option_grid={"model.depth": [1, 2]}, device="cpu", out=tmp_path)


def test_a_key_with_a_model_option_is_read_as_it_was_written() -> None:
    key = RunKey(batch_size=8, learning_rate=0.1, seed=0, options=(("model.dropout", 0.1),))
    assert RunKey.from_json(key.to_json()) == key
    assert key.digest != RunKey(batch_size=8, learning_rate=0.1, seed=0).digest


def test_advice_is_for_the_model_with_its_options(tmp_path: Path) -> None:
    advice = critbatch.advise(task_with(), options={"model.dropout": 0.2}, out=tmp_path, device="cpu", budget=4.0)
    assert advice.options == {"model.dropout": 0.2}
    assert advice.runs and {run.options["model.dropout"] for run in advice.runs} == {0.2}
