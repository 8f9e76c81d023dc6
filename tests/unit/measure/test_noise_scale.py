"""The noise scale in total, by layer, in Adam's metric and by curvature, along a run and at a point."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import critbatch
from critbatch.errors import UserError
from critbatch.gradient_noise.estimator import average_pairs, separate
from critbatch.gradient_noise.noise_meter import NoiseMeter, layers, norms_by
from critbatch.measure.noise_scale import curvature_noise
from critbatch.optim.norms import squares
from critbatch.records.core import Noise
from critbatch.training.step import Step
from tiny import tiny_task

TASK = tiny_task(dtype=torch.float64, examples=400)


def dense_hessian(model: nn.Module) -> Tensor:
    names = [name for name, _ in model.named_parameters()]
    shapes = [weight.shape for weight in model.parameters()]
    weights = torch.cat([weight.detach().flatten() for weight in model.parameters()])

    def loss(flat: Tensor) -> Tensor:
        pieces = torch.split(flat, [shape.numel() for shape in shapes])
        parts = {name: piece.view(shape) for name, piece, shape in zip(names, pieces, shapes, strict=True)}
        outputs = torch.func.functional_call(model, parts, (TASK.train.inputs,))
        return TASK.loss(outputs, TASK.train.targets).mean()

    return torch.autograd.functional.hessian(loss, weights)


def example_gradients(model: nn.Module) -> Tensor:
    rows = []
    for i in range(TASK.examples):
        inputs, targets = TASK.train.span(i, i + 1)
        grads = torch.autograd.grad(TASK.loss(model(inputs), targets).sum(), list(model.parameters()))
        rows.append(torch.cat([grad.flatten() for grad in grads]))
    return torch.stack(rows)


def test_by_curvature_it_is_the_dense_truth_within_three_standard_errors() -> None:
    model = TASK.new_model(0).eval()
    hessian, gradients = dense_hessian(model), example_gradients(model)
    mean = gradients.mean(0)
    signal = float(mean @ hessian @ mean)
    noise = float(((gradients - mean) @ hessian * (gradients - mean)).sum() / (TASK.examples - 1))
    found = [curvature_noise(TASK, model, batch_size=5, batches=80, examples=None, seed=seed) for seed in range(40)]
    for name, truth in (("gradient_norm2", signal), ("covariance_trace", noise)):
        values = torch.tensor([getattr(scale, name) for scale in found])
        assert abs(float(values.mean()) - truth) < 3 * float(values.std()) / len(values) ** 0.5 + 1e-9
    assert found[0].pairs == 20


def test_too_many_batches_are_one_sentence() -> None:
    with pytest.raises(UserError, match="64 batches of 32 are not possible with 400 examples"):
        curvature_noise(TASK, TASK.new_model(0))


@pytest.mark.parametrize("method", ["micro_batches", "examples"])
def test_both_ways_give_the_same_signal_and_noise_of_a_batch_in_the_mean(method: str) -> None:
    """Over many batches at one point; the truth is that of all examples, drawn without replacement."""
    model = TASK.new_model(0).eval()
    gradients = example_gradients(model)
    truth = (float(gradients.var(0).sum()), float(gradients.mean(0).square().sum()))
    meter = NoiseMeter(model, examples=TASK.examples, norms=norms_by(method, model))
    step = Step(TASK, model, torch.optim.SGD(model.parameters(), lr=0.1))
    generator = torch.Generator().manual_seed(1)
    for _ in range(1000):
        rows = torch.randperm(TASK.examples, generator=generator)[:16]
        pieces = [TASK.train.take(part) for part in rows.split(4 if method == "micro_batches" else 16)]
        step.gradient(pieces, 16, meter=meter)
    pairs = torch.stack(meter.pairs)[:, :, 0].sum(-1)
    for column, expected in enumerate(truth):
        values = pairs[:, column]
        assert abs(float(values.mean()) - expected) < 3 * float(values.std()) / len(values) ** 0.5
    assert meter.take().pairs == 1000 and meter.take().pairs == 0


def test_the_interval_covers_as_often_as_it_says_in_a_thousand_repeats() -> None:
    """Gradients of linear regression at one point, whose noise scale is known; 40 steps of four micro-batches."""
    dimension, noise, repeats, steps, pieces, size = 20, 0.5, 1000, 40, 4, 8
    offset = torch.linspace(-0.4, 0.6, dimension, dtype=torch.float64)
    signal = float(offset.square().sum())
    trace = signal * (dimension + 1) + noise**2 * dimension
    generator = torch.Generator().manual_seed(0)
    hits = 0
    for _ in range(repeats):
        x = torch.randn(steps, pieces, size, dimension, generator=generator, dtype=torch.float64)
        error = x @ offset - noise * torch.randn(steps, pieces, size, generator=generator, dtype=torch.float64)
        gradients = (x * error[..., None]).mean(2)
        small, big = gradients.square().sum(-1).mean(1), gradients.mean(1).square().sum(-1)
        scale = average_pairs(*separate(small, big, small=size, big=pieces * size))
        above = float("inf") if scale.high is None else scale.high
        hits += scale.low is not None and scale.low <= trace / signal <= above
    assert 0.93 <= hits / repeats <= 0.97


def test_a_run_tells_it_by_layer_in_adam_s_metric_and_by_curvature() -> None:
    task = tiny_task(examples=400)
    record = critbatch.noise(task, batch_size=16, recipe="adam", epochs=3, curvature=True)
    assert record.method == "micro_batches" and record.micro_batch_size == 4
    last = record.points[-1]
    assert [layer.name for layer in last.layers] == ["0", "3"]
    assert sum(layer.scale.covariance_trace for layer in last.layers) == pytest.approx(last.scale.covariance_trace)
    assert last.in_metric is not None and last.in_metric.pairs == last.scale.pairs
    assert last.by_curvature is not None and last.by_curvature.covariance_trace > 0
    # The first step of all had no second moments yet.
    first = record.points[0]
    assert first.in_metric is not None and first.in_metric.pairs == first.scale.pairs - 1
    assert Noise.from_json(record.to_json()) == record


def test_a_run_by_examples_cuts_no_batch_and_trains_as_one_without_a_meter() -> None:
    record = critbatch.noise(TASK, batch_size=16, epochs=1, method="examples")
    assert (record.method, record.micro_batch_size) == ("examples", 1)
    assert record.points and record.points[-1].scale.covariance_trace > 0
    with pytest.raises(UserError, match="method='magic' is not known"):
        critbatch.noise(TASK, method="magic")
    mixed = replace(TASK, model=lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).double())
    with pytest.raises(UserError, match="1 is a BatchNorm1d in train mode"):
        critbatch.noise(mixed, method="examples")


def test_layers_are_told_by_the_names_of_their_weights() -> None:
    assert layers(["a.0.weight", "a.0.bias", "b.weight", "scale"]) == {"a.0": [0, 1], "b": [2], "scale": [3]}


def test_halves_are_squared_in_float32_and_what_is_missing_counts_nothing() -> None:
    small = torch.full((4,), 1e-4, dtype=torch.float16)
    found = squares([small, None, torch.ones(2)])
    assert found.shape == (1, 3)
    assert found[0].tolist() == pytest.approx([4e-8, 0.0, 2.0], rel=1e-2)
