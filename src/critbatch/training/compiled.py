"""Several steps in one compiled graph, for long runs of small models, whose time goes into Python and dispatching."""

from __future__ import annotations

import copy
import operator
import os
import random
import shutil
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.optim import Optimizer

from critbatch.recipes.plan import Phase
from critbatch.runtime.distributed import this_shard
from critbatch.tasks.data import Data, Examples
from critbatch.tasks.sampler import Cursor, Source
from critbatch.tasks.task import Task
from critbatch.training.step import Step
from critbatch.training.step_graph import Tensors, trace_steps, unsupported

# Single steps on a copy: whether a graph can do what they do, and what it must arrive at.


@dataclass(frozen=True)
class Rehearsal:
    """What single steps did to a copy of a training.

    Attributes:
        model: the copy, after the steps.
        optimizer: likewise.
        losses: of the steps, shape (count,).
        moving: the names of the parameters that got a gradient and that the optimizer moves.
        obstacle: what these steps did that a graph cannot do, in words, or "".
    """

    model: nn.Module
    optimizer: Optimizer
    losses: Tensor
    moving: list[str]
    obstacle: str


def rehearse(
    task: Task, model: nn.Module, optimizer: Optimizer, data: Examples, indices: Tensor, rates: Tensor
) -> Rehearsal:
    """Take a step for each row of indices, with a copy of the model and the optimizer. Random states stay as they are.

    Args:
        task: how batches are prepared, and the loss.
        model: is left alone.
        optimizer: is left alone.
        data: where batches come from.
        indices: shape (count, batch_size).
        rates: the learning rates, shape (count,).

    Raises:
        Exception: what `copy.deepcopy` and the step raise for this model.
    """
    # Together, so that the copied optimizer holds the copied weights.
    model, optimizer = copy.deepcopy((model, optimizer))
    step, losses = Step(task, model, optimizer), []
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    python, numbers = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        drawn = _random_states()
        for row, rate in zip(indices, rates.tolist(), strict=True):
            losses.append(step.gradient([data.take(row)], len(row)))
            step.update(rate)
        draws = _random_states() != drawn
    random.setstate(python)
    np.random.set_state(numbers)
    held = {weight for group in optimizer.param_groups for weight in group["params"]}
    gradients = {name: weight.grad for name, weight in model.named_parameters() if weight in held}
    got = {name: gradient for name, gradient in gradients.items() if gradient is not None}
    obstacle = ""
    if draws:
        obstacle = "a step draws random numbers, as dropout does: a graph would draw others"
    elif changed := [name for name, buffer in model.named_buffers() if not torch.equal(buffer, before[name])]:
        obstacle = f"a step changes the buffer {changed[0]}, as batch normalization does"
    elif step.had_sparse_gradient:
        obstacle = "a gradient is sparse"
    elif not got:
        obstacle = "no weight of the optimizer gets a gradient"
    return Rehearsal(model, optimizer, torch.stack(losses), list(got), obstacle)


def _random_states() -> tuple[Any, ...]:
    legacy = np.random.get_state(legacy=False)["state"]
    return torch.get_rng_state().numpy().tobytes(), random.getstate(), legacy["key"].tobytes(), legacy["pos"]


# A graph of 1, 4, 8, 10 or 16 steps of a 784-100-10 perceptron at batch size 1 was 6.4, 7.7, 9.1, 9.8 or 10.0 times as
# fast as single steps, after 6, 12, 20, 24 or 41 s of processor time to compile it: 4 is most of the way.
STEPS_PER_GRAPH = 4

# What `pays` reckons with. Compiling that perceptron took 12 to 31 s at the batch sizes of benchmarks/overhead.py.
COMPILE_SECONDS = 30.0
# At batch size 100 and 0.7 ms a step, a graph was still 1.9 times as fast as single steps; at 1,000 and 4 ms, 1.1.
LONGEST_STEP_SECONDS = 1e-3
SAVED_SHARE = 0.45

# Of the way that all weights went together. Rounding alone moves it by far less, but for Adam: a weight whose gradient
# is zero but for rounding, such as the bias of attention's keys, goes as far as any other, in a random direction.
TOLERANCE = 0.1

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class CannotCompile(RuntimeError):  # noqa: N818
    """Why there is no graph. Single steps do the same work."""


def pays(*, steps_left: float, eager_step_seconds: float) -> bool:
    """Whether compiling would save clearly more time than it costs: twice as much.

    A graph saves overhead, not arithmetic, and steps that are longer than a millisecond are mostly arithmetic.

    Args:
        steps_left: single steps that the run would still take.
        eager_step_seconds: of such a step, measured.

    >>> pays(steps_left=900_000, eager_step_seconds=0.0003), pays(steps_left=900_000, eager_step_seconds=0.01)
    (True, False)
    """
    saved = SAVED_SHARE * eager_step_seconds * steps_left
    return eager_step_seconds < LONGEST_STEP_SECONDS and saved > 2 * COMPILE_SECONDS


