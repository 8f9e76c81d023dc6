"""Batch norm's statistics at a place of the loss surface that training never stood at."""

from __future__ import annotations

from torch import Tensor

from critbatch.measure.surface import Surface
from critbatch.training.batch_norm import taken_anew


def recompute_batch_norm(surface: Surface, indices: Tensor | None = None) -> None:
    """Set the running statistics of the surface's model to those of the examples, at the weights where it stands."""
    if not surface.norms:
        return
    with taken_anew(surface.model, surface.norms):
        for inputs, _ in surface.chunks(indices):
            surface.outputs(inputs)
