"""Squared norms of gradients, as exact for a large one as for a small one."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

_HALF = (torch.float16, torch.bfloat16)


def squares(grads: Iterable[Tensor | None], metric: list[Tensor] | None = None) -> Tensor:
    """The squared norm of each gradient, and below it that in the metric where there is one. Shape (rows, weights).

    Float16 and bfloat16 are squared in float32. A gradient that is None counts 0.
    """
    grads = list(grads)
    found = {i: grad.float() if grad.dtype in _HALF else grad for i, grad in enumerate(grads) if grad is not None}
    if not found:
        return torch.zeros(1 if metric is None else 2, len(grads))
    first = next(iter(found.values()))
    values = list(found.values())
    rows = [values]
    if metric is not None:
        rows.append(list(torch._foreach_mul(values, [metric[i] for i in found])))
    norms2 = torch.stack([squared_norms(row) for row in rows])
    if len(found) == len(grads):
        return norms2
    whole = torch.zeros(len(rows), len(grads), dtype=first.dtype, device=first.device)
    whole[:, list(found)] = norms2
    return whole


def squares_of(grad: Tensor, factors: Tensor | None = None) -> Tensor:
    """The squared norm of one gradient, and behind it that in the metric where there is one. Shape (rows,)."""
    wide = grad.float() if grad.dtype in _HALF else grad
    if factors is None:
        return squared_norm(wide)[None]
    return torch.stack([squared_norm(wide), squared_norm(wide * factors)])


# Elements of one sum: over that many of float32 a scalar product is right to 1e-5. Torch's norm on a CPU is not, nor
# as fast: over 25 million it is 0.1 % too small.
PIECE = 1 << 22


def squared_norm(tensor: Tensor) -> Tensor:
    """Shape ()."""
    flat = tensor.reshape(-1)
    if len(flat) <= PIECE or tensor.device.type != "cpu":
        return torch.dot(flat, flat)
    return torch.stack([torch.dot(piece, piece) for piece in torch.split(flat, PIECE)]).sum()


def squared_norms(tensors: list[Tensor]) -> Tensor:
    """The squared norm of each tensor, shape (tensors,)."""
    if tensors[0].device.type != "cpu":
        return torch.stack(torch._foreach_norm(tensors)).square()
    return torch.stack([squared_norm(tensor) for tensor in tensors])
