"""A target that no model can reach is refused in a sentence before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import tiny
from critbatch.advisor.advise import advise
from critbatch.claims.run import check_claims
from critbatch.errors import UserError
from critbatch.records.core import Outcome, Quantity, Target
from critbatch.studies.sweep import sweep
from critbatch.tasks.task import Task, accuracy
from critbatch.training.evaluation import Evaluation, check_target_on_data
from critbatch.training.trainer import train

CPU = torch.device("cpu")
TASK = tiny.tiny_task()


def by_metric(value: float) -> Target:
    return Target(quantity=Quantity.VALIDATION_METRIC, value=value)


def by_loss(value: float) -> Target:
    return Target(quantity=Quantity.VALIDATION_LOSS, value=value)


def nan_for_the_second_class(outputs: Tensor, targets: Tensor) -> Tensor:
    right = (outputs.argmax(-1) == targets).float()
    return torch.where(targets == 1, torch.nan, right)


def own_accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.argmax(-1) == targets).float()


def percent(outputs: Tensor, targets: Tensor) -> Tensor:
    return 100 * own_accuracy(outputs, targets)


def right_digits(outputs: Tensor, targets: Tensor) -> Tensor:
    """A count: 0 or 1 for nearly every example of an untrained model, and yet up to 7."""
    return 7 * own_accuracy(outputs, targets) * (outputs.max(-1).values > 50).float()


def tried(task: Task, target: Target) -> None:
    check_target_on_data(task, target, evaluation=Evaluation(), device=CPU)


# What is certain by definition.


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        (by_metric(97), r"accuracy of 97 cannot be reached.* at most 1, such as 0\.97 for 97 %\.$"),
        (by_metric(1.01), r"accuracy of 1\.01 cannot be reached"),
        (by_metric(1e9), r"accuracy of 1e\+09 cannot be reached.*give a target above 0 and at most 1\.$"),
        (by_metric(0), r"accuracy of 0 is reached before the first step"),
        (by_metric(-0.5), r"accuracy of -0\.5 is reached before the first step"),
        (by_loss(-0.1), r"loss of -0\.1 cannot be reached, since cross_entropy is never negative"),
    ],
)
def test_a_target_outside_of_the_range_of_accuracy_or_cross_entropy_is_refused(target: Target, sentence: str) -> None:
    task = replace(TASK, target=target)
    with pytest.raises(UserError, match=sentence):
        tried(task, target)
    with pytest.raises(UserError, match=sentence):
        train(TASK, tiny.tiny_plan("sgd"), target=target, device=CPU)


def test_a_run_of_a_given_length_does_not_look_at_the_target() -> None:
    run = train(replace(TASK, target=by_metric(2.0)), tiny.tiny_plan("sgd", epochs=1.0), device=CPU)
    assert run.outcome is Outcome.FINISHED


@pytest.mark.parametrize("target", [by_metric(1.0), by_metric(1e-6), by_loss(0.0), by_loss(50.0)])
def test_a_target_at_the_end_of_the_range_is_allowed(target: Target) -> None:
    tried(replace(TASK, target=target), target)


@pytest.mark.parametrize("loss", [F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss])
def test_a_loss_of_torch_that_is_never_negative_is_known(loss: Callable[..., Tensor]) -> None:
    values = (torch.randn(40, 1), torch.randn(40, 1))

    def one_value(outputs: Tensor, targets: Tensor) -> Tensor:
        return partial(loss, reduction="none")(outputs, targets).squeeze(1)

    words: dict[str, Any] = {"model": lambda: nn.Linear(1, 1), "train": values, "validation": values}
    own = Task("own", **words, loss=one_value, metric=one_value, target=by_loss(-1.0))
    own.check_target(own.target)  # nothing is known of its loss
    flat = (torch.randn(40, 1), torch.randn(40))
    words |= {"model": lambda: nn.Sequential(nn.Linear(1, 1), nn.Flatten(0)), "train": flat, "validation": flat}
    known = partial(loss, reduction="none")
    task = Task("torch's", **words, loss=known, metric=known, target=by_loss(-1.0))
    with pytest.raises(UserError, match=f"loss of -1 cannot be reached, since {loss.__name__} is never negative"):
        task.check_target(task.target)


# What shows when it is tried.


def test_a_metric_that_is_nan_for_some_examples_is_refused_and_counted() -> None:
    task = replace(TASK, metric=nan_for_the_second_class)
    bad = int((tiny.blobs(60, seed=1)[1] == 1).sum())
    with pytest.raises(UserError, match=f"^Task 'tiny': the metric of {bad} of 60 validation examples is NaN"):
        tried(task, by_metric(0.9))
    tried(task, by_loss(0.3))  # the metric has no part in it


def test_a_loss_that_is_nan_before_training_is_refused() -> None:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs, targets, reduction="none") + torch.where(targets == 2, torch.nan, 0.0)

    with pytest.raises(UserError, match=r"the loss of \d+ of 60 validation examples is NaN before training"):
        tried(replace(TASK, loss=loss), by_metric(0.9))


def test_a_metric_that_is_zero_or_one_also_for_right_outputs_cannot_come_above_one() -> None:
    task = replace(TASK, metric=own_accuracy)
    with pytest.raises(UserError, match=r"accuracy of 97 cannot be reached.*0 or 1 .* of 60 .*at most 1"):
        tried(task, by_metric(97))
    tried(task, by_metric(0.97))


@pytest.mark.parametrize("metric", [percent, right_digits])
def test_a_metric_that_can_come_above_one_is_allowed_to(metric: Callable[[Any, Any], Tensor]) -> None:
    tried(replace(TASK, metric=metric), by_metric(6.5))


def test_a_metric_whose_right_outputs_are_not_known_is_allowed() -> None:
    def model() -> nn.Module:
        return nn.Linear(4, 5)

    def metric(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs[:, :3].argmax(-1) == targets).float()

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs[:, :3], targets, reduction="none")

    points, labels = tiny.blobs(60)
    pair = (points, labels[:, None].float())
    tried(
        Task(
            "odd",
            model=model,
            train=pair,
            validation=pair,
            loss=lambda outputs, targets: loss(outputs, targets[:, 0].long()),
            metric=lambda outputs, targets: metric(outputs, targets[:, 0].long()),
            target=by_metric(3.0),
        ),
        by_metric(3.0),
    )


def test_trying_leaves_the_random_state_as_it_was() -> None:
    before = torch.get_rng_state()
    tried(TASK, by_metric(0.9))
    assert torch.equal(torch.get_rng_state(), before)


# Where it is refused: before anything is trained.


@pytest.mark.parametrize("command", [advise, sweep, check_claims])
def test_each_command_refuses_it_before_it_trains_or_times(command: Any, tmp_path: Path) -> None:
    task = replace(TASK, metric=nan_for_the_second_class)
    with pytest.raises(UserError, match="validation examples is NaN"):
        command(task, out=tmp_path, device=CPU)
    assert not list(tmp_path.rglob("*.json")) and not list(tmp_path.rglob("*.db"))


def test_a_run_whose_first_evaluation_is_nan_is_refused_and_one_without_a_target_goes_on() -> None:
    task = replace(TASK, metric=nan_for_the_second_class)
    plan = tiny.tiny_plan("sgd", epochs=1.0)
    with pytest.raises(UserError, match=r"^Task 'tiny': the validation accuracy is NaN before training"):
        train(task, plan, target=by_metric(0.9), device=CPU)
    assert train(task, plan, device=CPU).outcome is Outcome.FINISHED
    assert train(task, plan, target=by_loss(1e-6), device=CPU).outcome is Outcome.FINISHED


def test_a_phase_that_waits_for_an_impossible_training_accuracy_is_refused() -> None:
    plan = tiny.tiny_plan("swap2020", epochs=2.0, until_train_metric=97)
    with pytest.raises(UserError, match="until_train_metric=97 cannot be reached"):
        train(TASK, plan, device=CPU)


def test_the_accuracy_of_the_package_is_a_share_of_right_answers() -> None:
    assert accuracy(torch.eye(3), torch.tensor([0, 1, 0])).tolist() == [1, 1, 0]
