"""Training sees inputs that are a function of (seed, epoch, index) alone; everything else sees the examples."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import critbatch
import processes
from critbatch.errors import UserError
from critbatch.gradient_noise.estimator import noise_scale
from critbatch.optim.lr_schedule import constant
from critbatch.recipes import sgd
from critbatch.recipes.plan import Phase, Plan
from critbatch.records.core import Outcome
from critbatch.runtime.distributed import Shard
from critbatch.tasks.augmentation import Augmentation, epoch_draws
from critbatch.tasks.sampler import BatchGatherer, BatchIterator, EpochSampler, Order
from critbatch.tasks.task import Task
from critbatch.training.state import Budget
from critbatch.training.trainer import Training
from tiny import tiny_plan, tiny_task

CPU = torch.device("cpu")


def noisy(inputs: Tensor, draws: Tensor) -> Tensor:
    return inputs + 2 * draws - 1


def augmented_task(apply: Callable[[Any, Tensor], Any] = noisy, **changes: Any) -> Task:
    task = tiny_task(**{"dtype": torch.float64, "examples": 50, **changes})
    return replace(task, augment=Augmentation(apply, numbers=4))


def recorded() -> tuple[Task, list[Tensor]]:
    """A task, and the inputs that its augmentation has given out since."""
    seen: list[Tensor] = []

    def apply(inputs: Tensor, draws: Tensor) -> Tensor:
        seen.append(noisy(inputs, draws))
        return seen[-1]

    task = augmented_task(apply)
    seen.clear()
    return task, seen


def weights(model: torch.nn.Module) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


def ended(task: Task, plan: Plan, **settings: Any) -> Training:
    training = Training(task, plan, **settings)
    training.advance()
    return training


def test_the_numbers_are_uniform_and_a_function_of_seed_and_epoch() -> None:
    draws = epoch_draws(4000, 3, seed=5, epoch=2)
    assert (draws.shape, draws.dtype) == ((4000, 3), torch.float32)
    assert 0 <= draws.min() < 0.01 and 0.99 < draws.max() < 1
    assert torch.bincount((draws * 4).long().flatten()).sub(3000).abs().max() < 4 * (12000 * 0.25 * 0.75) ** 0.5
    torch.manual_seed(1)
    assert torch.equal(draws, epoch_draws(4000, 3, seed=5, epoch=2))
    others = [epoch_draws(4000, 3, seed=seed, epoch=epoch) for seed, epoch in ((5, 3), (6, 2), (2, 5))]
    for other in others:
        assert (other - draws).abs().mean() == pytest.approx(1 / 3, abs=0.01)


@pytest.mark.parametrize("batch_size", [7, 20, 50])
@pytest.mark.parametrize(("shard", "piece"), [(Shard(), None), (Shard(), 3), (Shard(1, 3), 2)])
def test_each_example_is_changed_by_its_own_numbers_of_the_epoch(
    batch_size: int, shard: Shard, piece: int | None
) -> None:
    task = augmented_task()
    ahead = EpochSampler(50, seed=3)
    feed = BatchIterator(
        BatchGatherer(task.train, CPU),
        ahead.copy(),
        batch_size=batch_size,
        shard=shard,
        piece=lambda n: piece,
        augment=task.augment,
    )
    for _ in range(2 * -(-50 // batch_size) + 1):
        rows = shard.of(ahead.take(batch_size))
        inputs, targets = task.train.take(rows)
        expected = noisy(inputs, epoch_draws(50, 4, seed=3, epoch=ahead.epoch)[rows])
        found = list(next(feed)[1])
        assert torch.equal(torch.cat([inputs[:0], *(one for one, _ in found)]), expected)
        assert torch.equal(torch.cat([targets[:0], *(one for _, one in found)]), targets)
    assert ahead.epoch == 2


def test_batches_that_are_read_late_have_the_numbers_of_their_own_epoch() -> None:
    task, cursor = augmented_task(), EpochSampler(50, seed=0, order=Order.SEQUENTIAL)
    feed = BatchIterator(
        BatchGatherer(task.train, CPU), cursor, batch_size=50, shard=Shard(), piece=lambda n: None, augment=task.augment
    )
    first, second = next(feed)[1], next(feed)[1]
    for epoch, pieces in enumerate((first, second)):
        expected = noisy(task.train.inputs, epoch_draws(50, 4, seed=0, epoch=epoch))
        assert torch.equal(next(iter(pieces))[0], expected)


@pytest.mark.parametrize("recipe", ["sgd", "adam", "swap2020", "post-local-sgd", "adaptive", "smith2017"])
@pytest.mark.parametrize("interrupted_after", [3, 28])
def test_a_resumed_run_is_the_unbroken_one_bit_for_bit(recipe: str, interrupted_after: int, tmp_path: Path) -> None:
    task, path = augmented_task(examples=96), tmp_path / "run.pt"
    plan = tiny_plan(recipe, batch_size=10, epochs=7.5)
    unbroken = ended(task, plan)

    def interrupt(progress: Any) -> None:
        if progress.step >= interrupted_after:
            os.kill(os.getpid(), signal.SIGINT)

    first = Training(task, plan, checkpoint=path, progress=interrupt)
    assert first.advance() is Outcome.INTERRUPTED
    assert 0 < first.cursor.offset < 96
    second = Training(task, plan, checkpoint=path)
    assert second.run_state.step == first.run_state.step < unbroken.run_state.step
    assert second.advance() is Outcome.FINISHED
    assert torch.equal(weights(second.model), weights(unbroken.model))
    assert not torch.equal(weights(unbroken.model), weights(ended(replace(task, augment=None), plan).model))


def test_a_copy_that_was_interrupted_goes_on_bit_for_bit(tmp_path: Path) -> None:
    task, plan, path = augmented_task(examples=96), tiny_plan("swap2020", epochs=7.5), tmp_path / "run.pt"
    whole = ended(task, plan)
    first = Training(task, plan, checkpoint=path)
    first.advance(Budget(steps=int(plan.phases[0].epochs * 6)))
    first.advance(Budget(steps=first.run_state.step + 5))
    assert first.local_sgd is not None
    steps = [member.steps for member in first.local_sgd.members]
    assert steps[0] > steps[1] == 0
    first.save()
    second = Training(task, plan, checkpoint=path)
    assert second.local_sgd is not None and [member.steps for member in second.local_sgd.members] == steps
    assert second.advance() is Outcome.FINISHED
    assert torch.equal(weights(second.model), weights(whole.model))


def test_micro_batches_see_what_whole_batches_see() -> None:
    ends = []
    for piece in (None, 4):
        task, seen = recorded()
        training = ended(task, replace(sgd(batch_size=9, learning_rate=0.1, epochs=3), micro_batch_size=piece))
        ends.append((torch.cat(seen), weights(training.model), len(seen)))
    (whole, ends_whole, calls), (cut, ends_cut, more_calls) = ends
    assert torch.equal(whole, cut) and more_calls > calls
    torch.testing.assert_close(ends_cut, ends_whole, rtol=1e-12, atol=1e-14)


SEES_INPUTS = """
from critbatch.recipes import sgd
from critbatch.training.trainer import Training
from unit.tasks.test_augmentation import recorded

