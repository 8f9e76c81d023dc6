"""Small tensors laid out one after another, so that a step takes a few operations and not a few for each."""

from __future__ import annotations

from operator import itemgetter

import torch
from torch import Tensor

Member = tuple[Tensor, Tensor, dict[str, Tensor]]
"""A weight, its gradient and its state."""


def working_type(weight: Tensor) -> torch.dtype:
    """The type to compute in, and of the state."""
    return torch.float32 if weight.dtype in (torch.float16, torch.bfloat16) else weight.dtype


class Pack:
    """Copies of weights and gradients, and the state itself, of which each tensor's own becomes a view.

    Args:
        members: on the CPU, of one type, in the order in which they will always come.
    """

    def __init__(self, members: list[Member]) -> None:
        weights = [weight for weight, _, _ in members]
        self._ids = [id(weight) for weight in weights]
        states = [state for _, _, state in members]
        self._sizes = [weight.numel() for weight in weights]
        self._lengths = torch.tensor(self._sizes)
        self._owner = torch.repeat_interleave(torch.arange(len(weights)), self._lengths)
        self.weight = torch.empty(sum(self._sizes), dtype=working_type(weights[0]))
        self.grad = torch.empty_like(self.weight)
        self._weights, self._grads = self._views(self.weight, weights), self._views(self.grad, weights)
        self.state: dict[str, Tensor] = {}
        self._state_ids: dict[str, list[int]] = {}
        for name, first in states[0].items():
            old = [state[name] for state in states]
            flat = torch.empty(len(old), dtype=first.dtype) if name == "step" else torch.empty_like(self.weight)
            views = list(flat.unbind()) if name == "step" else self._views(flat, weights)
            torch._foreach_copy_(views, old)
            self.state[name], self._state_ids[name] = flat, list(map(id, views))
            for state, view in zip(states, views, strict=True):
                state[name] = view

    def _views(self, flat: Tensor, like: list[Tensor]) -> list[Tensor]:
        return [part.view(one.shape) for part, one in zip(torch.split(flat, self._sizes), like, strict=True)]

    def holds(self, members: list[Member]) -> bool:
        """Whether it was made of these, and their state is still the one that lies here."""
        weights, _, states = zip(*members, strict=True)
        if list(map(id, weights)) != self._ids:
            return False
        return all(list(map(id, map(itemgetter(name), states))) == ids for name, ids in self._state_ids.items())

    def in_step(self) -> bool:
        """Whether all have made equally many steps."""
        steps = self.state.get("step")
        return steps is None or bool((steps == steps[0]).all())

    def load(self, members: list[Member]) -> None:
        """Copy weights and gradients in."""
        torch._foreach_copy_(self._weights, [weight for weight, _, _ in members])
        torch._foreach_copy_(self._grads, [grad for _, grad, _ in members])

    def store(self, members: list[Member]) -> None:
        """Copy the weights out."""
        torch._foreach_copy_([weight for weight, _, _ in members], self._weights)

    def norms(self, flat: Tensor) -> Tensor:
        """Of each tensor in `flat`, shape (tensors,)."""
        # The sum goes one element after another, which float32 would not stand.
        squares = flat.double().square()
        return torch.segment_reduce(squares, "sum", lengths=self._lengths, unsafe=True).sqrt_().to(flat.dtype)

    def spread(self, values: Tensor) -> Tensor:
        """The value of each tensor, (tensors,), at each of its elements."""
        return values.to(self.weight.dtype).index_select(0, self._owner)
