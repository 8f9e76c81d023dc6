from __future__ import annotations

import copy
import random
import shutil
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop
from torch.utils.data import TensorDataset

from critbatch.recipes import sgd
from critbatch.runtime.distributed import Shard
from critbatch.tasks.data import Examples
from critbatch.tasks.task import Task
from critbatch.training import compiled
from critbatch.training.compiled import CannotCompile, CompiledSteps, pays, refusal
from critbatch.training.evaluation import Evaluation
from critbatch.training.step import Step
from critbatch.training.step_graph import Tensors, state_names, trace_steps, updated
from critbatch.training.trainer import Training
from tiny import blobs, tiny_task

BATCH_SIZE, COUNT = 8, 2


def sgd_with_groups(model: nn.Module) -> Optimizer:
    """Each kind of update that SGD knows, so that one graph tests them all."""
    first_weight, first_bias, last_weight, last_bias = model.parameters()
    return SGD(
        [
            {"params": [first_weight], "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
            {"params": [first_bias], "momentum": 0.5},
            {"params": [last_weight], "weight_decay": 0.1},
            {"params": [last_bias]},
        ],
        lr=0.1,
    )


def adamw_with_groups(model: nn.Module) -> Optimizer:
    first_weight, first_bias, last_weight, last_bias = model.parameters()
    groups = [{"params": [first_weight, last_weight], "weight_decay": 0.1}, {"params": [first_bias, last_bias]}]
    return AdamW(groups, lr=0.01, weight_decay=0.0, fused=True)


OPTIMIZERS: dict[str, Callable[[nn.Module], Optimizer]] = {"sgd": sgd_with_groups, "adamw": adamw_with_groups}


def surroundings() -> list[Any]:
    """What of torch's own state a graph might leave changed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import torch._dynamo.config
        import torch._inductor.config
    configs = [config.get_config_copy() for config in (torch._inductor.config, torch._dynamo.config)]
    return [torch.get_rng_state().tolist(), torch.is_grad_enabled(), torch.get_num_threads(), *configs]


class Graph:
    """A compiled graph with the model and the optimizer that it moves. Making one takes seconds, so tests share it."""

    def __init__(self, make: Callable[[nn.Module], Optimizer]) -> None:
        self.task = tiny_task()
        assert isinstance(self.task.train, Examples)
        self.data = self.task.train
        self.model = self.task.new_model(0).train()
        self.optimizer = make(self.model)
        self.training_before, self.filters_before = self.training(), list(warnings.filters)
        self.surroundings_before = surroundings()
        self.steps = CompiledSteps(self.task, self.model, self.optimizer, self.data, batch_size=BATCH_SIZE, count=COUNT)
        self.surroundings_after = surroundings()
        self.training_after, self.filters_after = self.training(), list(warnings.filters)

    def training(self) -> str:
        """Weights, gradients and states, as text."""
        weights = [(weight.tolist(), weight.grad) for weight in self.model.parameters()]
        return repr((weights, self.optimizer.state_dict(), self.model.training))

    def twin(self) -> tuple[nn.Module, Optimizer]:
        """Copies that single steps can move."""
        model, optimizer = copy.deepcopy((self.model, self.optimizer))
        return model, optimizer

    def batches(self, calls: int) -> Iterable[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(calls)
        for _ in range(calls):
            indices = torch.randint(len(self.data), (COUNT, BATCH_SIZE), generator=generator)
            yield indices, 0.05 * torch.rand(COUNT, dtype=torch.float64, generator=generator)

    def single_steps(self, model: nn.Module, optimizer: Optimizer, indices: Tensor, rates: Tensor) -> Tensor:
        return single_steps(self.task, model, optimizer, indices, rates)


def single_steps(task: Task, model: nn.Module, optimizer: Optimizer, indices: Tensor, rates: Tensor) -> Tensor:
    assert isinstance(task.train, Examples)
    step, losses = Step(task, model, optimizer), []
    for row, rate in zip(indices, rates.tolist(), strict=True):
        losses.append(step.gradient([task.train.take(row)], len(row)))
        step.update(rate)
    return torch.stack(losses)


@pytest.fixture(scope="module", params=OPTIMIZERS, ids=list(OPTIMIZERS))
def graph(request: pytest.FixtureRequest) -> Graph:
    if shutil.which(compiled._compiler()) is None:
        pytest.skip(f"there is no C++ compiler {compiled._compiler()}")
    return Graph(OPTIMIZERS[request.param])


def assert_same(model: nn.Module, optimizer: Optimizer, other: nn.Module, other_optimizer: Optimizer) -> None:
    for weight, expected in zip(model.parameters(), other.parameters(), strict=True):
        assert_near(weight, expected)
        state, expected_state = optimizer.state[weight], other_optimizer.state[expected]
        for name in {*state, *expected_state}:
            if state.get(name) is not None or expected_state.get(name) is not None:
                assert_near(state[name], expected_state[name])
    rates = [[group["lr"] for group in one.param_groups] for one in (optimizer, other_optimizer)]
    assert rates[0] == rates[1]


def assert_near(found: Tensor, expected: Tensor, *, tolerance: float = 1e-5) -> None:
    assert found.dtype == expected.dtype
    assert (found - expected).norm() <= tolerance * expected.norm()


def in_torch(graph: Any, given: list[Any]) -> Callable[..., Tensor]:
    """In place of the compiler: torch runs the graph node by node, which takes no time to make."""

    def run(*tensors: Tensor) -> Tensor:
        with torch.no_grad():
            losses: Tensor = graph(*tensors)[0]
        return losses

    return run


@pytest.fixture
def without_compiler(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(compiled.shutil, "which", lambda name: name)
    monkeypatch.setattr(compiled, "_compile", in_torch)
    return monkeypatch


# What needs a compiler.


def test_a_hundred_steps_in_graphs_equal_a_hundred_single_steps(graph: Graph) -> None:
    model, optimizer = graph.twin()
    for indices, rates in graph.batches(50):
        losses = graph.steps(indices, rates)
        assert_near(losses, graph.single_steps(model, optimizer, indices, rates))
    assert_same(graph.model, graph.optimizer, model, optimizer)


def test_graphs_and_single_steps_follow_each_other_in_any_order(graph: Graph) -> None:
    model, optimizer = graph.twin()
    for call, (indices, rates) in enumerate(graph.batches(12)):
        if call % 3 == 1:
            graph.single_steps(graph.model, graph.optimizer, indices, rates)
        else:
            graph.steps(indices, rates)
        graph.single_steps(model, optimizer, indices, rates)
    assert_same(graph.model, graph.optimizer, model, optimizer)


def test_a_graph_goes_on_from_a_checkpoint(graph: Graph) -> None:
    (indices, rates), (later, later_rates) = graph.batches(2)
    graph.steps(indices, rates)
    kept = copy.deepcopy((graph.model.state_dict(), graph.optimizer.state_dict()))
    graph.steps(later, later_rates)
    model, optimizer = graph.twin()
    graph.steps(indices, rates)
    graph.model.load_state_dict(kept[0])
    graph.optimizer.load_state_dict(kept[1])
    graph.steps(later, later_rates)
    assert all(torch.equal(a, b) for a, b in zip(graph.model.parameters(), model.parameters(), strict=True))
    assert_same(graph.model, graph.optimizer, model, optimizer)


def test_a_graph_begins_with_an_optimizer_that_has_made_no_step(graph: Graph) -> None:
    graph.optimizer.state.clear()
    model, optimizer = graph.twin()
    for indices, rates in graph.batches(2):
        graph.steps(indices, rates)
        graph.single_steps(model, optimizer, indices, rates)
    assert_same(graph.model, graph.optimizer, model, optimizer)


def test_a_graph_reads_indices_whatever_their_layout(graph: Graph) -> None:
    (indices, rates), *_ = graph.batches(1)
    kept = copy.deepcopy((graph.model.state_dict(), graph.optimizer.state_dict()))
    expected = graph.steps(indices, rates)
    graph.model.load_state_dict(kept[0])
    graph.optimizer.load_state_dict(kept[1])
    turned = indices.t().contiguous().t()
    assert not turned.is_contiguous()
    assert torch.equal(graph.steps(turned, rates), expected)


def test_a_graph_refuses_shapes_that_it_was_not_made_for(graph: Graph) -> None:
    (indices, rates), *_ = graph.batches(1)
    with pytest.raises(ValueError, match=r"takes indices of shape \(2, 8\)"):
        graph.steps(indices[:, :4], rates)
    with pytest.raises(ValueError, match=r"learning rates of shape \(2,\)"):
        graph.steps(indices, rates[:1])


def test_a_graph_refuses_states_that_lie_otherwise_in_memory(graph: Graph) -> None:
    (indices, rates), *_ = graph.batches(1)
    graph.steps(indices, rates)
    weight = next(graph.model.parameters())
    name = graph.steps._tensors.slots[0].state_names[-1]
    state = graph.optimizer.state[weight]
    straight = state[name]
    state[name] = straight.t().contiguous().t()
    with pytest.raises(RuntimeError, match="another shape or layout"):
        graph.steps(indices, rates)
    state[name] = straight


def test_making_a_graph_changes_nothing_else(graph: Graph) -> None:
    assert graph.surroundings_after == graph.surroundings_before
    assert graph.filters_after == graph.filters_before
    assert graph.training_after == graph.training_before


# What needs none.


@pytest.mark.parametrize(
    "make",
    [
        lambda weights: SGD(weights, lr=0.1),
        lambda weights: SGD(weights, lr=0.1, momentum=0.9, maximize=True),
        lambda weights: SGD(weights, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
        lambda weights: Adam(weights, lr=0.1, betas=(0.8, 0.95), weight_decay=0.1),
        lambda weights: AdamW(weights, lr=0.1, eps=1e-3, weight_decay=0.1),
    ],
    ids=["sgd", "momentum", "nesterov", "adam", "adamw"],
)
def test_an_update_as_a_function_is_that_of_torch(make: Callable[[list[Tensor]], Optimizer]) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = nn.Parameter(torch.randn(5, 3, dtype=torch.float64, generator=generator))
    optimizer = make([weight])
    group = optimizer.param_groups[0]
    found = weight.detach().clone()
    state = {name: torch.zeros(() if name == "step" else (5, 3), dtype=torch.float64) for name in state_names(group)}
    for _ in range(20):
        rate = torch.rand((), dtype=torch.float64, generator=generator)
        weight.grad = torch.randn(5, 3, dtype=torch.float64, generator=generator)
        found, state = updated(optimizer, group, found, weight.grad, state, rate)
        group["lr"] = rate.item()
        optimizer.step()
        torch.testing.assert_close(found, weight.detach(), rtol=1e-12, atol=1e-14)


class Pair(nn.Module):
    """Two inputs by name, one weight used twice, one frozen, one unused, and a constant buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.unused = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.right.weight = self.left.weight
        self.right.bias.requires_grad_(False)
        self.last = nn.Linear(4, 3)
        self.register_buffer("shift", torch.tensor([0.5, -0.5, 0.0, 1.0]))

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.last(torch.tanh(self.left(left) + self.right(right) + self.shift))


def pair_task() -> Task:
    points, labels = blobs(96)
    small = (points * 10).round().clamp(-128, 127).to(torch.int8)
    mean = small.float().mean(0)
    importance = torch.tensor([1.0, 2.0, 0.5])

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs, targets, weight=importance, reduction="none")

    return replace(
        tiny_task(),
        model=Pair,
        train=Examples({"left": small, "right": small.flip(1)}, labels),
        validation=Examples({"left": small, "right": small}, labels),
        prepare=lambda batch: {name: (part.float() - mean) / 10 for name, part in batch.items()},
        loss=loss,
    )


