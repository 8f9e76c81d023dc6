"""Eigenvalues, trace and spectral density of the Hessian of the loss."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from critbatch.arguments import checked_call
from critbatch.errors import UserError
from critbatch.measure.empirical_risk import CHUNK, Surface
from critbatch.measure.hessian import GaussNewtonProduct, HessianProduct, norm
from critbatch.measure.spectrum import extremes, spectral_density
from critbatch.measure.trace import hutch_plus_plus
from critbatch.records.loss_surface import Curvature, Matrix, Mode, Solution
from critbatch.runtime.device import as_device
from critbatch.runtime.provenance import Stopwatch
from critbatch.tasks.data import GivenData
from critbatch.tasks.registry import as_task
from critbatch.tasks.task import Task

PROBES, STEPS = 8, 40


@checked_call
def curvature(
    task: Task | str,
    model: nn.Module,
    *,
    solution: Solution | None = None,
    data: str | GivenData = "train",
    examples: int | None = None,
    mode: Mode = Mode.EVAL,
    double: bool = False,
    matrix: Matrix = Matrix.HESSIAN,
    by: str | None = None,
    largest: int = 3,
    smallest: int = 1,
    trace_products: int = 60,
    density: bool = True,
    tolerance: float = 1e-3,
    most_products: int = 200,
    chunk: int = CHUNK,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    command: str = "",
) -> Curvature:
    """How the mean loss bends at the model's weights.

    Each product with the Hessian goes over all the examples. Eigenvalues come with a residual bound
    (`critbatch.measure.spectrum`), the trace with an interval (`critbatch.measure.trace`). The model stays as it is.

    Args:
        task: data and loss; a Task or its name.
        model: the weights.
        solution: the run that they come from, for the report.
        data: "train", "validation", or data of your own.
        examples: how many of them, the same ones each time; None for all.
        mode: what batch norm does: "eval", its running statistics, or "batch", those of each chunk.
        double: compute in float64.
        matrix: "hessian" or "gauss_newton".
        by: "autograd" or "differences" of gradients; None for the first that the model allows.
        largest: eigenvalues at the upper end.
        smallest: eigenvalues at the lower end.
        trace_products: spent on the trace; 0 leaves it out.
        density: whether the spectral density is wanted, which takes 320 products.
        tolerance: of the eigenvalues, relative.
        most_products: spent on the eigenvalues.
        chunk: examples in one pass.
        seed: of the random vectors.
        progress: called with the stage, and the products made and to make there.

    Raises:
        UserError: if a setting is not possible.
    """
    task = as_task(task)
    if largest < 1 or smallest < 0:
        raise UserError(f"largest={largest} with smallest={smallest} is not possible: use 1 or more, and 0 or more.")
    watch, device = Stopwatch(), as_device(device)
    surface = Surface(task, model, data=data, examples=examples, mode=mode, double=double, chunk=chunk, device=device)
    loss, gradient = surface.gradient()
    matrix = Matrix(matrix)
    if matrix is Matrix.GAUSS_NEWTON:
        if by == "differences":
            raise UserError("The Gauss-Newton matrix is not found by differences: use matrix='hessian', or autograd.")
        product: HessianProduct | GaussNewtonProduct = GaussNewtonProduct(surface)
    else:
        product = HessianProduct(surface, by=by)

    def at(stage: str) -> Callable[[int, int], None]:
        return lambda done, total: progress(stage, done, total) if progress is not None else None

    ends = extremes(
        product,
        gradient,
        largest=largest,
        smallest=smallest,
        tolerance=tolerance,
        most_products=most_products,
        seed=seed,
        progress=at("eigenvalues"),
    )
    at("trace")(0, trace_products)
    trace = hutch_plus_plus(product, gradient, products=trace_products, seed=seed) if trace_products else None
    at("density")(0, PROBES)
    found = spectral_density(product, gradient, probes=PROBES, steps=STEPS, seed=seed) if density else None
    return Curvature(
        solution=solution or Solution(label=task.name),
        setup=surface.setup,
        matrix=matrix,
        by=product.by,
        loss=loss,
        gradient_norm=norm(gradient),
        largest=ends.largest,
        smallest=ends.smallest,
        trace=trace,
        density=found,
        products=product.count,
        provenance=watch.provenance(command=command, seed=seed, device=device),
    )
