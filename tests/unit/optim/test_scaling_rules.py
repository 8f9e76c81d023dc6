from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from critbatch.errors import UserError
from critbatch.optim.scaling_rules import (
    half_life,
    malladi,
    momentum_correction,
    saturating,
    scale_by_root,
    scale_linearly,
    scale_saturating,
    scale_warm_up,
    timescale,
    token_half_life,
    weight_decay_for,
)

batches = st.floats(1, 1e6)


def test_linear_scaling_gives_goyals_rates() -> None:
    assert scale_linearly(0.1, from_batch=256, to_batch=8192) == 3.2
    of_mask_rcnn = [scale_linearly(0.0025, from_batch=1, to_batch=devices) for devices in (1, 2, 4, 8)]
    assert of_mask_rcnn == [0.0025, 0.005, 0.01, 0.02]


def test_root_scaling_and_a_warm_up_of_as_many_steps_give_lambs_table() -> None:
    examples = 1_000_000 * 512
    for k in range(7):
        batch, halvings = 512 * 2**k, 3 - k / 2
        rate = scale_by_root(5e-3, from_batch=32768, to_batch=batch)
        assert rate == pytest.approx(5 / (2**halvings * 1e3), rel=1e-12)
        share = scale_warm_up(1 / 5, from_batch=32768, to_batch=batch)
        assert share == pytest.approx(1 / (320 / 2**k), rel=1e-12)
        assert share * examples / batch == pytest.approx(3125)


@given(batch=batches, to_batch=batches)
def test_root_scaling_keeps_the_covariance_of_the_steps_over_an_epoch(batch: float, to_batch: float) -> None:
    rate = scale_by_root(0.1, from_batch=batch, to_batch=to_batch)
    assert rate**2 / to_batch == pytest.approx(0.1**2 / batch, rel=1e-9, abs=0)


@given(batch=batches, rate=st.floats(1e-6, 1), beta1=st.floats(0, 0.999), beta2=st.floats(0, 0.99999))
def test_malladis_rule_changes_nothing_at_the_same_batch(batch: float, rate: float, beta1: float, beta2: float) -> None:
    new = malladi(rate, beta1=beta1, beta2=beta2, eps=1e-8, from_batch=batch, to_batch=batch)
    assert (new.learning_rate, new.beta1, new.beta2, new.eps) == (rate, beta1, beta2, 1e-8)


@given(batch=st.floats(1, 1e3), to_batch=st.floats(1, 9e3))
def test_malladis_rule_keeps_what_makes_the_stochastic_equation(batch: float, to_batch: float) -> None:
    assume(to_batch / batch < 9.9)
    new = malladi(1e-3, beta1=0.9, beta2=0.999, eps=1e-8, from_batch=batch, to_batch=to_batch)
    assert new.beta1 is not None
    # Of noise alone the second moment is sigma^2 / B: a step is as long as the rate, and eps is to the root as before.
    assert new.learning_rate**2 / to_batch == pytest.approx(1e-3**2 / batch, rel=1e-9, abs=0)
    assert new.eps * math.sqrt(to_batch) == pytest.approx(1e-8 * math.sqrt(batch), rel=1e-9, abs=0)
    # Each average reaches over as many examples.
    assert to_batch / (1 - new.beta1) == pytest.approx(batch / 0.1)
    assert to_batch / (1 - new.beta2) == pytest.approx(batch / 0.001)


def test_malladis_rule_for_rmsprop_has_one_beta() -> None:
    new = malladi(1e-3, beta2=0.99, eps=1e-8, from_batch=256, to_batch=64)
    assert new.beta1 is None
    assert (new.learning_rate, new.beta2, new.eps) == pytest.approx((5e-4, 0.9975, 2e-8), rel=1e-9, abs=0)


@pytest.mark.parametrize("to_batch", [640, 641, 6400])
def test_malladis_rule_is_refused_where_an_average_would_hold_nothing_but_the_last_step(to_batch: int) -> None:
    with pytest.raises(UserError, match=rf"beta1=0.9 .* to_batch={to_batch}: its rule holds for batches below 640\.$"):
        malladi(1e-3, beta1=0.9, beta2=0.999, eps=1e-8, from_batch=64, to_batch=to_batch)
    below = malladi(1e-3, beta1=0.9, beta2=0.999, eps=1e-8, from_batch=64, to_batch=639)
    assert below.beta1 == pytest.approx(1 / 640)


@given(beta=st.floats(0.5, 0.9999), from_batch=st.floats(1, 1e4), to_batch=st.floats(1, 1e4))
def test_a_moved_beta_forgets_half_within_the_same_number_of_tokens(
    beta: float, from_batch: float, to_batch: float
) -> None:
    moved = token_half_life(beta, from_batch=from_batch, to_batch=to_batch)
    assume(1e-300 < moved < 1 - 1e-9)
    life = half_life(beta, batch=from_batch)
    assert half_life(moved, batch=to_batch) == pytest.approx(life, rel=1e-6)
    assert 2 ** (-to_batch / life) == pytest.approx(moved, rel=1e-6)


def test_the_half_life_at_batch_one_is_the_papers_and_near_one_both_rules_agree() -> None:
    assert token_half_life(0.95, from_batch=512, to_batch=1) == pytest.approx(0.9999, abs=2e-6)
    by_malladi = malladi(1e-3, beta2=0.9999, eps=1e-8, from_batch=1, to_batch=8).beta2
    assert token_half_life(0.9999, from_batch=1, to_batch=8) == pytest.approx(by_malladi, abs=3e-7)
    assert token_half_life(0.9999, from_batch=1, to_batch=8) > by_malladi
    assert half_life(0.0, batch=8) == 0.0


