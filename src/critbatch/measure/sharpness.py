"""How sharp the minima are in which training ended."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

import numpy as np
import torch
from torch import Tensor, nn

from critbatch.arguments import checked_call
from critbatch.errors import UserError
from critbatch.measure.empirical_risk import CHUNK, EmpiricalRisk
from critbatch.measure.hessian import HessianProduct
from critbatch.measure.spectrum import extremes
from critbatch.measure.trace import hutch_plus_plus
from critbatch.records.core import Estimate
from critbatch.records.loss_surface import Box, Eigenvalue, Mode, Sharpness, SharpnessValue, Solution, SolutionSharpness
from critbatch.runtime.device import as_device, check_copies
from critbatch.runtime.provenance import RunTimer
from critbatch.tasks.registry import as_task
from critbatch.tasks.task import Task

Function = Callable[[np.ndarray], tuple[float, np.ndarray]]


@dataclass(frozen=True)
class BoxMaximum:
    """The highest loss in a box, the loss in its middle, and how often the loss was computed."""

    loss: float
    middle: float
    evaluations: int

    @property
    def sharpness(self) -> float:
        """``100 (max f - f(x)) / (1 + f(x))``."""
        return 100 * (self.loss - self.middle) / (1 + self.middle)


def highest_in_box(
    function: Function, half_widths: np.ndarray, *, starts: list[np.ndarray], iterations: int = 10
) -> BoxMaximum:
    """Maximize the loss within ``|z_i| <= half_widths_i`` by L-BFGS-B, and keep the highest loss on the way.

    It starts from the middle, z = 0, or from one of `starts`, whichever has the highest loss. The result is never below
    the loss in the middle. A loss that is not finite counts as infinite and ends the search.

    Args:
        function: Function of z, shape (n,), that returns the loss and its gradient, shape (n,).
        half_widths: Half widths of the box, shape (n,).
        starts: Other points in the box to start from.
        iterations: Iterations of L-BFGS-B; 10 as in Keskar et al.
    """
    from scipy.optimize import minimize

    evaluations = 0
    highest = middle = -math.inf

    def negative(z: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal evaluations, highest
        loss, gradient = function(z)
        evaluations += 1
        if not math.isfinite(loss):
            raise _InfiniteLossError
        highest = max(highest, loss)
        # The gradient changes its sign as well. Otherwise the search would go the wrong way.
        return -loss, -gradient

    bounds = np.stack([-half_widths, half_widths], axis=1)
    points = [np.zeros_like(half_widths), *starts]
    try:
        losses = []
        for point in points:
            losses.append(-negative(point)[0])
            middle = losses[0]
        best = points[int(np.argmax(losses))]
        minimize(negative, best, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": iterations})
    except _InfiniteLossError:
        highest = math.inf
    return BoxMaximum(highest, middle, evaluations)


class _InfiniteLossError(Exception):
    """Ends a maximization."""


def sharpness_in(
    surface: EmpiricalRisk,
    box: Box,
    epsilon: float,
    *,
    subspace: int = 100,
    iterations: int = 10,
    direction: Tensor | None = None,
    seed: int = 0,
) -> tuple[BoxMaximum, int]:
    """The highest loss in a box around the weights x of the surface, and the dimensions of the box.

    At a minimum, the gradient at x is nearly 0, and L-BFGS-B may stop at once. So it starts from the highest of x and
    two opposite corners of the box. The corners lie along `direction`, or along a random direction.

    Args:
        surface: Loss and weights.
        box: FULL, ``|z_i| <= epsilon (|x_i| + 1)``; ADAPTIVE, ``|z_i| <= epsilon |x_i|``; RANDOM, the box of FULL in
            the columns of a matrix A of standard normal numbers, with ``A^+ x`` for x.
        epsilon: Relative size of the box.
        subspace: Columns of A. A is kept in memory, which is this many times the memory of the weights.
        iterations: Iterations of L-BFGS-B.
        direction: Direction of the corners, shape (size,), such as the eigenvector of the largest eigenvalue.
        seed: Seed of A and of the corners.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = surface.weights
    if box is Box.RANDOM:
        check_copies(f"subspace={subspace}", subspace, 2 * weights.nbytes, weights.device)  # A, and its factors
        columns = _columns(surface, subspace, generator)
        inside = torch.linalg.lstsq(columns, weights[:, None]).solution[:, 0]
        half_widths = epsilon * (inside.abs() + 1)

        def moved(z: Tensor) -> Tensor:
            return weights + columns @ z

        def gradient_in_box(gradient: Tensor) -> Tensor:
            return columns.mT @ gradient

        aim = columns.mT @ direction.to(weights) if direction is not None else None
    else:
        half_widths = epsilon * (weights.abs() + (1 if box is Box.FULL else 0))
        aim = direction.to(weights) if direction is not None else None

        def moved(z: Tensor) -> Tensor:
            return weights + z

        def gradient_in_box(gradient: Tensor) -> Tensor:
            return gradient

    def function(z: np.ndarray) -> tuple[float, np.ndarray]:
        loss, gradient = surface.gradient(moved(torch.from_numpy(z).to(weights)))
        return loss, gradient_in_box(gradient).double().cpu().numpy()

    if aim is None:
        aim = torch.randn(len(half_widths), generator=generator, dtype=torch.float64).to(weights)
    corner = (aim.sign() * half_widths).double().cpu().numpy()
    widths = half_widths.double().cpu().numpy()
    return highest_in_box(function, widths, starts=[corner, -corner], iterations=iterations), len(widths)


