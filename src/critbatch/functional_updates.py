"""The updates of torch's SGD and Adam as functions of tensors, for a graph that holds several of them.

`torch.optim` changes weights in place and takes the learning rate as a number: a graph made of it would be made anew at
every change of the rate. These are the same sums, with the rate as a tensor.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

State = dict[str, Tensor]


def unsupported(optimizer: Optimizer) -> str:
    """Why there is no function for this optimizer, in words, or "" where there is one."""
    kind = type(optimizer)
    if kind not in (SGD, Adam, AdamW):
        return f"the optimizer is {kind.__name__}, not SGD, Adam or AdamW"
    if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
        return "the optimizer has hooks"
    for group in optimizer.param_groups:
        if group.get("dampening"):
            return f"SGD has dampening={group['dampening']}"
        if group.get("amsgrad"):
            return f"{kind.__name__} keeps the maximum of its second moments (amsgrad)"
    return ""


def state_names(group: dict[str, Any]) -> tuple[str, ...]:
    """What the optimizer keeps for each weight of a parameter group."""
    if "betas" in group:
        return ("step", "exp_avg", "exp_avg_sq")
    return ("momentum_buffer",) if group["momentum"] else ()


def updated(
    optimizer: Optimizer, group: dict[str, Any], weight: Tensor, gradient: Tensor, state: State, rate: Tensor
) -> tuple[Tensor, State]:
    """The weight and its state after a step of the optimizer. Changes nothing in place.

    Args:
        optimizer: one that is not `unsupported`.
        group: the parameter group of the weight.
        weight: of any shape.
        gradient: of the shape of `weight`.
        state: a tensor for each of `state_names(group)`; zeros before the first step.
        rate: the learning rate, shape (), float64.
    """
    if group["maximize"]:
        gradient = -gradient
    if isinstance(optimizer, SGD):
        return _sgd(group, weight, gradient, state, rate.to(weight.dtype))
    return _adam(group, weight, gradient, state, rate, decoupled=_decoupled(optimizer, group))


def _sgd(group: dict[str, Any], weight: Tensor, gradient: Tensor, state: State, rate: Tensor) -> tuple[Tensor, State]:
    if group["weight_decay"]:
        gradient = gradient + group["weight_decay"] * weight
    if not group["momentum"]:
        return weight - rate * gradient, {}
    velocity = group["momentum"] * state["momentum_buffer"] + gradient
    direction = gradient + group["momentum"] * velocity if group["nesterov"] else velocity
    return weight - rate * direction, {"momentum_buffer": velocity}


def _adam(
    group: dict[str, Any], weight: Tensor, gradient: Tensor, state: State, rate: Tensor, *, decoupled: bool
) -> tuple[Tensor, State]:
    """Kingma and Ba 2015, arXiv:1412.6980, algorithm 1; decoupled: Loshchilov and Hutter 2019, arXiv:1711.05101."""
    beta1, beta2 = group["betas"]
    if group["weight_decay"] and decoupled:
        weight = weight * (1 - rate * group["weight_decay"]).to(weight.dtype)
    elif group["weight_decay"]:
        gradient = gradient + group["weight_decay"] * weight
    step = state["step"] + 1
    mean = beta1 * state["exp_avg"] + (1 - beta1) * gradient
    square = beta2 * state["exp_avg_sq"] + (1 - beta2) * gradient * gradient
    # In float32, 1 - 0.999 ** 1 is wrong in its fifth digit.
    exact = step.double()
    mean_bias, square_bias = 1 - beta1**exact, 1 - beta2**exact
    length = square.sqrt() / square_bias.sqrt().to(weight.dtype) + group["eps"]
    weight = weight - (rate / mean_bias).to(weight.dtype) * mean / length
    return weight, {"step": step, "exp_avg": mean, "exp_avg_sq": square}


def _decoupled(optimizer: Optimizer, group: dict[str, Any]) -> bool:
    # Before torch 2.7 AdamW was a class of its own, without this entry.
    return bool(group.get("decoupled_weight_decay", isinstance(optimizer, AdamW)))