@pytest.mark.parametrize("batch_size", [1, 5])
def test_the_graph_of_an_odd_model_does_what_single_steps_do(batch_size: int) -> None:
    task = pair_task()
    assert isinstance(task.train, Examples)
    model = task.new_model(0).train()
    optimizer = AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    twin, twin_optimizer = copy.deepcopy((model, optimizer))
    indices = torch.arange(4 * batch_size).view(4, batch_size)
    rates = torch.tensor([0.01, 0.02, 0.005, 0.01], dtype=torch.float64)
    expected = single_steps(task, twin, twin_optimizer, indices, rates)
    moving = [name for name, weight in twin.named_parameters() if weight.grad is not None]
    assert moving == ["left.weight", "left.bias", "last.weight", "last.bias"]
    tensors = Tensors(model, optimizer, task.train, moving)
    tensors.fill_states(Tensors(twin, twin_optimizer, task.train, moving).empty_states())
    graph = trace_steps(task, tensors, indices, rates)
    losses = in_torch(graph, [])(*tensors.detached(), indices, rates)
    assert_near(losses, expected)
    tensors.set_learning_rate(0.01)
    assert_same(model, optimizer, twin, twin_optimizer)


def with_hook(model: nn.Module) -> nn.Module:
    model[0].register_forward_hook(lambda module, inputs, output: None)
    return model


