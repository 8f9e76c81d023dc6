"""Hessian products by differences of gradients, for models that cannot be differentiated twice."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from critbatch.measure.inner_products import norm
from critbatch.measure.surface import Surface

# Steps along a unit vector, as multiples of 1 + the norm of the weights.
LADDER = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)


class Differences:
    """``H v = (g(w + h v) - g(w - h v)) / 2h``, with a step h that was chosen.

    At the first product all steps of a ladder are tried. Where h is too large the next term of the series shows, where
    it is too small rounding does: the step whose result agrees best with that of the next larger one is kept, and
    `error` is their distance relative to the result.

    Args:
        surface: in float64, since in float32 rounding leaves no good step.
    """

    def __init__(self, surface: Surface) -> None:
        self.surface = surface
        self.step: float | None = None
        self.error = float("nan")

    def __call__(self, vector: Tensor) -> Tensor:
        length = norm(vector)
        if length == 0:
            return torch.zeros_like(vector)
        unit = (vector / length).to(self.surface.weights)
        if self.step is None:
            self._choose(unit)
        assert self.step is not None
        product: Tensor = self._at(unit, self.step) * length
        return product.to(vector)

    def _at(self, unit: Tensor, step: float) -> Tensor:
        weights = self.surface.weights
        _, ahead = self.surface.gradient(weights + step * unit)
        _, behind = self.surface.gradient(weights - step * unit)
        return (ahead - behind) / (2 * step)

    def _choose(self, unit: Tensor) -> None:
        scale = 1 + norm(self.surface.weights)
        found = [(step * scale, self._at(unit, step * scale)) for step in LADDER]
        gaps = [(norm(fine - coarse), step, norm(fine)) for (_, coarse), (step, fine) in pairwise(found)]
        gap, self.step, size = min(gaps)
        self.error = gap / size if size > 0 else gap
