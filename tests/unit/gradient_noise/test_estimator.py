from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from critbatch.gradient_noise.estimator import average, noise_scale
from critbatch.gradient_noise.noise_meter import NoiseMeter
from critbatch.optim.norms import squares
from critbatch.records.core import NoiseScale
from critbatch.training.step import Step, ascend
from tiny import tiny_task

DIMENSION, NOISE = 6, 0.5
OFFSET = torch.linspace(-0.4, 0.6, DIMENSION, dtype=torch.float64)
# For y = w*x + noise with x ~ N(0, I), the gradient of one example at w* + offset is x (x.offset - noise), so that
# |G|^2 = |offset|^2 and tr(Sigma) = |offset|^2 (d + 1) + noise^2 d.
SIGNAL = float(OFFSET.square().sum())
TRACE = SIGNAL * (DIMENSION + 1) + NOISE**2 * DIMENSION


def regression_scales(sizes: list[int], steps: int, *, seed: int) -> list[NoiseScale]:
    """The noise scale of each of `steps` batches, cut into micro-batches of these sizes, by the meter itself."""
    generator = torch.Generator().manual_seed(seed)
    model = nn.Linear(DIMENSION, 1, bias=False).double()
    weight = model.weight
    with torch.no_grad():
        weight.copy_(OFFSET)
    meter = NoiseMeter(model)
    batch_size = sum(sizes)
    for _ in range(steps):
        weight.grad = None
        meter.begin()
        for size in sizes:
            x = torch.randn(size, DIMENSION, generator=generator, dtype=torch.float64)
            error = model(x)[:, 0] - NOISE * torch.randn(size, generator=generator, dtype=torch.float64)
            (error.square().sum() / 2 / batch_size).backward()
            meter.after_micro_batch(size, batch_size)
        meter.after_batch(batch_size)
    pairs = torch.stack(meter.pairs).sum((2, 3))
    return [NoiseScale(covariance_trace=noise, gradient_norm2=signal) for noise, signal in pairs.tolist()]


@pytest.mark.parametrize("sizes", [[1] * 8, [8, 8], [4, 4, 4, 1], [16, 1]])
def test_noise_scale_of_a_gaussian_regression_is_its_closed_form(sizes: list[int]) -> None:
    scales = regression_scales(sizes, 600, seed=1)
    for name, truth in (("gradient_norm2", SIGNAL), ("covariance_trace", TRACE)):
        values = torch.tensor([getattr(scale, name) for scale in scales])
        standard_error = values.std() / len(values) ** 0.5
        assert abs(values.mean() - truth) < 3 * standard_error
        assert standard_error < 0.25 * truth


def test_its_interval_covers_the_truth_as_often_as_it_says() -> None:
    repeats, steps, pieces, size = 400, 40, 4, 4
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(repeats, steps, pieces, size, DIMENSION, generator=generator, dtype=torch.float64)
    noise = NOISE * torch.randn(repeats, steps, pieces, size, generator=generator, dtype=torch.float64)
    gradients = x * (x @ OFFSET - noise)[..., None]
    small = gradients.mean(3).square().sum(-1).mean(2)
    big = gradients.mean((2, 3)).square().sum(-1)
    hits = 0
    for repeat in range(repeats):
        pairs = zip(small[repeat], big[repeat], strict=True)
        scale = average([noise_scale(one, other, small=size, big=pieces * size) for one, other in pairs])
        above = math.inf if scale.high is None else scale.high
        hits += scale.low is not None and scale.low <= TRACE / SIGNAL <= above
    # 95 % of 400, with three standard errors of a proportion and one point for the skewness of squared norms.
    assert 0.95 - 0.0327 - 0.01 < hits / repeats < 0.95 + 0.0327


