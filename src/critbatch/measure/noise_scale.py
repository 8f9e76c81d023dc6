"""The gradient noise scale during a short training run, also weighted by curvature."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import torch
from torch import nn

from critbatch.arguments import checked_call
from critbatch.errors import UserError
from critbatch.gradient_noise.estimator import average, noise_scale
from critbatch.measure.empirical_risk import EmpiricalRisk
from critbatch.measure.hessian import HessianProduct
from critbatch.recipes import find_recipe, usual_rate
from critbatch.records.core import Noise, NoiseScale
from critbatch.records.loss_surface import Mode
from critbatch.runtime.device import as_device
from critbatch.runtime.process import seeded
from critbatch.runtime.progress import Progress
from critbatch.runtime.provenance import RunTimer
from critbatch.tasks.registry import as_task
from critbatch.tasks.task import Task
from critbatch.training.evaluation import Evaluation
from critbatch.training.phase_cursor import NOISE_PIECES
from critbatch.training.state import Budget
from critbatch.training.trainer import Training

BATCHES_IN_PAIR = 4
"""Small batches that form one large batch."""


def curvature_noise(
    task: Task,
    model: nn.Module,
    *,
    batch_size: int = 32,
    batches: int = 64,
    examples: int | None = 1000,
    mode: Mode = Mode.EVAL,
    double: bool = False,
    seed: int = 0,
    device: torch.device | None = None,
) -> NoiseScale:
    """Measure ``B_noise = tr(H Sigma) / G^T H G`` at one point, with its interval.

    ``E g_B^T H g_B = G^T H G + tr(H Sigma) (1/B - 1/N)`` holds at two batch sizes, as the same equation does for the
    squared norm, so the same estimator is used. Four small batches form a large one, whose mean needs no further
    product. The cost is one gradient and one Hessian-vector product per batch. McCandlish et al. 2018,
    arXiv:1812.06162, equation 2.8.

    Args:
        task: Task with data and loss.
        model: Model with the weights.
        batch_size: Examples in a small batch. Batches are drawn from the training set without replacement.
        batches: Number of small batches, all at the same weights.
        examples: Training examples for the Hessian. None: all.
        mode: Statistics of batch norm.
        double: Compute in float64.
        seed: Seed of the batches.
        device: Device of the measurement.

    Returns:
        ``gradient_norm2`` is ``G^T H G`` and ``covariance_trace`` is ``tr(H Sigma)``. If the curvature along the
        gradient is not above 0, no batch size balances the two, and `reason` says so.

    Raises:
        UserError: if there are too few examples for the batches.
    """
    surface = EmpiricalRisk(task, model, mode=mode, double=double, device=device)
    groups = batches // BATCHES_IN_PAIR
    needed = groups * BATCHES_IN_PAIR * batch_size
    if groups < 1 or needed > surface.examples:
        raise UserError(
            f"{batches} batches of {batch_size} are not possible with {surface.examples} examples: use at least "
            f"{BATCHES_IN_PAIR} batches, and fewer or smaller ones if there are too few examples."
        )
    curved = EmpiricalRisk(task, model, examples=examples, mode=mode, double=double, device=device)
    product = HessianProduct(curved)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(surface.examples, generator=generator)[:needed].view(groups, BATCHES_IN_PAIR, batch_size)
    scales = []
    for group in order:
        gradients = torch.stack([surface.gradient(indices=rows)[1] for rows in group])
        curved_gradients = torch.stack([product(gradient) for gradient in gradients])
        small = (gradients.double() * curved_gradients).sum(1).mean()
        big = (gradients.double().mean(0) * curved_gradients.double().mean(0)).sum()
        scales.append(
            noise_scale(small, big, small=batch_size, big=BATCHES_IN_PAIR * batch_size, examples=surface.examples)
        )
    return average(scales)


CURVATURE_BATCH = 32
"""Examples in a small batch, for the noise scale weighted by curvature."""
EXAMPLES_OF_HESSIAN = 1000
"""Examples for its Hessian; for sequences, tokens."""


@checked_call
def noise(
    task: Task | str,
    *,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    recipe: str | None = None,
    epochs: float = 3.0,
    steps: int | None = None,
    every: int = 1,
    method: Literal["micro_batches", "examples"] = "micro_batches",
    curvature: bool = False,
    seed: int = 0,
    device: torch.device | str | None = None,
    budget: float | None = None,
    progress: Callable[[Progress], None] | None = None,
    command: str = "",
) -> Noise:
    """Measure the gradient noise scale along a short training run.

    The simple noise scale is ``B_simple = tr(Sigma) / |G|^2``. Each batch is cut into micro-batches. Their gradients
    and the mean of these are gradients at two batch sizes and the same weights, so the estimate needs no further pass
    over the data. McCandlish et al. 2018, arXiv:1812.06162, section 2.2 and appendix A.1. The noise scale grows during
    training and depends on the learning rate. Each point also has the noise scale of each layer and, for an optimizer
    with second moments such as Adam, the noise scale in its metric.

    Args:
        task: Task, or its name: a built-in task, path/to/file.py:task or package.module:task.
        batch_size: Examples in one step of the run. Default: 128, or a quarter of the data if that is less.
        learning_rate: Learning rate of the run. Default: the usual one of the recipe.
        recipe: Recipe; `critbatch recipes` lists them. Default: the task's own.
        epochs: Length of the run, in epochs.
        steps: Stop after this many steps. Default: no limit.
        every: Measure at every n-th step.
        method: Small gradients to compare with the batch's. With "examples" each is that of a single
            example: the estimate is less noisy and costs part of a second backward pass.
        curvature: Also measure the noise scale weighted by the Hessian, ``tr(H Sigma) / G^T H G``.
        seed: Seed of the weights and of the order of the examples.
        device: Device, such as cpu, cuda or cuda:1. Default: an accelerator if there is one, else cpu.
        budget: Wall-clock limit in seconds. The record has what was measured by then. Default: no limit.
        progress: Function to call at each evaluation.
        command: Command that the user gave, kept in the record.

    Raises:
        UserError: if a batch cannot be cut in two, or an argument is not possible.
    """
    task = as_task(task)
    watch = RunTimer()
    device = as_device(device)
    name = recipe or task.recipe
    size = batch_size if batch_size is not None else max(2, min(128, task.examples // 4))
    if size < 2:
        raise UserError(f"batch_size={size} cannot be cut into micro-batches: use 2 or more.")
    if budget is not None and budget <= 0:
        raise UserError(f"budget={budget} allows nothing: use a number of seconds above 0.")
    if every < 1:
        raise UserError(f"every={every} is not possible: use 1 or more.")
    rate = learning_rate if learning_rate is not None else usual_rate(name, size)
    training = Training(
        task,
        find_recipe(name)(batch_size=size, learning_rate=rate, epochs=epochs),
        seed=seed,
        device=device,
        evaluation=Evaluation(validation_examples=1000, train_examples=0),
        noise_every=every,
        noise_by=method,
    )

    def at_each_point(at: Progress) -> None:
        points = training.run_state.noise
        if curvature and points and points[-1].step == at.step:
            with seeded(seed + at.step, [device]):
                points[-1] = replace(points[-1], by_curvature=_by_curvature(task, training, seed=seed, device=device))
        if progress is not None:
            progress(at)

    training.progress = at_each_point
    training.advance(Budget(steps=steps), pause_at=None if budget is None else watch.began + budget)
    return Noise(
        task=task.name,
        unit=task.unit,
        tokens_per_example=task.tokens_per_example,
        recipe=name,
        batch_size=size,
        micro_batch_size=1 if method == "examples" else math.ceil(size / NOISE_PIECES),
        learning_rate=rate,
        method=method,
        points=tuple(training.run_state.noise),
        provenance=watch.provenance(command=command, seed=seed, device=device),
    )


def _by_curvature(task: Task, training: Training, *, seed: int, device: torch.device) -> NoiseScale:
    batches = max(BATCHES_IN_PAIR, min(64, task.examples // CURVATURE_BATCH // BATCHES_IN_PAIR * BATCHES_IN_PAIR))
    size = min(CURVATURE_BATCH, task.examples // batches)
    return curvature_noise(
        task,
        training.model,
        batch_size=size,
        batches=batches,
        examples=max(64, EXAMPLES_OF_HESSIAN // task.tokens_per_example),
        seed=seed + training.run_state.step,
        device=device,
    )