def with_weight_hook(model: nn.Module) -> nn.Module:
    next(model.parameters()).register_hook(lambda gradient: gradient)
    return model


class Embedded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 3, sparse=True)

    def forward(self, points: Tensor) -> Tensor:
        return self.table(points.abs().long().clamp(max=4)).sum(1)


class Noisy(nn.Module):
    """Noise that does not come from torch."""

    def __init__(self, draw: Callable[[], float]) -> None:
        super().__init__()
        self.last, self.draw = nn.Linear(4, 3), draw

    def forward(self, points: Tensor) -> Tensor:
        return self.last(points) * self.draw()


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lambda: nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 3)), "draws random numbers"),
        (lambda: Noisy(random.random), "draws random numbers"),
        (lambda: Noisy(lambda: np.random.random()), "draws random numbers"),
        (lambda: nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3)), "changes the buffer 0.running_mean"),
        (lambda: with_hook(nn.Sequential(nn.Linear(4, 3))), "module '0' has hooks"),
        (lambda: with_weight_hook(nn.Linear(4, 3)), "the weight weight has hooks"),
        (lambda: Embedded(), "a gradient is sparse"),
        (lambda: nn.Linear(4, 3).to("meta"), "it runs on meta"),
        (lambda: nn.Linear(4, 3).to(torch.bfloat16), "weights of type torch.bfloat16"),
    ],
    ids=["dropout", "python", "numpy", "batch-norm", "hook", "weight-hook", "sparse", "device", "bfloat16"],
)
def test_a_model_that_a_graph_would_train_otherwise_is_refused(model: Callable[[], nn.Module], reason: str) -> None:
    task, made = tiny_task(), model().train()
    optimizer = SGD(made.parameters(), lr=0.1)
    drawn = torch.get_rng_state(), random.getstate(), str(np.random.get_state())
    assert reason in refusal(task, made, optimizer, task.train)
    assert torch.equal(torch.get_rng_state(), drawn[0])
    assert (random.getstate(), str(np.random.get_state())) == drawn[1:]
    with pytest.raises(CannotCompile, match=reason.replace("0.running", r"0\.running")):
        CompiledSteps(task, made, optimizer, task.train, batch_size=8)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda weights: RMSprop(weights), "the optimizer is RMSprop"),
        (lambda weights: SGD(weights, momentum=0.9, dampening=0.5), "dampening=0.5"),
        (lambda weights: Adam(weights, amsgrad=True), "amsgrad"),
        (lambda weights: hooked(SGD(weights)), "the optimizer has hooks"),
    ],
    ids=["rmsprop", "dampening", "amsgrad", "hook"],
)
def test_an_optimizer_without_a_function_is_refused(make: Callable[[Any], Optimizer], reason: str) -> None:
    task = tiny_task()
    model = task.new_model(0)
    assert reason in refusal(task, model, make(model.parameters()), task.train)


