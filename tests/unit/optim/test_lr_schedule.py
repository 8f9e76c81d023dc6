from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import OneCycleLR

from critbatch.errors import UserError
from critbatch.optim.lr_schedule import (
    DECAYS,
    begin_with,
    constant_warm_up,
    cosine,
    join,
    linear_decay,
    one_cycle,
    polynomial,
    ramp,
    slow_start,
    stairs,
    warmed_up,
)


def just_before(epoch: float) -> float:
    return math.nextafter(epoch, -math.inf)


def test_gradual_warm_up_begins_at_the_base_rate_and_ends_at_the_peak() -> None:
    rate = ramp(0.1, 3.2, epochs=5)
    assert rate(0) == 0.1
    assert rate(5) == rate(9) == pytest.approx(3.2)
    assert rate(2.5) == pytest.approx(1.65)


def test_goyals_warm_up_rises_by_the_same_amount_at_each_of_its_iterations_and_ends_at_k_times_the_base_rate() -> None:
    iterations, eta, k = 160, 0.1, 32
    rate = begin_with(ramp(eta, k * eta, epochs=5), 5, stairs(k * eta, factor=0.1, at=(30, 60, 80)))
    rates = [rate(t / iterations) for t in range(5 * iterations + 1)]
    assert rates[0] == eta
    assert rates[-1] == k * eta
    assert np.diff(rates) == pytest.approx((k * eta - eta) / (5 * iterations), rel=1e-9)


def test_goyals_stairs_count_from_the_start_of_the_run_and_not_from_the_end_of_the_warm_up() -> None:
    steps = stairs(3.2, factor=0.1, at=(30, 60, 80))
    rate = begin_with(ramp(0.1, 3.2, epochs=5), 5, steps)
    for stair, before in ((30, 3.2), (60, 0.32), (80, 0.032)):
        assert rate(just_before(stair)) == pytest.approx(before, rel=1e-12)
        assert rate(stair) == pytest.approx(before / 10, rel=1e-12)
    late = join(ramp(0.1, 3.2, epochs=5), 5, steps)
    assert late(34.9) == 3.2 and late(35) == pytest.approx(0.32)


def test_the_polynomial_is_that_of_lars_and_does_not_rise_again_after_its_end() -> None:
    rate = polynomial(30.0, epochs=100)
    assert [rate(t) for t in (0, 20, 50, 90, 100)] == pytest.approx([30.0, 19.2, 7.5, 0.3, 0.0])
    assert rate(150) == 0.0
    assert polynomial(8.0, epochs=10, end=4.0)(5) == 5.0


@given(epoch=st.floats(0, 40))
def test_a_polynomial_of_power_one_is_a_straight_line(epoch: float) -> None:
    assert polynomial(0.4, epochs=30, power=1.0, end=0.1)(epoch) == pytest.approx(
        linear_decay(0.4, epochs=30, end=0.1)(epoch)
    )


def test_constant_warm_up_holds_the_base_rate_and_then_the_peak() -> None:
    rate = constant_warm_up(0.1, 3.2, epochs=5)
    assert rate(0) == rate(just_before(5)) == 0.1
    assert rate(5) == rate(80) == 3.2


@pytest.mark.parametrize("epochs", [90, 45, 10])
def test_slow_start_is_akibas_table_in_proportion(epochs: float) -> None:
    rate = slow_start(0.1 * 32768 / 256, epochs=epochs)
    values = {0: 6.4, 40: 0.96, 70: 0.128, 85: 0.0128}
    for first, value in values.items():
        assert rate(first * epochs / 90) == pytest.approx(value, rel=1e-12)
    for last, value in zip((40, 70, 85, 90), values.values(), strict=True):
        assert rate(just_before(last * epochs / 90)) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(("shape", "strategy"), [("cosine", "cos"), ("linear", "linear")])
