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
# Directions are taken out of the matrix in this many turns at the most: after each it is asked whether to go on.
TURNS = 5


def hutch_plus_plus(product: Product, like: Tensor, *, products: int = 60, seed: int = 0) -> Estimate:
    """The trace, with an interval that is wide where it is not known well.

    Hutch++ (Meyer et al. 2021, arXiv:2010.09649, algorithm 1) takes the trace exactly in a subspace that holds large
    eigenvalues, and estimates what is left from random directions, Hutchinson's way. How many products the subspace is
    worth depends on the spectrum: a third and a third on a steep one, as there, and next to nothing on a flat one,
    where plain Hutchinson is better. So the subspace grows in turns as long as a turn takes more from the variance than
    the random directions that it costs (the idea of Persson et al. 2022, arXiv:2109.10659). The interval is Student's,
    of the mean over those directions; neither the subspace nor its size depends on them, so the estimate is unbiased.
    With as many products as there are weights the trace is exact. A third of `products` vectors are held.

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
    inside = _Subspace(product, like, generator)
    turn = max(1, products // (3 * TURNS))
    while len(inside.basis) + turn <= products // 3:
        before = inside.taken2
        inside.grow(turn)
        probes = products - 2 * len(inside.basis)
        # Of a mean over `probes` the variance is in proportion to outside2 / probes. The next turn takes out less than
        # this one did, and costs 2 `turn` probes.
        if inside.taken2 - before <= 2 * turn / probes * inside.outside2:
            break
    found = []
    for _ in range(products - 2 * len(inside.basis)):
        probe = inside.without(_signs(like, generator))
        found.append(float(probe @ product(probe)))
    return _told(inside.trace, found)


class _Subspace:
    """Orthonormal directions in which a symmetric matrix A is known."""

    def __init__(self, product: Product, like: Tensor, generator: torch.Generator) -> None:
        self.product, self.generator = product, generator
        self.basis = like.new_empty(0, len(like))
        self.trace = 0.0  # of Q^T A Q
        self._inner2 = self._image2 = 0.0  # squared Frobenius norms of Q^T A Q and of A Q
        self._whole2 = 0.0  # the sum of |A s|^2 over the sign vectors s seen
        self._seen = 0

    @property
    def taken2(self) -> float:
        """What the subspace takes from the squared Frobenius norm of A."""
        return 2 * self._image2 - self._inner2

    @property
    def outside2(self) -> float:
        """An estimate of the squared Frobenius norm of ``(1 - Q Q^T) A (1 - Q Q^T)``, since that of A is E |A s|^2."""
        return max(0.0, self._whole2 / max(1, self._seen) - self.taken2)

    def without(self, vector: Tensor) -> Tensor:
        """The vector's part outside of the subspace."""
        for _ in range(2):
            vector = vector - (self.basis @ vector) @ self.basis
        return vector

    def grow(self, directions: int) -> None:
        """By the images of so many random sign vectors, for two products each."""
        images = [self.product(_signs(self.basis[:0].new_zeros(self.basis.shape[1]), self.generator))]
        images += [self.product(_signs(images[0], self.generator)) for _ in range(directions - 1)]
        self._whole2 += sum(float(image @ image) for image in images)
        self._seen += directions
        new = torch.linalg.qr(torch.stack([self.without(image) for image in images]).T).Q.T
        for direction in new:
            image = self.product(direction)
            along = self.basis @ image
            here = float(direction @ image)
            self.trace += here
            self._image2 += float(image @ image)
            self._inner2 += 2 * float(along @ along) + here**2
            self.basis = torch.cat([self.basis, direction[None]])


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