def hooked(optimizer: Optimizer) -> Optimizer:
    optimizer.register_step_post_hook(lambda *_: None)
    return optimizer


def test_data_that_are_no_tensors_and_shared_batches_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    task = tiny_task()
    model = task.new_model(0)
    optimizer = SGD(model.parameters())
    assert "a Dataset" in refusal(task, model, optimizer, TensorDataset(*blobs(20)))
    monkeypatch.setattr(compiled, "this_shard", lambda: Shard(rank=0, world_size=2))
    assert "several processes" in refusal(task, model, optimizer, task.train)


def test_without_a_compiler_the_reason_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    task = tiny_task()
    model = task.new_model(0)
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "no C++ compiler no-such-compiler" in refusal(task, model, SGD(model.parameters()), task.train)


def test_what_can_be_compiled_is_not_refused_and_not_changed(without_compiler: pytest.MonkeyPatch) -> None:
    task = tiny_task()
    model = task.new_model(0).train()
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    before = copy.deepcopy(model.state_dict())
    assert refusal(task, model, optimizer, task.train) == ""
    assert all(torch.equal(before[name], found) for name, found in model.state_dict().items())
    assert not optimizer.state and all(weight.grad is None for weight in model.parameters())


def test_a_compiler_that_fails_leaves_a_reason_and_the_training_as_it_was(without_compiler: pytest.MonkeyPatch) -> None:
    def fail(graph: Any, given: list[Any]) -> None:
        raise RuntimeError("Python.h is missing\nand more")

    without_compiler.setattr(compiled, "_compile", fail)
    task = tiny_task()
    model = task.new_model(0)
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    with pytest.raises(CannotCompile, match=r"RuntimeError: Python.h is missing\)$"):
        CompiledSteps(task, model, optimizer, task.train, batch_size=8)
    fresh = task.new_model(0)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), fresh.parameters(), strict=True))
    assert not optimizer.state


