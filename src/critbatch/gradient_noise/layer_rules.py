"""For each kind of layer: the gradient of its weights for each example, from its inputs and its output gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

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
    """The squared norm of each row, that is each entry of the first axis. Shape (len(tensor),).

    It takes one pass over memory: a square and a sum take three times as long. It computes norms of pieces and adds
    their squares pairwise, so that float32 is right to five digits on every processor. `vector_norm` alone adds numbers
    one by one on processors without wide registers, and is then 0.3 % too small for millions of numbers.
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
        """The squared norm of each example's gradient, shape (batch,).

        It uses whichever is cheaper: the Gram matrices of both factors, shape (places, places), or the gradients.
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
        """The gradients of the examples, shape (batch, rows, columns)."""
        return torch.bmm(in_float32(self.left).mT, in_float32(self.right))

    def total(self) -> Tensor:
        """The sum over the examples, shape (rows, columns)."""
        return in_float32(self.left).flatten(0, 1).mT @ in_float32(self.right).flatten(0, 1)

    def joined(self, other: Factors) -> Factors:
        """The factors of the sum of both gradients."""
        return Factors(torch.cat([self.left, other.left], 1), torch.cat([self.right, other.right], 1))


def of_linear(inputs: Tensor, slopes: Tensor) -> Factors:
    """Factors of a linear layer, from inputs (batch, ..., in) and output gradients (batch, ..., out)."""
    batch = len(inputs)
    return Factors(slopes.reshape(batch, -1, slopes.shape[-1]), inputs.reshape(batch, -1, inputs.shape[-1]))


def of_convolution(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, inputs: Tensor, slopes: Tensor) -> Factors:
    """Factors of a convolution. A place is a position of the output, a column one input in the kernel's window.

    Groups are joined with the batch: shape (batch * groups, places, ...).
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
    """Gradients of a convolution, shape (batch, *weight), computed by one convolution with a group for each example.

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
    """The inputs in the kernel's window at each place, shape (batch, channels * kernel, places)."""
    kernel, stride, dilation = layer.kernel_size, layer.stride, layer.dilation
    if inputs.ndim == 4:
        return F.unfold(inputs, kernel, dilation=dilation, padding=padding, stride=stride)
    if any(padding):
        inputs = F.pad(inputs, [side for size in reversed(padding) for side in (size, size)])
    windows = inputs
    for axis, (size, step, gap) in enumerate(zip(kernel, stride, dilation, strict=True)):
        windows = windows.unfold(2 + axis, (size - 1) * gap + 1, step)[..., ::gap]
    # (batch, channels, places..., kernel...) to (batch, channels * kernel, places)
    dimensions = inputs.ndim - 2
    order = (0, 1, *range(2 + dimensions, 2 + 2 * dimensions), *range(2, 2 + dimensions))
    places = windows.shape[2 : 2 + dimensions].numel()
    return windows.permute(order).reshape(len(inputs), -1, places)


def embedding_norms2(indices: Tensor, slopes: Tensor, *, skipped: int | None) -> Tensor:
    """Squared norms for an embedding, shape (batch,). Places with the same index add up; others are orthogonal.

    Args:
        indices: shape (batch, ...).
        slopes: gradients of the outputs, shape (batch, ..., width).
        skipped: the index whose row gets no gradient.
    """
    batch = len(indices)
    flat, slopes = indices.reshape(batch, -1), in_float32(slopes.reshape(batch, -1, slopes.shape[-1]))
    same = flat[:, :, None] == flat[:, None, :]
    if skipped is not None:
        same &= (flat != skipped)[:, :, None]
    return (torch.bmm(slopes, slopes.mT) * same).sum((1, 2))


class LayerPart:
    """The part that one call of a layer adds to the gradient of one weight, for each example.

    Args:
        norms2: the squared norms, shape (batch,).
        gradients: the gradients, shape (batch, *weight).
        total: their sum over the examples, with as many numbers as the weight.
        factors: their factors, if they are sums of outer products.
    """

    def __init__(
        self,
        norms2: Callable[[], Tensor],
        gradients: Callable[[], Tensor],
        total: Callable[[], Tensor],
        factors: Factors | None = None,
    ) -> None:
        self.norms2, self.gradients, self.total, self.factors = norms2, gradients, total, factors


