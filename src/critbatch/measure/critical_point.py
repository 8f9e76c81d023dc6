"""Is training stuck, and where: at a minimum, a saddle or a plateau?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from critbatch.arguments import checked_call
from critbatch.errors import UserError
from critbatch.gradient_noise.estimator import average, noise_scale
from critbatch.measure.empirical_risk import CHUNK, EmpiricalRisk
from critbatch.measure.hessian import HessianProduct, dot, norm
from critbatch.measure.spectrum import Extremes, extremes
from critbatch.records.core import NoiseScale
from critbatch.records.loss_surface import BatchGradients, CriticalPoint, Eigenvalue, Mode, PointType, Solution
from critbatch.runtime.device import as_device
from critbatch.runtime.provenance import RunTimer
from critbatch.tasks.registry import as_task
from critbatch.tasks.task import Task

TOLERANCE = 1e-3
# A direction is flat if a move of a tenth of the weights' norm along it changes the loss by less than the tolerance.
REACH = 0.1


@dataclass(frozen=True, kw_only=True)
class PointFeatures:
    """What describes a point of the loss surface.

    Args:
        gradient_norm: Norm of the gradient over all examples.
        along: Curvature along the gradient, ``g^T H g / |g|^2``.
        largest: Largest eigenvalue of the Hessian.
        smallest: Smallest eigenvalue of the Hessian.
        loss_scale: Scale of losses: the larger of the loss at this point and that of untrained weights.
        weight_scale: Scale of distances: the larger of the norms of these weights and of untrained weights.
    """

    gradient_norm: float
    along: float
    largest: Eigenvalue
    smallest: Eigenvalue
    loss_scale: float
    weight_scale: float

    @property
    def expected_drop(self) -> float:
        """How much the best step along the gradient lowers the loss in the quadratic model: ``|g|^2 / 2c``, where c is
        the curvature along it. If that is not above 0, the model has no minimum. Then c is the largest magnitude of an
        eigenvalue, and the loss falls by at least this much (the descent lemma)."""
        steepest = max(abs(self.largest.value), abs(self.smallest.value))
        bend = self.along if self.along > 1e-3 * steepest else steepest
        return self.gradient_norm**2 / (2 * bend) if bend > 0 else float("inf") if self.gradient_norm > 0 else 0.0

    def weight_of(self, curvature: float) -> float:
        """The relative change of the loss if the weights move by a tenth of their norm along this curvature."""
        return curvature * (REACH * self.weight_scale) ** 2 / 2 / self.loss_scale


def standing(view: PointFeatures, *, tolerance: float = TOLERANCE) -> tuple[PointType, str]:
    """Classify a point. The second value is the reason if the point is undecided.

    All criteria are relative, so that a constant factor on the loss or other units of the weights do not change the
    answer. A gradient counts if the best step along it lowers the loss by more than `tolerance` of its scale. A
    curvature counts if a move of a tenth of the weights' norm changes the loss by more than that. The sign of an
    eigenvalue counts only if the eigenvalue is larger than its residual.
    """
    if view.loss_scale <= 0 or view.weight_scale <= 0:
        return PointType.UNDECIDED, "no_scale"
    steep = max(abs(view.weight_of(view.largest.value)), abs(view.weight_of(view.smallest.value)))
    flat_drop = view.gradient_norm * REACH * view.weight_scale / view.loss_scale
    if view.expected_drop / view.loss_scale > tolerance and flat_drop > tolerance:
        return PointType.DESCENDING, ""
    if steep < tolerance:
        return PointType.PLATEAU, ""
    if not (view.largest.converged and view.smallest.converged):
        known = view.largest.placed and view.smallest.placed
        return PointType.UNDECIDED, "not_converged" if known else "place_unknown"
    up = view.largest.value > view.largest.residual and view.weight_of(view.largest.value) >= tolerance
    down = -view.smallest.value > view.smallest.residual and view.weight_of(-view.smallest.value) >= tolerance
    if not down and view.weight_of(view.smallest.residual - view.smallest.value) >= tolerance:
        return PointType.UNDECIDED, "curvature_within_error"
    if up:
        return (PointType.SADDLE if down else PointType.MINIMUM), ""
    return (PointType.MAXIMUM if down else PointType.PLATEAU), ""


SUGGESTIONS: dict[PointType, tuple[str, ...]] = {
    PointType.MINIMUM: ("try_small_batches", "try_other_start", "try_larger_model"),
    PointType.SADDLE: ("try_small_batches", "try_momentum", "try_negative_curvature"),
    PointType.PLATEAU: ("try_other_start", "try_normalization", "try_larger_rate"),
    PointType.MAXIMUM: ("try_small_batches", "try_negative_curvature"),
    PointType.DESCENDING: ("try_larger_rate", "try_momentum", "try_more_steps"),
    PointType.UNDECIDED: ("try_double",),
}


BATCHES_IN_PAIR = 4
EXAMPLES_OF_A_STEP = 1000


@checked_call
def critical_point(
    task: Task | str,
    model: nn.Module,
    *,
    solution: Solution | None = None,
    batch_sizes: Sequence[int] | None = None,
    batches: int = 64,
    examples: int | None = None,
    mode: Mode = Mode.EVAL,
    double: bool = False,
    tolerance: float = TOLERANCE,
    chunk: int = CHUNK,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    command: str = "",
) -> CriticalPoint:
    """Tell whether training is at a minimum, a saddle or a plateau.

    The gradient over all examples shows whether the loss still falls. Where it does not, the signs of the Hessian's
    smallest and largest eigenvalues separate minimum, saddle and maximum; where both are nearly 0 it is a plateau.
    Gradients of single batches at this point show whether their noise helps where the full batch stands still.

    Args:
        task: Task, or its name: a built-in task, path/to/file.py:task or package.module:task.
        model: Model with the weights to look at. It does not change.
        solution: Run that the weights come from, for the report.
        batch_sizes: Sizes of the single batches. Default: 1, 16 and a quarter of the examples.
        batches: Single batches of each size.
        examples: Training examples to use, always the same ones. Default: all.
        mode: Statistics of batch norm: running averages, or those of each forward pass.
        double: Compute in float64.
        tolerance: Relative size below which a gradient or an eigenvalue counts as 0.
        chunk: Examples in one forward pass.
        seed: Seed of the batches and of the random vectors.
        device: Device, such as cpu, cuda or cuda:1. Default: an accelerator if there is one, else cpu.
        progress: Function to call with the stage, the work done and the work in all.
        command: Command that the user gave, kept in the record.

    Raises:
        UserError: if a size is not possible.
    """
    task = as_task(task)
    watch, device = RunTimer(), as_device(device)
    surface = EmpiricalRisk(task, model, examples=examples, mode=mode, double=double, chunk=chunk, device=device)
    count = surface.examples
    sizes = tuple(batch_sizes) if batch_sizes else tuple(sorted({1, min(16, count), max(1, count // 4)}))
    if wrong := [size for size in sizes if not 1 <= size <= count]:
        raise UserError(f"batch_sizes={wrong} are not possible with {count} examples: use 1 to {count}.")
    if not tolerance >= 0:
        raise UserError(f"tolerance={tolerance} is not possible: use 0 or more.")
    if batches < 2 * BATCHES_IN_PAIR:
        raise UserError(f"batches={batches} is too few: use {2 * BATCHES_IN_PAIR} or more.")
    loss, metric = surface.measure()
    view, _, gradient = look(task, surface, seed=seed, progress=progress)
    point_type, reason = standing(view, tolerance=tolerance)
    rate = 1 / max(abs(view.largest.value), abs(view.smallest.value), 1e-12)
    of_sizes, noise = [], None
    for n, size in enumerate(sizes):
        if progress is not None:
            progress("gradients of single batches", n, len(sizes))
        gradients = _gradients(surface, size, batches, seed)
        of_sizes.append(_batch_gradients(task, model, surface, gradients, size, rate, seed))
        if noise is None:
            noise = _noise(gradients, size, count)
    assert noise is not None
    return CriticalPoint(
        solution=solution or Solution(label=task.name),
        setup=surface.setup,
        standing=point_type,
        reason=reason,
        loss=loss,
        metric=metric,
        metric_name=task.metric_name,
        gradient_norm=norm(gradient),
        expected_drop=view.expected_drop,
        noise=noise,
        largest=view.largest,
        smallest=view.smallest,
        batches=tuple(of_sizes),
        tries=SUGGESTIONS[point_type],
        provenance=watch.provenance(command=command, seed=seed, device=device),
    )


def look(
    task: Task, surface: EmpiricalRisk, *, seed: int = 0, progress: Callable[[str, int, int], None] | None = None
) -> tuple[PointFeatures, Extremes, Tensor]:
    """Measure what `standing` needs. Also returns the extreme eigenvalues with their vectors, and the gradient."""
    loss, gradient = surface.gradient()
    untrained = task.new_model(seed, surface.device)
    fresh = torch.cat([weight.detach().flatten() for weight in untrained.parameters() if weight.requires_grad])
    fresh_loss, _ = surface.measure(fresh)
    surface.move()
    product = HessianProduct(surface)
    ends = extremes(
        product,
        surface.weights,
        largest=1,
        smallest=1,
        seed=seed,
        progress=None if progress is None else lambda done, total: progress("eigenvalues", done, total),
    )
    norm2 = dot(gradient, gradient)
    view = PointFeatures(
        gradient_norm=norm2**0.5,
        along=dot(gradient, product(gradient)) / norm2 if norm2 > 0 else 0.0,
        largest=ends.largest[0],
        smallest=ends.smallest[0],
        loss_scale=max(abs(loss), abs(fresh_loss)),
        weight_scale=max(norm(surface.weights), norm(fresh)),
    )
    return view, ends, gradient


def _gradients(surface: EmpiricalRisk, size: int, batches: int, seed: int) -> Tensor:
    """The gradients of single batches, each drawn without replacement, shape (batches, weights)."""
    generator = torch.Generator().manual_seed(seed)
    rows = [surface.indices[torch.randperm(surface.examples, generator=generator)[:size]] for _ in range(batches)]
    return torch.stack([surface.gradient(indices=row)[1] for row in rows])


def _batch_gradients(
    task: Task, model: nn.Module, surface: EmpiricalRisk, gradients: Tensor, size: int, rate: float, seed: int
) -> BatchGradients:
    few = min(surface.examples, EXAMPLES_OF_A_STEP)
    probe = EmpiricalRisk(task, model, examples=few, mode=surface.mode, chunk=surface.chunk, device=surface.device)
    loss, _ = probe.measure()
    lower = [probe.measure(probe.weights - rate * gradient.to(probe.weights))[0] < loss for gradient in gradients]
    norms = gradients.double().norm(dim=1).cpu()
    quarter, middle, three = torch.quantile(norms, torch.tensor([0.25, 0.5, 0.75], dtype=norms.dtype)).tolist()
    return BatchGradients(
        batch_size=size,
        n=len(gradients),
        median=middle,
        quartiles=(quarter, three),
        descending=sum(lower) / len(lower),
    )


def _noise(gradients: Tensor, size: int, examples: int) -> NoiseScale:
    scales = []
    for group in torch.split(gradients.double(), BATCHES_IN_PAIR):
        if len(group) == BATCHES_IN_PAIR:
            small, big = group.square().sum(1).mean(), group.mean(0).square().sum()
            # Each batch is drawn anew, so a group of batches is like one batch drawn with replacement.
            scales.append(noise_scale(small, big, small=size, big=BATCHES_IN_PAIR * size))
    return average(scales)
