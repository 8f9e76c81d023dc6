"""Memory layout of optimizer steps on a CPU: large tensors as cache-sized blocks, small ones packed into a vector."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

from critbatch.optim.norms import squared_norm

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor import Placement


Layout: TypeAlias = "tuple[DeviceMesh, tuple[Placement, ...]]"
"""How a `DTensor` lies over processes: their mesh, and for each of its dimensions a part or a copy of the tensor."""

# Elements: a megabyte of float32. Smaller blocks need more calls; of larger ones a second-level cache keeps less.
BLOCK = 262_144


def lines(*tensors: Tensor) -> list[Tensor] | None:
    """The tensors as vectors in memory order; None if the orders differ or have gaps.

    torch's fused kernels process memory in order and ignore strides.
    """
    if not all(one.is_contiguous() for one in tensors):
        first = tensors[0]
        order = sorted(range(first.ndim), key=first.stride, reverse=True)
        tensors = tuple(one.permute(order) for one in tensors)
        if not all(one.is_contiguous() for one in tensors):
            return None
    return [one.view(-1) for one in tensors]


def blocks(*vectors: Tensor, size: int = BLOCK) -> Iterator[tuple[Tensor, ...]]:
    """Pieces of the vectors: by default those that fit into cache together."""
    whole, rest = divmod(len(vectors[0]), size)
    sizes = [size] * whole + [rest] * (rest > 0)
    # `torch.split` takes twice as long, which matters here.
    return zip(*(torch.split_with_sizes(vector, sizes) for vector in vectors), strict=True)


def norm(vector: Tensor) -> float:
    """The length of a vector."""
    return math.sqrt(squared_norm(vector).item())


def length(tensor: Tensor) -> Tensor:
    """The norm of any tensor, shape (), without waiting for its device."""
    vectors = lines(tensor) if tensor.device.type == "cpu" else None
    return torch.tensor(norm(vectors[0]), dtype=tensor.dtype) if vectors else length_in_graph(tensor)


def length_in_graph(tensor: Tensor) -> Tensor:
    """The same for a compiled kernel, which cannot read numbers from the device.

    In float32 on a CPU torch's own norm loses its third digit at 20 million elements, so the sum is made in double.
    """
    wide = torch.float64 if tensor.device.type == "cpu" else tensor.dtype
    norm: Tensor = torch.linalg.vector_norm(tensor, dtype=wide)
    return norm.to(tensor.dtype)


def layout_of(tensor: Tensor) -> Layout | None:
    """The layout of a `DTensor`; None for any other tensor."""
    # Importing the class takes seconds: where nobody has, there is none.
    if "torch.distributed.tensor" not in sys.modules:
        return None
    from torch.distributed.tensor import DTensor

    return (tensor.device_mesh, tuple(tensor.placements)) if isinstance(tensor, DTensor) else None


def own_part(tensor: Tensor) -> Tensor:
    """The local part of a `DTensor`, without a copy; any other tensor unchanged."""
    part: Any = tensor
    return tensor if layout_of(tensor) is None else part.to_local()


def lengths(tensors: list[Tensor], layout: Layout | None = None) -> Tensor:
    """The norm of each, shape (tensors,).

    Args:
        layout: how the whole tensors lie over processes, where these are this process's parts of them. The squared
            norms of the parts are then added up over the processes: every process must call this.
    """
    if layout is not None:
        from torch.distributed.tensor import DTensor, Partial

        mesh, placements = layout
        summed = [Partial() if placement.is_shard() else placement for placement in placements]
        parts = torch.stack([squared_norm(tensor) for tensor in tensors])
        whole: Tensor = DTensor.from_local(parts, mesh, summed, run_check=False).full_tensor()
        return whole.sqrt()
    if tensors[0].device.type == "cpu":
        return torch.stack([length(tensor) for tensor in tensors])
    return torch.stack(torch._foreach_norm(tensors))


def subtract(vector: Tensor, other: Tensor, scale: float, *, decay: float = 0.0) -> None:
    """vector -= scale * (other + decay * vector), as a step of torch's fused SGD: a quarter less time than `add_`."""
    torch._fused_sgd_(
        [vector],
        [other],
        [],
        weight_decay=decay,
        momentum=0.0,
        lr=scale,
        dampening=0.0,
        nesterov=False,
        maximize=False,
        is_first_step=False,
    )


def spare(buffers: dict[torch.dtype, Tensor], like: Tensor) -> Tensor:
    """Memory for a vector, reused in every step, since allocating costs more than filling. Its values are finite."""
    buffer = buffers.get(like.dtype)
    if buffer is None or len(buffer) < len(like):
        buffers[like.dtype] = buffer = torch.zeros_like(like)
    return buffer[: len(like)]


# --- small tensors packed into one vector, so that a step takes a few operations in all ------------------------------

Member = tuple[Tensor, Tensor, dict[str, Tensor]]
"""A weight, its gradient and its state."""


def working_type(weight: Tensor) -> torch.dtype:
    """The type to compute in, and of the state."""
    return torch.float32 if weight.dtype in (torch.float16, torch.bfloat16) else weight.dtype


class FlatBuffer:
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
        """Whether the pack was built from these tensors and still holds their state."""
        weights, _, states = zip(*members, strict=True)
        if list(map(id, weights)) != self._ids:
            return False
        return all(list(map(id, map(itemgetter(name), states))) == ids for name, ids in self._state_ids.items())

    def in_step(self) -> bool:
        """Whether all tensors have taken equally many steps."""
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
        """The norm of each tensor in `flat`, shape (tensors,)."""
        # The sum goes one element after another, which float32 would not stand.
        squares = flat.double().square()
        return torch.segment_reduce(squares, "sum", lengths=self._lengths, unsafe=True).sqrt_().to(flat.dtype)

    def spread(self, values: Tensor) -> Tensor:
        """The value of each tensor, (tensors,), at each of its elements."""
        return values.to(self.weight.dtype).index_select(0, self._owner)
