"""Several updates of the weights as one function of tensors, and as the graph of what it computes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.optim import SGD, Adam, AdamW, Optimizer

from critbatch.tasks.data import Examples, Tree, leaves, map_tree
from critbatch.tasks.task import Task

# The updates of torch's SGD and Adam as functions of tensors, for a graph that holds several of them.
#
# `torch.optim` changes weights in place and takes the learning rate as a number: a graph made of it would be made anew
# at every change of the rate. These are the same sums, with the rate as a tensor.

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


@dataclass(frozen=True)
class Slot:
    """A weight that the optimizer moves."""

    name: str
    weight: nn.Parameter
    group: dict[str, Any]
    state_names: tuple[str, ...]


class Tensors:
    """The live tensors of a training in the order in which a graph takes them.

    Args:
        model: its parameters and buffers.
        optimizer: its state.
        data: all of it.
        moving: the names of the parameters that get a gradient and that the optimizer moves.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, data: Examples, moving: list[str]) -> None:
        self.model, self.optimizer, self.data = model, optimizer, data
        named = dict(model.named_parameters())
        group_of = {weight: group for group in optimizer.param_groups for weight in group["params"]}
        self.slots = [Slot(name, named[name], group := group_of[named[name]], state_names(group)) for name in moving]
        self.fixed: dict[str, Tensor] = {**named, **dict(model.named_buffers())}
        for name in moving:
            del self.fixed[name]
        self._constants = [*self.fixed.values(), *leaves(data.inputs), *leaves(data.targets)]

    def moving(self) -> list[Tensor]:
        """What a step changes: the weights, then their states. Read anew, since `load_state_dict` replaces states."""
        state = self.optimizer.state
        states = [state[slot.weight].get(name) for slot in self.slots for name in slot.state_names]
        return [*(slot.weight for slot in self.slots), *states]

    def flat_weights(self) -> Tensor:
        """A copy of the moving weights, in one row."""
        return torch.cat([slot.weight.detach().flatten() for slot in self.slots])

    def constant(self) -> list[Tensor]:
        """What a step reads only."""
        return self._constants

    def detached(self) -> list[Tensor]:
        """All of them, sharing memory, outside of autograd."""
        return [tensor.detach() for tensor in (*self.moving(), *self.constant())]

    def empty_states(self) -> list[State]:
        """The states' shapes and layouts, without memory."""
        states = [(self.optimizer.state[slot.weight], slot.state_names) for slot in self.slots]
        return [{name: torch.empty_like(state[name], device="meta") for name in names} for state, names in states]

    def fill_states(self, empty: list[State]) -> None:
        """Give the moving weights the states of before the first step, where they have none, in the given layouts."""
        for slot, like in zip(self.slots, empty, strict=True):
            state = self.optimizer.state[slot.weight]
            for name in slot.state_names:
                if state.get(name) is None:
                    state[name] = torch.zeros_like(like[name], device=slot.weight.device)

    def set_learning_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate


def trace_steps(task: Task, tensors: Tensors, indices: Tensor, rates: Tensor) -> GraphModule:
    """The graph of one step for each row of indices. It changes the moving tensors in place and returns the losses.

    Args:
        task: how batches are prepared, and the loss.
        tensors: what the graph will be given; only shapes and layouts are read.
        indices: shape (count, batch_size), int64.
        rates: the learning rates, shape (count,), float64.

    Returns:
        A module that takes `[*tensors.moving(), *tensors.constant(), indices, rates]` and gives a tuple of the losses,
        shape (count,).
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    def steps(*flat: Tensor) -> tuple[Tensor]:
        remaining = iter(flat)
        old = [next(remaining) for _ in tensors.moving()]
        fixed = {name: next(remaining) for name in tensors.fixed}
        inputs = map_tree(lambda _: next(remaining), tensors.data.inputs)
        targets = map_tree(lambda _: next(remaining), tensors.data.targets)
        data = Examples(inputs, targets)
        rows, rates = remaining
        new, losses = old, []
        for row, rate in zip(rows.unbind(), rates.unbind(), strict=True):
            new, loss = _one_step(task, tensors, new, fixed, data.take(row), rate)
            losses.append(loss)
        for before, after in zip(old, new, strict=True):
            before.copy_(after)
        return (torch.stack(losses),)

    trace = make_fx(
        steps,
        decomposition_table={torch.ops.aten.mm.default: _outer_product},
        tracing_mode="fake",
        # A loss or a `prepare` may hold tensors of its own, such as the weights of classes.
        _allow_non_fake_inputs=True,
    )
    return trace(*tensors.detached(), indices, rates)


def _one_step(
    task: Task, tensors: Tensors, flat: list[Tensor], fixed: dict[str, Tensor], batch: tuple[Tree, Tree], rate: Tensor
) -> tuple[list[Tensor], Tensor]:
    slots = tensors.slots
    remaining: Iterator[Tensor] = iter(flat)
    weights = [next(remaining).detach().requires_grad_() for _ in slots]
    states: list[State] = [{name: next(remaining) for name in slot.state_names} for slot in slots]
    named = {slot.name: weight for slot, weight in zip(slots, weights, strict=True)} | fixed

    def model(*positional: Any, **keywords: Any) -> Any:
        return torch.func.functional_call(tensors.model, named, positional, keywords)

    inputs, targets = batch
    with torch.enable_grad():
        loss = task.loss(task.forward(model, inputs), targets).mean()  # type: ignore[arg-type]
        gradients = torch.autograd.grad(loss, weights)
    with torch.no_grad():
        pairs = [
            updated(tensors.optimizer, slot.group, weight, gradient, state, rate)
            for slot, weight, gradient, state in zip(slots, weights, gradients, states, strict=True)
        ]
    new_states = [state[name] for slot, (_, state) in zip(slots, pairs, strict=True) for name in slot.state_names]
    return [*(weight for weight, _ in pairs), *new_states], loss.detach()


def _outer_product(left: Tensor, right: Tensor) -> Tensor:
    """A product of a column and a row as a product of numbers, which fuses with the update that reads it.

    The gradient of a linear layer's weight for a batch of one example is such a product.
    """
    return left * right if left.shape[1] == 1 else NotImplemented
