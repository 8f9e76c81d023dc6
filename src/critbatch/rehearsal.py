"""Single steps on a copy: whether a graph can do what they do, and what it must arrive at."""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from critbatch.step import Step
from critbatch.tasks.data import Examples
from critbatch.tasks.task import Task


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
