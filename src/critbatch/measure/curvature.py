"""Eigenvalues, trace and spectral density of the Hessian of the loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import nn

from critbatch.arguments import checked_call
from critbatch.errors import UserError
from critbatch.measure.empirical_risk import CHUNK, EmpiricalRisk
from critbatch.measure.hessian import GaussNewtonProduct, HessianProduct, norm
from critbatch.measure.spectrum import extremes, spectral_density
from critbatch.measure.trace import hutch_plus_plus
from critbatch.records.loss_surface import Curvature, Matrix, Mode, Solution
from critbatch.runtime.device import as_device
from critbatch.runtime.provenance import RunTimer
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
    largest: int = 3,
    smallest: int = 1,
    matrix: Matrix = Matrix.HESSIAN,
    by: Literal["autograd", "differences"] | None = None,
    trace_products: int = 60,
    density: bool = True,
    tolerance: float = 1e-3,
    most_products: int = 200,
    data: Literal["train", "validation"] | GivenData = "train",
    examples: int | None = None,
    mode: Mode = Mode.EVAL,
    double: bool = False,
    chunk: int = CHUNK,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    command: str = "",
) -> Curvature:
    """Measure eigenvalues, trace and spectrum of the loss's Hessian.

    Each product with the Hessian takes one pass over all examples. Eigenvalues have a residual bound
    (`critbatch.measure.spectrum`), the trace has an interval (`critbatch.measure.trace`). The model does not change.

    Args:
        task: Task, or its name: a built-in task, path/to/file.py:task or package.module:task.
        model: Model with the weights to measure at.
        solution: Run that the weights come from, for the report.
        largest: Eigenvalues to compute at the upper end.
        smallest: Eigenvalues to compute at the lower end.
        matrix: Matrix to measure.
        by: How Hessian-vector products are computed: by autograd, or by differences of gradients.
            Default: the first that the model allows.
        trace_products: Hessian-vector products for the trace; 0 leaves it out.
        density: Also measure the spectral density, which takes 320 products.
        tolerance: Relative residual at which an eigenvalue counts as converged.
        most_products: Most Hessian-vector products for the eigenvalues.
        data: Data set of the loss. In Python also data of your own.
        examples: Examples to use, always the same ones. Default: all.
        mode: Statistics of batch norm: running averages, or those of each forward pass.
        double: Compute in float64.
        chunk: Examples in one forward pass.
        seed: Seed of the random vectors.
        device: Device, such as cpu, cuda or cuda:1. Default: an accelerator if there is one, else cpu.
        progress: Function to call with the stage, the products made and the products in all.
        command: Command that the user gave, kept in the record.

    Raises:
        UserError: if an argument is not possible.
    """
    task = as_task(task)
    if largest < 1 or smallest < 0:
        raise UserError(f"largest={largest} with smallest={smallest} is not possible: use 1 or more, and 0 or more.")
    if not tolerance > 0:
        raise UserError(f"tolerance={tolerance} is not possible: use a number above 0, such as 1e-3.")
    watch, device = RunTimer(), as_device(device)
    surface = EmpiricalRisk(
        task, model, data=data, examples=examples, mode=mode, double=double, chunk=chunk, device=device
    )
    loss, gradient = surface.gradient()
    matrix = Matrix(matrix)
    if matrix is Matrix.GAUSS_NEWTON:
        if by == "differences":
            raise UserError("The Gauss-Newton matrix needs autograd: use by='autograd', or matrix='hessian'.")
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
    spectrum = spectral_density(product, gradient, probes=PROBES, steps=STEPS, seed=seed) if density else None
    return Curvature(
        solution=solution or Solution(label=task.name),
        setup=surface.setup,
        matrix=matrix,
        method=product.by,
        loss=loss,
        gradient_norm=norm(gradient),
        largest=ends.largest,
        smallest=ends.smallest,
        trace=trace,
        density=spectrum,
        products=product.count,
        provenance=watch.provenance(command=command, seed=seed, device=device),
    )