task, seen = recorded()
training = Training(task, sgd(batch_size=9, learning_rate=0.1, epochs=2))
training.advance()
torch.save({"seen": seen, "model": training.model.state_dict()}, out / f"{rank}.pt")
"""


def test_two_processes_together_see_the_inputs_that_one_sees_alone(tmp_path: Path) -> None:
    processes.run(SEES_INPUTS, tmp_path)
    both = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    task, seen = recorded()
    alone = ended(task, sgd(batch_size=9, learning_rate=0.1, epochs=2))
    together = [torch.cat(parts) for parts in zip(both[0]["seen"], both[1]["seen"], strict=True)]
    assert len(together) == len(seen) == 12
    assert all(map(torch.equal, together, seen))
    for found in both:
        for name, weight in alone.model.state_dict().items():
            torch.testing.assert_close(found["model"][name], weight, rtol=1e-12, atol=1e-14)


def test_other_seeds_and_other_epochs_see_other_inputs_of_the_same_examples() -> None:
    def epochs(seed: int) -> tuple[Tensor, Tensor]:
        task, seen = recorded()
        plan = replace(sgd(batch_size=50, learning_rate=0.1, epochs=2), order=Order.SEQUENTIAL)
        ended(task, plan, seed=seed)
        first, second = seen
        return first, second

    (first, second), (other, _), (again, _) = epochs(0), epochs(1), epochs(0)
    assert torch.equal(first, again)
    assert (first != second).all() and (first != other).all()


def phases(**changes: Any) -> Plan:
    """One phase of copies of SGD that see the examples as they lie."""
    settings: dict[str, Any] = {"epochs": 2.0, "batch_size": 16, "learning_rate": constant(0.1)}
    optimizer = partial(torch.optim.SGD, lr=0.1)
    phase = Phase(optimizer=optimizer, **{**settings, **changes})
    return Plan(recipe="by hand", peak=0.1, phases=(phase,), order=Order.SEQUENTIAL)


def test_copies_with_seeds_of_their_own_differ_by_the_numbers_they_draw_alone() -> None:
    def members(task: Task) -> list[Tensor]:
        local_sgd = ended(task, phases(copies=2)).local_sgd
        assert local_sgd is not None
        return [weights(member.model) for member in local_sgd.members]

    plain, changed = members(tiny_task(dtype=torch.float64)), members(augmented_task(examples=96))
    assert torch.equal(*plain)
    assert not torch.equal(*changed)


def test_copies_that_share_batches_see_the_inputs_of_the_whole_batch() -> None:
    task = augmented_task(examples=96)
    local = ended(task, phases(copies=4, shares_batches=True, average_every=1))
    torch.testing.assert_close(weights(local.model), weights(ended(task, phases()).model), rtol=1e-12, atol=1e-14)


def test_evaluation_and_batch_norm_s_statistics_see_the_examples_as_they_are() -> None:
    task, seen = recorded()
    training = ended(task, tiny_plan("swap2020", epochs=4.0))
    run = training.record()
    assert sum(map(len, seen)) == run.examples
    plain = replace(task, augment=None)
    evaluator = Training(plain, tiny_plan("sgd")).evaluator
    last = run.curve[-1]
    assert evaluator.examine(training.model) == {
        "train_loss": last.train_loss,
        "train_metric": last.train_metric,
        "validation_loss": last.validation_loss,
        "validation_metric": last.validation_metric,
    }


def test_what_is_measured_at_given_weights_sees_the_examples_as_they_are() -> None:
    task, seen = recorded()
    model, other = task.new_model(0), task.new_model(1)
    with_it, without = task, replace(task, augment=None)

    def measured(task: Task) -> tuple[Any, ...]:
        sharp = critbatch.sharpness(task, model, draws=1, subspace=3, iterations=1, device=CPU)
        bent = critbatch.curvature(task, model, largest=1, trace_products=12, density=False, device=CPU)
        line = critbatch.landscape(task, {"a": model, "b": other}, points=3, device=CPU)
        return sharp.solutions, bent.largest, bent.trace, line.points

    assert measured(with_it) == measured(without)
    assert seen == []


def test_the_noise_scale_along_a_run_is_that_of_the_changed_inputs() -> None:
    task = augmented_task(examples=48)
    training = Training(task, sgd(batch_size=24, learning_rate=1e-30, epochs=9), noise_every=1)
    training.advance(Budget(steps=3))

    def norm2(rows: Tensor, epoch: int) -> Tensor:
        inputs, targets = task.train.take(rows)
        inputs = noisy(inputs, epoch_draws(48, 4, seed=0, epoch=epoch)[rows])
        loss = task.loss(training.model(inputs), targets).mean()
        grads = torch.autograd.grad(loss, list(training.model.parameters()))
        return torch.stack([grad.square().sum() for grad in grads]).sum()

    cursor = EpochSampler(48, seed=0)
    for pair in training.meter.pairs:
        rows = cursor.take(24)
        small = torch.stack([norm2(piece, cursor.epoch) for piece in rows.split(6)]).mean()
        truth = noise_scale(small, norm2(rows, cursor.epoch), small=6, big=24, examples=48)
        noise, signal = pair.sum(-1)[:, 0].tolist()
        assert noise == pytest.approx(truth.covariance_trace, rel=1e-9)
        assert signal == pytest.approx(truth.gradient_norm2, rel=1e-9)
    assert (len(training.meter.pairs), cursor.epoch) == (3, 1)


def test_what_is_no_augmentation_is_refused_in_a_sentence() -> None:
    with pytest.raises(UserError, match=r"^An augmentation of str is not possible: give a function of \(inputs"):
        Augmentation("flip", numbers=1)  # type: ignore[arg-type]
    for numbers in (0, 1.5):
        with pytest.raises(UserError, match=f"^numbers={numbers} is not possible: use a whole number, 1 or more"):
            Augmentation(noisy, numbers=numbers)  # type: ignore[arg-type]
