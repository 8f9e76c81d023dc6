from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from critbatch.errors import UserError
from critbatch.gradient_noise.estimator import noise_scale
from critbatch.optim.adascale import AdaScale, gain
from critbatch.optim.scaling_rules import scale_saturating


def norms2(gradients: Tensor) -> tuple[list[float], float]:
    """Of each share's gradient, shape (shares, weights), and of their mean."""
    return gradients.square().sum(-1).tolist(), gradients.mean(0).square().sum().item()


def test_without_noise_a_step_of_any_batch_is_worth_one() -> None:
    adascale = AdaScale(8)
    assert adascale.update(*norms2(torch.tensor([3.0, 4.0]).expand(8, 2))) == 1.0
    assert gain(signal=2.0, covariance_trace=0.0, small_batch=32, scale=8) == 1.0


def test_without_signal_a_step_is_worth_as_many_as_its_batch_holds() -> None:
    adascale = AdaScale(4)
    assert adascale.update(*norms2(torch.tensor([[3.0], [-3.0], [1.0], [-1.0]]))) == 4.0
    assert gain(signal=0.0, covariance_trace=2.0, small_batch=32, scale=8) == 8.0
    assert gain(signal=-1.0, covariance_trace=2.0, small_batch=32, scale=8) == 8.0


def test_without_either_nothing_is_divided_by_zero_and_the_gain_is_one() -> None:
    assert AdaScale(4).update([0.0] * 4, 0.0) == 1.0
    assert gain(signal=0.0, covariance_trace=0.0, small_batch=32, scale=8) == 1.0
    assert gain(signal=-1.0, covariance_trace=-1.0, small_batch=32, scale=8) == 1.0


def test_the_gain_of_one_step_is_the_papers_formula() -> None:
    gradients = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 1
    small, big = norms2(gradients)
    s2 = sum(small) / 4 - 5 / 4 * big
    m2 = big - s2 / 5
    assert s2 == pytest.approx(gradients.var(0, correction=1).sum().item())
    expected = (s2 + m2) / (s2 / 5 + m2)
    assert 1 < expected < 5
    assert AdaScale(5).update(small, big) == pytest.approx(expected)
    assert AdaScale(5).update(sum(small) / 5, big) == pytest.approx(expected)


@given(
    steps=st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)), min_size=1, max_size=20),
    scale=st.integers(2, 2000),
)
def test_every_gain_lies_between_one_and_the_scale(steps: list[tuple[float, float]], scale: int) -> None:
    adascale = AdaScale(scale)
    for small, big in steps:
        assert 1 <= adascale.update(small, big) <= scale


@given(signal=st.floats(0.01, 100), trace=st.floats(0.01, 1e4), small=st.floats(1, 1e3), scale=st.floats(1, 1e3))
def test_the_gain_is_what_the_saturating_rule_gives_a_rate_of_one(
    signal: float, trace: float, small: float, scale: float
) -> None:
    moved = scale_saturating(1.0, from_batch=small, to_batch=scale * small, noise_scale=trace / signal)
    assert gain(signal, trace, small, scale) == pytest.approx(moved, rel=1e-9)


@pytest.mark.parametrize("shares", [2, 8, 32])
def test_noise_and_signal_of_a_gaussian_are_found_without_bias_however_a_batch_is_cut(shares: int) -> None:
    # The small batch has noise 3 and signal 2; a share of S / n small batches has n / S of that noise.
    scale, draws, weights = 8, 10_000, 6
    generator = torch.Generator().manual_seed(shares)
    spread = (3.0 / weights * shares / scale) ** 0.5
    mean = torch.full((weights,), (2.0 / weights) ** 0.5, dtype=torch.float64)
    gradients = mean + spread * torch.randn(draws, shares, weights, generator=generator, dtype=torch.float64)
    small, big = gradients.square().sum(-1).mean(-1), gradients.mean(1).square().sum(-1)
    found = []
    for step in range(draws):
        adascale = AdaScale(scale, shares=shares)
        adascale.update(small[step].item(), big[step].item())
        found.append((adascale.noise, adascale.signal))
    for values, truth in zip(torch.tensor(found, dtype=torch.float64).T, (3.0, 2.0), strict=True):
        standard_error = (values.std() / draws**0.5).item()
        assert abs(values.mean().item() - truth) < 3 * standard_error
        assert standard_error < 0.05 * truth


def test_it_divides_averages_and_does_not_average_ratios() -> None:
    adascale = AdaScale(2)
    first = adascale.update([9.0, 9.0], 9.0)  # noise 0, signal 9
    both = adascale.update([8.0, 8.0], 4.0)  # noise 8, signal 0
    assert first == 1.0
    assert (adascale.noise, adascale.signal) == (4.0, 4.5)
    assert both == (4.0 + 4.5) / (4.0 / 2 + 4.5)
    assert both != (1.0 + 2.0) / 2


def test_a_step_that_finds_less_than_no_signal_is_averaged_as_it_is() -> None:
    adascale = AdaScale(2, smoothing=0.9)
    assert adascale.update([4.0, 4.0], 0.0) == 2.0  # noise 8, signal -4
    assert adascale.signal == -4.0
    adascale.update([6.0, 6.0], 6.0)  # noise 0, signal 6
    assert adascale.signal == 1.0
    assert adascale.gain == (4.0 + 1.0) / (4.0 / 2 + 1.0)


