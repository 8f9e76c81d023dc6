"""Extreme eigenvalues and spectral density of a symmetric matrix, from matrix-vector products."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from critbatch.errors import UserError
from critbatch.measure.hessian import dot, norm, outside, random_direction, unit
from critbatch.records.loss_surface import Density, Eigenvalue

Product = Callable[[Tensor], Tensor]
BASIS_BYTES = 1 << 30
# An error bound must hold for this many steps in a row, because a Ritz value may pause for a step before it moves on.
AGREEMENTS = 2
TINY = 1e-300
# Accepted probability that an eigenvalue was missed although `converged` is True.
CHANCE = 0.01


@dataclass(frozen=True, kw_only=True)
class Extremes:
    """Eigenvalues at both ends of the spectrum, and their unit eigenvectors, shape (count, size)."""

    largest: tuple[Eigenvalue, ...]
    smallest: tuple[Eigenvalue, ...]
    largest_vectors: Tensor
    smallest_vectors: Tensor


class Krylov:
    """An orthonormal basis that grows by one product per step, and the matrix A projected onto it.

    A run begins at a start vector. Each step continues with the part of the product outside of the basis. Every new
    vector is made orthogonal to all others twice, so no spurious copy of a Ritz value appears. Another run may begin at
    a random vector that is orthogonal to some Ritz vectors: if several directions share an eigenvalue, one run finds
    only one of them.

    Args:
        product: The matrix times a vector of shape (size,).
        start: Start vector, shape (size,), of any norm.
        most: Number of basis vectors that fit.
        generator: Random numbers for further runs.
    """

    def __init__(self, product: Product, start: Tensor, *, most: int, generator: torch.Generator) -> None:
        self.product, self.generator = product, generator
        self.basis = torch.empty(most + 1, len(start), dtype=start.dtype, device=start.device)
        self.basis[0] = unit(start)
        self.matrix = np.zeros((most, most))
        self.steps = 0
        self.coupling = 0.0  # norm of the part of the last product outside of the space
        # Directions out of the space at which earlier runs stopped. With each, the part of A q along it for each basis
        # vector q.
        self._aside: list[tuple[Tensor, np.ndarray]] = []
        self._tiny = 100 * torch.finfo(start.dtype).eps
        self.run = Run(len(start))

    def step(self) -> None:
        if self.steps and self.coupling == 0:
            # The space is invariant: another run begins in its orthogonal complement.
            self._begin()
        j = self.steps
        image = self.product(self.basis[j])
        basis = self.basis[: j + 1]
        overlap = basis @ image
        image = image - overlap @ basis
        correction = basis @ image
        image -= correction @ basis
        column = (overlap + correction).double().cpu().numpy()
        self.matrix[: j + 1, j] = self.matrix[j, : j + 1] = column
        self.steps += 1
        self.coupling = norm(image)
        if self.coupling <= self._tiny * max(np.abs(self.matrix).max(), TINY):
            self.coupling = 0.0
        self.run.add(self.matrix[j, j], self.coupling)
        if self.coupling > 0:
            self.basis[j + 1] = image / self.coupling

    def ritz(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ritz values in ascending order, their vectors as columns of coordinates, and bounds of their residuals."""
        values, vectors = np.linalg.eigh(self.matrix[: self.steps, : self.steps])
        return values, vectors, self.coupling * np.abs(vectors[-1]) + self._left_aside(vectors).sum(0)

    def vectors(self, coordinates: np.ndarray) -> Tensor:
        """Vectors of shape (count, size) from columns of coordinates."""
        rows = torch.from_numpy(np.ascontiguousarray(coordinates.T)).to(self.basis)
        return rows @ self.basis[: self.steps]

    def restart(self, coordinates: np.ndarray, values: np.ndarray) -> None:
        """Keep these Ritz vectors and the direction out of the space (thick restart)."""
        direction = self.basis[self.steps].clone()
        self._keep(coordinates, values)
        if self.coupling > 0:
            self.basis[self.steps] = direction
        self.run.broken = True

    def begin(self, coordinates: np.ndarray, values: np.ndarray) -> None:
        """Keep these Ritz vectors, and begin another run at a random vector that is orthogonal to them."""
        self._leave()
        self._keep(coordinates, values)
        self.coupling = 0.0

    def turn_aside(self, coordinates: np.ndarray) -> bool:
        """Continue an earlier run, if most of the residual of this Ritz vector lies along its direction."""
        parts = self._left_aside(coordinates[:, None])[:, 0]
        if self.steps == len(self.matrix) or not len(parts) or parts.max() <= self.coupling * abs(coordinates[-1]):
            return False
        vector, _ = self._aside.pop(int(parts.argmax()))
        self._leave()
        vector = outside(self.basis[: self.steps], vector)
        self.coupling = norm(vector)
        self.basis[self.steps] = vector / self.coupling
        self.run.broken = True
        return True

    def rest(self, known: Tensor) -> Iterator[Run]:
        """A run orthogonal to these unit vectors, with one product per step, that holds only three vectors.

        Its vectors lose orthogonality over time. Their parts along an eigenvector still follow the same recurrence, so
        `Run.chance` is valid. Its Ritz vectors are not available.
        """
        self.run = Run(known.shape[1] - len(known))
        previous = torch.zeros_like(known[0])
        current = outside(known, random_direction(previous, self.generator))
        current, coupling = unit(current), 0.0
        while True:
            image = outside(known, self.product(current)) - coupling * previous
            diagonal = dot(current, image)
            image = image - diagonal * current
            coupling = norm(image)
            if coupling <= self._tiny * max(np.abs(self.matrix).max(), TINY):
                coupling = 0.0
            self.run.add(diagonal, coupling)
            yield self.run
            if coupling == 0:
                return
            previous, current = current, image / coupling

    def _leave(self) -> None:
        if self.coupling > 0:
            parts = np.zeros(len(self.matrix))
            parts[self.steps - 1] = self.coupling
            self._aside.append((self.basis[self.steps].clone(), parts))

    def _left_aside(self, coordinates: np.ndarray) -> np.ndarray:
        """One row per direction of `_aside`: bounds of the part of A v along it, for each column v of coordinates."""
        rows = [np.abs(parts[: self.steps] @ coordinates) for _, parts in self._aside]
        return np.array(rows).reshape(-1, coordinates.shape[1])

    def _keep(self, coordinates: np.ndarray, values: np.ndarray) -> None:
        for _, parts in self._aside:
            kept_parts = parts[: self.steps] @ coordinates
            parts[:] = 0
            parts[: len(kept_parts)] = kept_parts
        kept = self.vectors(coordinates)
        self.steps = len(kept)
        self.basis[: self.steps] = kept
        self.matrix[:] = 0
        self.matrix[range(self.steps), range(self.steps)] = values

    def _begin(self) -> None:
        vector = outside(self.basis[: self.steps], random_direction(self.basis[0], self.generator))
        self.basis[self.steps] = unit(vector)
        self.run = Run(len(vector) - self.steps)


