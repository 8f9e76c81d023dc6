"""The trace of a symmetric matrix, estimated from products with random vectors."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from critbatch.errors import UserError
from critbatch.measure.hessian import dot, norm, outside, random_direction
from critbatch.records.core import Estimate

Product = Callable[[Tensor], Tensor]
FEWEST = 12
LEVEL = 0.95
# Maximum of turns in which the subspace grows. After each turn we decide whether another one reduces the variance.
TURNS = 5
# The trace counts as exact if the part outside of the subspace can change it by no more than this share.
NEGLIGIBLE = 1e-6
# The skewness is estimated from few vectors and scatters. With this share of it, intervals cover 93 to 96 % on spectra
# of one sign, of both signs, of one eigenvalue and of many (benchmarks/trace_coverage.py).
SHRINKAGE = 0.7


def hutch_plus_plus(product: Product, like: Tensor, *, products: int = 60, seed: int = 0) -> Estimate:
    """Estimate the trace with an interval.

    Hutch++ (Meyer et al. 2021, arXiv:2010.09649, algorithm 1) computes the trace exactly in a subspace of large
    eigenvalues, and estimates the rest from random vectors (Hutchinson). The best number of products for the subspace
    depends on the spectrum: a third for a steep one, as in the paper, and almost none for a flat one, where plain
    Hutchinson is better. So the subspace grows in turns, as long as a turn reduces the variance by more than the random
    vectors that it replaces would (the idea of Persson et al. 2022, arXiv:2109.10659). The random vectors for the rest
    are independent of the subspace and of its size, so the estimate is unbiased.

    The trace is exact, without an interval, in two cases: if there are as many products as weights, and if random
    vectors show that the matrix is zero outside of the subspace (a matrix of low rank).

    Memory: a third of `products` vectors for the subspace, and as many again for the interval.

    Args:
        product: The matrix times a vector of shape (size,).
        like: Tensor of that shape, for type and device.
        products: Maximum of products.
        seed: Seed of the random vectors.

    Raises:
        UserError: if there are too few products for an interval.
    """
    size = len(like)
    if products >= size:
        return Estimate(value=_exact(product, like), n=size, reason="exact")
    if products < FEWEST:
        raise UserError(f"products={products} is too few for an interval of the trace: use {FEWEST} or more.")
    generator = torch.Generator().manual_seed(seed)
    subspace = _Subspace(product, like, generator)
    turn = max(1, products // (3 * TURNS))
    products_made = 0
    while len(subspace.basis) + turn <= products // 3:
        new_directions, gain = subspace.grow(turn)
        products_made += turn + new_directions
        if subspace.is_all:
            return Estimate(value=subspace.trace, n=len(subspace.basis), reason="exact")
        # The variance of a mean over `probes` vectors is proportional to outside2 / probes. The next turn reduces
        # outside2 by less than this one and costs 2 `turn` probes.
        probes = products - products_made
        if gain <= 2 * turn / probes * subspace.outside2:
            break
    return _with_interval(subspace, products - products_made, stored=max(FEWEST, products // 3))


class _Subspace:
    """Orthonormal directions Q in which a symmetric matrix A is known. P projects onto their orthogonal complement."""

    def __init__(self, product: Product, like: Tensor, generator: torch.Generator) -> None:
        self.product, self.generator, self.like = product, generator, like
        self.basis = like.new_empty(0, len(like))
        self.trace = 0.0  # of Q^T A Q
        self.outside2 = math.inf  # an estimate of the squared Frobenius norm of P A P
        self.is_all = False  # P A P is negligible, so the trace of Q^T A Q is that of A
        self._largest2 = 0.0  # the largest |A g|^2 of a random vector g
        self.absolute = 0.0  # the sum of |q^T A q| over the basis

    @property
    def codimension(self) -> int:
        return len(self.like) - len(self.basis)

    def probe(self) -> Tensor:
        """A random vector orthogonal to the subspace with norm sqrt(codimension) and isotropic: E g g^T = P."""
        vector = outside(self.basis, random_direction(self.like, self.generator))
        return vector * (math.sqrt(self.codimension) / norm(vector))

    def grow(self, directions: int) -> tuple[int, float]:
        """Add the images of this many random vectors. This takes one product for each, and one for each new direction.

        Returns:
            The number of new directions, and by how much they reduce the squared Frobenius norm of P A P.
        """
        images = []
        for _ in range(directions):
            image = self.product(self.probe())
            self._largest2 = max(self._largest2, dot(image, image))
            images.append(outside(self.basis, image))
        # E |P A g|^2 is the squared Frobenius norm of P A P; its trace is at most sqrt(codimension) times the norm.
        norm2 = sum(dot(image, image) for image in images) / directions
        if math.sqrt(self.codimension * norm2) <= NEGLIGIBLE * self.absolute or norm2 == 0:
            self.is_all = True
            return 0, 0.0
        # Products are rounded: an image as short as this is nothing but rounding.
        shortest = 10 * torch.finfo(self.like.dtype).eps * math.sqrt(self._largest2)
        old_basis, gain = self.basis, 0.0
        for image in images:
            direction = _new_direction(self.basis, image, shortest)
            if direction is None:
                continue
            image = self.product(direction)
            diagonal = dot(direction, image)
            self.trace += diagonal
            self.absolute += abs(diagonal)
            rest = outside(old_basis, image)
            overlap = self.basis[len(old_basis) :] @ rest
            gain += 2 * dot(rest, rest) - 2 * dot(overlap, overlap) - diagonal**2
            self.basis = torch.cat([self.basis, direction[None]])
        self.outside2 = max(0.0, norm2 - gain)
        return len(self.basis) - len(old_basis), gain


def _new_direction(basis: Tensor, vector: Tensor, shortest: float) -> Tensor | None:
    """The unit vector of the part of the vector outside of the span of the rows. None if it is below `shortest`.

    If a vector lies almost in the span, its remaining part is mostly rounding and may not be orthogonal to the rows. So
    it is made orthogonal again after each scaling, until that changes it no more.
    """
    vector = outside(basis, vector)
    length = norm(vector)
    if length <= shortest:
        return None
    vector = vector / length
    for _ in range(5):
        vector = outside(basis, vector)
        length = norm(vector)
        vector = vector / length
        if length > 0.99:
            return vector
    return None


def _with_interval(subspace: _Subspace, probes: int, *, stored: int) -> Estimate:
    """The trace in the subspace plus the mean over random vectors outside of it, with its interval.

    Args:
        subspace: Directions in which the matrix is known.
        probes: Number of random vectors.
        stored: Number of them that are kept in memory. The interval comes from their pairs.
    """
    stored = min(stored, probes)
    vectors = torch.empty(stored, len(subspace.like), dtype=subspace.like.dtype, device=subspace.like.device)
    # M_ij = g_i^T A g_j and g_i^T g_j, for i < j.
    forms, gram = torch.zeros(2, stored, stored, dtype=torch.float64)
    values = []
    for j in range(probes):
        probe = subspace.probe()
        image = subspace.product(probe)
        values.append(dot(probe, image))
        if j < stored:
            forms[:j, j] = (vectors[:j] @ image).double().cpu()
            gram[:j, j] = (vectors[:j] @ probe).double().cpu()
            vectors[j] = probe
    mean = sum(values) / probes
    size = subspace.codimension
    # Vectors of equal norm give the trace of a multiple of P exactly. Only the difference from it has a variance.
    forms -= mean / size * gram
    forms += forms.T.clone()
    norm2, skewness, kurtosis = _moments(forms)
    deviation = math.sqrt(2 * size / (size + 2) * norm2 / probes)
    low, high = _quantiles(SHRINKAGE * skewness, kurtosis, probes=probes, stored=stored)
    rounding = 10 * torch.finfo(subspace.like.dtype).eps * (subspace.absolute + abs(mean))
    value = subspace.trace + mean
    return Estimate(
        value=value,
        n=probes,
        low=value - deviation * high - rounding,
        high=value - deviation * low + rounding,
        level=LEVEL,
    )


def _moments(forms: Tensor) -> tuple[float, float, float]:
    """The squared Frobenius norm of B, and tr B^3 and tr B^4 in units of it, from M_ij = g_i^T B g_j.

    For independent g with E g g^T = 1: E M_ij^2 = |B|_F^2, E M_ij M_jk M_ki = tr B^3, and likewise tr B^4 from cycles
    of four, over indices that all differ.

    Args:
        forms: The matrix M, symmetric and 0 on the diagonal, shape (stored, stored).
    """
    n = len(forms)
    pairs = n * (n - 1)
    unit = float(forms.abs().max())
    if unit == 0:
        return 0.0, 0.0, 0.0
    forms = forms / unit
    squares = forms.square()
    norm2 = float(squares.sum()) / pairs
    twice = forms @ forms
    third = float((twice * forms).sum()) / (pairs * (n - 2))
    # The paths i-j-i-l and i-j-k-j repeat an index. They are subtracted from the trace of M^4.
    cycles = twice.square().sum() - 2 * squares.sum(1).square().sum() + squares.square().sum()
    fourth = float(cycles) / (pairs * (n - 2) * (n - 3))
    return norm2 * unit**2, max(-1.0, min(1.0, third / norm2**1.5)), max(0.0, fourth / norm2**2)


def _quantiles(skewness: float, kurtosis: float, *, probes: int, stored: int) -> tuple[float, float]:
    """Bounds that hold the error of the estimate, in units of its estimated deviation, with probability `LEVEL`.

    If few eigenvalues are left, the mean over `probes` vectors is far from normal, and its estimated deviation is small
    when the mean is small. A multiple of a chi-squared variable has both properties, so we use one with the skewness of
    the mean. This is exact for one eigenvalue, and becomes the normal distribution for many.

    Args:
        skewness: tr B^3 / |B|_F^3.
        kurtosis: tr B^4 / |B|_F^4.
        probes: Number of random vectors in the mean.
        stored: Number of vectors from whose pairs the deviation was estimated.
    """
    from scipy.special import chdtri, stdtrit

    below, above = (1 - LEVEL) / 2, (1 + LEVEL) / 2
    # 2 / freedom is the relative variance of the estimated |B|_F^2, without the part that it shares with the mean.
    freedom = 2 / (8 / stored * max(0.0, kurtosis - skewness**2) + 4 / (stored * (stored - 1)))
    student = float(stdtrit(freedom, above))
    if abs(skewness) < 1e-3:
        return -student, student
    wider = student / float(stdtrit(math.inf, above))
    degrees = probes / skewness**2
    low, high = (
        wider * math.sqrt(degrees / 2) * (1 - degrees / float(chdtri(degrees, 1 - level))) for level in (below, above)
    )
    return (low, high) if skewness > 0 else (-high, -low)


def _exact(product: Product, like: Tensor) -> float:
    total = 0.0
    for i in range(len(like)):
        unit = torch.zeros_like(like)
        unit[i] = 1
        total += float(product(unit)[i])
    return total
