"""The lines of LAMB's algorithm as functions of tensors."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import torch
from torch import Tensor

from critbatch.optimizers.memory import blocks, length_in_graph
from critbatch.squared_norms import squared_norm

Number = TypeVar("Number", float, Tensor)

CACHED = 131_072  # Elements: five vectors of them stay in a second-level cache of 2 MiB, by and large.
# From this ratio |decay x| / |r| on, u itself is squared: below it, the few digits that a scalar product of r and x has
# (see `squared_norms.ROW`) are enough for five of |u|.
LARGE_DECAY = 0.02


def lamb_ratio(
    weight_norm: Number, direction_norm: Number, *, phi_bounds: tuple[float, float] | None, max_ratio: float | None
) -> Number:
    """phi(|x|) / |u| of algorithm 2, line 11; 1 where one of them is zero, as the authors say of their code."""
    low, high = phi_bounds or (0.0, math.inf)
    most = math.inf if max_ratio is None else max_ratio
    if isinstance(weight_norm, Tensor):
        ratio = (weight_norm.clamp(low, high) / direction_norm).clamp(max=most)
        return torch.where((weight_norm > 0) & (direction_norm > 0), ratio, 1.0)
    # Among large tensors numbers are worth a formula of their own: each operation on a tensor finds its cache emptied.
    if not (weight_norm > 0 and direction_norm > 0):
        return 1.0
    return min(min(max(weight_norm, low), high) / direction_norm, most)


def lamb_direction(
    weight: Tensor,
    grad: Tensor,
    mean: Tensor,
    square: Tensor,
    *,
    betas: tuple[float, float],
    corrections: tuple[float | Tensor, float | Tensor],
    eps: float,
    weight_decay: float,
) -> Tensor:
    """u of algorithm 2, lines 5 to 10: Adam's direction and the decay. Changes `mean` and `square`.

    Args:
        corrections: 1 - beta^t of both moments, or 1 without bias correction.
    """
    mean.lerp_(grad, 1 - betas[0])
    square.mul_(betas[1]).addcmul_(grad, grad, value=1 - betas[1])
    length = (square / corrections[1]).sqrt_().add_(eps)
    return (mean / corrections[0]).div_(length).add_(weight, alpha=weight_decay)


def whole_step(
    weight: Tensor,
    grad: Tensor,
    mean: Tensor,
    square: Tensor,
    lr: Tensor,
    mean_correction: Tensor,
    square_correction: Tensor,
    *,
    adapt: bool,
    bounds: dict[str, Any],
    **settings: Any,
) -> Tensor:
    corrections = mean_correction, square_correction
    direction = lamb_direction(weight, grad, mean, square, corrections=corrections, **settings)
    ratio = torch.ones((), dtype=weight.dtype, device=weight.device)
    if adapt:
        sizes = length_in_graph(weight), length_in_graph(direction)
        ratio = lamb_ratio(*sizes, **bounds)
    weight.sub_(direction * (lr * ratio))
    return ratio


def bias_corrections(group: dict[str, Any], step: Tensor) -> tuple[float | Tensor, float | Tensor]:
    """1 - beta^t for both moments: numbers, or tensors where the count of steps is on another device."""
    if not group["bias_correction"]:
        return 1.0, 1.0
    if step.device.type == "cpu":
        count = step.item()
        return 1 - group["betas"][0] ** count, 1 - group["betas"][1] ** count
    first, second = (correction_on_device(step, beta) for beta in group["betas"])
    return first, second


def correction_on_device(step: Tensor, beta: float) -> Tensor:
    """1 - beta^t without asking for the count of steps t. In float32, 1 - 0.999 ** 1 is wrong in its fifth digit."""
    return -torch.expm1(step * math.log(beta)) if beta else torch.ones_like(step)


def adam_in_memory(
    group: dict[str, Any], vectors: list[Tensor], step: Tensor, *, shrink: Tensor | None, lr: float
) -> None:
    """A plain step of Adam by torch's fused kernel, which walks through memory once."""
    weight, grad, mean, square = vectors
    given = grad if shrink is None else grad * shrink
    settings = _kernel(group, lr=lr, weight_decay=0.0)
    torch._fused_adamw_([weight], [given], [mean], [square], [], _steps(group, step), **settings)


def adam_direction_in_memory(
    group: dict[str, Any], vectors: list[Tensor], target: Tensor, step: Tensor, *, shrink: Tensor | None
) -> tuple[float, float]:
    """Adam's direction r into `target`, which must be finite, and the norms of the weight x and of u = r + decay x.

    AdamW with the rate and the decay at -1 makes 0 of what lies in the weight's place, and adds its direction to it.
    """
    adamw, decay = torch._fused_adamw_, group["weight_decay"]
    settings, steps = _kernel(group, lr=-1.0, weight_decay=-1.0), _steps(group, step)
    weight_norm2 = norm2 = 0.0
    for weight, grad, mean, square, direction in blocks(*vectors, target, size=CACHED):
        given = grad if shrink is None else grad * shrink
        adamw([direction], [given], [mean], [square], [], steps, **settings)
        own, of_weight = squared_norm(direction).item(), squared_norm(weight).item()
        if decay * math.sqrt(of_weight) > LARGE_DECAY * math.sqrt(own):
            norm2 += squared_norm(direction.add(weight, alpha=decay)).item()
        elif decay:
            norm2 += own + decay * (2 * torch.dot(direction, weight).item() + decay * of_weight)
        else:
            norm2 += own
        weight_norm2 += of_weight
    return math.sqrt(weight_norm2), math.sqrt(norm2)


def _steps(group: dict[str, Any], step: Tensor) -> list[Tensor]:
    # After infinitely many steps there is nothing to correct.
    return [step if group["bias_correction"] else torch.full_like(step, math.inf)]


def _kernel(group: dict[str, Any], **rates: float) -> dict[str, Any]:
    beta1, beta2 = group["betas"]
    return {"beta1": beta1, "beta2": beta2, "eps": group["eps"], "amsgrad": False, "maximize": False, **rates}
