"""LARS, LAMB and RMSprop warm-up once more, written line by line from the papers in NumPy, one tensor at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def lars(
    weight: Array,
    grads: Sequence[Array],
    *,
    lr: float,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    trust: float = 0.001,
    variant: str = "paper",
    nesterov: bool = False,
    adapt: bool = True,
) -> Array:
    """arXiv:1708.03888, algorithm 1."""
    w, v = weight.copy(), np.zeros_like(weight)
    decay = weight_decay if adapt else 0.0
    for g in grads:
        w_norm, g_norm = np.sqrt((w * w).sum()), np.sqrt((g * g).sum())
        local = 1.0
        if adapt and w_norm > 0 and g_norm > 0:
            local = trust * w_norm / (g_norm + decay * w_norm)
        if variant == "paper":
            v = momentum * v + lr * local * (g + decay * w)
            w = w - v
        else:
            push = local * (g + decay * w)
            v = momentum * v + push
            w = w - lr * (push + momentum * v if nesterov else v)
    return w


def lamb(
    weight: Array,
    grads: Sequence[Array],
    *,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-6,
    weight_decay: float = 0.01,
    bias_correction: bool = True,
    phi_bounds: tuple[float, float] | None = None,
    max_ratio: float | None = None,
    shrink: Sequence[float] | None = None,
    adapt: bool = True,
) -> Array:
    """arXiv:1904.00962v5, algorithm 2. `shrink`: what the gradient of each step is multiplied by."""
    x, m, v = weight.copy(), np.zeros_like(weight), np.zeros_like(weight)
    decay = weight_decay if adapt else 0.0
    for t, grad in enumerate(grads, start=1):
        g = grad * (shrink[t - 1] if shrink is not None else 1.0)
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        m_hat = m / (1 - betas[0] ** t) if bias_correction else m
        v_hat = v / (1 - betas[1] ** t) if bias_correction else v
        u = m_hat / (np.sqrt(v_hat) + eps) + decay * x
        x_norm, u_norm = np.sqrt((x * x).sum()), np.sqrt((u * u).sum())
        ratio = 1.0
        if adapt and x_norm > 0 and u_norm > 0:
            phi = x_norm if phi_bounds is None else min(max(x_norm, phi_bounds[0]), phi_bounds[1])
            ratio = phi / u_norm if max_ratio is None else min(phi / u_norm, max_ratio)
        x = x - lr * ratio * u
    return x


def rmsprop_warm_up(
    weight: Array,
    grads: Sequence[Array],
    epochs: Sequence[float],
    *,
    lr: float,
    rmsprop_lr: float = 3e-4,
    weight_decay: float = 1e-4,
) -> Array:
    """arXiv:1711.04325, with the line of the transition at half its printed slope."""
    theta, m, delta = weight.copy(), np.zeros_like(weight), np.zeros_like(weight)
    for grad, epoch in zip(grads, epochs, strict=True):
        sgd = 0.5 * math.exp(2 * (epoch - 10) / 5) if epoch < 10 else min(1.0, 0.5 + (epoch - 10) / 5)
        rmsprop = (1 - sgd) * rmsprop_lr / lr
        g = grad + weight_decay * theta
        m = 0.99 * m + 0.01 * g * g
        delta = 0.9 * delta - (sgd + rmsprop / (np.sqrt(m) + 1e-8)) * g
        theta = theta + lr * delta
    return theta
