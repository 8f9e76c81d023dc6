"""The lines of LAMB's algorithm as functions of tensors."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from critbatch.optimizers.memory import blocks


def lamb_ratio(
    weight_norm: Tensor, direction_norm: Tensor, *, phi_bounds: tuple[float, float] | None, max_ratio: float | None
) -> Tensor:
    """phi(|x|) / |u| of algorithm 2, line 11; 1 where one of them is zero, as the authors say for their code."""
    length = weight_norm if phi_bounds is None else weight_norm.clamp(*phi_bounds)
    ratio = length / direction_norm
    if max_ratio is not None:
        ratio = ratio.clamp(max=max_ratio)
    return torch.where((weight_norm > 0) & (direction_norm > 0), ratio, 1.0)


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
        sizes = torch.linalg.vector_norm(weight), torch.linalg.vector_norm(direction)
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
    # In float32, 1 - 0.999 ** 1 is wrong in its fifth digit, and this is not.
    first, second = (-torch.expm1(step * math.log(beta)) if beta else torch.ones_like(step) for beta in group["betas"])
    return first, second


def adam_in_memory(
    group: dict[str, Any],
    target: Tensor,
    grad: Tensor,
    mean: Tensor,
    square: Tensor,
    step: Tensor,
    *,
    lr: float,
    weight_decay: float,
) -> None:
    """AdamW by torch's fused kernel, which walks through memory once."""
    torch._fused_adamw_(
        [target],
        [grad],
        [mean],
        [square],
        [],
        [step if group["bias_correction"] else torch.full_like(step, math.inf)],
        lr=lr,
        beta1=group["betas"][0],
        beta2=group["betas"][1],
        weight_decay=weight_decay,
        eps=group["eps"],
        amsgrad=False,
        maximize=False,
    )


def direction_in_memory(
    group: dict[str, Any], vectors: list[Tensor], target: Tensor, step: Tensor, *, shrink: Tensor | None
) -> tuple[Tensor, Tensor]:
    """`lamb_direction` into `target`, which must be finite, and the norms of the weight and of the direction.

    AdamW with the rate and the decay at -1 makes 0 of what lies in the weight's place, and adds its direction to it.
    """
    weight_norm2 = norm2 = 0.0
    for weight, grad, mean, square, direction in blocks(*vectors, target):
        given = grad if shrink is None else grad * shrink
        adam_in_memory(group, direction, given, mean, square, step, lr=-1.0, weight_decay=-1.0)
        direction.add_(weight, alpha=group["weight_decay"])
        norm2 += torch.dot(direction, direction).item()
        weight_norm2 += torch.dot(weight, weight).item()
    weight_norm, norm = torch.tensor([weight_norm2, norm2], dtype=torch.float64).sqrt().unbind()
    return weight_norm, norm