@pytest.mark.parametrize("share", [0.3, 0.5])
def test_one_cycle_is_torchs_at_every_step(shape: str, strategy: str, share: float) -> None:
    total = 50
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0, momentum=0.9)
    theirs = OneCycleLR(optimizer, max_lr=0.8, total_steps=total, pct_start=share, anneal_strategy=strategy)  # type: ignore[arg-type]
    last = total - 1
    ours = one_cycle(
        0.8,
        epochs=last / 10,
        warm_up_share=(share * total - 1) / last,
        start=0.8 / 25,
        end=0.8 / 25 / 1e4,
        shape=shape,  # type: ignore[arg-type]
    )
    for step in range(total):
        assert ours(step / 10) == pytest.approx(theirs.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        if step < last:
            theirs.step()


@given(epoch=st.floats(0, 30))
def test_the_linear_cycle_is_that_of_cifar10_fast(epoch: float) -> None:
    rate = one_cycle(0.4, epochs=24, warm_up_share=5 / 24)
    assert rate(epoch) == pytest.approx(float(np.interp(epoch, [0, 5, 24], [0, 0.4, 0])), abs=1e-12)


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_a_cycle_without_warm_up_begins_at_its_peak(shape: str) -> None:
    assert one_cycle(0.4, epochs=24, warm_up_share=0.0, shape=shape)(0) == 0.4  # type: ignore[arg-type]


@given(epoch=st.floats(0, 30), decay=st.sampled_from(DECAYS), warm_up=st.floats(0, 5))
def test_a_rate_stays_between_zero_and_its_peak(epoch: float, decay: str, warm_up: float) -> None:
    rate = warmed_up(0.4, epochs=20, warmup_epochs=warm_up, lr_decay=decay)
    assert -1e-12 <= rate(epoch) <= 0.4 + 1e-12


@pytest.mark.parametrize(
    ("decay", "middle", "end"),
    [
        ("constant", 0.4, 0.4),
        ("linear", 0.2, 0.0),
        ("cosine", 0.2, 0.0),
        ("polynomial", 0.1, 0.0),
        ("step", 0.04, 0.0004),
    ],
)
def test_a_decay_goes_and_ends_where_its_name_says(decay: str, middle: float, end: float) -> None:
    rate = warmed_up(0.4, epochs=20, warmup_epochs=2, lr_decay=decay)
    assert rate(1) == pytest.approx(0.2)
    assert rate(2) == pytest.approx(0.4)
    assert rate(11) == pytest.approx(middle)
    assert rate(20) == pytest.approx(end, abs=1e-12)


@pytest.mark.parametrize("warm_up", [0, 5, 30])
def test_the_stairs_of_ninety_epochs_are_goyals_whatever_the_warm_up(warm_up: float) -> None:
    rate = warmed_up(1.0, epochs=90, warmup_epochs=warm_up, lr_decay="step")
    assert [rate(epoch) for epoch in (30, 59.9, 60, 80)] == pytest.approx([0.1, 0.1, 0.01, 0.001])
    assert rate(just_before(30)) == pytest.approx(1.0)


def test_cosine_is_at_half_its_height_in_the_middle_and_linear_too() -> None:
    assert cosine(1.0, epochs=10)(5) == pytest.approx(0.5) == linear_decay(1.0, epochs=10)(5)
    assert join(ramp(0, 1, epochs=4), 4, cosine(1.0, epochs=6))(4) == 1.0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"peak": 0.0, "epochs": 1}, "learning_rate=0.0 is not possible"),
        ({"peak": float("nan"), "epochs": 1}, "learning_rate=nan is not possible"),
        ({"peak": 1.0, "epochs": 1, "warmup_epochs": 2}, "warmup_epochs=2 does not fit into epochs=1"),
        (
            {"peak": 1.0, "epochs": 1, "lr_decay": "steps"},
            "lr_decay='steps' is not known: use constant, linear, cosine, step, polynomial",
        ),
        (
            {"peak": 1.0, "epochs": 9, "warmup_epochs": 4, "lr_decay": "step"},
            "warmup_epochs=4 leads past the first stair, a third of epochs=9: use 3 or less",
        ),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(arguments: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        warmed_up(**arguments)  # type: ignore[arg-type]


def test_a_cycle_that_cannot_be_is_refused() -> None:
    with pytest.raises(UserError, match="warm_up_share=1 is not possible"):
        one_cycle(0.4, epochs=24, warm_up_share=1)
    with pytest.raises(UserError, match="shape='cos' is not known: use linear, cosine"):
        one_cycle(0.4, epochs=24, warm_up_share=0.3, shape="cos")  # type: ignore[arg-type]


@pytest.mark.parametrize("module", ["lr_schedule", "scaling_rules", "adascale"])
def test_the_arithmetic_of_rates_needs_no_torch(module: str) -> None:
    code = f"import sys, critbatch.optim.{module}; print([name for name in ('torch', 'numpy') if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
