"""Weights moved up the slope, at which sharpness-aware minimization takes its gradient."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from critbatch.norm_statistics import statistics_held
from critbatch.optim.norms import squares


@contextmanager
def uphill(model: nn.Module, parameters: Sequence[nn.Parameter], rho: float) -> Iterator[None]:
    """Within, the weights are at ``w + rho g / |g|`` for the gradient g in `.grad`; then at w again, bit for bit.

    The norm is over all weights together. Running statistics of batch norm stay as they are meanwhile: else every batch
    would count twice. Foret et al. 2020, arXiv:2010.01412, algorithm 1, without the option for sharpness that is
    different on each device: g is that of the whole batch, so that several processes do what one does.
    """
    grads = [weight.grad for weight in parameters if weight.grad is not None]
    moved = [weight for weight in parameters if weight.grad is not None]
    norm = squares(grads).sum().sqrt()
    # A gradient of zero has no direction: the weights stay.
    scale = torch.where(norm > 0, rho / norm, torch.zeros_like(norm))
    before = [weight.detach().clone() for weight in moved]
    with torch.no_grad():
        for weight, grad in zip(moved, grads, strict=True):
            weight.addcmul_(grad, scale.to(grad))
    try:
        with statistics_held(model):
            yield
    finally:
        with torch.no_grad():
            torch._foreach_copy_([*moved], before)
