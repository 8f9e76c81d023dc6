"""Scalar products and lengths of vectors as long as the weights, right to five digits for any number of them.

A CPU adds up float32 in a few lanes, one element after another: over tens of millions of weights a scalar product or a
norm is off by up to a per cent, more or less by the kind of CPU. Here sums are accumulated in float64, a piece at a
time, so that no copy of a whole vector is made. Projections need no such care: each is done twice, and the second pass
takes off what the first one left.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Elements that are converted at a time.
PIECE = 1 << 20


def dot(a: Tensor, b: Tensor) -> float:
    """The scalar product of two vectors of shape (size,)."""
    pieces = zip(torch.split(a, PIECE), torch.split(b, PIECE), strict=True)
    return float(torch.stack([torch.dot(left.double(), right.double()) for left, right in pieces]).sum())


def norm(vector: Tensor) -> float:
    """The length of a vector of shape (size,)."""
    return math.sqrt(dot(vector, vector))


def unit(vector: Tensor) -> Tensor:
    """The vector at length 1."""
    return vector / norm(vector)


def outside(basis: Tensor, vector: Tensor) -> Tensor:
    """The vector's part outside of the span of orthonormal rows, shape (size,).

    One pass would leave a part as large as rounding.

    Args:
        basis: shape (rows, size).
        vector: shape (size,).
    """
    for _ in range(2):
        vector = vector - (basis @ vector) @ basis
    return vector


def random_direction(like: Tensor, generator: torch.Generator) -> Tensor:
    """A vector of standard normal numbers, of the type and on the device of `like`, and the same on any device."""
    return torch.randn(len(like), generator=generator, dtype=torch.float64).to(like)
