"""An example's gradient as a sum of outer products, for the layers whose gradients are such sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight

from critbatch.optim.norms import ROW

_HALF = (torch.float16, torch.bfloat16)


def in_float32(tensor: Tensor) -> Tensor:
    """Float16 and bfloat16 as float32: squares of small numbers would vanish in them."""
    return tensor.float() if tensor.dtype in _HALF else tensor


def row_norms2(tensor: Tensor) -> Tensor:
    """The squared norm of what stands at each place of the first axis, shape (len(tensor),).

    In one pass over memory: a square and a sum take three times as long. In pieces, whose squares are then added up
    pairwise, so that float32 is right to five digits on every processor: `vector_norm` adds one after the other where
    it has no wide registers, and is 0.3 % too small over some millions.
    """
    rows = tensor.reshape(len(tensor), -1)
    whole = rows.shape[1] // ROW * ROW
    rest: Tensor = torch.linalg.vector_norm(rows[:, whole:], dim=1).square()
    if whole == 0:
        return rest
    pieces: Tensor = torch.linalg.vector_norm(rows[:, :whole].reshape(len(rows), -1, ROW), dim=2)
    return pieces.square().sum(1) + rest


@dataclass(frozen=True)
class Factors:
    """The gradient of example i is ``sum_t left[i, t] right[i, t]^T``, reshaped to the weight's shape.

    Args:
        left: shape (batch, places, rows).
        right: shape (batch, places, columns).
    """

    left: Tensor
    right: Tensor

    def norms2(self) -> Tensor:
        """The squared norm of each example's gradient, shape (batch,), by the cheaper of two ways.

        Either the Gram matrices of both factors, which are places by places, or the gradients themselves.
        """
        left, right = in_float32(self.left), in_float32(self.right)
        _, places, rows = left.shape
        columns = right.shape[2]
        if places == 1:
            return row_norms2(left) * row_norms2(right)
        if places * (rows + columns) <= rows * columns:
            return (torch.bmm(left, left.mT) * torch.bmm(right, right.mT)).sum((1, 2))
        return row_norms2(torch.bmm(left.mT, right))

    def gradients(self) -> Tensor:
        """Shape (batch, rows, columns)."""
        return torch.bmm(in_float32(self.left).mT, in_float32(self.right))

    def total(self) -> Tensor:
        """The sum over the examples, shape (rows, columns)."""
        return in_float32(self.left).flatten(0, 1).mT @ in_float32(self.right).flatten(0, 1)

    def joined(self, other: Factors) -> Factors:
        """The factors of the sum of both gradients."""
        return Factors(torch.cat([self.left, other.left], 1), torch.cat([self.right, other.right], 1))


def of_linear(inputs: Tensor, slopes: Tensor) -> Factors:
    """Inputs (batch, ..., in) and slopes of the outputs (batch, ..., out)."""
    batch = len(inputs)
    return Factors(slopes.reshape(batch, -1, slopes.shape[-1]), inputs.reshape(batch, -1, inputs.shape[-1]))


def of_convolution(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, inputs: Tensor, slopes: Tensor) -> Factors:
    """For a convolution: a place is a place of the output, a column one input that its kernel sees.

    Groups are put side by side in the batch: shape (batch * groups, places, ...).
    """
    dimensions = inputs.ndim - 2
    if layer.padding_mode != "zeros":
        padded = F.pad(inputs, layer._reversed_padding_repeated_twice, mode=layer.padding_mode)
        padding = (0,) * dimensions
    elif isinstance(layer.padding, str):
        padded = F.pad(inputs, layer._reversed_padding_repeated_twice)
        padding = (0,) * dimensions
    else:
        padded, padding = inputs, tuple(int(side) for side in layer.padding)
    columns = _columns(padded, layer, padding)
    batch, groups = len(inputs), layer.groups
    places = slopes[0, 0].numel()
    right = columns.reshape(batch * groups, -1, places)
    left = slopes.reshape(batch * groups, -1, places)
    return Factors(left.mT, right.mT)


def convolution_gradients(layer: nn.Conv2d, inputs: Tensor, slopes: Tensor) -> Tensor:
    """The gradients themselves, shape (batch, *weight), as those of one convolution with a group for each example.

    On a CPU this is faster than unfolding the inputs, 1.4 to 2.2 times on the layers of `zoo.models.CNN`.
    """
    batch = len(inputs)
    padding: Any = layer.padding
    if layer.padding_mode != "zeros" or isinstance(padding, str):
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        inputs, padding = F.pad(inputs, layer._reversed_padding_repeated_twice, mode=mode), 0
    joined: Tensor = conv2d_weight(  # type: ignore[no-untyped-call]
        inputs.reshape(1, -1, *inputs.shape[2:]),
        (batch * layer.weight.shape[0], *layer.weight.shape[1:]),
        slopes.reshape(1, -1, *slopes.shape[2:]),
        stride=layer.stride,
        padding=padding,
        dilation=layer.dilation,
        groups=batch * layer.groups,
    )
    return joined.view(batch, *layer.weight.shape)


def _columns(inputs: Tensor, layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, padding: tuple[int, ...]) -> Tensor:
    """What each place of the kernel sees, shape (batch, channels * kernel, places)."""
    kernel, stride, dilation = layer.kernel_size, layer.stride, layer.dilation
    if inputs.ndim == 4:
        return F.unfold(inputs, kernel, dilation=dilation, padding=padding, stride=stride)
    if any(padding):
        inputs = F.pad(inputs, [side for size in reversed(padding) for side in (size, size)])
    windows = inputs
    for axis, (size, step, gap) in enumerate(zip(kernel, stride, dilation, strict=True)):
        windows = windows.unfold(2 + axis, (size - 1) * gap + 1, step)[..., ::gap]
    # (batch, channels, places..., kernel...) to (batch, channels * kernel, places)
    spots = inputs.ndim - 2
    order = (0, 1, *range(2 + spots, 2 + 2 * spots), *range(2, 2 + spots))
    places = windows.shape[2 : 2 + spots].numel()
    return windows.permute(order).reshape(len(inputs), -1, places)


def embedding_norms2(indices: Tensor, slopes: Tensor, *, skipped: int | None) -> Tensor:
    """For an embedding: places with the same index add up, the others are orthogonal. Shape (batch,).

    Args:
        indices: shape (batch, ...).
        slopes: of the outputs, shape (batch, ..., width).
        skipped: the index whose row gets no gradient.
    """
    batch = len(indices)
    flat, slopes = indices.reshape(batch, -1), in_float32(slopes.reshape(batch, -1, slopes.shape[-1]))
    same = flat[:, :, None] == flat[:, None, :]
    if skipped is not None:
        same &= (flat != skipped)[:, :, None]
    return (torch.bmm(slopes, slopes.mT) * same).sum((1, 2))