class TwoFaced(nn.Linear):
    """Another function while it is traced than in a single step."""

    def forward(self, points: Tensor) -> Tensor:
        return super().forward(points) * (0.5 if type(points) is Tensor else 1.0)


def test_a_graph_that_does_something_else_is_not_used(without_compiler: pytest.MonkeyPatch) -> None:
    task = tiny_task()
    model = TwoFaced(4, 3)
    with pytest.raises(CannotCompile, match="does not arrive where single steps do"):
        CompiledSteps(task, model, SGD(model.parameters(), lr=0.1), task.train, batch_size=8)


def test_a_branch_on_the_data_is_a_reason_not_to_compile(without_compiler: pytest.MonkeyPatch) -> None:
    class Branching(nn.Linear):
        def forward(self, points: Tensor) -> Tensor:
            return super().forward(points if points.sum() > 0 else -points)

    task = tiny_task()
    model = Branching(4, 3)
    with pytest.raises(CannotCompile, match="making the graph failed"):
        CompiledSteps(task, model, SGD(model.parameters(), lr=0.1), task.train, batch_size=8)


def test_a_run_in_graphs_is_the_run_in_single_steps(without_compiler: pytest.MonkeyPatch) -> None:
    task = tiny_task()
    plan = sgd(batch_size=10, learning_rate=0.1, epochs=6, warmup_epochs=1, lr_decay="cosine")
    fast, slow = (Training(task, plan, compile=choice, evaluation=Evaluation(growth=4)) for choice in (True, False))
    for training in (fast, slow):
        training.advance()
    assert fast.record().compiled_steps > 20
    assert slow.record().compiled_steps == 0
    assert_same(fast.model, fast.optimizer, slow.model, slow.optimizer)
    assert fast.record().steps == slow.record().steps


def test_compiling_pays_for_long_runs_of_short_steps_only() -> None:
    assert pays(steps_left=1e6, eager_step_seconds=0.0002)
    assert not pays(steps_left=1e5, eager_step_seconds=0.0002)
    assert not pays(steps_left=1e6, eager_step_seconds=0.01)
