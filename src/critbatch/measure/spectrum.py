"""The ends of a symmetric matrix's spectrum, and its Ritz values, from products with vectors."""

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
# A bound must hold at so many steps in a row: one Ritz value may rest for a step before it moves on.
AGREEMENTS = 2
TINY = 1e-300
# How likely it may be that an eigenvalue was left out where `converged` says that none was.
CHANCE = 0.01


@dataclass(frozen=True, kw_only=True)
class Extremes:
    """Eigenvalues at both ends, and unit vectors that belong to them, shape (how many, size)."""

    largest: tuple[Eigenvalue, ...]
    smallest: tuple[Eigenvalue, ...]
    largest_vectors: Tensor
    smallest_vectors: Tensor


class Krylov:
    """An orthonormal basis, grown by one product a step, and the matrix A seen in it.

    A run begins at a start vector, and each step goes on with what leads out of the basis. Every new vector is made
    orthogonal to all others twice, so no copy of a Ritz value appears. A further run may begin at a random vector that
    is orthogonal to some Ritz vectors: of an eigenvalue that several directions share, one run sees one direction.

    Args:
        start: shape (size,); need not be of unit length.
        most: vectors that are held.
    """

    def __init__(self, product: Product, start: Tensor, *, most: int, generator: torch.Generator) -> None:
        self.product, self.generator = product, generator
        self.basis = torch.empty(most + 1, len(start), dtype=start.dtype, device=start.device)
        self.basis[0] = unit(start)
        self.matrix = np.zeros((most, most))
        self.steps = 0
        self.coupling = 0.0  # norm of what leads out of the space
        # Directions that led out of the space where earlier runs were left, and the part of A q along them for each q.
        self._aside: list[tuple[Tensor, np.ndarray]] = []
        self._tiny = 100 * torch.finfo(start.dtype).eps
        self.run = Run(len(start))

    def step(self) -> None:
        if self.steps and self.coupling == 0:
            # The space is invariant: another run begins in what is left.
            self._begin()
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
        self.coupling = norm(image)
        if self.coupling <= self._tiny * max(np.abs(self.matrix).max(), TINY):
            self.coupling = 0.0
        self.run.add(self.matrix[j, j], self.coupling)
        if self.coupling > 0:
            self.basis[j + 1] = image / self.coupling

    def ritz(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ritz values, ascending, their coordinates in the basis, one column each, and bounds of their residuals."""
        values, vectors = np.linalg.eigh(self.matrix[: self.steps, : self.steps])
        return values, vectors, self.coupling * np.abs(vectors[-1]) + self._left_aside(vectors).sum(0)

    def vectors(self, coordinates: np.ndarray) -> Tensor:
        """Vectors of shape (how many, size) for columns of coordinates."""
        table = torch.from_numpy(np.ascontiguousarray(coordinates.T)).to(self.basis)
        return table @ self.basis[: self.steps]

    def restart(self, coordinates: np.ndarray, values: np.ndarray) -> None:
        """Keep these Ritz vectors and the direction that leads out of the space (thick restart)."""
        ahead = self.basis[self.steps].clone()
        self._keep(coordinates, values)
        if self.coupling > 0:
            self.basis[self.steps] = ahead
        self.run.broken = True

    def begin(self, coordinates: np.ndarray, values: np.ndarray) -> None:
        """Keep these Ritz vectors, and begin another run at a random vector orthogonal to them."""
        self._leave()
        self._keep(coordinates, values)
        self.coupling = 0.0

    def turn_aside(self, coordinates: np.ndarray) -> bool:
        """Go on where an earlier run was left, if most of the residual of this Ritz vector lies there."""
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
        """A run in what is orthogonal to these unit vectors, one product a step, that holds three vectors only.

        Its vectors lose their orthogonality with time. The parts along an eigenvector follow the same recurrence all
        the same, so that `Run.chance` holds; its Ritz vectors are not to be had.
        """
        self.run = Run(known.shape[1] - len(known))
        before = torch.zeros_like(known[0])
        here = outside(known, random_direction(before, self.generator))
        here, coupling = unit(here), 0.0
        while True:
            image = outside(known, self.product(here)) - coupling * before
            diagonal = dot(here, image)
            image = image - diagonal * here
            coupling = norm(image)
            if coupling <= self._tiny * max(np.abs(self.matrix).max(), TINY):
                coupling = 0.0
            self.run.add(diagonal, coupling)
            yield self.run
            if coupling == 0:
                return
            before, here = here, image / coupling

    def _leave(self) -> None:
        if self.coupling > 0:
            parts = np.zeros(len(self.matrix))
            parts[self.steps - 1] = self.coupling
            self._aside.append((self.basis[self.steps].clone(), parts))

    def _left_aside(self, coordinates: np.ndarray) -> np.ndarray:
        """For each direction left aside, a row: the part of A v along it for each column of coordinates, at most."""
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
    """The Jacobi matrix of Lanczos from one random start, and what it says about eigenvalues that it does not show.

    An eigenvector u with eigenvalue x has the part p_j(x) <start, u> along the j-th vector, where p_j are the
    orthonormal polynomials of the Jacobi matrix. All these parts together are 1 at most, so <start, u>^2 is at most
    1 / sum p_j(x)^2 (Christoffel's number). A random start has that small a part along a given u with a small chance
    only. Beyond all Ritz values the sum grows with the distance and, steeply, with every step.

    Args:
        dimension: of the space that the start was drawn from.
    """

    def __init__(self, dimension: int) -> None:
        self.dimension, self.broken = dimension, False
        self._diagonal: list[float] = []
        self._couplings: list[float] = []

    def add(self, diagonal: float, coupling: float) -> None:
        self._diagonal.append(diagonal)
        self._couplings.append(coupling)

    def chance(self, place: float, *, above: bool) -> float:
        """How likely it is at most that such a run shows nothing of an eigenvalue at `place` or beyond it.

        Infinite where the run has a Ritz value there, and where its vectors were dropped for lack of memory.

        Args:
            above: whether beyond is above.
        """
        if self.broken:
            return math.inf
        sign = 1 if above else -1
        before, here, total, coupling_before = 0.0, 1.0, 1.0, 0.0
        for diagonal, coupling in zip(self._diagonal, self._couplings, strict=True):
            # All are above 0 if and only if no Ritz value is beyond the place (Sturm).
            ahead = sign * (place - diagonal) * here - coupling_before * before
            if not ahead > 0:
                return math.inf
            if coupling == 0:
                return 0.0
            before, here, coupling_before = here, ahead / coupling, coupling
            total += here**2
            if here > 1e100:
                before, here = before / 1e100, here / 1e100
        return min(1.0, math.sqrt(2 * self.dimension / (math.pi * total)))


class _End:
    """Eigenvalues wanted at one end of the spectrum, and whether others beyond them were left out.

    Args:
        count: how many.
        above: whether it is the upper end.
    """

    def __init__(self, count: int, *, above: bool, tolerance: float) -> None:
        self.count, self.above, self.tolerance = count, above, tolerance
        self._place = math.inf if above else -math.inf  # nothing was left out beyond it

    def picked(self, size: int) -> list[int]:
        """Indices of ascending values, from the outermost on."""
        return [size - 1 - i for i in range(self.count)] if self.above else [*range(self.count)]

    def look(self, run: Run, values: np.ndarray) -> bool:
        """Note beyond which place the run shows that nothing was left out.

        Returns:
            Whether another run has to show it for the innermost eigenvalue.
        """
        picked = self.picked(len(values))
        chances = []
        for i in picked:
            place = float(values[i]) + self._margin(i, values)
            chances.append(run.chance(place, above=self.above))
            if chances[-1] <= CHANCE:
                self._place = min(self._place, place) if self.above else max(self._place, place)
        return bool(picked) and math.isinf(chances[-1]) and not self.has_all(picked[-1], values)

    def has_all(self, i: int, values: np.ndarray) -> bool:
        """Whether nothing was left out beyond this value."""
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
    """The largest and the smallest eigenvalues of a symmetric matrix, copies counted, with residual bounds.

    Lanczos 1950 with full re-orthogonalization and, where the basis would pass 1 GiB, the thick restart of Wu and Simon
    2000. It stops when each eigenvalue asked for is accurate and has its place. It is accurate when the smaller of the
    residual and residual^2 / gap (Parlett, "The symmetric eigenvalue problem", theorem 11.7.1) is below `tolerance`
    times the eigenvalue, or, where that is nearly zero, times a hundredth of the largest magnitude. It has its place
    when an eigenvalue beyond it, by more than `tolerance` times the eigenvalue or a tenth of the largest magnitude,
    would have been left out with a chance of 1 % at most (`Run.chance`). One run of Lanczos sees one direction of those
    that share an eigenvalue: so further runs begin at random vectors orthogonal to the eigenvectors known so far, until
    one shows that nothing is left beyond the eigenvalues asked for.

    Args:
        product: the matrix times a vector of shape (size,).
        like: a tensor of that shape, for type and device.
        largest: how many at the upper end.
        smallest: how many at the lower end.
        tolerance: relative.
        most_products: then it ends, and says `converged=False`.
        seed: of the starts.
        progress: called with the products made, and the most there will be.
    """
    size = len(like)
    upper = _End(min(largest, size), above=True, tolerance=tolerance)
    lower = _End(min(smallest, size), above=False, tolerance=tolerance)
    wanted = upper.count + lower.count
    fitting = max(wanted + 8, BASIS_BYTES // (size * like.element_size()))
    most = min(most_products, size, fitting)
    generator = torch.Generator().manual_seed(seed)
    krylov = Krylov(product, random_direction(like, generator), most=most, generator=generator)
    agreed = made = 0
    while True:
        krylov.step()
        made += 1
        values, coordinates, residuals = krylov.ritz()
        whole = krylov.steps >= size
        if whole:
            residuals = np.zeros_like(residuals)
        picked = [*upper.picked(len(values)), *lower.picked(len(values))]
        enough = krylov.steps >= min(size, wanted)
        errors = [_error(i, values, residuals) / tolerance / _scale(i, values) if enough else math.inf for i in picked]
        agreed = agreed + 1 if max(errors, default=0) <= 1 else 0
        placed = [False] * len(picked)
        unseen = False
        if enough:
            unseen = any([end.look(krylov.run, values) for end in (upper, lower)])  # noqa: C419
            placed = [whole or end.has_all(i, values) for end in (upper, lower) for i in end.picked(len(values))]
        if progress is not None:
            progress(made, most_products)
        if whole or (agreed >= AGREEMENTS and all(placed)) or made == most_products:
            break
        if agreed >= AGREEMENTS and unseen:
            good = residuals <= tolerance * np.abs(values).max()
            known = [i for i in range(len(values)) if good[i] and i not in picked]
            keep = sorted([*picked, *known[: max(0, most - len(picked) - 8)]])
            if most < min(most_products, size):
                # The basis has no room for a further run, so the further run goes without one.
                for run in krylov.rest(_orthonormal(krylov.vectors(coordinates[:, keep]))):
                    made += 1
                    unseen = any([end.look(run, values) for end in (upper, lower)])  # noqa: C419
                    placed = [end.has_all(i, values) for end in (upper, lower) for i in end.picked(len(values))]
                    if progress is not None:
                        progress(made, most_products)
                    if unseen or all(placed) or made == most_products:
                        break
                if all(placed) or made == most_products:
                    break
            krylov.begin(coordinates[:, keep], values[keep])
        elif agreed == 0 and (all(placed) or unseen) and krylov.turn_aside(coordinates[:, _worst(picked, errors)]):
            pass
        elif krylov.steps == most:
            keep = [i for i in range(len(values)) if i >= len(values) - upper.count - 3 or i < lower.count + 3]
            krylov.restart(coordinates[:, keep], values[keep])
    found = [
        Eigenvalue(
            value=float(values[i]),
            residual=float(residuals[i]),
            converged=bool(whole or (errors[n] <= 1 and placed[n])),
            placed=bool(placed[n]),
        )
        for n, i in enumerate(picked)
        if 0 <= i < len(values)
    ]
    vectors = krylov.vectors(coordinates[:, picked])
    vectors = vectors / vectors.new_tensor([[norm(vector)] for vector in vectors]).view(-1, 1)
    return Extremes(
        largest=tuple(found[: upper.count]),
        smallest=tuple(found[upper.count :]),
        largest_vectors=vectors[: upper.count],
        smallest_vectors=vectors[upper.count :],
    )


def _orthonormal(vectors: Tensor) -> Tensor:
    rows: Tensor = torch.linalg.qr(vectors.T).Q.T
    return rows


def _worst(picked: list[int], errors: list[float]) -> int:
    return picked[int(np.argmax(errors))]


def _error(i: int, values: np.ndarray, residuals: np.ndarray) -> float:
    """A bound of the Ritz value's error, given that the gap to its neighbours is about that of the eigenvalues."""
    gap = min((abs(values[i] - values[n]) for n in (i - 1, i + 1) if 0 <= n < len(values)), default=0.0)
    return float(min(residuals[i], residuals[i] ** 2 / gap if gap > 0 else np.inf))


def _scale(i: int, values: np.ndarray) -> float:
    return float(max(abs(values[i]), np.abs(values).max() / 100, TINY))


# Where the eigenvalues of a symmetric matrix lie.


def spectral_density(product: Product, like: Tensor, *, probes: int = 8, steps: int = 40, seed: int = 0) -> Density:
    """The density of eigenvalues, by stochastic Lanczos quadrature.

    From each random direction Lanczos gives nodes and weights with which polynomials up to degree ``2 steps - 1`` are
    integrated exactly against that direction's share of the spectrum; directions are averaged. Ubaru, Chen and Saad
    2017; Ghorbani et al. 2019, arXiv:1901.10159, section 2. The ends are right first, the middle is smoothed. It holds
    `steps` vectors.

    Args:
        product: the matrix times a vector of shape (size,).
        like: a tensor of that shape, for type and device.
        probes: random directions.
        steps: of Lanczos, for each.
        seed: of the directions.
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