def _columns(surface: EmpiricalRisk, count: int, generator: torch.Generator) -> Tensor:
    """A matrix of standard normal numbers, shape (size, count)."""
    count = min(count, surface.size)
    columns = torch.empty(surface.size, count, dtype=surface.dtype, device=surface.device)
    for i in range(count):
        columns[:, i] = torch.randn(surface.size, generator=generator, dtype=surface.dtype).to(surface.device)
    return columns


Report = Callable[[str, int, int], None]
EVERY_BOX = (Box.FULL, Box.RANDOM, Box.ADAPTIVE)


@checked_call
def sharpness(
    task: Task | str,
    models: nn.Module | Mapping[str, nn.Module],
    *,
    solutions: Mapping[str, Solution] | None = None,
    epsilons: Sequence[float] = (1e-3, 5e-4),
    boxes: Sequence[Box] = EVERY_BOX,
    subspace: int = 100,
    draws: int = 1,
    iterations: int = 10,
    curvature: bool = True,
    examples: int | None = None,
    mode: Mode = Mode.EVAL,
    double: bool = False,
    chunk: int = CHUNK,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: Report | None = None,
    command: str = "",
) -> Sharpness:
    """Measure how sharp the minima are that runs ended in.

    Sharpness is how much the training loss rises within a small box around the weights:
    ``100 (max f(x + A z) - f(x)) / (1 + f(x))``, Metric 2.1 of Keskar et al. 2016, arXiv:1609.04836, in the full space
    and in a random subspace, by ten iterations of L-BFGS-B. It changes when one layer is multiplied and the next one
    divided by the same number, though the network does not (Dinh et al. 2017, arXiv:1703.04933). The third value uses
    the box ``|z_i| <= epsilon |x_i|``, for which this makes no difference: the adaptive sharpness of Kwon et al. 2021,
    arXiv:2102.11600, elementwise with the maximum norm. Each value is a lower bound of the maximum.

    Args:
        task: Task, or its name: a built-in task, path/to/file.py:task or package.module:task.
        models: Model, or several by their labels. They do not change.
        solutions: Runs that the weights come from, by label.
        epsilons: Relative sizes of the box.
        boxes: Boxes to use.
        subspace: Dimensions of the random subspace, which takes that many times the memory of the weights.
        draws: Random subspaces. With two or more, the mean over them has an interval.
        iterations: Iterations of L-BFGS-B for each maximum. It starts from the highest of x and two opposite corners.
        curvature: Also measure the largest eigenvalue and the trace of the Hessian. The maximization then starts along
            that eigenvector.
        examples: Training examples to use, always the same ones. Default: all, as in the paper.
        mode: Statistics of batch norm: running averages, or those of each forward pass.
        double: Compute in float64.
        chunk: Examples in one forward pass.
        seed: Seed of the random subspaces and vectors.
        device: Device, such as cpu, cuda or cuda:1. Default: an accelerator if there is one, else cpu.
        progress: Function to call with the stage, the maxima found and the maxima in all.
        command: Command that the user gave, kept in the record.

    Raises:
        UserError: if an argument is not possible.
    """
    task = as_task(task)
    if not epsilons or min(epsilons) <= 0 or not all(math.isfinite(epsilon) for epsilon in epsilons):
        raise UserError(f"epsilons={tuple(epsilons)} is not possible: use numbers above 0, such as 1e-3.")
    if min(subspace, draws, iterations) < 1:
        raise UserError(f"subspace={subspace}, {draws=}, {iterations=}: use 1 or more of each.")
    watch, device = RunTimer(), as_device(device)
    by_label = {task.name: models} if isinstance(models, nn.Module) else dict(models)
    if not by_label:
        raise UserError("There is no model to measure: give one, or several by their labels.")
    plan = [(box, epsilon) for box in boxes for epsilon in epsilons]
    solution_values = []
    for n, (label, model) in enumerate(by_label.items()):
        surface = EmpiricalRisk(task, model, examples=examples, mode=mode, double=double, chunk=chunk, device=device)
        finished = n * len(plan)

        def report(stage: str, done: int, total: int = len(plan) * len(by_label)) -> None:
            if progress is not None:
                progress(stage, done, total)

        report(f"curvature of {label}", finished)
        largest, direction, trace = _curvature(surface, seed) if curvature else (None, None, None)
        values = []
        for i, (box, epsilon) in enumerate(plan):
            report(f"sharpness of {label}", finished + i)
            values.append(_value(surface, box, epsilon, subspace, draws, iterations, direction=direction, seed=seed))
        loss, metric = surface.measure()
        validation = EmpiricalRisk(task, model, data="validation", mode=mode, chunk=chunk, device=device, double=double)
        validation_loss, validation_metric = validation.measure()
        solution_values.append(
            SolutionSharpness(
                solution=(solutions or {}).get(label, Solution(label=label)),
                loss=loss,
                metric=metric,
                validation_loss=validation_loss,
                validation_metric=validation_metric,
                values=tuple(values),
                largest=largest,
                trace=trace,
            )
        )
    return Sharpness(
        setup=surface.setup,
        metric_name=task.metric_name,
        solutions=tuple(solution_values),
        provenance=watch.provenance(command=command, seed=seed, device=device),
    )