class Run:
    """The Jacobi matrix of Lanczos from one random start, and what it implies for eigenvalues that it does not show.

    An eigenvector u with eigenvalue x has the component p_j(x) <start, u> along the j-th vector, where p_j are the
    orthonormal polynomials of the Jacobi matrix. The squares of all components sum to at most 1, so <start, u>^2 is at
    most 1 / sum p_j(x)^2 (the Christoffel number). A random start has such a small component along a given u only with
    a small probability. Beyond all Ritz values, the sum grows with the distance and, steeply, with every step.

    Args:
        dimension: Dimension of the space from which the start was drawn.
    """

    def __init__(self, dimension: int) -> None:
        self.dimension, self.broken = dimension, False
        self._diagonal: list[float] = []
        self._couplings: list[float] = []

    def add(self, diagonal: float, coupling: float) -> None:
        self._diagonal.append(diagonal)
        self._couplings.append(coupling)

    def chance(self, place: float, *, above: bool) -> float:
        """Upper bound of the probability that this run misses an eigenvalue at `place` or beyond it.

        Infinite if the run has a Ritz value there, or if its vectors were dropped because memory was short.

        Args:
            place: Value to compare with.
            above: Whether "beyond" means above. Otherwise it means below.
        """
        if self.broken:
            return math.inf
        sign = 1 if above else -1
        previous, current, total, previous_coupling = 0.0, 1.0, 1.0, 0.0
        for diagonal, coupling in zip(self._diagonal, self._couplings, strict=True):
            # All are above 0 if and only if no Ritz value lies beyond the place (Sturm).
            following = sign * (place - diagonal) * current - previous_coupling * previous
            if not following > 0:
                return math.inf
            if coupling == 0:
                return 0.0
            previous, current, previous_coupling = current, following / coupling, coupling
            total += current**2
            if current > 1e100:
                previous, current = previous / 1e100, current / 1e100
        return min(1.0, math.sqrt(2 * self.dimension / (math.pi * total)))


