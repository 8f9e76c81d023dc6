"""Where the eigenvalues of a symmetric matrix lie."""

from __future__ import annotations

import torch
from torch import Tensor

from critbatch.errors import UserError
from critbatch.measure.inner_products import random_direction
from critbatch.measure.lanczos import Krylov, Product
from critbatch.records.loss_surface import Density


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
