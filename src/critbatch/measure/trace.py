"""The trace of a symmetric matrix from products with random vectors."""

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
# The subspace grows in this many turns at most. After each turn we ask whether another one pays.
TURNS = 5
# The trace counts as exact if what the subspace leaves out can change no more than this part of it.
NEGLIGIBLE = 1e-6
# A skewness that is estimated from few vectors scatters; with this part of it intervals cover 93 to 96 % on spectra of
# one sign, of both signs, of one eigenvalue and of many (benchmarks/trace_coverage.py).
SHRINKAGE = 0.7


def hutch_plus_plus(product: Product, like: Tensor, *, products: int = 60, seed: int = 0) -> Estimate:
    """Estimate the trace, with an interval that is wide where the trace is not known well.

    Hutch++ (Meyer et al. 2021, arXiv:2010.09649, algorithm 1) computes the trace exactly in a subspace that holds large
    eigenvalues, and estimates the rest from random vectors (Hutchinson). How many products the subspace is worth
    depends on the spectrum: a third on a steep one, as there, and next to none on a flat one, where plain Hutchinson is
    better. So the subspace grows in turns, as long as a turn takes more from the variance than the random vectors cost
    that it replaces (the idea of Persson et al. 2022, arXiv:2109.10659). The random vectors of the rest are independent
    of the subspace and of its size, so the estimate is unbiased.

    The trace is exact, without an interval, in two cases: with as many products as there are weights, and where random
    vectors show that the matrix is zero outside of the subspace (a matrix of low rank).

    Memory: a third of `products` vectors for the subspace and as many again for the interval.

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
    subspace = _Subspace(product, like, generator)
    turn = max(1, products // (3 * TURNS))
    spent = 0
    while len(subspace.basis) + turn <= products // 3:
        added, gain = subspace.grow(turn)
        spent += turn + added
        if subspace.is_all:
            return Estimate(value=subspace.trace, n=len(subspace.basis), reason="exact")
        # The variance of a mean over `probes` vectors is in proportion to outside2 / probes. The next turn takes out
        # less than this one did, and costs 2 `turn` probes.
        probes = products - spent
        if gain <= 2 * turn / probes * subspace.outside2:
            break
    return _with_interval(subspace, products - spent, held=max(FEWEST, products // 3))


class _Subspace:
    """Orthonormal directions Q in which a symmetric matrix A is known, and the projector P on what they leave out."""

    def __init__(self, product: Product, like: Tensor, generator: torch.Generator) -> None:
        self.product, self.generator, self.like = product, generator, like
        self.basis = like.new_empty(0, len(like))
        self.trace = 0.0  # of Q^T A Q
        self.outside2 = math.inf  # an estimate of the squared Frobenius norm of P A P
        self.is_all = False  # whether P A P is so small that the trace of Q^T A Q is that of A
        self._largest2 = 0.0  # the largest |A g|^2 of a random vector g
        self.absolute = 0.0  # the sum of |q^T A q| over the basis

    @property
    def codimension(self) -> int:
        return len(self.like) - len(self.basis)

    def probe(self) -> Tensor:
        """A random vector outside of the subspace, of length sqrt(codimension), all directions alike: E g g^T = P."""
        vector = outside(self.basis, random_direction(self.like, self.generator))
        return vector * (math.sqrt(self.codimension) / norm(vector))

    def grow(self, directions: int) -> tuple[int, float]:
        """Add the images of so many random vectors: a product for each, and one more for each direction that is new.

        Returns:
            How many directions were new, and what they take from the squared Frobenius norm of P A P.
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
        # Products are rounded: an image this short holds nothing but rounding.
        shortest = 10 * torch.finfo(self.like.dtype).eps * math.sqrt(self._largest2)
        before, gain = self.basis, 0.0
        for image in images:
            direction = _new_direction(self.basis, image, shortest)
            if direction is None:
                continue
            image = self.product(direction)
            here = dot(direction, image)
            self.trace += here
            self.absolute += abs(here)
            left = outside(before, image)
            along = self.basis[len(before) :] @ left
            gain += 2 * dot(left, left) - 2 * dot(along, along) - here**2
            self.basis = torch.cat([self.basis, direction[None]])
        self.outside2 = max(0.0, norm2 - gain)
        return len(self.basis) - len(before), gain


def _new_direction(basis: Tensor, vector: Tensor, shortest: float) -> Tensor | None:
    """The unit vector of what the vector adds to the span of the rows; None where that is shorter than `shortest`.

    What is left of a vector that lies almost in the span is mostly rounding, which need not be orthogonal to the rows:
    so it is made orthogonal again after each scaling, until nothing is taken off any more.
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


def _with_interval(subspace: _Subspace, probes: int, *, held: int) -> Estimate:
    """The trace in the subspace, plus the mean over random vectors of what is left, with its interval.

    Args:
        probes: random vectors.
        held: how many of them are held; the interval is computed from their pairs.
    """
    held = min(held, probes)
    vectors = torch.empty(held, len(subspace.like), dtype=subspace.like.dtype, device=subspace.like.device)
    # M_ij = g_i^T A g_j and g_i^T g_j, for i < j.
    forms, gram = torch.zeros(2, held, held, dtype=torch.float64)
    values = []
    for j in range(probes):
        probe = subspace.probe()
        image = subspace.product(probe)
        values.append(dot(probe, image))
        if j < held:
            forms[:j, j] = (vectors[:j] @ image).double().cpu()
            gram[:j, j] = (vectors[:j] @ probe).double().cpu()
            vectors[j] = probe
    mean = sum(values) / probes
    size = subspace.codimension
    # Vectors of one length give the trace of a multiple of P exactly: only what differs from it has a variance.
    forms -= mean / size * gram
    forms += forms.T.clone()
    norm2, skewness, kurtosis = _moments(forms)
    deviation = math.sqrt(2 * size / (size + 2) * norm2 / probes)
    low, high = _quantiles(SHRINKAGE * skewness, kurtosis, probes=probes, held=held)
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

    For independent g with E g g^T = 1: E M_ij^2 = |B|_F^2, E M_ij M_jk M_ki = tr B^3, and likewise around four, over
    indices that all differ.

    Args:
        forms: symmetric, 0 on the diagonal, shape (held, held).
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
    # Ways i-j-i-l and i-j-k-j go back over an index: they are taken off the trace of M^4.
    around = twice.square().sum() - 2 * squares.sum(1).square().sum() + squares.square().sum()
    fourth = float(around) / (pairs * (n - 2) * (n - 3))
    return norm2 * unit**2, max(-1.0, min(1.0, third / norm2**1.5)), max(0.0, fourth / norm2**2)


def _quantiles(skewness: float, kurtosis: float, *, probes: int, held: int) -> tuple[float, float]:
    """Both ends of what the estimate's error, in units of its estimated deviation, is with a chance of `LEVEL`.

    Where few eigenvalues are left, the mean over `probes` vectors is far from normal, and its estimated deviation is
    small where the mean is small. Both are so for a multiple of a chi-squared. So we take that with the skewness of the
    mean: this is exact where one eigenvalue is left, and the normal distribution where many are.

    Args:
        skewness: tr B^3 / |B|_F^3.
        kurtosis: tr B^4 / |B|_F^4.
    """
    from scipy.special import chdtri, stdtrit

    below, above = (1 - LEVEL) / 2, (1 + LEVEL) / 2
    # The relative variance of the estimated |B|_F^2, less what it has in common with the mean, is 2 / freedom.
    freedom = 2 / (8 / held * max(0.0, kurtosis - skewness**2) + 4 / (held * (held - 1)))
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
