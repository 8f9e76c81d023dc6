"""LARS, layer-wise adaptive rate scaling."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor

from critbatch.errors import UserError
from critbatch.optim.layerwise import Group, PerTensor, check_positive, check_range, check_rate, compile_step, rate_of
from critbatch.optim.packing import FlatBuffer, Layout, blocks, length, lengths, lines, norm

VARIANTS = ("paper", "mlperf")
Number = TypeVar("Number", float, Tensor)


def lars_ratio(weight_norm: Number, grad_norm: Number, *, trust: float, weight_decay: float) -> Number:
    """Algorithm 1, line 5. A tensor without length, or without gradient, takes a plain step: 1."""
    if isinstance(weight_norm, Tensor):
        ratio = trust * weight_norm / (grad_norm + weight_decay * weight_norm)
        return torch.where((weight_norm > 0) & (grad_norm > 0), ratio, 1.0)
    # Among large tensors numbers are worth a formula of their own: each operation on a tensor finds its cache emptied.
    if not (weight_norm > 0 and grad_norm > 0):
        return 1.0
    return trust * weight_norm / (grad_norm + weight_decay * weight_norm)


def lars_step(
    weight: Tensor,
    grad: Tensor,
    velocity: Tensor,
    ratio: Tensor | float,
    *,
    lr: Tensor | float,
    momentum: float,
    weight_decay: float,
    inside: bool,
    nesterov: bool,
) -> None:
    """Algorithm 1, lines 6 and 7. Changes `weight` and `velocity`, leaves `grad` alone.

    Args:
        ratio: of the tensor, or of each of its elements.
        inside: whether `lr` enters the velocity, as in the paper, or multiplies it.
    """
    push = (grad + weight_decay * weight) * (ratio * lr if inside else ratio)
    velocity.mul_(momentum).add_(push)
    direction = push.add_(velocity, alpha=momentum) if nesterov else velocity
    weight.sub_(direction if inside else direction * lr)


class LARS(PerTensor):
    """SGD with momentum whose step, for each tensor, is proportional to the norm of its weights.

    You, Gitman and Ginsburg 2017, arXiv:1708.03888, algorithm 1. `variant="paper"` is the algorithm as printed: `lr`
    enters the velocity, ``v = m v + lr ratio (g + decay w)`` and ``w = w - v``, with ``ratio = trust |w| / (|g| + decay
    |w|)``. `variant="mlperf"` is the MLPerf reference: ``v = m v + ratio (g + decay w)`` and ``w = w - lr v``. The two
    differ when `lr` changes. The LAMB paper, arXiv:1904.00962, calls another algorithm LARS (its algorithm 1): it uses
    the norm of the velocity and has no trust coefficient.

    A tensor is what the paper calls a layer. If its weights or its gradient are all zero, it takes a plain step (ratio
    1), so that it can leave zero. One-dimensional tensors (biases, and the scales and shifts of normalization layers)
    are neither adapted nor decayed, unless `adapt_one_dimensional` is set. The paper does not exclude them, but all
    later practice does (MLPerf; Jia et al. 2018, arXiv:1807.11205), because a gradient can be tiny compared with a
    bias, and the ratio is then huge. Unlike in timm and apex, the ratio also applies without weight decay.

    Args:
        params: Tensors, (name, tensor) pairs, or parameter groups. The hyper-parameters below can differ between
            groups.
        lr: A number, or a tensor with one element, which a captured graph reads at each replay.
        momentum: Factor of the velocity.
        weight_decay: Weight decay, part of the gradient and of the ratio.
        trust_coefficient: 0.001 for every batch size in the paper. Only its product with `lr` matters.
        variant: "paper" or "mlperf", see above.
        nesterov: Whether a step looks ahead by one; only with `variant="mlperf"`.
        adapt_one_dimensional: Whether to treat one-dimensional tensors like all others.
        foreach: True updates lists of tensors, which is fast on a GPU; False updates one tensor at a time; None
            chooses.
        compiled: Whether large tensors go through one compiled kernel. On a CPU this is no faster than the default.
        capturable: For CUDA graphs: `step` never waits for the device, and `lr` becomes a tensor there.

    Raises:
        UserError: If a hyper-parameter is not possible, or a gradient is sparse.

    >>> weight = torch.nn.Parameter(torch.tensor([[3.0, 4.0]]))
    >>> weight.grad = torch.tensor([[0.0, 2.0]])
    >>> LARS([weight], lr=10, momentum=0, weight_decay=0).step()
    >>> weight.detach()
    tensor([[3.0000, 3.9500]])
    """

    moments = ("momentum_buffer",)

    def __init__(
        self,
        params: Any,
        lr: float | Tensor,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        trust_coefficient: float = 0.001,
        *,
        variant: str = "paper",
        nesterov: bool = False,
        adapt_one_dimensional: bool = False,
        foreach: bool | None = None,
        compiled: bool = False,
        capturable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust_coefficient": trust_coefficient,
            "variant": variant,
            "nesterov": nesterov,
            "adapt_one_dimensional": adapt_one_dimensional,
        }
        super().__init__(params, defaults, foreach=foreach, compiled=compiled, capturable=capturable)

    def trust_ratios(self) -> dict[str | int, float]:
        """Return the ratio of each tensor in the last step.

        The keys are the names of the tensors if the parameters came with names, else their indices. Tensors that are
        not adapted, or whose norm was zero, have 1. Tensors without a gradient are left out. The call waits for the
        device. A step costs nothing more for it.
        """
        return self._last_ratios()

    def _check(self, group: Group) -> None:
        check_rate(group["lr"])
        check_range(momentum=group["momentum"], below=1)
        check_range(weight_decay=group["weight_decay"])
        check_positive(trust_coefficient=group["trust_coefficient"])
        if group["variant"] not in VARIANTS:
            raise UserError(f"variant={group['variant']!r} is not known: use {' or '.join(VARIANTS)}.")
        if group["nesterov"] and (group["variant"] == "paper" or not group["momentum"]):
            raise UserError('nesterov=True needs variant="mlperf" and a momentum above 0.')

    def _one(self, group: Group, weight: Tensor, grad: Tensor, state: dict[str, Tensor], adapt: bool) -> float | Tensor:
        velocity = state["momentum_buffer"]
        vectors = lines(weight, grad, velocity)
        if weight.device.type == "cpu" and vectors and not group["compiled"] and group["foreach"] is None:
            return _step_in_memory(group, vectors, adapt)
        ratio = torch.ones((), dtype=weight.dtype, device=weight.device)
        if adapt:
            sizes = length(weight), length(grad)
            ratio = lars_ratio(*sizes, trust=group["trust_coefficient"], weight_decay=group["weight_decay"])
        rate = torch.as_tensor(group["lr"], dtype=weight.dtype, device=weight.device)
        if group["compiled"] and vectors:
            compile_step(lars_step)(*vectors, ratio, lr=rate, **_settings(group, adapt))
        else:
            lars_step(weight, grad, velocity, ratio, lr=rate, **_settings(group, adapt))
        return ratio

    def _list(
        self,
        group: Group,
        weights: list[Tensor],
        grads: list[Tensor],
        states: list[dict[str, Tensor]],
        adapt: bool,
        layout: Layout | None,
    ) -> Tensor | None:
        lr, inside, momentum = rate_of(group["lr"]), group["variant"] == "paper", group["momentum"]
        velocities = [state["momentum_buffer"] for state in states]
        ratio: Tensor | None = None
        push = grads
        if adapt:
            decay = group["weight_decay"]
            sizes = lengths(weights, layout), lengths(grads, layout)
            ratio = lars_ratio(*sizes, trust=group["trust_coefficient"], weight_decay=decay)
            scale = ratio * lr if inside else ratio
            push = list(torch._foreach_mul(torch._foreach_add(grads, weights, alpha=decay), scale.unbind()))
        elif inside:
            push = list(torch._foreach_mul(grads, lr))
        torch._foreach_mul_(velocities, momentum)
        torch._foreach_add_(velocities, push)
        direction = velocities
        if group["nesterov"]:
            direction = list(torch._foreach_add(push, velocities, alpha=momentum))
        torch._foreach_sub_(weights, direction if inside else list(torch._foreach_mul(direction, lr)))
        return ratio

    def _pack(self, group: Group, pack: FlatBuffer, adapt: bool) -> Tensor | None:
        ratio: Tensor | None = None
        if adapt:
            sizes = pack.norms(pack.weight), pack.norms(pack.grad)
            ratio = lars_ratio(*sizes, trust=group["trust_coefficient"], weight_decay=group["weight_decay"])
        scale = 1.0 if ratio is None else pack.spread(ratio)
        lars_step(
            pack.weight,
            pack.grad,
            pack.state["momentum_buffer"],
            scale,
            lr=rate_of(group["lr"]),
            **_settings(group, adapt),
        )
        return ratio


def _settings(group: Group, adapt: bool) -> dict[str, Any]:
    return {
        "momentum": group["momentum"],
        "weight_decay": group["weight_decay"] if adapt else 0.0,
        "inside": group["variant"] == "paper",
        "nesterov": group["nesterov"],
    }


def _step_in_memory(group: Group, vectors: list[Tensor], adapt: bool) -> float:
    """Seven words an element: two for the norms, five for torch's fused SGD, whose dampening has room for the ratio."""
    weight, grad, velocity = vectors
    settings, lr = _settings(group, adapt), float(group["lr"])
    momentum, decay, inside = settings["momentum"], settings["weight_decay"], settings["inside"]
    ratio = 1.0
    if adapt:
        ratio = lars_ratio(norm(weight), norm(grad), trust=group["trust_coefficient"], weight_decay=decay)
    scale = ratio * lr if inside else ratio
    # 1 - dampening has lost its digits where the scale is next to nothing.
    if settings["nesterov"] or 0 < scale < 1e-9:
        for some, of_grad, of_velocity in blocks(weight, grad, velocity):
            lars_step(some, of_grad, of_velocity, ratio, lr=lr, **settings)
        return ratio
    torch._fused_sgd_(
        [weight],
        [grad],
        [velocity] if momentum else [],
        weight_decay=decay,
        momentum=momentum,
        lr=ratio * lr if not momentum else 1.0 if inside else lr,
        dampening=1 - scale,
        nesterov=False,
        maximize=False,
        is_first_step=False,
    )
    return ratio