def test_a_saturating_rate_is_linear_far_below_the_noise_scale_and_level_far_above() -> None:
    low, lower = (saturating(2.0, noise_scale=1e6, batch=batch) for batch in (2, 1))
    assert low / lower == pytest.approx(2, rel=1e-5)
    assert saturating(2.0, noise_scale=100, batch=100) == 1.0
    assert saturating(2.0, noise_scale=100, batch=1e9) == pytest.approx(2.0)
    assert saturating(2.0, noise_scale=0, batch=1) == 2.0
    assert saturating(2.0, noise_scale=math.inf, batch=1) == 0.0
    assert saturating(2.0, noise_scale=300, batch=100, exponent=0.5) == 1.0


@given(noise=st.floats(0, 1e5), exponent=st.floats(0, 2), small=st.floats(1, 1e4), big=st.floats(1, 1e4))
def test_a_rate_moved_along_the_saturation_is_that_at_the_other_batch(
    noise: float, exponent: float, small: float, big: float
) -> None:
    rate = saturating(0.5, noise_scale=noise, batch=small, exponent=exponent)
    moved = scale_saturating(rate, from_batch=small, to_batch=big, noise_scale=noise, exponent=exponent)
    assert moved == pytest.approx(saturating(0.5, noise_scale=noise, batch=big, exponent=exponent), rel=1e-9, abs=0)


def test_linear_and_root_scaling_are_the_saturating_one_far_below_the_noise_scale() -> None:
    for exponent, rule in ((1.0, scale_linearly), (0.5, scale_by_root)):
        moved = scale_saturating(0.1, from_batch=4, to_batch=64, noise_scale=1e9, exponent=exponent)
        assert moved == pytest.approx(rule(0.1, from_batch=4, to_batch=64), rel=1e-6)
    assert scale_saturating(0.1, from_batch=4, to_batch=64, noise_scale=0) == 0.1


@given(batch=batches, rate=st.floats(1e-5, 1))
def test_a_weight_decay_that_keeps_its_timescale(batch: float, rate: float) -> None:
    tau = timescale(batch=512, learning_rate=0.01, weight_decay=0.1, dataset=1e9)
    decay = weight_decay_for(tau, batch=batch, learning_rate=rate, dataset=2e9)
    assert timescale(batch=batch, learning_rate=rate, weight_decay=decay, dataset=2e9) == pytest.approx(tau)
    assert weight_decay_for(tau, batch=1024, learning_rate=0.01, dataset=1e9) == pytest.approx(0.2)


def test_the_velocity_form_with_its_correction_is_torchs_momentum_under_any_rates() -> None:
    rates = [0.1, 0.1, 0.4, 0.03, 0.3, 0.003]
    weight = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=rates[0], momentum=0.9)
    ours, uncorrected = weight.detach().clone(), weight.detach().clone()
    velocity, plain = torch.zeros_like(ours), torch.zeros_like(ours)
    curvature = torch.tensor([1.0, 3.0], dtype=torch.float64)
    for old, new in zip([rates[0], *rates], rates, strict=False):
        optimizer.param_groups[0]["lr"] = new
        weight.grad = curvature * weight.detach()
        optimizer.step()
        velocity = 0.9 * momentum_correction(old, new) * velocity + new * curvature * ours
        ours = ours - velocity
        plain = 0.9 * plain + new * curvature * uncorrected
        uncorrected = uncorrected - plain
    torch.testing.assert_close(ours, weight.detach(), rtol=1e-12, atol=0)
    assert (uncorrected - ours).abs().max() > 0.1


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: scale_linearly(0.1, from_batch=0, to_batch=8), "from_batch=0 is not possible: use a number above 0"),
        (lambda: scale_by_root(0.1, from_batch=8, to_batch=-8), "to_batch=-8 is not possible"),
        (lambda: scale_warm_up(5, from_batch=8, to_batch=math.nan), "to_batch=nan is not possible"),
        (lambda: saturating(0.1, noise_scale=-1, batch=8), "noise_scale=-1 is not possible: use 0 or more"),
        (lambda: saturating(0.1, noise_scale=1, batch=0), "batch=0 is not possible"),
        (
            lambda: scale_saturating(0.1, from_batch=8, to_batch=16, noise_scale=math.inf),
            "noise_scale=inf says nothing about the rate: use scale_linearly",
        ),
        (lambda: token_half_life(1.0, from_batch=8, to_batch=16), "beta2=1.0 is not possible: use 0 or more, below 1"),
        (lambda: half_life(-0.1, batch=8), "beta=-0.1 is not possible"),
        (lambda: malladi(0.1, beta1=1.5, beta2=0.9, eps=0, from_batch=1, to_batch=1), "beta1=1.5 is not possible"),
        (lambda: momentum_correction(0.0, 0.1), "old_rate=0.0 is not possible"),
        (lambda: weight_decay_for(0.5, batch=8, learning_rate=0, dataset=9), "learning_rate=0 is not possible"),
        (lambda: timescale(batch=8, learning_rate=1, weight_decay=0, dataset=9), "weight_decay=0 is not possible"),
    ],
)
def test_a_rule_refuses_what_it_cannot_hold_for(call: object, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        call()  # type: ignore[operator]
