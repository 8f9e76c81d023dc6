"""The loss along the line through two solutions, or on a plane through one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from critbatch.arguments import checked_call
from critbatch.errors import UserError
from critbatch.measure.empirical_risk import CHUNK, EmpiricalRisk, recompute_batch_norm
from critbatch.records.loss_surface import Landscape, LandscapePoint, Solution
from critbatch.runtime.device import as_device
from critbatch.runtime.provenance import RunTimer
from critbatch.tasks.registry import as_task
from critbatch.tasks.task import Task

LINE_POINTS, PLANE_POINTS = 25, 15


@checked_call
def landscape(
    task: Task | str,
    models: nn.Module | Mapping[str, nn.Module],
    *,
    solutions: Mapping[str, Solution] | None = None,
    points: int | None = None,
    low: float = -1.0,
    high: float = 2.0,
    span: float = 1.0,
    examples: int | None = None,
    double: bool = False,
    chunk: int = CHUNK,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    command: str = "",
) -> Landscape:
    """Measure the loss between two runs, or on a plane around one.

    The statistics of batch norm are computed again at every point. Of two models: along
    ``(1 - alpha) first + alpha second``, Keskar et al. 2016, arXiv:1609.04836, figure 3 (after Goodfellow et al. 2014,
    arXiv:1412.6544). Of one: on the plane of two random directions, each of whose filters has the norm of the model's
    own filter, and whose biases and normalizations are 0: Li et al. 2018, arXiv:1712.09913, section 4. A plane shows
    two of very many directions: a minimum that looks round there need not be.

    Args:
        task: Task, or its name: a built-in task, path/to/file.py:task or package.module:task.
        models: One or two models of the same shapes, by their labels. They do not change.
        solutions: Runs that the weights come from, by label.
        points: Points on the line, or on each side of the plane. Alpha 0 and 1 are always among them. Default: 25 on a
            line, 15 on a side of the plane.
        low: Start of the line; the first run is at 0.
        high: End of the line; the second run is at 1.
        span: Half the side of the plane, in norms of the model's filters.
        examples: Training and validation examples to use, always the same ones. Default: all.
        double: Compute in float64.
        chunk: Examples in one forward pass.
        seed: Seed of the directions of the plane.
        device: Device, such as cpu, cuda or cuda:1. Default: an accelerator if there is one, else cpu.
        progress: Function to call with the stage, the points made and the points in all.
        command: Command that the user gave, kept in the record.

    Raises:
        UserError: if there are not one or two models, they differ in shape, or a size is not possible.
    """
    task = as_task(task)
    watch, device = RunTimer(), as_device(device)
    by_label = {task.name: models} if isinstance(models, nn.Module) else dict(models)
    if len(by_label) not in (1, 2):
        raise UserError(f"A landscape needs one or two solutions, but got {len(by_label)}: give one or two.")
    if points is not None and points < 3:
        raise UserError(f"points={points} is not possible: use 3 or more.")
    if not low < high or span <= 0:
        raise UserError(f"low={low:g}, high={high:g}, span={span:g} describe no range: use low < high and span > 0.")
    labels = list(by_label)
    train, validation = (
        EmpiricalRisk(
            task, by_label[labels[0]], data=data, examples=examples, double=double, chunk=chunk, device=device
        )
        for data in ("train", "validation")
    )
    if len(by_label) == 2:
        other = EmpiricalRisk(task, by_label[labels[1]], examples=1, double=double, device=device)
        if [weight.shape for weight in other.parameters] != [weight.shape for weight in train.parameters]:
            raise UserError("The two models have different weights: a line needs two solutions of one model.")
        first, second = _aligned(train.weights, other.weights)
        positions = [(alpha, 0.0) for alpha in _with_ends(low, high, points or LINE_POINTS)]
        axes = (second - first, torch.zeros_like(first))
    else:
        count = points or PLANE_POINTS
        sides = torch.linspace(-span, span, count, dtype=torch.float64).tolist()
        positions = [(alpha, beta) for beta in sides for alpha in sides]
        generator = torch.Generator().manual_seed(seed)
        axes = (filter_normalized(train, generator), filter_normalized(train, generator))
    landscape_points = []
    for n, (alpha, beta) in enumerate(positions):
        if progress is not None:
            progress("landscape", n, len(positions))
        landscape_points.append(_point(train, validation, alpha, beta, axes))
    return Landscape(
        kind="line" if len(by_label) == 2 else "plane",
        solutions=tuple((solutions or {}).get(label, Solution(label=label)) for label in labels),
        setup=train.setup,
        validation_examples=validation.examples,
        metric_name=task.metric_name,
        batch_norm_recomputed=bool(train.norms),
        points=tuple(landscape_points),
        provenance=watch.provenance(command=command, seed=seed, device=device),
    )


def filter_normalized(surface: EmpiricalRisk, generator: torch.Generator) -> Tensor:
    """A random direction whose filters have the norms of the model's own filters, shape (size,).

    A filter computes one output: a row of a matrix, or a kernel of a convolution. Vectors, such as biases, stay fixed.
    """
    parts = []
    for weight in surface.parts(surface.weights):
        if weight.ndim < 2:
            parts.append(torch.zeros_like(weight))
            continue
        drawn = torch.randn(weight.shape, generator=generator, dtype=torch.float64).to(weight)
        norms, own = drawn.flatten(1).norm(dim=1), weight.flatten(1).norm(dim=1)
        parts.append(drawn * (own / norms).view(-1, *[1] * (weight.ndim - 1)))
    return surface.flat(parts)


def _point(
    train: EmpiricalRisk, validation: EmpiricalRisk, alpha: float, beta: float, axes: tuple[Tensor, Tensor]
) -> LandscapePoint:
    weights = train.weights + alpha * axes[0] + beta * axes[1]
    train.move(weights)
    recompute_batch_norm(train)
    for own, other in zip(validation.model.buffers(), train.model.buffers(), strict=True):
        own.copy_(other)
    train_loss, train_metric = train.measure(weights)
    validation_loss, validation_metric = validation.measure(weights)
    return LandscapePoint(
        alpha=alpha,
        beta=beta,
        train_loss=train_loss,
        train_metric=train_metric,
        validation_loss=validation_loss,
        validation_metric=validation_metric,
    )


def _aligned(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    return first, second.to(first)


def _with_ends(low: float, high: float, count: int) -> list[float]:
    """Evenly spaced values from `low` to `high`, and 0 and 1 if they lie between."""
    values = set(torch.linspace(low, high, count, dtype=torch.float64).tolist())
    return sorted(values | {end for end in (0.0, 1.0) if low <= end <= high})
