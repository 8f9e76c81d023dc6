"""The highest loss near some weights, and the boxes in which it is looked for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from critbatch.measure.surface import Surface
from critbatch.records.loss_surface import Box
from critbatch.runtime.device import check_copies

Function = Callable[[np.ndarray], tuple[float, np.ndarray]]


@dataclass(frozen=True)
class Highest:
    """The highest loss that was found, how far up it is from the middle, and how often the loss was computed."""

    loss: float
    middle: float
    evaluations: int

    @property
    def sharpness(self) -> float:
        """``100 (max f - f(x)) / (1 + f(x))``."""
        return 100 * (self.loss - self.middle) / (1 + self.middle)


def highest_in_box(
    function: Function, half_widths: np.ndarray, *, starts: list[np.ndarray], iterations: int = 10
) -> Highest:
    """Climb within ``|z_i| <= half_widths_i`` by L-BFGS-B, and keep the highest loss that was seen.

    It starts where the loss is highest among the middle, z = 0, and `starts`. The middle is among the points, so the
    highest is never below it. A loss that is no finite number counts as infinitely high: the climb ends there.

    Args:
        function: z, shape (n,), to the loss and its slope, shape (n,).
        half_widths: of the box, shape (n,).
        starts: other points in the box.
        iterations: of L-BFGS-B; 10 as in Keskar et al.
    """
    from scipy.optimize import minimize

    evaluations = 0
    highest = middle = -math.inf

    def downwards(z: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal evaluations, highest
        loss, slope = function(z)
        evaluations += 1
        if not math.isfinite(loss):
            raise _InfiniteLossError
        highest = max(highest, loss)
        # Both change their sign: a search that is told -f with the slope of f climbs the wrong way.
        return -loss, -slope

    bounds = np.stack([-half_widths, half_widths], axis=1)
    places = [np.zeros_like(half_widths), *starts]
    try:
        losses = []
        for place in places:
            losses.append(-downwards(place)[0])
            middle = losses[0]
        best = places[int(np.argmax(losses))]
        minimize(downwards, best, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": iterations})
    except _InfiniteLossError:
        highest = math.inf
    return Highest(highest, middle, evaluations)


class _InfiniteLossError(Exception):
    """Ends a climb."""


def sharpness_in(
    surface: Surface,
    box: Box,
    epsilon: float,
    *,
    subspace: int = 100,
    iterations: int = 10,
    direction: Tensor | None = None,
    seed: int = 0,
) -> tuple[Highest, int]:
    """The highest loss in one box around the surface's weights x, and the box's dimensions.

    At a minimum the slope at x is nearly 0 and L-BFGS-B may stop at once. So it starts from x or from one of two
    opposite corners of the box, where `direction` points or a random one, whichever is highest.

    Args:
        surface: loss and weights.
        box: FULL, ``|z_i| <= epsilon (|x_i| + 1)``; ADAPTIVE, ``|z_i| <= epsilon |x_i|``; RANDOM, the first in the
            columns of a matrix A of standard normal numbers, with ``A^+ x`` for x.
        epsilon: relative size.
        subspace: columns of A; it is held, so memory is that many times the weights.
        iterations: of each climb.
        direction: shape (size,): the eigenvector of the largest eigenvalue, say.
        seed: of A and of the corner.
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

        def slope_of(gradient: Tensor) -> Tensor:
            return columns.mT @ gradient

        aim = columns.mT @ direction.to(weights) if direction is not None else None
    else:
        half_widths = epsilon * (weights.abs() + (1 if box is Box.FULL else 0))
        aim = direction.to(weights) if direction is not None else None

        def moved(z: Tensor) -> Tensor:
            return weights + z

        def slope_of(gradient: Tensor) -> Tensor:
            return gradient

    def function(z: np.ndarray) -> tuple[float, np.ndarray]:
        loss, gradient = surface.gradient(moved(torch.from_numpy(z).to(weights)))
        return loss, slope_of(gradient).double().cpu().numpy()

    if aim is None:
        aim = torch.randn(len(half_widths), generator=generator, dtype=torch.float64).to(weights)
    corner = (aim.sign() * half_widths).double().cpu().numpy()
    widths = half_widths.double().cpu().numpy()
    return highest_in_box(function, widths, starts=[corner, -corner], iterations=iterations), len(widths)


def _columns(surface: Surface, count: int, generator: torch.Generator) -> Tensor:
    """Columns of standard normal numbers, shape (size, count)."""
    count = min(count, surface.size)
    columns = torch.empty(surface.size, count, dtype=surface.dtype, device=surface.device)
    for i in range(count):
        columns[:, i] = torch.randn(surface.size, generator=generator, dtype=surface.dtype).to(surface.device)
    return columns
