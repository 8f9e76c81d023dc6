"""Copies that train each on its own, and their mean."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from critbatch.errors import UserError
from critbatch.optim.lr_schedule import constant
from critbatch.recipes import plan_of, sgd
from critbatch.recipes.plan import Phase, Plan
from critbatch.records.core import Outcome, Run
from critbatch.tasks.sampler import EpochSampler
from critbatch.tasks.task import Task
from critbatch.training.state import Budget
from critbatch.training.trainer import Training, train
from tiny import tiny_plan, tiny_task

TASK = tiny_task(dtype=torch.float64)


def phase(**changes: object) -> Phase:
    settings: dict[str, object] = {
        "epochs": 2.0,
        "batch_size": 16,
        "optimizer": partial(SGD, lr=0.1, momentum=0.0),
        "learning_rate": constant(0.1),
    }
    return Phase(**{**settings, **changes})  # type: ignore[arg-type]


def plan(*phases: Phase) -> Plan:
    return Plan(recipe="by hand", peak=0.1, phases=phases)


def ended(plan: Plan, task: Task = TASK) -> Training:
    training = Training(task, plan)
    training.advance()
    return training


def weights(model: nn.Module) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


def test_local_sgd_that_averages_after_every_step_is_sgd() -> None:
    local = ended(plan(phase(copies=4, shares_batches=True, average_every=1)))
    plain = ended(sgd(batch_size=16, learning_rate=0.1, epochs=2, momentum=0.0))
    torch.testing.assert_close(weights(local.model), weights(plain.model), rtol=1e-12, atol=1e-14)
    run = local.record()
    assert (run.steps, run.examples, run.epochs) == (12, 192, 2.0)


def test_the_mean_of_copies_that_do_not_differ_is_the_copy() -> None:
    full = phase(copies=3, batch_size=96, epochs=4.0)
    torch.testing.assert_close(
        weights(ended(plan(full)).model),
        weights(ended(sgd(batch_size=96, learning_rate=0.1, epochs=4, momentum=0.0)).model),
        rtol=1e-12,
        atol=1e-14,
    )


def test_copies_see_all_the_data_each_in_an_order_of_its_own_and_end_at_their_mean() -> None:
    training = Training(TASK, plan(phase(epochs=1.0), phase(copies=2, batch_size=8)))
    seen: list[Tensor] = []
    gather = training.source.data.take
    training.source.data.take = lambda rows: seen.append(rows) or gather(rows)  # type: ignore[union-attr]
    training.evaluation = replace(training.evaluation, growth=1e9)
    training.advance(Budget(steps=6))
    seen.clear()
    training.evaluator.examine = lambda *_: dict.fromkeys(  # type: ignore[method-assign]
        ("train_loss", "train_metric", "validation_loss", "validation_metric"), 0.5
    )
    training.advance()
    assert training.local_sgd is not None
    batches = [rows for rows in seen if len(rows) == 8]
    assert len(batches) == 2 * 24
    first, second = torch.cat(batches[:12]), torch.cat(batches[24:36])
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(96))
    assert first.tolist() != second.tolist()
    mean = torch.stack([weights(member.model) for member in training.local_sgd.members]).mean(0)
    torch.testing.assert_close(weights(training.model), mean, rtol=1e-12, atol=1e-14)
    assert not torch.equal(*[weights(member.model) for member in training.local_sgd.members])
    run = training.record()
    assert (run.steps, run.examples, run.epochs) == (6 + 24, 96 + 2 * 192, 3.0)


def test_momentum_is_each_copy_s_own() -> None:
    momentum = partial(SGD, lr=0.1, momentum=0.9)
    first = phase(optimizer=momentum)
    then = phase(optimizer=momentum, copies=2, keeps_optimizer=True, batch_size=8)
    training = ended(plan(first, then))
    assert training.local_sgd is not None
    buffers = [next(iter(member.optimizer.state.values()))["momentum_buffer"] for member in training.local_sgd.members]
    assert buffers[0].data_ptr() != buffers[1].data_ptr()


class Normalized(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def test_the_mean_s_batch_norm_has_the_statistics_of_the_training_set() -> None:
    task = Task(
        "normalized",
        model=lambda: Normalized().double(),
        train=TASK.train,
        validation=TASK.validation,
        target=TASK.target,
    )
    training = ended(plan(phase(copies=3)), task)
    hidden = training.model[0](task.train.span(0, 96)[0])
    torch.testing.assert_close(training.model[1].running_mean, hidden.mean(0), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(training.model[1].running_var, hidden.var(0), rtol=1e-12, atol=1e-13)
    assert training.model.training and training.model[1].momentum == 0.1


class FrozenNorm(nn.Sequential):
    """Its first batch norm is pretrained and stays in eval mode; the second one has the mean over all batches."""

    def __init__(self) -> None:
        super().__init__(
            nn.BatchNorm1d(4), nn.Linear(4, 8), nn.BatchNorm1d(8, momentum=None), nn.ReLU(), nn.Linear(8, 3)
        )
        self.double()
        self[0].running_mean.fill_(0.1)
        self[0].running_var.fill_(4.0)
        self[0].requires_grad_(False)
        nn.init.constant_(self[0].bias, 0.1)

    def train(self, mode: bool = True) -> FrozenNorm:
        super().train(mode)
        self[0].eval()
        return self


@pytest.mark.parametrize("shares_batches", [False, True])
def test_the_mean_keeps_batch_norm_statistics_that_training_held(shares_batches: bool) -> None:
    task = Task(
        "frozen",
        model=FrozenNorm,
        train=TASK.train,
        validation=TASK.validation,
        target=TASK.target,
    )
    training = ended(plan(phase(copies=3, shares_batches=shares_batches)), task)
    first, second = training.model[0], training.model[2]
    assert (first.running_mean == 0.1).all() and (first.running_var == 4).all() and not first.training
    assert (first.weight == 1).all() and (first.bias == 0.1).all()
    normalized = (task.train.span(0, 96)[0] - 0.1) / (4 + 1e-5) ** 0.5
    hidden = training.model[1](normalized * first.weight + first.bias)
    torch.testing.assert_close(second.running_mean, hidden.mean(0), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(second.running_var, hidden.var(0), rtol=1e-12, atol=1e-13)
    assert second.training and second.momentum is None


def test_the_mean_s_statistics_are_computed_where_a_single_example_is_left_over() -> None:
    task = Task(
        "normalized",
        model=lambda: Normalized().double(),
        train=TASK.train,
        validation=TASK.validation,
        target=TASK.target,
    )
    training = ended(replace(plan(phase(copies=2, batch_size=19)), drop_last=True), task)
    hidden = training.model[0](task.train.span(0, 96)[0])
    torch.testing.assert_close(training.model[1].running_mean, hidden.mean(0), rtol=1e-12, atol=1e-13)


def test_a_phase_ends_when_the_training_set_is_fitted_well_enough() -> None:
    training = ended(plan(phase(epochs=500.0, until_train_metric=0.7), phase(epochs=1.0, learning_rate=lambda e: 0.01)))
    curve = training.run_state.curve
    first = next(n for n, point in enumerate(curve) if point.train_metric >= 0.7 and point.step > 0)
    assert curve[first].epoch < 100
    assert curve[-1].epoch == pytest.approx(curve[first].epoch + 1.0, abs=16 / 96)
    assert all(point.learning_rate == 0.01 for point in curve[first + 1 :])


def test_swap_tells_how_good_each_copy_was_and_what_copies_at_once_would_take() -> None:
    run = train(tiny_task(), tiny_plan("swap2020", epochs=30.0, copies=3))
    assert [member.copy for member in run.replicas] == [0, 1, 2]
    assert len({member.steps for member in run.replicas}) == 1
    assert len({member.validation_loss for member in run.replicas}) == 3
    assert run.parallel_seconds is not None
    spared = sum(member.seconds for member in run.replicas) - max(member.seconds for member in run.replicas)
    assert run.parallel_seconds == pytest.approx(run.seconds - spared)
    assert Run.from_json(run.to_json()) == run


@pytest.mark.parametrize("recipe", ["swap2020", "post-local-sgd"])
def test_copies_interrupted_in_the_middle_go_on_bit_for_bit(recipe: str, tmp_path: Path) -> None:
    task, own = tiny_task(dropout=0.3), tiny_plan(recipe, epochs=7.5)
    whole = Training(task, own)
    whole.advance()
    path, calls = tmp_path / "run.pt", 0
    first = Training(task, own, checkpoint=path)
    first.advance(Budget(steps=int(first.plan.phases[0].epochs * 6)))
    stops = first._stops

    def interrupt(*args: object, **settings: object) -> bool:
        nonlocal calls
        calls += settings.get("step") is not None
        if calls == 7 and settings.get("step") is not None:
            os.kill(os.getpid(), signal.SIGINT)
        return stops(*args, **settings)  # type: ignore[arg-type]

    first._stops = interrupt  # type: ignore[method-assign]
    assert first.advance() is Outcome.INTERRUPTED
    assert first.local_sgd is not None and first.local_sgd.members[0].steps > 0
    second = Training(task, own, checkpoint=path)
    assert second.local_sgd is not None
    assert [member.steps for member in second.local_sgd.members] == [member.steps for member in first.local_sgd.members]
    assert second.advance() is Outcome.FINISHED
    assert torch.equal(weights(second.model), weights(whole.model))


def test_a_copy_that_diverges_ends_the_run() -> None:
    run = train(tiny_task(), plan(phase(copies=2, learning_rate=constant(1e30), epochs=40.0)))
    assert run.outcome is Outcome.DIVERGED and run.diverged_at is not None


def test_orders_of_copies_come_from_the_seed_of_the_run() -> None:
    ends = [weights(ended(plan(phase(copies=2))).model) for _ in range(2)]
    assert torch.equal(*ends)
    other = Training(TASK, plan(phase(copies=2)), seed=1)
    assert other.local_sgd is not None
    assert len({member.phase_cursor.cursor.seed for member in other.local_sgd.members}) == 2
    assert EpochSampler(96, seed=1).seed not in {member.phase_cursor.cursor.seed for member in other.local_sgd.members}


def test_what_does_not_fit_together_is_one_sentence() -> None:
    with pytest.raises(UserError, match="copies=0 with average_every=None is not possible"):
        phase(copies=0)
    with pytest.raises(UserError, match="batch_size=4 cannot be shared by 8 copies: use 8 or more"):
        Training(TASK, plan(phase(copies=8, shares_batches=True, batch_size=4)))
    with pytest.raises(UserError, match=r"refining_share=1\.5 is not possible"):
        plan_of("swap2020", batch_size=16, refining_share=1.5)
