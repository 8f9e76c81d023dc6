"""Every example's gradient itself: what cheaper ways are checked against."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from critbatch.tasks.data import Tree, leaves, map_tree
from critbatch.tasks.task import Task, apply


def per_example_gradients(task: Task, model: nn.Module, inputs: Tree, targets: Tree) -> dict[str, Tensor]:
    """The gradient of each example's loss, of each weight that needs one, by ``torch.func.vmap(grad)``.

    Memory: as many copies of the weights as there are examples.

    Args:
        inputs: raw, as the task's data has them, (batch, ...).
        targets: likewise.

    Returns:
        For each weight, by its name, a tensor of shape ``(batch, *weight)``.
    """
    weights = {name: weight.detach() for name, weight in model.named_parameters() if weight.requires_grad}
    ready = task.inputs(inputs)

    def loss(own: dict[str, Tensor], one_input: Tree, one_target: Tree) -> Tensor:
        def called(*args: Any, **kwargs: Any) -> Any:
            return functional_call(model, own, args, kwargs)

        outputs = apply(called, map_tree(lambda leaf: leaf[None], one_input))
        return task.loss(outputs, map_tree(lambda leaf: leaf[None], one_target)).sum()

    with sdpa_kernel(SDPBackend.MATH):
        found: dict[str, Tensor] = vmap(grad(loss), in_dims=(None, 0, 0), randomness="different")(
            weights, ready, targets
        )
    return found


def per_example_norms2(
    task: Task, model: nn.Module, inputs: Tree, targets: Tree, *, at_once: int = 64
) -> dict[str, Tensor]:
    """The squared norms of `per_example_gradients`, shape (batch,), some examples at a time to save memory."""
    batch = len(leaves(targets)[0])
    found: list[dict[str, Tensor]] = []
    for begin in range(0, batch, at_once):
        cut = itemgetter(slice(begin, begin + at_once))
        gradients = per_example_gradients(task, model, map_tree(cut, inputs), map_tree(cut, targets))
        found.append({name: gradient.flatten(1).square().sum(1) for name, gradient in gradients.items()})
    return {name: torch.cat([norms2[name] for norms2 in found]) for name in found[0]}