def refusal(task: Task, model: nn.Module, optimizer: Optimizer, data: Data) -> str:
    """Why several steps of this training cannot be one graph, in words, or "" where nothing stands against it."""
    if not isinstance(data, Examples):
        return "the data are a Dataset, not tensors"
    if this_shard().world_size > 1:
        return "several processes share each batch"
    devices = {tensor.device.type for tensor in (*model.parameters(), *model.buffers())} | {data.device.type}
    if others := devices - {"cpu"}:
        return f"it runs on {others.pop()}: graphs are made for the CPU only"
    if types := {weight.dtype for weight in model.parameters()} - {torch.float32, torch.float64}:
        return f"the model has weights of type {types.pop()}, not float32 or float64"
    if hooked := [name for name, module in model.named_modules() if any(getattr(module, hooks) for hooks in HOOKS)]:
        return f"the module {hooked[0] or type(model).__name__!r} has hooks"
    if hooked := [name for name, weight in model.named_parameters() if _has_hooks(weight)]:
        return f"the weight {hooked[0]} has hooks"
    if reason := unsupported(optimizer):
        return reason
    if shutil.which(_compiler()) is None:
        return f"there is no C++ compiler {_compiler()} (the environment variable CXX may name another)"
    try:
        indices, rates = _batches_to_rehearse(optimizer, data, batch_size=min(2, len(data)), count=1)
        return rehearse(task, model, optimizer, data, indices, rates).obstacle
    except Exception as error:
        return f"a step on a copy of the model fails ({_first_line(error)})"


class CompiledSteps:
    """`count` steps in one graph, with the result of single steps but for rounding.

    The live parameters of the model and the live state of the optimizer are changed in place, so that graphs, single
    steps and checkpoints can follow each other in any order. `.grad` is neither read nor set. The mode of the model and
    the settings of the optimizer, but for the learning rate, are those of when the graph was made.

    Before it is used the graph is compared with single steps on a copy.

    Args:
        task: how batches are prepared, and the loss.
        model: in the mode in which it is trained.
        optimizer: SGD, Adam or AdamW.
        data: all examples; batches are gathered within the graph, from these very tensors.
        batch_size: examples per step.
        count: steps in one graph.

    Raises:
        CannotCompile: with the reason, where `refusal` has one, the compiler fails, or the graph does not arrive where
            single steps do.
    """

    def __init__(
        self,
        task: Task,
        model: nn.Module,
        optimizer: Optimizer,
        data: Examples,
        *,
        batch_size: int,
        count: int = STEPS_PER_GRAPH,
    ) -> None:
        if reason := refusal(task, model, optimizer, data):
            raise CannotCompile(reason)
        self.batch_size, self.count = batch_size, count
        indices, rates = _batches_to_rehearse(optimizer, data, batch_size=batch_size, count=count)
        goal = rehearse(task, model, optimizer, data, indices, rates)
        single = Tensors(goal.model, goal.optimizer, data, goal.moving)
        trial = Tensors(*copy.deepcopy((model, optimizer)), data, goal.moving)
        self._empty_states = single.empty_states()
        trial.fill_states(self._empty_states)
        self._layouts = [_layout(tensor) for tensor in trial.moving()]
        start = trial.flat_weights()
        try:
            self._graph = _compile(trace_steps(task, trial, indices, rates), [*trial.detached(), indices, rates])
            losses = self._graph(*trial.detached(), indices, rates)
        except Exception as error:
            raise CannotCompile(f"making the graph failed ({_first_line(error)})") from error
        ways = trial.flat_weights() - start, single.flat_weights() - start
        if not (_close(losses, goal.losses) and _close(*ways)):
            raise CannotCompile("the graph does not arrive where single steps do")
        self._tensors = Tensors(model, optimizer, data, goal.moving)
        self._known: list[Tensor | None] = [None] * len(self._layouts)

    def __call__(self, indices: Tensor, learning_rates: Tensor) -> Tensor:
        """Take the steps.

        Args:
            indices: of the examples of each step, shape (count, batch_size), int64.
            learning_rates: of each step, shape (count,); float64 keeps them exact.

        Returns:
            The loss of each step before it, shape (count,).

        Raises:
            ValueError: if a shape is another.
            RuntimeError: if the optimizer was given states that lie otherwise in memory than when the graph was made.
        """
        if indices.shape != (self.count, self.batch_size) or learning_rates.shape != (self.count,):
            raise ValueError(
                f"This graph takes indices of shape ({self.count}, {self.batch_size}) and learning rates of shape "
                f"({self.count},), but got {tuple(indices.shape)} and {tuple(learning_rates.shape)}."
            )
        moving = self._tensors.moving()
        if any(map(operator.is_not, moving, self._known)):
            moving = self._get_to_know()
        rates = learning_rates.double()
        losses = self._graph(*moving, *self._tensors.constant(), indices.contiguous(), rates.contiguous())
        self._tensors.set_learning_rate(rates[-1].item())
        return losses

    def _get_to_know(self) -> list[Tensor]:
        """The moving tensors, where some are new: the graph has no guards against another layout."""
        self._tensors.fill_states(self._empty_states)
        moving = self._tensors.moving()
        if [_layout(tensor) for tensor in moving] != self._layouts:
            raise RuntimeError("Weights or optimizer states have another shape or layout than when the graph was made.")
        self._known = list(moving)
        return moving


