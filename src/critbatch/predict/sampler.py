"""Draws from a posterior whose prior is a standard normal: sequential Monte Carlo, vectorized over the draws."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from scipy.optimize import brentq

from critbatch.predict.law import Array

MOVES = 6


def sample_posterior(
    log_likelihood: Callable[[Array], Array], *, dimensions: int, draws: int, generator: Generator
) -> Array:
    """Draws of z with density in proportion to `normal(z) * exp(log_likelihood(z))`, shape (draws, dimensions).

    The draws begin as the prior's and the likelihood is warmed in from power 0 to 1: at each stage by as much as leaves
    half of them effective, then they are drawn anew by weight and moved by Metropolis steps with their own covariance.
    A chain from one start would not find the second of two hills, and with a few runs there are two: all rates tried
    may lie below the best one or above it. Del Moral, Doucet and Jasra 2006, "Sequential Monte Carlo samplers",
    section 3; the choice of the stages is Jasra et al. 2011, "Inference for Lévy-driven stochastic volatility models",
    section 3.2.

    Args:
        log_likelihood: of z, shape (draws, dimensions), to shape (draws,); finite.
        dimensions: of z.
        draws: how many.
        generator: the only source of chance.
    """
    z = generator.standard_normal((draws, dimensions))
    fit = log_likelihood(z)
    power = 0.0
    while power < 1.0:
        step = _stage(fit, 1.0 - power)
        power = min(1.0, power + step)
        chosen = _resample(_weights(step * fit), generator)
        z, fit = z[chosen], fit[chosen]
        covariance = np.cov(z, rowvar=False) + 1e-9 * np.eye(dimensions)
        spread = np.asarray(np.linalg.cholesky(covariance), dtype=np.float64)
        for _ in range(MOVES if power < 1.0 else 3 * MOVES):
            z, fit = _move(z, fit, power, spread, log_likelihood, generator)
    return z


def _weights(log_weights: Array) -> Array:
    weights = np.exp(log_weights - log_weights.max())
    return np.asarray(weights / weights.sum())


def _stage(fit: Array, left: float) -> float:
    """By how much the power may rise and leave half of the draws effective."""

    def spare(step: float) -> float:
        return float(1 / np.square(_weights(step * fit)).sum() - len(fit) / 2)

    return left if spare(left) >= 0 else float(brentq(spare, 0.0, left, rtol=1e-3))


def _resample(weights: Array, generator: Generator) -> Array:
    """Indices, each in proportion to its weight: systematic, so that equal weights keep every draw once."""
    count = len(weights)
    places = (generator.random() + np.arange(count)) / count
    return np.minimum(np.searchsorted(np.cumsum(weights), places), count - 1)


def _move(
    z: Array, fit: Array, power: float, spread: Array, log_likelihood: Callable[[Array], Array], generator: Generator
) -> tuple[Array, Array]:
    """One Metropolis step of every draw."""
    count, dimensions = z.shape
    # Between the best step for a normal density and a short one, for densities that bend.
    length = 2.38 / np.sqrt(dimensions) * generator.choice((1.0, 0.4), size=(count, 1))
    there = z + length * (generator.standard_normal((count, dimensions)) @ spread.T)
    fit_there = log_likelihood(there)
    gain = power * (fit_there - fit) + (np.square(z).sum(1) - np.square(there).sum(1)) / 2
    accept = np.log(generator.random(count)) < gain
    return np.where(accept[:, None], there, z), np.where(accept, fit_there, fit)