Parts = dict[str, LayerPart]


class Rule(NamedTuple):
    """How to compute the parts of one kind of layer.

    Args:
        parts: computes them from the layer, its input and its output gradients.
        features: how many last axes of the input the layer acts on; the axes between the batch and these are places of
            an example. None if the layer acts on all axes but the first: then an example is one row.
    """

    parts: Callable[[Any, Tensor, Tensor], Parts]
    features: Callable[[Any], int] | None


def rule_of(layer: nn.Module, names: list[str]) -> Rule | None:
    """The rule for a layer's own weights; None for an unknown kind of layer, or one that was modified.

    Args:
        layer: if a weight is computed from others (as by weight_norm or pruning), there is no rule.
        names: of its weights that need gradients.
    """
    plain = all(name in ("weight", "bias") and not layer.get_parameter(name).is_complex() for name in names)
    if not plain or "forward" in vars(layer) or isinstance(vars(layer).get("weight"), Tensor):
        return None
    if _is_conv1d_of_transformers(type(layer)):
        return Rule(_transposed_linear, lambda layer: 1)
    return next((rule for kinds, rule in _RULES if type(layer) in kinds), None)


def _is_conv1d_of_transformers(kind: type[nn.Module]) -> bool:
    return kind.__name__ == "Conv1D" and kind.__module__ == "transformers.pytorch_utils"


def part_of(gradients: Tensor) -> LayerPart:
    """A part with these gradients, shape (batch, *weight)."""
    wide = in_float32(gradients)
    return LayerPart(lambda: row_norms2(wide), lambda: wide, lambda: wide.sum(0))


def by_example(part: LayerPart, batch: int) -> LayerPart:
    """The part for examples, from the part for their rows, where the rows of an example are next to each other."""

    def gradients() -> Tensor:
        rows = part.gradients()
        return rows.view(batch, -1, *rows.shape[1:]).sum(1)

    return LayerPart(lambda: row_norms2(gradients()), gradients, part.total)


def lazily(gradients: Callable[[], Tensor]) -> LayerPart:
    """A part whose gradients are computed once, at their first use."""
    computed: list[Tensor] = []

    def wide() -> Tensor:
        if not computed:
            computed.append(in_float32(gradients()))
        return computed[0]

    return LayerPart(lambda: row_norms2(wide()), wide, lambda: wide().sum(0))


def _linear(layer: Any, inputs: Tensor, slopes: Tensor) -> Parts:
    factors = of_linear(inputs, slopes)
    return {
        "weight": LayerPart(factors.norms2, factors.gradients, factors.total, factors),
        "bias": part_of(slopes.flatten(1, -2).sum(1) if slopes.ndim > 2 else slopes),
    }


def _transposed_linear(layer: Any, inputs: Tensor, slopes: Tensor) -> Parts:
    """The linear layer of GPT-2, whose weight is (in, out)."""
    factors = of_linear(slopes, inputs)
    return {
        "weight": LayerPart(factors.norms2, factors.gradients, factors.total, factors),
        "bias": part_of(slopes.flatten(1, -2).sum(1) if slopes.ndim > 2 else slopes),
    }


def _convolution(layer: Any, inputs: Tensor, slopes: Tensor) -> Parts:
    batch = len(inputs)
    bias = part_of(slopes.flatten(2).sum(2))
    if isinstance(layer, nn.Conv2d) and inputs.device.type == "cpu":
        return {"weight": lazily(lambda: convolution_gradients(layer, inputs, slopes)), "bias": bias}
    factors = of_convolution(layer, inputs, slopes)

    def norms2() -> Tensor:
        return factors.norms2().view(batch, -1).sum(1)

    def gradients() -> Tensor:
        return factors.gradients().reshape(batch, *layer.weight.shape)

    def total() -> Tensor:
        def by_group(side: Tensor) -> Tensor:
            return in_float32(side).reshape(batch, layer.groups, *side.shape[1:]).transpose(0, 1).flatten(1, 2)

        return torch.bmm(by_group(factors.left).mT, by_group(factors.right))

    return {"weight": LayerPart(norms2, gradients, total), "bias": bias}