def test_signal_that_cannot_be_told_from_zero_gives_an_interval_open_to_the_right() -> None:
    generator = torch.Generator().manual_seed(0)
    scales = [
        NoiseScale(gradient_norm2=float(torch.randn((), generator=generator)), covariance_trace=10.0) for _ in range(30)
    ]
    scale = average(scales)
    assert scale.high is None and scale.low is not None and scale.low > 0
    assert scale.reason == "noise_not_distinguishable"


def test_few_pairs_have_a_reason_and_no_interval() -> None:
    scale = average(regression_scales([2, 2], 5, seed=0))
    assert (scale.low, scale.high, scale.reason, scale.pairs) == (None, None, "too_few_pairs", 5)


def test_without_replacement_the_whole_set_has_no_noise_left() -> None:
    """Over all partitions of a small set into halves: E|g_half|^2 = |G|^2 + tr(Sigma) (1/b - 1/N)."""
    gradients = torch.randn(6, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    whole = gradients.mean(0).square().sum()
    halves = torch.combinations(torch.arange(6), 3)
    small = torch.stack([gradients[half].mean(0).square().sum() for half in halves]).mean()
    scale = noise_scale(small, whole, small=3, big=6, examples=6)
    assert scale.gradient_norm2 == pytest.approx(whole.item() + 0 * scale.covariance_trace)
    assert scale.covariance_trace == pytest.approx(torch.cov(gradients.T).trace().item())


def test_the_meter_leaves_the_gradient_of_the_batch_as_it_is() -> None:
    task = tiny_task(dtype=torch.float64)
    model = task.new_model(0)
    inputs, targets = task.train.span(0, 12)
    step = Step(task, model, torch.optim.SGD(model.parameters(), lr=0.1))
    pieces = [(inputs[a : a + 5], targets[a : a + 5]) for a in (0, 5, 10)]
    step.gradient(pieces, 12)
    without = [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]
    step.gradient(pieces, 12, meter=NoiseMeter(model))
    for weight, grad in zip(model.parameters(), without, strict=True):
        torch.testing.assert_close(weight.grad, grad, rtol=1e-12, atol=1e-15)


def test_a_small_batch_that_is_not_small_is_refused() -> None:
    with pytest.raises(ValueError, match="`small` must be below `big`"):
        noise_scale(torch.tensor(1.0), torch.tensor(1.0), small=4, big=4)


def test_the_norm_of_a_large_gradient_is_as_exact_as_that_of_a_small_one() -> None:
    large, small = torch.randn(24_000_000, generator=torch.Generator().manual_seed(0)), torch.ones(7)
    norms2 = squares([large.view(24_000, 1000), small, None])
    assert norms2.shape == (1, 3)
    assert norms2[0, 0].item() == pytest.approx(float(large.double().square().sum()), rel=2e-5)
    assert norms2[0, 1:].tolist() == pytest.approx([7.0, 0.0])


@pytest.mark.parametrize("value", [0.1, 0.3, 0.7, 1.1])
def test_equal_elements_whose_rounding_errors_all_go_one_way_add_up_to_five_digits(value: float) -> None:
    for numbers in (1 << 10, (1 << 14) + 5, 3_000_000):
        tensor = torch.full((numbers,), value)
        truth = numbers * tensor[0].double().item() ** 2
        assert squares([tensor]).item() == pytest.approx(truth, rel=5e-6)


def test_the_squared_norm_of_complex_numbers_is_that_of_their_absolute_values() -> None:
    numbers = torch.complex(torch.tensor([3.0, 0.0]), torch.tensor([4.0, 2.0]))
    assert squares([numbers, None]).tolist() == [[29.0, 0.0]]


def test_a_sharpness_aware_step_has_the_length_that_was_asked_for_also_for_large_weights() -> None:
    model = nn.Linear(2000, 1500, bias=False)
    weight = model.weight
    with torch.no_grad():
        weight.zero_()
    weight.grad = torch.full_like(weight, 0.7)
    with ascend(model, [weight], 10.0):
        assert weight.detach().double().norm().item() == pytest.approx(10.0, rel=5e-6)
