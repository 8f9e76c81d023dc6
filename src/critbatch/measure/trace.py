"""The trace of a symmetric matrix from products with random vectors."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from critbatch.errors import UserError
from critbatch.records import Estimate

Product = Callable[[Tensor], Tensor]
FEWEST = 12
LEVEL = 0.95


def hutch_plus_plus(product: Product, like: Tensor, *, products: int = 60, seed: int = 0) -> Estimate:
    """The trace, with an interval that is wide where it is not known well.

    Hutch++ of Meyer et al. 2021, arXiv:2010.09649, algorithm 1: a third of the products finds a subspace that holds the
    large eigenvalues, a third takes the trace there exactly, and the last third estimates the rest from random
    directions, Hutchinson's way. The interval is Student's, of that last mean; the subspace does not depend on those
    directions, so the estimate is unbiased. With as many products as there are weights the trace is exact. It holds
    two thirds of `products` vectors.

    Args:
        product: the matrix times a vector of shape (size,).
        like: a tensor of that shape, for type and device.
        products: how many may be spent.
        seed: of the random vectors.

    Raises:
        UserError: if there are too few products for an interval.
    """
    size = len(like)
    if products >= size:
        return Estimate(value=_exact(product, like), n=size, reason="exact")
    if products < FEWEST:
        raise UserError(f"products={products} is too few for an interval of the trace: use {FEWEST} or more.")
    generator = torch.Generator().manual_seed(seed)
    third = products // 3
    sketch = torch.stack([product(_signs(like, generator)) for _ in range(third)])
    basis = torch.linalg.qr(sketch.T).Q.T
    within = sum(float(vector @ product(vector)) for vector in basis)
    outside = []
    for _ in range(products - 2 * third):
        probe = torch.randn(size, generator=generator, dtype=torch.float64).to(like)
        for _ in range(2):
            probe = probe - (basis @ probe) @ basis
        outside.append(float(probe @ product(probe)))
    return _told(within, outside)


def _told(within: float, outside: list[float]) -> Estimate:
    from scipy.special import stdtrit

    n = len(outside)
    mean = sum(outside) / n
    spread = math.sqrt(sum((value - mean) ** 2 for value in outside) / (n - 1) / n)
    half = float(stdtrit(n - 1, (1 + LEVEL) / 2)) * spread
    value = within + mean
    return Estimate(value=value, n=n, low=value - half, high=value + half, level=LEVEL)


def _exact(product: Product, like: Tensor) -> float:
    total = 0.0
    for i in range(len(like)):
        unit = torch.zeros_like(like)
        unit[i] = 1
        total += float(product(unit)[i])
    return total


def _signs(like: Tensor, generator: torch.Generator) -> Tensor:
    return (torch.randint(2, (len(like),), generator=generator) * 2 - 1).to(like)