def _embedding(layer: Any, inputs: Tensor, slopes: Tensor) -> Parts:
    batch = len(inputs)

    def gradients() -> Tensor:
        indices = inputs.reshape(batch, -1)
        flat = in_float32(slopes.reshape(batch, -1, slopes.shape[-1]))
        if layer.padding_idx is not None:
            flat = flat * (indices != layer.padding_idx)[..., None]
        table = flat.new_zeros(batch, *layer.weight.shape)
        return table.scatter_add_(1, indices[..., None].expand_as(flat), flat)

    def total() -> Tensor:
        flat = in_float32(slopes.reshape(-1, slopes.shape[-1]))
        if layer.padding_idx is not None:
            flat = flat * (inputs.reshape(-1, 1) != layer.padding_idx)
        return flat.new_zeros(layer.weight.shape).index_add_(0, inputs.reshape(-1), flat)

    return {"weight": LayerPart(lambda: embedding_norms2(inputs, slopes, skipped=layer.padding_idx), gradients, total)}


def _layer_norm(layer: Any, inputs: Tensor, slopes: Tensor) -> Parts:
    normal = F.layer_norm(in_float32(inputs), layer.normalized_shape, eps=layer.eps)
    return _scale_and_shift(normal, in_float32(slopes), len(layer.normalized_shape))


def _rms_norm(layer: Any, inputs: Tensor, slopes: Tensor) -> Parts:
    eps = torch.finfo(inputs.dtype).eps if layer.eps is None else layer.eps
    normal = F.rms_norm(in_float32(inputs), layer.normalized_shape, eps=eps)
    return _scale_and_shift(normal, in_float32(slopes), len(layer.normalized_shape))


def _scale_and_shift(normal: Tensor, slopes: Tensor, last: int) -> Parts:
    """Parts of a scale and a shift of the last axes. The axes between the batch and these are summed over."""
    between = tuple(range(1, normal.ndim - last))
    scaled = normal * slopes
    return {
        "weight": part_of(scaled.sum(between) if between else scaled),
        "bias": part_of(slopes.sum(between) if between else slopes),
    }


def _group_norm(layer: Any, inputs: Tensor, slopes: Tensor) -> Parts:
    return _of_channels(F.group_norm(in_float32(inputs), layer.num_groups, eps=layer.eps), in_float32(slopes))


def _batch_norm_in_eval(layer: Any, inputs: Tensor, slopes: Tensor) -> Parts:
    shape = (1, -1, *[1] * (inputs.ndim - 2))
    spread = (layer.running_var + layer.eps).rsqrt()
    normal = (in_float32(inputs) - layer.running_mean.view(shape)) * spread.view(shape)
    return _of_channels(normal, in_float32(slopes))


def _of_channels(normal: Tensor, slopes: Tensor) -> Parts:
    scaled = normal * slopes
    if normal.ndim == 2:
        return {"weight": part_of(scaled), "bias": part_of(slopes)}
    return {"weight": part_of(scaled.flatten(2).sum(2)), "bias": part_of(slopes.flatten(2).sum(2))}


BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_RULES: list[tuple[tuple[type[nn.Module], ...], Rule]] = [
    ((nn.Linear,), Rule(_linear, lambda layer: 1)),
    ((nn.Conv1d, nn.Conv2d, nn.Conv3d), Rule(_convolution, None)),
    ((nn.Embedding,), Rule(_embedding, lambda layer: 0)),
    ((nn.LayerNorm,), Rule(_layer_norm, lambda layer: len(layer.normalized_shape))),
    ((nn.RMSNorm,), Rule(_rms_norm, lambda layer: len(layer.normalized_shape))),
    ((nn.GroupNorm,), Rule(_group_norm, None)),
    (BATCH_NORMS, Rule(_batch_norm_in_eval, None)),
]
