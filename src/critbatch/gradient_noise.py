"""The gradient noise scale: the arithmetic that all ways of measuring it feed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from critbatch.records.core import NoiseScale

FEWEST_PAIRS = 8


def noise_scale(
    small_norm2: Tensor, big_norm2: Tensor, *, small: float, big: float, examples: float = math.inf
) -> NoiseScale:
    """Separate the gradient's signal from its noise, given its squared norm at two batch sizes.

    ``E|g_B|^2 = |G|^2 + tr(Sigma) (1/B - 1/N)`` holds at both sizes: two equations, two unknowns. Each answer is
    unbiased, their ratio is not: average the norms over steps before you call this.
    McCandlish et al. 2018, arXiv:1812.06162, appendix A.1; 1/N for batches drawn without replacement.

    Args:
        small_norm2: mean of ``|g|^2`` over batches of `small` examples. Shape ().
        big_norm2: the same over batches of `big` examples. Shape (), same device.
        small: examples in a small batch; of batches of several sizes, the harmonic mean.
        big: examples in a big batch.
        examples: N, what the batches are drawn from; infinite where they are drawn anew.

    Raises:
        ValueError: if `small` is not below `big`: the two equations would be one.

    >>> from torch import tensor
    >>> scale = noise_scale(tensor(3.0), tensor(1.5), small=1, big=4)
    >>> scale.gradient_norm2, scale.covariance_trace, scale.examples
    (1.0, 2.0, 2.0)
    """
    noise, signal = separate(small_norm2, big_norm2, small=small, big=big, examples=examples)
    return NoiseScale(gradient_norm2=signal.item(), covariance_trace=noise.item())


Numbers = TypeVar("Numbers", Tensor, np.ndarray)


def separate(
    small_norm2: Numbers, big_norm2: Numbers, *, small: float, big: float, examples: float = math.inf
) -> tuple[Numbers, Numbers]:
    """``tr(Sigma)`` and ``|G|^2`` as in `noise_scale`, of tensors or arrays of any shape, with no wait for a device."""
    if small >= big:
        raise ValueError(f"`small` must be below `big`, but got {small=}, {big=}.")
    noise = (small_norm2 - big_norm2) / (1 / small - 1 / big)
    return noise, (big * big_norm2 - small * small_norm2) / (big - small) + noise / examples


def average(scales: Sequence[NoiseScale], *, level: float = 0.95) -> NoiseScale:
    """Signal and noise averaged over the steps, then divided, with Fieller's interval of the ratio."""
    noise = torch.tensor([scale.covariance_trace for scale in scales], dtype=torch.float64)
    signal = torch.tensor([scale.gradient_norm2 for scale in scales], dtype=torch.float64)
    return average_pairs(noise, signal, level=level)


def average_pairs(noise: Tensor, signal: Tensor, *, level: float = 0.95) -> NoiseScale:
    """The `average` of ``tr(Sigma)`` and ``|G|^2`` of each step, both of shape (steps,).

    The interval takes the steps as independent: their batches are, their weights drift slowly. It is open to the right
    (`high` is None) where the signal cannot be told from zero. Fieller 1954, "Some problems in interval estimation".
    """
    pairs = len(noise)
    mean = NoiseScale(
        gradient_norm2=signal.mean().item(), covariance_trace=noise.mean().item(), pairs=pairs, level=level
    )
    if pairs < FEWEST_PAIRS:
        return replace(mean, reason="too_few_pairs")
    covariance = torch.cov(torch.stack([noise, signal])) / pairs
    low, high = _fieller(mean.covariance_trace, mean.gradient_norm2, covariance.tolist(), pairs=pairs, level=level)
    return replace(mean, low=low, high=high, reason="" if high is not None else "noise_not_distinguishable")


def _fieller(
    noise: float, signal: float, covariance: list[list[float]], *, pairs: int, level: float
) -> tuple[float | None, float | None]:
    """The ratios r with (noise - r signal)^2 <= t^2 var(noise - r signal)."""
    from scipy.special import stdtrit

    t2 = float(stdtrit(pairs - 1, (1 + level) / 2)) ** 2
    (var_noise, both), (_, var_signal) = covariance
    a, b, c = signal**2 - t2 * var_signal, noise * signal - t2 * both, noise**2 - t2 * var_noise
    root2 = b**2 - a * c
    if root2 < 0:
        return None, None
    root = math.sqrt(root2)
    if a > 0 and signal > 0:
        return max(0.0, (b - root) / a), max(0.0, (b + root) / a)
    # The signal may be zero, so that any larger ratio is possible.
    above = max((b - root) / a, (b + root) / a) if a else 0.0
    return max(0.0, above), None