class _End:
    """The eigenvalues wanted at one end of the spectrum, and whether others beyond them were missed.

    Args:
        count: Number of eigenvalues.
        above: Whether this is the upper end.
        tolerance: Relative tolerance.
    """

    def __init__(self, count: int, *, above: bool, tolerance: float) -> None:
        self.count, self.above, self.tolerance = count, above, tolerance
        self._place = math.inf if above else -math.inf  # no eigenvalue was missed beyond this value

    def indices(self, size: int) -> list[int]:
        """Indices of the wanted values in ascending order of `size` values, from the outermost on."""
        return [size - 1 - i for i in range(self.count)] if self.above else [*range(self.count)]

    def update(self, run: Run, values: np.ndarray) -> bool:
        """Update the place beyond which the run shows that no eigenvalue was missed.

        Returns:
            Whether the innermost eigenvalue needs another run to show this.
        """
        indices = self.indices(len(values))
        chances = []
        for i in indices:
            place = float(values[i]) + self._margin(i, values)
            chances.append(run.chance(place, above=self.above))
            if chances[-1] <= CHANCE:
                self._place = min(self._place, place) if self.above else max(self._place, place)
        return bool(indices) and math.isinf(chances[-1]) and not self.has_all(indices[-1], values)

    def has_all(self, i: int, values: np.ndarray) -> bool:
        """Whether no eigenvalue was missed beyond this value."""
        place = float(values[i]) + 1.01 * self._margin(i, values)
        return self._place <= place if self.above else self._place >= place

    def _margin(self, i: int, values: np.ndarray) -> float:
        size = self.tolerance * max(abs(values[i]), np.abs(values).max() / 10)
        return float(max(size, TINY)) if self.above else -float(max(size, TINY))


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
    """The largest and smallest eigenvalues of a symmetric matrix, with multiplicity and residual bounds.

    Lanczos 1950 with full re-orthogonalization and, if the basis would exceed 1 GiB, the thick restart of Wu and Simon
    2000. It stops when each wanted eigenvalue is accurate and placed.

    - Accurate: the smaller of the residual and residual^2 / gap (Parlett, "The symmetric eigenvalue problem", theorem
      11.7.1) is below `tolerance` times the eigenvalue, or, if that is nearly zero, times a hundredth of the largest
      magnitude.
    - Placed: the probability of having missed an eigenvalue beyond it is at most 1 % (`Run.chance`). "Beyond" means by
      more than `tolerance` times the eigenvalue or a tenth of the largest magnitude.

    One run of Lanczos finds only one of several directions that share an eigenvalue. So further runs begin at random
    vectors that are orthogonal to the known eigenvectors, until one shows that no eigenvalue is left beyond the wanted
    ones.

    Args:
        product: The matrix times a vector of shape (size,).
        like: Tensor of that shape, for type and device.
        largest: Number of eigenvalues at the upper end.
        smallest: Number of eigenvalues at the lower end.
        tolerance: Relative tolerance.
        most_products: Maximum of products. If they do not suffice, `converged` is False.
        seed: Seed of the start vectors.
        progress: Function to call with the number of products so far and their maximum.
    """
    size = len(like)
    upper = _End(min(largest, size), above=True, tolerance=tolerance)
    lower = _End(min(smallest, size), above=False, tolerance=tolerance)
    wanted = upper.count + lower.count
    fitting = max(wanted + 8, BASIS_BYTES // (size * like.element_size()))
    most = min(most_products, size, fitting)
    generator = torch.Generator().manual_seed(seed)
    krylov = Krylov(product, random_direction(like, generator), most=most, generator=generator)
    agreements = products = 0
    while True:
        krylov.step()
        products += 1
        values, coordinates, residuals = krylov.ritz()
        complete = krylov.steps >= size
        if complete:
            residuals = np.zeros_like(residuals)
        indices = [*upper.indices(len(values)), *lower.indices(len(values))]
        enough = krylov.steps >= min(size, wanted)
        errors = [_error(i, values, residuals) / tolerance / _scale(i, values) if enough else math.inf for i in indices]
        agreements = agreements + 1 if max(errors, default=0) <= 1 else 0
        placed = [False] * len(indices)
        needs_run = False
        if enough:
            needs_run = any([end.update(krylov.run, values) for end in (upper, lower)])  # noqa: C419
            placed = [complete or end.has_all(i, values) for end in (upper, lower) for i in end.indices(len(values))]
        if progress is not None:
            progress(products, most_products)
        if complete or (agreements >= AGREEMENTS and all(placed)) or products == most_products:
            break
        if agreements >= AGREEMENTS and needs_run:
            good = residuals <= tolerance * np.abs(values).max()
            known = [i for i in range(len(values)) if good[i] and i not in indices]
            keep = sorted([*indices, *known[: max(0, most - len(indices) - 8)]])
            if most < min(most_products, size):
                # The basis has no room for a further run. So this run holds only three vectors.
                for run in krylov.rest(_orthonormal(krylov.vectors(coordinates[:, keep]))):
                    products += 1
                    needs_run = any([end.update(run, values) for end in (upper, lower)])  # noqa: C419
                    placed = [end.has_all(i, values) for end in (upper, lower) for i in end.indices(len(values))]
                    if progress is not None:
                        progress(products, most_products)
                    if needs_run or all(placed) or products == most_products:
                        break
                if all(placed) or products == most_products:
                    break
            krylov.begin(coordinates[:, keep], values[keep])
        elif (
            agreements == 0
            and (all(placed) or needs_run)
            and krylov.turn_aside(coordinates[:, _worst(indices, errors)])
        ):
            pass
        elif krylov.steps == most:
            keep = [i for i in range(len(values)) if i >= len(values) - upper.count - 3 or i < lower.count + 3]
            krylov.restart(coordinates[:, keep], values[keep])
    eigenvalues = [
        Eigenvalue(
            value=float(values[i]),
            residual=float(residuals[i]),
            converged=bool(complete or (errors[n] <= 1 and placed[n])),
            placed=bool(placed[n]),
        )
        for n, i in enumerate(indices)
        if 0 <= i < len(values)
    ]
    vectors = krylov.vectors(coordinates[:, indices])
    vectors = vectors / vectors.new_tensor([[norm(vector)] for vector in vectors]).view(-1, 1)
    return Extremes(
        largest=tuple(eigenvalues[: upper.count]),
        smallest=tuple(eigenvalues[upper.count :]),
        largest_vectors=vectors[: upper.count],
        smallest_vectors=vectors[upper.count :],
    )


def _orthonormal(vectors: Tensor) -> Tensor:
    rows: Tensor = torch.linalg.qr(vectors.T).Q.T
    return rows


def _worst(indices: list[int], errors: list[float]) -> int:
    return indices[int(np.argmax(errors))]


def _error(i: int, values: np.ndarray, residuals: np.ndarray) -> float:
    """A bound of the error of a Ritz value, if its gap to its neighbours is about that of the eigenvalues."""
    gap = min((abs(values[i] - values[n]) for n in (i - 1, i + 1) if 0 <= n < len(values)), default=0.0)
    return float(min(residuals[i], residuals[i] ** 2 / gap if gap > 0 else np.inf))


def _scale(i: int, values: np.ndarray) -> float:
    return float(max(abs(values[i]), np.abs(values).max() / 100, TINY))


def spectral_density(product: Product, like: Tensor, *, probes: int = 8, steps: int = 40, seed: int = 0) -> Density:
    """The density of the eigenvalues, by stochastic Lanczos quadrature.

    From each random direction, Lanczos gives nodes and weights that integrate polynomials up to degree ``2 steps - 1``
    exactly against the spectral measure of that direction. The result is the mean over the directions. Ubaru, Chen and
    Saad 2017; Ghorbani et al. 2019, arXiv:1901.10159, section 2. The ends of the spectrum converge first; the middle is
    smoothed. It holds `steps` vectors.

    Args:
        product: The matrix times a vector of shape (size,).
        like: Tensor of that shape, for type and device.
        probes: Number of random directions.
        steps: Steps of Lanczos for each direction.
        seed: Seed of the directions.
    """
    if probes < 1 or steps < 1:
        raise UserError(f"probes={probes} with steps={steps} is not possible: use 1 or more of each.")
    generator = torch.Generator().manual_seed(seed)
    steps = min(steps, len(like))
    nodes, weights = [], []
    for _ in range(probes):
        krylov = Krylov(product, random_direction(like, generator), most=steps, generator=generator)
        for _ in range(steps):
            krylov.step()
            if krylov.coupling == 0:
                break
        values, coordinates, _ = krylov.ritz()
        nodes += values.tolist()
        weights += (coordinates[0] ** 2 / probes).tolist()
    return Density(nodes=tuple(nodes), weights=tuple(weights), probes=probes, steps=steps)
