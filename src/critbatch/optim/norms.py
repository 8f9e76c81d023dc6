"""Squared norms of gradients, as exact for a large one as for a small one."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

_HALF = (torch.float16, torch.bfloat16)


def squares(grads: Iterable[Tensor | None], metric: list[Tensor] | None = None) -> Tensor:
    """The squared norm of each gradient, and below it that in the metric where there is one. Shape (rows, weights).

    Float16 and bfloat16 are squared in float32, complex numbers by their absolute value. A gradient that is None
    counts 0, and one of a sparse embedding as the dense one.
    """
    grads = [grad.to_dense() if grad is not None and grad.is_sparse else grad for grad in grads]
    wide_grads = {i: _wide(grad) for i, grad in enumerate(grads) if grad is not None}
    if not wide_grads:
        return torch.zeros(1 if metric is None else 2, len(grads))
    values = list(wide_grads.values())
    rows = [values]
    if metric is not None:
        rows.append(list(torch._foreach_mul(values, [metric[i] for i in wide_grads])))
    norms2 = torch.stack([squared_norms(row) for row in rows])
    if len(wide_grads) == len(grads):
        return norms2
    whole = torch.zeros(len(rows), len(grads), dtype=norms2.dtype, device=norms2.device)
    whole[:, list(wide_grads)] = norms2
    return whole


def _wide(grad: Tensor) -> Tensor:
    """Float16 and bfloat16 in float32; of complex numbers the real and the imaginary parts, shape (..., 2)."""
    if grad.is_complex():
        return torch.view_as_real(grad)
    return grad.float() if grad.dtype in _HALF else grad


def squares_of(grad: Tensor, factors: Tensor | None = None) -> Tensor:
    """The squared norm of one gradient, and behind it that in the metric where there is one. Shape (rows,)."""
    wide = _wide(grad)
    if factors is None:
        return squared_norm(wide)[None]
    return torch.stack([squared_norm(wide), squared_norm(wide * factors)])


# Elements of one sum. A CPU adds up float32 in a few lanes, one element after another, and rounding errors of equal
# elements all go one way: over 2^24 of them a scalar product is off by 1.2 %, over 2^14 by 1e-5, over 2^10 by 2e-6.
ROW = 1 << 10


def squared_norm(tensor: Tensor) -> Tensor:
    """The sum of ``|x|^2`` over all elements, shape (), right to five digits for any number of them.

    A norm of each row costs no more than one scalar product of everything, and sums of rows are short on any CPU.
    """
    flat = (torch.view_as_real(tensor) if tensor.is_complex() else tensor).reshape(-1)
    count = flat.numel()
    if count <= ROW or not flat.is_cpu:
        return torch.dot(flat, flat)
    rest = count % ROW
    rows = torch.linalg.vector_norm((flat[:-rest] if rest else flat).view(-1, ROW), dim=1)
    norm2 = torch.dot(rows, rows) if count <= ROW * ROW else squared_norm(rows)
    return norm2 + torch.dot(flat[-rest:], flat[-rest:]) if rest else norm2


def squared_norms(tensors: list[Tensor]) -> Tensor:
    """The squared norm of each tensor, shape (tensors,)."""
    if tensors[0].device.type != "cpu":
        return torch.stack(torch._foreach_norm(tensors)).square()
    return torch.stack([squared_norm(tensor) for tensor in tensors])