def test_averages_are_means_at_first_and_then_forget_at_the_rate_of_the_smoothing() -> None:
    adascale = AdaScale(2, smoothing=0.75)
    expected = []
    for step, signal in enumerate([8.0, 0.0, 4.0, 0.0, 16.0, 0.0], start=1):
        adascale.update(signal, signal)
        expected.append(adascale.signal)
        assert adascale.updates == step
    assert expected == [8.0, 4.0, 4.0, 3.0, 6.25, 4.6875]


@pytest.mark.parametrize(("shares", "smoothing"), [(2, 0.998), (250, 0.75), (1000, 0.0), (4096, 0.0)])
def test_the_smoothing_is_the_papers(shares: int, smoothing: float) -> None:
    assert AdaScale(shares).smoothing == pytest.approx(smoothing)


def test_steps_of_the_small_batch_are_counted_and_the_rate_is_that_at_those_before() -> None:
    adascale = AdaScale(4)
    schedule = [0.8, 0.7, 0.6, 0.5, 0.4].__getitem__
    rates = []
    for found in (1.5, 1.25, 1.75):
        adascale.advance(found)
        rates.append(adascale.learning_rate(schedule))
    assert rates == [1.5 * 0.8, 1.25 * 0.7, 1.75 * 0.6]
    assert adascale.steps == 4.5


def test_where_noise_is_all_it_is_linear_scaling_and_takes_an_s_th_of_the_steps() -> None:
    adascale, taken = AdaScale(4), 0
    while adascale.steps < 100:
        adascale.update([1.0] * 4, 0.25)
        assert adascale.learning_rate(lambda step: 0.1) == 0.4
        taken += 1
    assert taken == 25


def test_a_warm_up_comes_about_by_itself() -> None:
    # Descent on a quadratic: far away the gradient is nearly without noise, near the minimum it is all noise.
    generator = torch.Generator().manual_seed(0)
    weight, adascale, gains = torch.full((4,), 100.0), AdaScale(16, smoothing=0.5), []
    for _ in range(120):
        gradients = weight + torch.randn(16, 4, generator=generator)
        gains.append(adascale.update(*norms2(gradients)))
        weight = weight - adascale.learning_rate(lambda step: 0.1) * gradients.mean(0)
    assert gains[0] < 1.01
    assert sum(gains[-50:]) / 50 > 8
    assert all(later > sooner for sooner, later in zip(gains[10:50:10], gains[20:60:10], strict=True))


def test_a_noise_scale_of_this_package_gives_the_gain_that_the_shares_give() -> None:
    gradients = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.5
    small, big = norms2(gradients)
    scale = noise_scale(torch.tensor(sum(small) / 4), torch.tensor(big), small=32, big=128)
    found = gain(scale.gradient_norm2, scale.covariance_trace, 32, 4)
    assert 1 < found < 4
    assert AdaScale(4).update(small, big) == pytest.approx(found, rel=1e-5)


def test_a_step_that_is_not_finite_is_left_out() -> None:
    adascale = AdaScale(2)
    before = adascale.update([3.0, 5.0], 2.0)
    state = adascale.state_dict()
    for norms in (([math.inf, 1.0], 1.0), ([1.0, 1.0], math.nan)):
        assert adascale.update(*norms) == before
    assert adascale.skipped == 2
    assert adascale.state_dict() == {**state, "skipped": 2}


def test_it_goes_on_from_its_state_as_if_it_had_never_stopped() -> None:
    steps = [([3.0, 5.0], 2.0), ([2.0, 6.0], 1.0), ([9.0, 1.0], 4.0), ([2.0, 2.0], 1.5)]
    unbroken, stopped, resumed = AdaScale(2), AdaScale(2), AdaScale(2)
    for step in steps:
        unbroken.update(*step)
    for step in steps[:2]:
        stopped.update(*step)
    resumed.load_state_dict(json.loads(json.dumps(stopped.state_dict())))
    assert resumed.learning_rate(lambda step: 0.1) == stopped.learning_rate(lambda step: 0.1)
    for step in steps[2:]:
        resumed.update(*step)
    assert resumed.state_dict() == unbroken.state_dict()
    assert unbroken.updates == 4


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: AdaScale(1), "shares=1 leaves nothing to compare: use 2 or more"),
        (lambda: AdaScale(0.5), "scale=0.5 is not possible: use 1 or more"),
        (lambda: AdaScale(2.5), "scale=2.5 is no number of shares: give shares"),
        (lambda: AdaScale(4, smoothing=1.0), "smoothing=1.0 is not possible"),
        (lambda: AdaScale(4).update([1.0, 2.0], 1.0), "2 squared norms do not fit shares=4: give one of each"),
        (lambda: gain(1.0, 1.0, 0, 4), "small_batch=0 is not possible"),
        (lambda: gain(1.0, 1.0, 32, math.nan), "scale=nan is not possible"),
    ],
)
def test_what_cannot_be_is_refused(call: object, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        call()  # type: ignore[operator]


def test_at_the_small_batch_itself_the_gain_is_one() -> None:
    adascale = AdaScale(1, shares=4)
    assert adascale.update([5.0, 1.0, 7.0, 2.0], 0.5) == 1.0
