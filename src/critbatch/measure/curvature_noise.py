"""The noise scale that counts each direction by its curvature."""

from __future__ import annotations

import torch
from torch import nn

from critbatch.errors import UserError
from critbatch.gradient_noise.estimator import average, noise_scale
from critbatch.measure.products import HessianProduct
from critbatch.measure.surface import Surface
from critbatch.records.core import NoiseScale
from critbatch.records.loss_surface import Mode
from critbatch.tasks.task import Task

BATCHES_IN_PAIR = 4


def curvature_noise(
    task: Task,
    model: nn.Module,
    *,
    batch_size: int = 32,
    batches: int = 64,
    examples: int | None = 1000,
    mode: Mode = Mode.EVAL,
    double: bool = False,
    seed: int = 0,
    device: torch.device | None = None,
) -> NoiseScale:
    """``B_noise = tr(H Sigma) / G^T H G`` at one point, with its interval.

    ``E g_B^T H g_B = G^T H G + tr(H Sigma) (1/B - 1/N)`` holds at two batch sizes, as it does for the squared norm: the
    same estimator takes it. Batches are joined in fours, whose mean needs no product of its own, so the work is one
    gradient and one Hessian product a batch. McCandlish et al. 2018, arXiv:1812.06162, equation 2.8.

    Args:
        batch_size: of the small batches; they are drawn from the training set without replacement.
        batches: how many; all of one fixed set of weights.
        examples: that the Hessian is taken over; None for all.
        mode: of batch norm.
        double: compute in float64.
        seed: of the batches.

    Returns:
        ``gradient_norm2`` is ``G^T H G`` and ``covariance_trace`` is ``tr(H Sigma)``. Where the curvature along the
        gradient is not above 0, no batch size balances the two, and `reason` says so.

    Raises:
        UserError: if there are too few examples for the batches.
    """
    surface = Surface(task, model, mode=mode, double=double, device=device)
    groups = batches // BATCHES_IN_PAIR
    needed = groups * BATCHES_IN_PAIR * batch_size
    if groups < 1 or needed > surface.examples:
        raise UserError(
            f"{batches} batches of {batch_size} are not possible with {surface.examples} examples: use at least "
            f"{BATCHES_IN_PAIR} batches, and fewer or smaller ones where examples are short."
        )
    curved = Surface(task, model, examples=examples, mode=mode, double=double, device=device)
    product = HessianProduct(curved)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(surface.examples, generator=generator)[:needed].view(groups, BATCHES_IN_PAIR, batch_size)
    scales = []
    for group in order:
        gradients = torch.stack([surface.gradient(indices=rows)[1] for rows in group])
        curved_gradients = torch.stack([product(gradient) for gradient in gradients])
        small = (gradients.double() * curved_gradients).sum(1).mean()
        big = (gradients.double().mean(0) * curved_gradients.double().mean(0)).sum()
        scales.append(
            noise_scale(small, big, small=batch_size, big=BATCHES_IN_PAIR * batch_size, examples=surface.examples)
        )
    return average(scales)