def _curvature(surface: EmpiricalRisk, seed: int) -> tuple[Eigenvalue, Tensor, Estimate]:
    product = HessianProduct(surface)
    ends = extremes(product, surface.weights, largest=1, seed=seed)
    return ends.largest[0], ends.largest_vectors[0], hutch_plus_plus(product, surface.weights, seed=seed)


def _value(
    surface: EmpiricalRisk,
    box: Box,
    epsilon: float,
    subspace: int,
    draws: int,
    iterations: int,
    *,
    direction: Tensor | None,
    seed: int,
) -> SharpnessValue:
    times = draws if box is Box.RANDOM else 1
    values, evaluations, dimensions = [], 0, 0
    for draw in range(times):
        highest, dimensions = sharpness_in(
            surface,
            box,
            epsilon,
            subspace=subspace,
            iterations=iterations,
            direction=direction,
            seed=seed + draw,
        )
        values.append(highest.sharpness)
        evaluations += highest.evaluations
    value = _mean(values) if times > 1 else _alone(values[0], "one_draw" if box is Box.RANDOM else "not_random")
    return SharpnessValue(box=box, epsilon=epsilon, dimensions=dimensions, value=value, evaluations=evaluations)


def _alone(value: float, reason: str) -> Estimate:
    return Estimate(value=value, n=1, reason=reason)


def _mean(values: list[float]) -> Estimate:
    """The mean over random subspaces with Student's interval, cut off at 0."""
    from scipy.special import stdtrit

    n, middle = len(values), mean(values)
    half = float(stdtrit(n - 1, 0.975)) * stdev(values) / math.sqrt(n)
    return Estimate(value=middle, n=n, low=max(0.0, middle - half), high=middle + half)
