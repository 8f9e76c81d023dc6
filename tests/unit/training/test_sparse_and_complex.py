"""Embeddings with sparse gradients and complex weights: the same numbers as dense and real ones, or a sentence."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from critbatch.errors import UserError
from critbatch.gradient_noise.noise_meter import NoiseMeter
from critbatch.measure.step_time import speed
from critbatch.optim.norms import squares
from critbatch.recipes import sgd
from critbatch.recipes.plan import Plan
from critbatch.records.core import Quantity, Target
from critbatch.tasks.task import Task
from critbatch.training.step import Step
from critbatch.training.trainer import Training, train
from tiny import tiny_plan

WORDS = torch.randint(6, (60, 3), generator=torch.Generator().manual_seed(0))


class Words(nn.Module):
    """The same word may come several times in an example, and other words not at all in a batch."""

    def __init__(self, *, sparse: bool) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(6, 4, sparse=sparse), nn.Linear(4, 3)

    def forward(self, words: Tensor) -> Any:
        return self.head(torch.tanh(self.table(words).sum(1)))


def words_task(*, sparse: bool) -> Task:
    data = WORDS, WORDS.sum(1) % 3
    target = Target(quantity=Quantity.VALIDATION_METRIC, value=1.0)
    return Task("words", model=partial(Words, sparse=sparse), train=data, validation=data, target=target)


@pytest.mark.parametrize("recipe", ["sgd", "adam", "lars2017", "lamb2020", "akiba2017", "swap2020"])
@pytest.mark.parametrize("sam", [None, 0.05], ids=["plain", "SAM"])
def test_an_embedding_with_sparse_gradients_trains_as_a_dense_one(recipe: str, sam: float | None) -> None:
    plan = replace(tiny_plan(recipe, batch_size=16, epochs=8.0), sam_rho=sam, micro_batch_size=7)
    ends = []
    for sparse in (True, False):
        training = Training(words_task(sparse=sparse), plan, noise_every=1 if recipe == "sgd" else 0)
        training.advance()
        ends.append((training.model.state_dict(), [point.scale for point in training.run_state.noise]))
    (sparse_weights, sparse_noise), (weights, noise) = ends
    for name, weight in weights.items():
        torch.testing.assert_close(sparse_weights[name], weight, rtol=1e-6, atol=1e-7)
    assert bool(noise) == (recipe == "sgd")
    for one, other in zip(sparse_noise, noise, strict=True):
        assert one.gradient_norm2 == pytest.approx(other.gradient_norm2, rel=1e-5)
        assert one.covariance_trace == pytest.approx(other.covariance_trace, rel=1e-5)


def test_the_speed_of_a_sparse_embedding_is_measured() -> None:
    assert all(point.fits for point in speed(words_task(sparse=True), [8, 16], seconds_per_point=0.001).points)


def test_squares_of_sparse_and_complex_gradients_are_those_of_all_their_numbers() -> None:
    index, rows = torch.tensor([[0, 2, 0]]), torch.tensor([[1.0, 2.0], [3.0, 0.0], [1.0, 1.0]])  # the first row twice
    sparse = torch.sparse_coo_tensor(index, rows, (4, 2), check_invariants=True)
    numbers = torch.tensor([1 + 2j, -3j])
    # Rows (2, 3) and (3, 0); |1 + 2i|^2 + |3i|^2.
    assert squares([sparse, None, numbers]).tolist() == [[22.0, 0.0, 14.0]]
    # In a metric that counts real parts once and imaginary parts twice.
    metric = [torch.ones(4, 2), torch.ones(1), torch.tensor([[1.0, 2.0], [1.0, 2.0]])]
    assert squares([sparse, None, numbers], metric).tolist() == [[22.0, 0.0, 14.0], [22.0, 0.0, 1 + 16.0 + 36.0]]


class Waves(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, dtype=torch.complex64) * 0.3)

    def forward(self, inputs: Tensor) -> Tensor:
        return (inputs.to(torch.complex64) @ self.weight).abs()


def waves_task() -> Task:
    inputs = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    data = inputs, torch.arange(64) % 3
    target = Target(quantity=Quantity.VALIDATION_METRIC, value=1.0)
    return Task("waves", model=Waves, train=data, validation=data, target=target)


def test_the_noise_of_complex_weights_is_that_of_their_real_and_imaginary_parts() -> None:
    task = waves_task()
    model = task.new_model(0)
    meter = NoiseMeter(model)
    step = Step(task, model, torch.optim.SGD(model.parameters(), lr=0.1))
    pieces = [task.train.span(first, first + 4) for first in range(0, 16, 4)]
    step.gradient(pieces, 16, meter=meter)
    found = meter.take()
    # By hand: gradients by autograd of real and imaginary parts, from a model of real weights.
    real = torch.view_as_real(model.weight.detach()).clone().requires_grad_()

    def gradient(inputs: Tensor, targets: Tensor) -> Tensor:
        outputs = (inputs.to(torch.complex64) @ torch.view_as_complex(real)).abs()
        (found,) = torch.autograd.grad(nn.functional.cross_entropy(outputs, targets), real)
        return found.double()

    small = torch.stack([gradient(*piece).square().sum() for piece in pieces]).mean().item()
    big = torch.stack([gradient(*piece) for piece in pieces]).mean(0).square().sum().item()
    # E|g_B|^2 = |G|^2 + tr(Sigma) / B at B = 4 and 16.
    trace = (small - big) / (1 / 4 - 1 / 16)
    assert found.covariance_trace == pytest.approx(trace, rel=1e-4)
    assert found.gradient_norm2 == pytest.approx(big - trace / 16, rel=1e-3)


def test_complex_weights_are_refused_at_once_by_recipes_that_do_not_update_them() -> None:
    with pytest.raises(
        UserError, match=r"recipe sgd does not take this model, whose weights are complex64 \(TypeError"
    ):
        Training(waves_task(), sgd(batch_size=16, learning_rate=0.1, epochs=1))
    plan = sgd(batch_size=16, learning_rate=0.1, epochs=10)
    (phase,) = plan.phases
    own = Plan(recipe="own", peak=0.1, phases=(replace(phase, optimizer=partial(torch.optim.Adam, lr=0.1)),))
    points = train(waves_task(), own, noise_every=1).noise
    assert points and all(point.in_metric is not None for point in points)