def _compile(graph: GraphModule, given: list[Any]) -> Callable[..., Tensor]:
    """The graph in C++, for tensors like these. Without torch.compile, whose guards are evaluated at each call."""
    with warnings.catch_warnings(), torch.no_grad():
        # Those of torch about itself, which no user can answer.
        warnings.simplefilter("ignore", DeprecationWarning)
        from torch import _inductor

        # The calls of the kernels, too: Python takes microseconds for each.
        run = _inductor.compile(graph, given, options={"cpp_wrapper": True})

    def first_output(*tensors: Tensor) -> Tensor:
        with torch.no_grad():
            output: Tensor = run(*tensors)[0]
        return output

    return first_output


def _compiler() -> str:
    """The one that torch calls: torch._inductor.config.cpp.cxx."""
    return os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")


def _batches_to_rehearse(optimizer: Optimizer, data: Examples, *, batch_size: int, count: int) -> tuple[Tensor, Tensor]:
    """Some batches, and learning rates that differ, up to that of the optimizer."""
    indices = torch.arange(count * batch_size).remainder(len(data)).view(count, batch_size)
    peak = float(optimizer.param_groups[0]["lr"])
    return indices, torch.linspace(0.5, 1.0, count, dtype=torch.float64) * peak


def _close(found: Tensor, right: Tensor) -> bool:
    return bool((found - right).norm() <= TOLERANCE * right.norm())


def _layout(tensor: Tensor) -> tuple[torch.dtype, torch.Size, tuple[int, ...]]:
    return tensor.dtype, tensor.shape, tensor.stride()


def _has_hooks(weight: Tensor) -> bool:
    return bool(weight._backward_hooks or getattr(weight, "_post_accumulate_grad_hooks", None))


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"


# Whether a run goes through the compiled graph of several steps, and when.

# Single steps that are timed before the decision.
STEPS_TO_TIME = 50


class FastPath:
    """Several steps of a phase in one graph, once it is known to pay.

    Args:
        wanted: True for from the first step on, False for never, None for when the run is long enough.
    """

    def __init__(self, task: Task, model: nn.Module, source: Source, *, wanted: bool | None) -> None:
        self.task, self.model, self.source = task, model, source
        self.wanted = wanted
        self._steps: CompiledSteps | None = None
        self._optimizer: Optimizer | None = None
        self._phase: Phase | None = None

    def enter(self, optimizer: Optimizer, phase: Phase) -> None:
        """Begin a phase: what was compiled belongs to the one before."""
        self._optimizer, self._phase, self._steps = optimizer, phase, None

    def consider(self, *, steps_done: int, steps_left: float, seconds_done: float) -> float:
        """Compile now if that is wanted, or pays. The decision is made once, and kept with the checkpoint.

        Returns:
            The seconds it took.
        """
        if self.wanted is None and steps_done >= STEPS_TO_TIME:
            self.wanted = pays(steps_left=steps_left, eager_step_seconds=seconds_done / steps_done)
        if not self.wanted or self._steps is not None:
            return 0.0
        assert self._optimizer is not None and self._phase is not None
        data, size = self.source.data, self._phase.batch_size
        # The graph gathers its batches itself, from the examples as they are.
        if not isinstance(data, Examples) or self.task.augment is not None:
            self.wanted = False
            return 0.0
        started = time.perf_counter()
        try:
            self._steps = CompiledSteps(self.task, self.model, self._optimizer, data, batch_size=size)
        except CannotCompile:
            self.wanted = False
        return time.perf_counter() - started

    @property
    def count(self) -> int:
        """Steps in one graph; 0 where there is none."""
        return self._steps.count if self._steps is not None else 0

    def run(self, cursor: Cursor, phase_start: float) -> Tensor:
        """The next `count` steps. The cursor moves. Returns the loss of each, shape (count,)."""
        assert self._steps is not None and self._phase is not None
        count, size = self._steps.count, self._phase.batch_size
        places = [cursor.position - phase_start + step * size / cursor.examples for step in range(count)]
        rates = torch.tensor([self._phase.learning_rate(place) for place in places], dtype=torch.float64)
        return self._steps(cursor.take(count * size).view(count, size), rates)
