"""A monitor in loops of the user's own: plain, with accumulation, with AMP's scale, and in two processes."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import critbatch
import processes
from critbatch.errors import UserError
from critbatch.gradient_noise.estimator import noise_scale
from critbatch.gradient_noise.monitor import Monitor
from critbatch.records.core import NoiseScale
from tiny import tiny_task

TASK = tiny_task(dtype=torch.float64)


def gradient(model: nn.Module, first: int, last: int) -> Tensor:
    """By a twin of the model, which nobody watches."""
    inputs, targets = TASK.train.span(first, last)
    state, model = model.state_dict(), TASK.new_model(0)
    model.load_state_dict(state)
    loss = TASK.loss(TASK.forward(model, inputs), targets).mean()
    return torch.cat([grad.flatten() for grad in torch.autograd.grad(loss, list(model.parameters()))])


def expected(model: nn.Module, edges: list[int]) -> NoiseScale:
    """The noise scale from the gradients of the pieces between the edges, one by one."""
    pieces = list(pairwise(edges))
    small = torch.stack([gradient(model, *piece).square().sum() for piece in pieces]).mean()
    big = gradient(model, edges[0], edges[-1]).square().sum()
    sizes = [last - first for first, last in pieces]
    harmonic = len(sizes) / sum(1 / size for size in sizes)
    return noise_scale(small, big, small=harmonic, big=sum(sizes))


def accumulate(model: nn.Module, edges: list[int], *, scale: float = 1.0) -> None:
    model.zero_grad()
    for first, last in pairwise(edges):
        inputs, targets = TASK.train.span(first, last)
        loss = TASK.loss(model(inputs), targets).mean()
        (scale * loss).backward()


@pytest.mark.parametrize("divided", [True, False])
def test_by_micro_batches_it_is_the_noise_scale_of_their_gradients(divided: bool) -> None:
    model = TASK.new_model(0)
    with Monitor(model, by="micro_batches") as monitor:
        accumulate(model, [0, 8, 16, 24], scale=1 / 3 if divided else 1.0)
        monitor.update()
    told, truth = monitor.noise_scale(), expected(model, [0, 8, 16, 24])
    assert told.noise_scale == pytest.approx(truth.noise_scale, rel=1e-10)
    if divided:
        assert told.gradient_norm2 == pytest.approx(truth.gradient_norm2, rel=1e-10)
    assert (told.pairs, told.reason) == (1, "too_few_pairs")


@pytest.mark.parametrize("edges", [[0, 24], [0, 8, 24]])
def test_by_examples_it_is_the_noise_scale_of_their_gradients(edges: list[int]) -> None:
    model = TASK.new_model(0)
    with Monitor(model) as monitor:
        model.zero_grad()
        for first, last in pairwise(edges):
            inputs, targets = TASK.train.span(first, last)
            (TASK.loss(model(inputs), targets).sum() / edges[-1]).backward()
        monitor.update()
    truth = expected(model, list(range(25)))
    assert monitor.noise_scale().noise_scale == pytest.approx(truth.noise_scale, rel=1e-9)
    assert monitor.noise_scale().covariance_trace == pytest.approx(truth.covariance_trace, rel=1e-9)


def test_the_scale_of_a_grad_scaler_is_taken_out_and_steps_that_overflow_are_left_out() -> None:
    model = TASK.new_model(0)
    monitor = Monitor(model, by="micro_batches")
    for factor in (1.0, 1024.0):
        accumulate(model, [0, 8, 16], scale=factor / 2)
        monitor.update(gradient_scale=factor)
    accumulate(model, [0, 8, 16], scale=math.inf)
    monitor.update()
    truth = expected(model, [0, 8, 16])
    assert monitor.noise_scale().gradient_norm2 == pytest.approx(truth.gradient_norm2, rel=1e-10)
    assert (monitor.steps, monitor.skipped) == (3, 1)


def test_micro_batches_of_unequal_sizes_leave_signal_and_noise_unbiased() -> None:
    population = torch.randn(400, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.4
    model = nn.Linear(3, 1, bias=False).double()
    monitor = Monitor(model, by="micro_batches", window=4000)
    generator = torch.Generator().manual_seed(1)
    for _ in range(4000):
        model.zero_grad()
        rows = population[torch.randint(400, (8,), generator=generator)]
        for some in (rows[:1], rows[1:]):
            (model(some).mean() / 2).backward()
        monitor.update()
    assert monitor.noise_scale().pairs == 4000
    noise, signal = (
        torch.tensor([pair[n].sum() for pair in monitor.state_dict()["pairs"]], dtype=torch.float64) for n in range(2)
    )
    known = population.var(0, correction=0).sum(), population.mean(0).square().sum()
    for values, truth in zip((noise, signal), known, strict=True):
        assert abs(float(values.mean() - truth)) < 3 * float(values.std()) / 4000**0.5


def test_layers_add_up_to_the_whole() -> None:
    model = TASK.new_model(0)
    monitor = Monitor(model, by="micro_batches")
    accumulate(model, [0, 8, 16])
    monitor.update()
    layers = monitor.layers()
    assert [(layer.name, layer.parameters) for layer in layers] == [("0", 40), ("3", 27)]
    assert sum(layer.scale.covariance_trace for layer in layers) == pytest.approx(
        monitor.noise_scale().covariance_trace
    )


def test_in_adam_s_metric_gradients_are_divided_by_the_root_of_its_root_mean_square() -> None:
    model = TASK.new_model(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    monitor = Monitor(model, by="micro_batches", optimizer=optimizer)
    for _ in range(3):
        accumulate(model, [0, 8, 16], scale=0.5)
        monitor.update()
        optimizer.step()
    accumulate(model, [16, 24, 32], scale=0.5)
    second = torch.cat([optimizer.state[weight]["exp_avg_sq"].flatten() for weight in model.parameters()])
    metric = 1 / ((second / (1 - 0.999**3)).sqrt() + 1e-8)
    small = torch.stack([(gradient(model, a, a + 8).square() * metric).sum() for a in (16, 24)]).mean()
    big = (gradient(model, 16, 32).square() * metric).sum()
    monitor.load_state_dict({**monitor.state_dict(), "pairs": []})
    monitor.update()
    truth = noise_scale(small, big, small=8, big=16)
    assert monitor.noise_scale(in_metric=True).noise_scale == pytest.approx(truth.noise_scale, rel=1e-9)
    assert monitor.noise_scale().noise_scale == pytest.approx(expected(model, [16, 24, 32]).noise_scale, rel=1e-9)


def test_its_state_goes_on_in_another_monitor() -> None:
    model = TASK.new_model(0)
    first, second = Monitor(model, by="micro_batches"), Monitor(TASK.new_model(1), by="micro_batches")
    for start in range(0, 80, 8):
        accumulate(model, [start, start + 4, start + 8])
        first.update()
    second.load_state_dict(first.state_dict())
    assert second.noise_scale() == first.noise_scale()
    assert first.noise_scale().low is not None
    with pytest.raises(UserError, match="with 4 weights and this one has 1"):
        Monitor(nn.Linear(2, 2, bias=False)).load_state_dict(first.state_dict())


def test_gradients_and_training_are_the_same_with_a_monitor() -> None:
    plain, watched = TASK.new_model(0), TASK.new_model(0)
    monitor = Monitor(watched)
    inputs, targets = TASK.train.span(0, 16)
    for model in (plain, watched):
        TASK.loss(model(inputs), targets).mean().backward()
    monitor.update()
    for one, other in zip(plain.parameters(), watched.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-12, atol=1e-15)


def test_what_it_cannot_compare_is_one_sentence() -> None:
    model = TASK.new_model(0)
    monitor = Monitor(model, by="micro_batches", strict=True)
    with pytest.raises(UserError, match="no backward pass since the last"):
        monitor.update()
    accumulate(model, [0, 8])
    with pytest.raises(UserError, match="one micro-batch"):
        monitor.update()
    accumulate(model, [0, 8, 16])
    monitor.update()
    assert monitor.noise_scale().pairs == 1
    with pytest.raises(UserError, match="needs a DistributedDataParallel model, but got a Sequential"):
        Monitor(model, by="processes")
    with pytest.raises(UserError, match="by='examples' has no noise scale in the optimizer's metric"):
        Monitor(model, optimizer=torch.optim.Adam(model.parameters()))
    with pytest.raises(UserError, match="by='magic' is not known"):
        Monitor(model, by="magic")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="weights='most' is not known"):
        Monitor(model, weights="most")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="batch_size=0 is not possible"):
        Monitor(model, batch_size=0)


def test_a_closed_monitor_leaves_no_hook() -> None:
    model = TASK.new_model(0)
    for by in ("examples", "micro_batches"):
        Monitor(model, by=by).close()  # type: ignore[arg-type]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert not any(weight._backward_hooks for weight in model.parameters())


def test_batch_norm_in_train_mode_is_a_reason_not_to_trust_it() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)).double()
    monitor = Monitor(model, by="micro_batches")
    for start in [0, 32, 64] * 4:
        accumulate(model, [start, start + 16, start + 32])
        monitor.update()
    assert monitor.noise_scale().reason == "batch_norm_in_train_mode"


def test_it_is_part_of_the_package() -> None:
    assert critbatch.Monitor is Monitor


WORKER = """
from torch.nn.parallel import DistributedDataParallel
from tiny import tiny_task
from critbatch.gradient_noise.monitor import Monitor

task = tiny_task(dtype=torch.float64)
model = DistributedDataParallel(task.new_model(0))
monitor = Monitor(model)
inputs, targets = task.train.span(rank * 12, rank * 12 + 12)
task.loss(model(inputs), targets).mean().backward()
monitor.update()
scale = monitor.noise_scale()
layers = [layer.name for layer in monitor.layers()]
numbers = [scale.gradient_norm2, scale.covariance_trace, monitor.by, layers]
torch.save({"numbers": numbers, "grad": [w.grad for w in model.parameters()]}, out / f"{rank}.pt")
"""


def test_by_processes_it_is_the_noise_scale_of_their_gradients(tmp_path: Path) -> None:
    processes.run(WORKER, tmp_path)
    model = TASK.new_model(0)
    truth = expected(model, [0, 12, 24])
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        signal, noise, by, layers = found["numbers"]
        assert signal == pytest.approx(truth.gradient_norm2, rel=1e-9)
        assert noise == pytest.approx(truth.covariance_trace, rel=1e-9)
        assert (by, layers) == ("processes", ["0", "3"])
        whole = torch.cat([grad.flatten() for grad in found["grad"]])
        torch.testing.assert_close(whole, gradient(model, 0, 24), rtol=1e-12, atol=1e-14)
