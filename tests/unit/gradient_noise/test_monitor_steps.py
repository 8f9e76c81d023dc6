"""A monitor of steps with micro-batches of unequal size, steps that are thrown away, and gradients that were changed.

The truth is known in closed form: the gradient of an example is the example itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from critbatch.errors import UserError
from critbatch.gradient_noise.monitor import Monitor

DIMENSIONS, SIGNAL2 = 20, 0.5
NOISE_SCALE = DIMENSIONS / SIGNAL2
SIGNAL = torch.full((DIMENSIONS,), math.sqrt(SIGNAL2 / DIMENSIONS), dtype=torch.float64)
UNEVEN = [(48, 16), (60, 4), (4, 8, 20, 32)]


class World:
    """Examples are a fixed signal and normal noise of variance one, and so are their gradients."""

    def __init__(self, seed: int = 0) -> None:
        self.model = nn.Linear(DIMENSIONS, 1, bias=False).double()
        self.generator = torch.Generator().manual_seed(seed)

    def rows(self, count: int) -> Tensor:
        return torch.randn(count, DIMENSIONS, dtype=torch.float64, generator=self.generator) + SIGNAL

    def backward(self, count: int, factor: float = 1.0) -> None:
        (factor * self.model(self.rows(count)).mean()).backward()

    def step(self, sizes: Sequence[int], *, by_size: bool, scale: float = 1.0) -> None:
        self.model.zero_grad()
        for size in sizes:
            self.backward(size, scale * (size / sum(sizes) if by_size else 1 / len(sizes)))


def pairs(monitor: Monitor) -> Tensor:
    """(steps, noise or signal), as the monitor takes its micro-batches to be weighted."""
    weights = monitor._window.weights_found() if monitor._window.weights == "auto" else monitor._window.weights
    state = monitor.state_dict()
    chosen = state["by_size"] if weights == "by_size" else state["pairs"]
    return torch.stack([pair[:, 0].sum(-1) for pair in chosen])


def hold_truth(monitor: Monitor) -> None:
    """Means of noise and signal lie within four standard errors of the truth: each fails once in 16,000."""
    each = pairs(monitor)
    error = each.std(0) / len(each) ** 0.5
    assert abs(float(each[:, 0].mean()) - DIMENSIONS) < 4 * float(error[0])
    assert abs(float(each[:, 1].mean()) - SIGNAL2) < 4 * float(error[1])


@pytest.mark.parametrize("by", ["examples", "micro_batches"])
@pytest.mark.parametrize("by_size", [False, True], ids=["equal", "by size"])
@pytest.mark.parametrize("sizes", UNEVEN, ids=str)
def test_unequal_micro_batches_are_weighted_as_the_loss_weights_them(
    by: Any, by_size: bool, sizes: tuple[int, ...]
) -> None:
    world = World()
    monitor = Monitor(world.model, by=by, window=80)
    for _ in range(80):
        world.step(sizes, by_size=by_size)
        monitor.update()
    assert monitor._window.weights_found() == ("by_size" if by_size else "equal")
    hold_truth(monitor)
    scale = monitor.noise_scale()
    assert scale.reason == "" and scale.low is not None and scale.high is not None
    assert scale.low / 1.3 < NOISE_SCALE < scale.high * 1.3
    assert monitor.advice().batch_size == 64


@pytest.mark.parametrize("by_size", [False, True], ids=["equal", "by size"])
def test_an_epoch_whose_last_batch_is_short_is_told_right(by_size: bool) -> None:
    world = World(3)
    monitor = Monitor(world.model, by="micro_batches", window=120)
    for step in range(120):
        world.step((16, 16, 16, 5) if step % 10 == 9 else (16,) * 4, by_size=by_size)
        monitor.update()
    scale = monitor.noise_scale()
    assert scale.reason == "" and scale.low is not None and scale.high is not None
    assert scale.low / 1.1 < NOISE_SCALE < scale.high * 1.1
    assert monitor.advice().batch_size == 64


def test_losses_weighted_by_tokens_have_the_noise_of_whole_sequences() -> None:
    # A sequence of n tokens, n uniform on 1..7, has the gradient sum of its tokens over 4, the mean of n: its mean is
    # the signal, its covariance trace E[n] d / 16 + Var(n) |s|^2 / 16.
    truth = 4 * DIMENSIONS / 16 + 4 * SIGNAL2 / 16
    world = World(5)
    monitor = Monitor(world.model, by="micro_batches", window=200)
    for _ in range(200):
        world.model.zero_grad()
        for size in (4, 12):
            lengths = torch.randint(1, 8, (size,), generator=world.generator)
            mask = torch.arange(7) < lengths[:, None]
            tokens = world.rows(size * 7).view(size, 7, DIMENSIONS)
            ((world.model(tokens)[..., 0] * mask).sum() / (16 * 4)).backward()
        monitor.update()
    each = pairs(monitor)
    assert monitor._window.weights_found() == "by_size"
    error = each.std(0) / len(each) ** 0.5
    assert abs(float(each[:, 0].mean()) - truth) < 4 * float(error[0])
    assert abs(float(each[:, 1].mean()) - SIGNAL2) < 4 * float(error[1])


def test_weights_that_the_gradients_contradict_are_a_reason() -> None:
    world = World()
    right, wrong = (Monitor(world.model, weights=weights) for weights in ("by_size", "equal"))  # type: ignore[arg-type]
    for _ in range(12):
        world.step((60, 4), by_size=True)
        right.update()
        wrong.update()
    assert right.noise_scale().reason == ""
    assert (wrong.noise_scale().reason, wrong.noise_scale().low) == ("micro_batch_weights_wrong", None)


def test_too_few_unequal_steps_to_tell_the_weights_are_a_reason() -> None:
    world = World()
    monitor = Monitor(world.model, by="micro_batches", window=8)
    # One direction, and noise alone: the sizes of the micro-batches' gradients say next to nothing.
    for _ in range(8):
        world.model.zero_grad()
        for size in (5, 3):
            rows = torch.zeros(size, DIMENSIONS, dtype=torch.float64)
            rows[:, 0] = torch.randn(size, dtype=torch.float64, generator=world.generator) + 3
            (world.model(rows).mean() / 2).backward()
        monitor.update()
    told = monitor.noise_scale()
    assert monitor._window.weights_found() == "auto"
    assert (told.reason, told.low, told.high) == ("micro_batch_weights_unknown", None, None)


def run(throw_away: Callable[[World, Monitor], None] | None, *, by: Any, steps: int = 40) -> Monitor:
    """Steps of two micro-batches; after every fourth one more is begun and thrown away."""
    world, other = World(), World(1)
    monitor = Monitor(world.model, by=by)
    for step in range(steps):
        world.step((8, 8), by_size=False)
        monitor.update()
        if step % 4 == 0 and throw_away is not None:
            generator, world.generator = world.generator, other.generator
            throw_away(world, monitor)
            world.generator = generator
    return monitor


def begin_and_zero(world: World, monitor: Monitor) -> None:
    world.step((8, 8), by_size=False)


def begin_and_fill_with_zeros(world: World, monitor: Monitor) -> None:
    world.step((8, 8), by_size=False)
    world.model.zero_grad(set_to_none=False)


def begin_and_discard(world: World, monitor: Monitor) -> None:
    world.step((8, 8), by_size=False)
    monitor.discard()


def forward_alone(world: World, monitor: Monitor) -> None:
    world.model(world.rows(5))


@pytest.mark.parametrize("by", ["examples", "micro_batches"])
@pytest.mark.parametrize(
    "throw_away",
    [begin_and_zero, begin_and_fill_with_zeros, begin_and_discard, forward_alone],
    ids=lambda f: f.__name__,
)
def test_a_step_that_is_thrown_away_leaves_no_trace(by: Any, throw_away: Callable[[World, Monitor], None]) -> None:
    assert run(throw_away, by=by).noise_scale() == run(None, by=by).noise_scale()


@pytest.mark.parametrize("by", ["examples", "micro_batches"])
@pytest.mark.parametrize("change", ["clipped", "unscaled in silence", "told as unscaled, but not"])
def test_gradients_scaled_by_one_factor_are_scaled_back(by: Any, change: str) -> None:
    worlds = World(), World()
    plain, changed = (Monitor(world.model, by=by) for world in worlds)
    for _ in range(12):
        for world in worlds:
            world.step((8, 8), by_size=False, scale=1.0 if world is worlds[0] or change == "clipped" else 1024.0)
        if change == "clipped":
            nn.utils.clip_grad_norm_(worlds[1].model.parameters(), 0.01)
            changed.update()
        elif change == "unscaled in silence":
            for weight in worlds[1].model.parameters():
                assert weight.grad is not None
                weight.grad /= 1024
            changed.update(gradient_scale=1024.0)
        else:
            changed.update(gradient_scale=1024.0, unscaled=True)
        plain.update()
    one, other = plain.noise_scale(), changed.noise_scale()
    assert other.covariance_trace == pytest.approx(one.covariance_trace, rel=1e-9)
    assert other.gradient_norm2 == pytest.approx(one.gradient_norm2, rel=1e-9)


@pytest.mark.parametrize("by", ["examples", "micro_batches"])
@pytest.mark.parametrize("misuse", ["zero_grad forgotten", "clipped by value", "zeroed before update", "weight decay"])
def test_gradients_that_are_not_the_step_s_own_are_a_reason_and_no_number(
    by: Any, misuse: str, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    monitor = Monitor(world.model, by=by)
    for _ in range(12):
        if misuse != "zero_grad forgotten":
            world.model.zero_grad()
        for size in (8, 8):
            world.backward(size)
        weight = world.model.weight
        assert weight.grad is not None
        if misuse == "clipped by value":
            nn.utils.clip_grad_value_(world.model.parameters(), 0.1)
        elif misuse == "zeroed before update":
            world.model.zero_grad(set_to_none=False)
        elif misuse == "weight decay":
            weight.grad += 10 * weight.detach()
        monitor.update()
    told = monitor.noise_scale()
    assert (told.reason, told.low, told.high) == ("gradients_changed", None, None)
    assert told.pairs <= 1 and told.noise_scale >= 0
    assert monitor.left_out["gradients_changed"] >= 10
    assert [record.message for record in caplog.records if "`.grad`" in record.message][1:] == []
    assert "call update() before anything changes them" in monitor.advice().text()
    strict = Monitor(world.model, by=by, strict=True)
    world.step((8, 8), by_size=False)
    world.model.weight.grad = torch.ones_like(world.model.weight)
    with pytest.raises(UserError, match=r"in `\.grad` is not the sum"):
        strict.update()


@pytest.mark.parametrize("by", ["examples", "micro_batches"])
def test_weights_that_are_unfrozen_later_count_from_then_on(by: Any) -> None:
    def trained(late: bool) -> Monitor:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)).double()
        model[0].requires_grad_(not late)
        monitor = Monitor(model, by=by)
        for step in range(24):
            if step == 12:
                model[0].requires_grad_(True)
            if step == 13 and not late:
                monitor._window.restart()
            model.zero_grad()
            for _ in range(2):
                inputs = torch.randn(8, 4, dtype=torch.float64)
                nn.functional.cross_entropy(model(inputs), (inputs[:, 0] > 0).long()).backward()
            monitor.update()
        return monitor

    late, always = trained(True), trained(False)
    assert [layer.name for layer in late.layers()] == ["0", "2"]
    assert late.noise_scale() == always.noise_scale()
    assert late.noise_scale().pairs == 11
    assert late.left_out == {"weights_changed": 1}


def test_two_backward_passes_through_one_forward_pass_are_left_out() -> None:
    world = World()
    monitor = Monitor(world.model, by="micro_batches")
    world.model.zero_grad()
    for _ in range(2):
        outputs = world.model(world.rows(8))
        outputs.mean().backward(retain_graph=True)
        outputs.square().mean().backward()
    monitor.update()
    assert monitor.left_out == {"passes_unclear": 1}


def test_backward_passes_in_another_order_than_forward_passes_belong_to_their_own() -> None:
    world, other = World(), World()
    one, two = Monitor(world.model, by="micro_batches"), Monitor(other.model, by="micro_batches")
    losses = [world.model(world.rows(size)).mean() for size in (4, 12)]
    for loss in reversed(losses):
        loss.backward()
    one.update()
    for size in (4, 12):
        other.backward(size)
    two.update()
    assert one.noise_scale().covariance_trace == pytest.approx(two.noise_scale().covariance_trace, rel=1e-12)


def test_by_examples_steps_that_overflow_at_first_are_skipped_and_the_rest_is_measured() -> None:
    world = World()
    monitor = Monitor(world.model)
    for step in range(12):
        world.step((16,), by_size=False, scale=math.inf if step < 3 else 1.0)
        monitor.update()
    assert (monitor.noise_scale().pairs, monitor.skipped, monitor.problem) == (9, 3, "")


def test_by_examples_modules_without_weights_may_be_called_by_themselves() -> None:
    told = []
    for apart in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.0), nn.Tanh(), nn.Linear(8, 2)).double()
        monitor = Monitor(model)
        for _ in range(3):
            inputs = torch.randn(8, 4, dtype=torch.float64)
            model.zero_grad()
            if apart:
                monitor.micro_batch(8)
            outputs = inputs
            for part in model if apart else [model]:
                outputs = part(outputs)
            nn.functional.cross_entropy(outputs, (inputs[:, 0] > 0).long()).backward()
            monitor.update()
        assert monitor.problem == ""
        told.append(monitor.noise_scale().covariance_trace)
    assert told[1] == pytest.approx(told[0], rel=1e-9)
