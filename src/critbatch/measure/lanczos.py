"""The ends of a symmetric matrix's spectrum, and its Ritz values, from products with vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from critbatch.loss_records import Eigenvalue

Product = Callable[[Tensor], Tensor]
BASIS_BYTES = 1 << 30
# A bound must hold at so many steps in a row: one Ritz value may rest for a step before it moves on.
AGREEMENTS = 2


@dataclass(frozen=True, kw_only=True)
class Extremes:
    """Eigenvalues at both ends, and unit vectors that belong to them, shape (how many, size)."""

    largest: tuple[Eigenvalue, ...]
    smallest: tuple[Eigenvalue, ...]
    largest_vectors: Tensor
    smallest_vectors: Tensor


class Krylov:
    """An orthonormal basis of a Krylov space, grown by one product a step, and the matrix seen in it.

    Every new vector is made orthogonal to all others twice, so no copy of an eigenvalue appears. Where the space is
    invariant the basis goes on with a random vector: of an eigenvalue that several directions share, the others are
    found then.

    Args:
        start: shape (size,); need not be of unit length.
        most: vectors that are held.
    """

    def __init__(self, product: Product, start: Tensor, *, most: int, generator: torch.Generator) -> None:
        self.product, self.generator = product, generator
        self.basis = torch.empty(most + 1, len(start), dtype=start.dtype, device=start.device)
        self.basis[0] = start / start.norm()
        self.matrix = np.zeros((most, most))
        self.steps = 0
        self.coupling = 0.0  # norm of what leads out of the space
        self._tiny = 100 * torch.finfo(start.dtype).eps

    def step(self) -> None:
        j = self.steps
        image = self.product(self.basis[j])
        inside = self.basis[: j + 1]
        overlap = inside @ image
        image = image - overlap @ inside
        rest = inside @ image
        image -= rest @ inside
        column = (overlap + rest).double().cpu().numpy()
        self.matrix[: j + 1, j] = self.matrix[j, : j + 1] = column
        self.steps += 1
        self.coupling = float(image.norm())
        if self.coupling <= self._tiny * max(np.abs(self.matrix).max(), 1e-300):
            self.coupling = 0.0
            if self.steps == len(image):
                return
            image = _orthogonal(self.basis[: j + 1], self.generator)
        self.basis[j + 1] = image / image.norm()

    def ritz(self) -> tuple[np.ndarray, np.ndarray]:
        """Ritz values, ascending, and their coordinates in the basis, one column each."""
        values, vectors = np.linalg.eigh(self.matrix[: self.steps, : self.steps])
        return values, vectors

    def vectors(self, coordinates: np.ndarray) -> Tensor:
        """Vectors of shape (how many, size) for columns of coordinates."""
        table = torch.from_numpy(np.ascontiguousarray(coordinates.T)).to(self.basis)
        return table @ self.basis[: self.steps]

    def restart(self, coordinates: np.ndarray, values: np.ndarray) -> None:
        """Keep these Ritz vectors and the direction that leads out of the space (thick restart)."""
        kept = self.vectors(coordinates)
        ahead = self.basis[self.steps].clone()
        self.steps = len(kept)
        self.basis[: self.steps] = kept
        self.basis[self.steps] = ahead
        self.matrix[:] = 0
        self.matrix[range(self.steps), range(self.steps)] = values


def extremes(
    product: Product,
    like: Tensor,
    *,
    largest: int = 1,
    smallest: int = 0,
    tolerance: float = 1e-3,
    most_products: int = 200,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Extremes:
    """The largest and the smallest eigenvalues of a symmetric matrix, from one Krylov space, with residual bounds.

    Lanczos 1950 with full re-orthogonalization and, where the basis would pass 1 GiB, the thick restart of Wu and Simon
    2000. It stops when, for every eigenvalue asked for, the smaller of the residual and residual^2 / gap (Parlett,
    "The symmetric eigenvalue problem", theorem 11.7.1) is below `tolerance` times the eigenvalue, or, where that is
    nearly zero, times a hundredth of the largest magnitude. The start is random: that no larger eigenvalue was missed
    is sure up to a chance that falls with every product, and copies of a multiple eigenvalue may be missed.

    Args:
        product: the matrix times a vector of shape (size,).
        like: a tensor of that shape, for type and device.
        largest: how many at the upper end.
        smallest: how many at the lower end.
        tolerance: relative.
        most_products: then it ends, and says `converged=False`.
        seed: of the start.
        progress: called with the products made, and the most there will be.
    """
    size = len(like)
    largest, smallest = min(largest, size), min(smallest, size)
    fitting = max(largest + smallest + 8, BASIS_BYTES // (size * like.element_size()))
    most = min(most_products, size, fitting)
    generator = torch.Generator().manual_seed(seed)
    krylov = Krylov(product, _random(like, generator), most=most, generator=generator)
    agreed = 0
    for made in range(1, most_products + 1):
        krylov.step()
        values, coordinates = krylov.ritz()
        residuals = krylov.coupling * np.abs(coordinates[-1])
        whole = krylov.steps >= size
        if whole:
            residuals = np.zeros_like(residuals)
        picked = [*range(len(values) - 1, len(values) - 1 - largest, -1), *range(smallest)]
        enough = krylov.steps >= min(size, largest + smallest)
        fine = [enough and _error(i, values, residuals) <= tolerance * _scale(i, values) for i in picked]
        agreed = agreed + 1 if all(fine) else 0
        if progress is not None:
            progress(made, most_products)
        if whole or agreed >= AGREEMENTS:
            break
        if krylov.steps == most and made < most_products:
            keep = [i for i in range(len(values)) if i >= len(values) - largest - 3 or i < smallest + 3]
            krylov.restart(coordinates[:, keep], values[keep])
    found = [
        Eigenvalue(value=float(values[i]), residual=float(residuals[i]), converged=whole or fine[n])
        for n, i in enumerate(picked)
        if 0 <= i < len(values)
    ]
    vectors = krylov.vectors(coordinates[:, picked])
    vectors = vectors / vectors.norm(dim=1, keepdim=True)
    return Extremes(
        largest=tuple(found[:largest]),
        smallest=tuple(found[largest:]),
        largest_vectors=vectors[:largest],
        smallest_vectors=vectors[largest:],
    )


def _error(i: int, values: np.ndarray, residuals: np.ndarray) -> float:
    """A bound of the Ritz value's error, given that the gap to its neighbours is about that of the eigenvalues."""
    gap = min((abs(values[i] - values[n]) for n in (i - 1, i + 1) if 0 <= n < len(values)), default=0.0)
    return float(min(residuals[i], residuals[i] ** 2 / gap if gap > 0 else np.inf))


def _scale(i: int, values: np.ndarray) -> float:
    return float(max(abs(values[i]), np.abs(values).max() / 100))


def _random(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(len(like), generator=generator, dtype=torch.float64).to(like)


def _orthogonal(basis: Tensor, generator: torch.Generator) -> Tensor:
    """A random vector orthogonal to the basis, which is not everything."""
    vector = _random(basis[0], generator)
    for _ in range(2):
        vector = vector - (basis @ vector) @ basis
    return vector
