"""What a monitor advises: true in worlds whose answer is known, and its sentences hold the record's numbers."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import sample_records as sample
from critbatch.errors import UserError
from critbatch.gradient_noise.monitor import Monitor
from critbatch.law.batch_size_change import advise_from_noise, critical_batch_size
from critbatch.law.step_time import step_curve
from critbatch.recipes import RECIPES, WIDE_PRIOR
from critbatch.records.core import Estimate, NoiseScale
from critbatch.records.monitor import MonitorAdvice
from critbatch.reports.translator import Translator

NOISE = NoiseScale(gradient_norm2=1.0, covariance_trace=400.0, pairs=100, low=350.0, high=460.0)
DIMENSIONS, SIGNAL2 = 50, 0.5
NOISE_SCALE = DIMENSIONS / SIGNAL2


def gaussian_world(steps: int, *, batch_size: int = 32, seed: int = 0, signal2: float = SIGNAL2) -> Monitor:
    """The gradient of an example is the example itself: a fixed signal and normal noise of variance one."""
    generator = torch.Generator().manual_seed(seed)
    model = nn.Linear(DIMENSIONS, 1, bias=False).double()
    monitor = Monitor(model)
    for _ in range(steps):
        model.zero_grad()
        noise = torch.randn(batch_size, DIMENSIONS, dtype=torch.float64, generator=generator)
        model(noise + math.sqrt(signal2 / DIMENSIONS)).mean().backward()
        monitor.update()
    return monitor


def inside(estimate: Estimate, truth: float) -> bool:
    assert estimate.low is not None and estimate.high is not None
    return estimate.low <= truth <= estimate.high


def test_intervals_cover_a_gaussian_whose_answer_is_known() -> None:
    told = [gaussian_world(40, seed=seed).advice((64,)) for seed in range(60)]
    noises = [Estimate(value=0.0, n=1, low=one.noise.low, high=one.noise.high) for one in told]
    # 57 of 60 are expected, and fewer than 52 in one of 200 such tests.
    assert sum(inside(noise, NOISE_SCALE) for noise in noises) >= 52
    critical = 1.7 * NOISE_SCALE
    assert all(inside(one.critical, critical) for one in told)
    for one in told:
        (double,) = one.sizes
        assert inside(double.steps, (1 + critical / 64) / (1 + critical / 32))
        assert inside(double.examples, (1 + 64 / critical) / (1 + 32 / critical))


def steps_in_a_bowl(batch_size: int, start: float, end: float) -> float:
    """Steps of SGD in ``L = |w|^2 / 2`` with noise of variance one, of the best size times 0.01, down to a loss `end`.

    A step of ``rate / (1 + B_noise / B)`` with ``B_noise = tr(Sigma) / |w|^2`` takes L, on average, to
    ``L (1 - (2 - rate) step)``.
    """
    loss, steps, rate = start, 0, 0.01
    while loss > end:
        step = rate / (1 + DIMENSIONS / (2 * loss * batch_size))
        loss *= 1 - (2 - rate) * step
        steps += 1
    return steps


@pytest.mark.parametrize("fall", [1.2, 2.7, 6.0, 12.0])
@pytest.mark.parametrize("other", [8, 64, 512])
def test_intervals_cover_the_rest_of_a_run_along_which_the_noise_scale_grows(fall: float, other: int) -> None:
    advice = gaussian_world(60, seed=1).advice((other,))
    start = SIGNAL2 / 2
    truth = steps_in_a_bowl(other, start, start / fall) / steps_in_a_bowl(32, start, start / fall)
    assert inside(advice.sizes[0].steps, truth)
    assert inside(advice.sizes[0].examples, truth * other / 32)


def test_the_critical_batch_size_holds_both_spreads() -> None:
    told = critical_batch_size(NOISE)
    assert told.value == pytest.approx(680)
    alone = math.exp(1.959964 * 0.6)
    assert told.high is not None and told.low is not None
    assert alone < told.high / told.value < alone * 460 / 400
    assert alone < told.value / told.low < alone * 400 / 350
    bounded = critical_batch_size(replace(NOISE, high=None, reason="noise_not_distinguishable"))
    assert (bounded.low, bounded.high, bounded.reason) == (told.low, None, "noise_not_distinguishable")
    none_found = critical_batch_size(replace(NOISE, gradient_norm2=-1.0, high=None))
    assert none_found.value == math.inf and none_found.low == pytest.approx(1.7 * 350 / alone)


def test_a_signal_without_noise_wants_no_larger_batch() -> None:
    noise = NoiseScale(gradient_norm2=1.0, covariance_trace=-0.1, pairs=20, low=0.0, high=0.2)
    (double,) = advise_from_noise(noise, batch_size=8, others=(16,), steps=20).sizes
    assert (double.steps.value, double.examples.value) == (1.0, 2.0)


@pytest.mark.parametrize(("kind", "exponent"), [("sgd", 1.1), ("adam", 0.46), ("LAMB", 0.8)])
def test_the_learning_rate_follows_the_optimizer(kind: str, exponent: float) -> None:
    prior = RECIPES[kind].law_prior if kind in RECIPES else WIDE_PRIOR
    advice = advise_from_noise(NOISE, batch_size=64, others=(128,), steps=9, prior=prior, learning_rate=0.1)
    (double,) = advice.sizes
    assert double.learning_rate is not None
    assert double.learning_rate.value == pytest.approx(0.1 * ((1 + 680 / 64) / (1 + 680 / 128)) ** exponent)
    assert inside(double.learning_rate, double.learning_rate.value)


def test_a_monitor_knows_the_optimizer_and_its_rate() -> None:
    model = nn.Linear(3, 1)
    for optimizer, kind in ((torch.optim.AdamW, "adam"), (torch.optim.SGD, "sgd"), (torch.optim.Adagrad, "Adagrad")):
        advice = Monitor(model).advice(optimizer=optimizer(model.parameters(), lr=0.3))
        assert (advice.optimizer, advice.learning_rate) == (kind, 0.3)
    assert Monitor(model).advice().learning_rate is None


def test_sizes_are_doublings_around_the_one_in_use_unless_given() -> None:
    monitor = gaussian_world(10)
    assert [size.batch_size for size in monitor.advice().sizes] == [4, 8, 16, 64, 128, 256]
    assert [size.batch_size for size in monitor.advice([32, 7]).sizes] == [32, 7]
    assert monitor.advice([32]).sizes[0].steps.value == 1.0
    with pytest.raises(UserError, match="A batch size of 0"):
        monitor.advice([0])


def test_time_is_steps_times_seconds_as_far_as_they_are_known() -> None:
    def ask(step_seconds: object, timed: tuple[tuple[int, float], ...] = ()) -> MonitorAdvice:
        curve = step_curve(step_seconds, timed)  # type: ignore[arg-type]
        return advise_from_noise(NOISE, batch_size=64, others=(128, 9999), steps=9, step_seconds=curve)

    for known in ({64: 0.01, 128: 0.015}, lambda size: 0.01 if size == 64 else 0.015):
        double = ask(known).sizes[0]
        assert double.seconds is not None
        assert double.seconds.value == pytest.approx(1.5 * double.steps.value)
    by_record = ask(sample.speed())
    assert by_record.sizes[0].seconds is not None and by_record.sizes[1].seconds is None
    own = ask(None, tuple((64, 0.01 + 0.001 * n) for n in range(20)))
    assert own.step_seconds is not None and inside(own.step_seconds, 0.0195)
    assert own.sizes[0].seconds is None
    both = ask({128: 0.02}, ((64, 0.01),) * 9)
    assert both.sizes[0].seconds is not None
    assert both.sizes[0].seconds.value == pytest.approx(2 * both.sizes[0].steps.value)
    assert both.sizes[0].even == pytest.approx(1 / both.sizes[0].steps.value)
    with pytest.raises(UserError, match="at batch size 64 are not possible"):
        ask({64: 0.0})


def test_a_timed_monitor_knows_the_seconds_between_updates() -> None:
    model = nn.Linear(3, 1)
    monitor = Monitor(model, timed=True)
    for _ in range(12):
        model.zero_grad()
        model(torch.ones(4, 3)).mean().backward()
        monitor.update()
    told = monitor.advice().step_seconds
    assert told is not None and told.n == 11 and 0 < told.value < 10


def digits(text: str) -> list[str]:
    return sorted(re.findall(r"\d[\d,.]*\d|\d", text))


def test_its_sentences_hold_the_numbers_of_the_record_in_both_languages() -> None:
    curve = step_curve({64: 0.01, 128: 0.015})
    advice = advise_from_noise(
        NOISE, batch_size=64, others=(128, 32), steps=9, optimizer="sgd", learning_rate=0.1, step_seconds=curve
    )
    english, chinese, t = advice.text(), advice.text("zh"), Translator("en")
    assert english == str(advice)
    assert digits(english) == digits(chinese)
    double, half = advice.sizes
    assert double.learning_rate is not None and double.seconds is not None
    for words in (
        "At batch size 64, the gradient noise scale is 400 (95 % interval 350 to 460, n = 100)",
        f"about {t.estimate(advice.critical, t.about)}.",
        f"batch size 128 would need {t.percent(double.examples.value - 1)} more examples",
        f"{t.times(double.steps.value)} times the steps ({t.bounds(double.steps, t.times)})",
        f"learning rate {t.rate(double.learning_rate.value)}",
        f"{t.times(double.seconds.value)} times as long ({t.bounds(double.seconds, t.times)})",
        f"batch size 32 would save {t.percent(1 - half.examples.value)} of the examples",
        f"a step then takes less than {t.times(half.even)} times as long",
    ):
        assert words in english


def test_of_many_sizes_it_tells_the_next_larger_one() -> None:
    advice = advise_from_noise(NOISE, batch_size=64, steps=9)
    assert "batch size 128" in str(advice) and "batch size 256" not in str(advice)
    assert MonitorAdvice.from_json(advice.to_json()) == advice


@pytest.mark.parametrize(
    ("steps", "signal2", "english", "chinese"),
    [
        (0, 0.5, "No step has been seen yet: call update()", "还没有看到任何一步"),
        (1, 0.5, "1 step has been compared, too few", "只比较了 1 步"),
        (7, 0.5, "7 steps have been compared, too few", "只比较了 7 步"),
        (20, 0.0, "use a larger `window`, or more micro-batches", "更大的 `window`"),
    ],
)
def test_where_it_cannot_tell_it_says_what_would_help(steps: int, signal2: float, english: str, chinese: str) -> None:
    advice = gaussian_world(steps, signal2=signal2, seed=3).advice()
    assert not advice.trusted
    assert english in str(advice) and chinese in advice.text("zh")
    assert digits(str(advice)) == digits(advice.text("zh"))
    assert MonitorAdvice.from_json(advice.to_json()).to_json() == advice.to_json()
    with pytest.raises(UserError, match="Language 'fr' is not there"):
        advice.text("fr")


def test_batch_norm_is_a_reason_to_say() -> None:
    advice = advise_from_noise(replace(NOISE, reason="batch_norm_in_train_mode"), batch_size=64, steps=9)
    assert advice.sizes and not advice.trusted
    assert "Batch normalization couples the examples" in str(advice)


def test_states_of_before_it_told_times_can_be_loaded() -> None:
    monitor = gaussian_world(10)
    state = monitor.state_dict()
    again = gaussian_world(0)
    again.load_state_dict(state)
    assert again.advice() == monitor.advice()
    del state["times"]
    older = gaussian_world(0)
    older.load_state_dict(state)
    assert older.noise_scale() == monitor.noise_scale()


def test_parts_of_a_model_can_be_trained_where_sizes_are_told() -> None:
    def seen(by: str, *, whole: bool) -> Tensor:
        model = nn.Sequential(nn.Linear(3, 4, dtype=torch.float64), nn.Linear(4, 1, dtype=torch.float64))
        model.load_state_dict({name: torch.ones_like(value) for name, value in model.state_dict().items()})
        monitor = Monitor(model, by=by)  # type: ignore[arg-type]
        for rows in torch.arange(24, dtype=torch.float64).view(2, 4, 3):
            if not whole:
                monitor.micro_batch(4)
            (model(rows) if whole else model[1](model[0](rows))).square().mean().backward()
        monitor.update()
        pair: Tensor = monitor.state_dict()["pairs"][0]
        return pair

    for by in ("examples", "micro_batches"):
        assert torch.equal(seen(by, whole=True), seen(by, whole=False))


def test_gradients_that_a_scaler_unscaled_are_the_same() -> None:
    model = nn.Linear(3, 1).double()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    told = []
    for unscaled in (False, True):
        model.zero_grad()
        monitor = Monitor(model, by="micro_batches")
        for rows in torch.arange(24, dtype=torch.float64).view(2, 4, 3):
            scaler.scale(model(rows).square().mean() / 2).backward()
        if unscaled:
            scaler.unscale_(optimizer)
        monitor.update(gradient_scale=scaler.get_scale(), unscaled=unscaled)
        told.append(monitor.noise_scale().noise_scale)
        monitor.close()
    assert told[0] == pytest.approx(told[1], rel=1e-9)
