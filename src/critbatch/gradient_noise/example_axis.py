"""Compare a few examples of a batch together with each alone, to check the first step."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from critbatch.errors import UserError
from critbatch.gradient_noise.layer_rules import in_float32, row_norms2
from critbatch.gradient_noise.reruns import (
    UNCLEAR,
    Layout,
    as_batch_of_one,
    floats_in,
    map_tensors,
    random_states,
    tensors_in,
    to_front,
)

# How far norms may differ, by the coarsest dtype: other sizes use other kernels.
_TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-2}
_COARSE = 1e-1
TOLERANCE = 1e-2  # of sums over examples
TOLERANCE_IN_HALF = 0.2  # autograd itself adds in low precision
_HALF = (torch.float16, torch.bfloat16)
# A share of the whole gradient's norm: smaller numbers are rounding, as in a bias whose gradient is zero.
_NEGLIGIBLE = 1e-2


class Cut(NamedTuple):
    """How a batch is cut into examples.

    Args:
        size: examples in it.
        which: for each input tensor, whether it has a row for each example; all examples share the others.
    """

    size: int
    which: tuple[bool, ...]

    def size_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        """The number of examples in another batch."""
        tensors = list(tensors_in((args, kwargs)))
        if len(tensors) == len(self.which):
            sizes = [len(tensor) for tensor, own in zip(tensors, self.which, strict=True) if own and tensor.ndim]
            if sizes:
                return sizes[0]
        return next(iter(cuts_of(args, kwargs)), self).size

    def choice(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[int]:
        """Three examples: the one with most zeros in a possible mask or padded text, the middle one and the last."""
        first = 0
        for tensor, own in zip(tensors_in((args, kwargs)), self.which, strict=True):
            if own and tensor.ndim > 1 and not tensor.is_floating_point() and not tensor.is_complex():
                first = int((tensor.detach().flatten(1) == 0).sum(1).argmax())
                if (tensor[first] == 0).any():
                    break
        return [first, self.size // 2, self.size - 1]

    def rows(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], rows: list[int]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The inputs of some examples. Row numbers beyond the last example wrap around."""
        own = iter(self.which)

        def of_rows(tensor: Tensor) -> Tensor:
            selected = tensor.detach()
            if next(own):
                selected = selected.index_select(
                    0, torch.tensor([row % self.size for row in rows], device=tensor.device)
                )
            else:
                selected = selected.clone()
            return selected.requires_grad_(tensor.requires_grad)

        changed: tuple[tuple[Any, ...], dict[str, Any]] = map_tensors(of_rows, (args, kwargs))
        return changed


def cuts_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Cut]:
    """The ways to cut a batch, the likeliest first: the length that most tensors have is the number of examples."""
    tensors = list(tensors_in((args, kwargs)))
    lengths = [len(tensor) if tensor.ndim else 0 for tensor in tensors]
    counts = Counter(length for length in lengths if length)
    for size in sorted(counts, key=lambda size: (size == 1, -counts[size])):
        which = tuple(length == size for length in lengths)
        yield Cut(size, which)
        if counts[size] > 1:  # one of them may have this length by chance
            for i in range(len(which) - 1, -1, -1):
                if which[i]:
                    yield Cut(size, (*which[:i], False, *which[i + 1 :]))


def random_slopes(outputs: list[Tensor], layouts: tuple[Layout | None, ...]) -> list[Tensor | None]:
    """Output gradients to start a backward pass: random for outputs with examples; ones if all outputs are losses."""
    generator = torch.Generator().manual_seed(0)
    slopes: list[Tensor | None] = []
    own = any(layout not in (None, UNCLEAR) for layout in layouts)
    for output, layout in zip(outputs, layouts, strict=True):
        if layout not in (None, UNCLEAR):
            drawn = torch.randn(output.shape, generator=generator, dtype=torch.float64)
            drawn /= max(1.0, math.sqrt(drawn.numel() / 3))  # of norm one for each example: float16 ends at 65,504
            slopes.append(drawn.to(device=output.device, dtype=output.dtype))
        else:
            slopes.append(None if own or output.ndim else torch.ones_like(output))
    return slopes


class Alone(NamedTuple):
    """The results of three examples of a batch, each passed alone.

    Args:
        norms2: the squared norms of their gradients, for each weight shape (3,).
        sums: the sums of these gradients.
        drawn: whether random numbers were drawn.
    """

    norms2: dict[str, Tensor]
    sums: dict[str, Tensor]
    drawn: bool


def one_at_a_time(
    root: nn.Module,
    cut: Cut,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    rows: list[int],
    slopes: list[Tensor | None],
    layouts: tuple[Layout | None, ...],
    names: dict[Tensor, str],
    restore: Callable[[], None],
) -> Alone:
    """The gradients of three examples.

    Args:
        root: the module to call.
        cut: of its inputs.
        args: of the whole batch.
        kwargs: of the whole batch.
        rows: the examples.
        slopes: gradients of its outputs for the three together; None for an output that is left out.
        layouts: of these outputs.
        names: of the weights.
        restore: restores the buffers and random states from before the run of the three together.
    """
    norms2: dict[str, list[Tensor]] = {name: [] for name in names.values()}
    sums: dict[str, Tensor] = {}
    drawn = False
    for i, row in enumerate(rows):
        restore()
        before = random_states(root)
        own_args, own_kwargs = cut.rows(args, kwargs, [row])
        outputs = [output for output in floats_in(root(*own_args, **own_kwargs)) if output.requires_grad]
        pairs = [
            (output, _of_example(slope, layout, i))
            for output, slope, layout in zip(outputs, slopes, layouts, strict=True)
            if slope is not None
        ]
        torch.autograd.backward([output for output, _ in pairs], [slope for _, slope in pairs])
        drawn |= random_states(root) != before
        for weight, name in names.items():
            grad = weight.grad
            if grad is None:
                norms2[name].append(torch.zeros((), dtype=torch.float64))
            else:
                norms2[name].append(_norm2(grad).double().cpu())
                sums[name] = sums[name] + grad if name in sums else grad.clone()
    return Alone({name: torch.stack(of_weight) for name, of_weight in norms2.items()}, sums, drawn)


def _of_example(slope: Tensor, layout: Layout | None, i: int) -> Tensor:
    return slope if layout is None else as_batch_of_one(to_front(slope, layout, 3)[i], layout)


def _norm2(grad: Tensor) -> Tensor:
    return row_norms2(in_float32(grad)[None])[0]


def differences(
    together: dict[str, Tensor], alone: dict[str, Tensor], *, tolerance: float, proportional: bool
) -> tuple[str, float, float] | None:
    """The weight whose norms differ most, with one of its norms in the batch and alone; None if none differ.

    Args:
        together: squared norms of the examples in the batch, shape (3,).
        alone: those of the same examples alone.
        tolerance: relative.
        proportional: whether an example's gradient in the batch may be any multiple of the one alone, the same for all
            weights: in a loss that the model computes itself, each example has a share.
    """
    batch = {name: norms2.double().cpu().clamp(min=0).sqrt() for name, norms2 in together.items()}
    single = {name: norms2.sqrt() for name, norms2 in alone.items()}
    whole_batch = torch.stack(list(batch.values())).square().sum(0).sqrt()
    whole_single = torch.stack(list(single.values())).square().sum(0).sqrt()
    if proportional:
        factor = whole_batch / whole_single.clamp(min=1e-300)
        single = {name: norms * factor for name, norms in single.items()}
        whole_single = whole_batch
    floor = _NEGLIGIBLE * tolerance * torch.maximum(whole_batch, whole_single)
    worst: tuple[float, str, int] = (1.0, "", 0)
    for name, norms in batch.items():
        allowed = tolerance * torch.maximum(norms, single[name]) + floor + 1e-300
        over = (norms - single[name]).abs() / allowed
        i = int(over.argmax())
        if not float(over[i]) <= worst[0]:
            worst = float(over[i]), name, i
    _, name, i = worst
    return (name, float(batch[name][i]), float(single[name][i])) if name else None


def negligible(grads: Iterable[Tensor], tolerance: float) -> float:
    """The norm below which a part of the whole gradient may be rounding."""
    return _NEGLIGIBLE * tolerance * math.sqrt(sum(float(_norm2(grad)) for grad in grads))


def tolerance_of(tensors: Iterable[Tensor]) -> float:
    """How far norms may differ that are computed from these weights, outputs and intermediate gradients."""
    return max(_TOLERANCES.get(kind, _COARSE) for kind in {tensor.dtype.to_real() for tensor in tensors})


def check_alone(
    grads: dict[Tensor, Tensor],
    sums: dict[Tensor, Tensor],
    together: dict[str, Tensor],
    alone: Alone,
    names: dict[Tensor, str],
    *,
    tolerance: float,
    proportional: bool,
) -> None:
    """Raise UserError if three examples have other gradients in a batch than alone."""
    floor = negligible(grads.values(), tolerance)
    if not proportional:
        for weight, grad in grads.items():
            if not _agree(alone.sums.get(names[weight]), grad, tolerance, floor):
                raise UserError(
                    f"The model mixes examples behind {names[weight]}: the gradient there of a batch is not "
                    "the sum of those of its examples passed alone. If the examples are not on the first axis of "
                    "what the model is called with, put them there; else use micro-batches instead."
                )
    check_sums(grads, sums, names)
    if bad := differences(together, alone.norms2, tolerance=tolerance, proportional=proportional):
        name, in_batch, by_itself = bad
        raise UserError(
            f"The gradient of {name} for one example has norm {by_itself:.3g} when the example is passed alone and "
            f"{in_batch:.3g} in a batch, so the model mixes examples there, or does not keep what belongs to one "
            "example side by side: use micro-batches instead."
        )


def check_sums(grads: dict[Tensor, Tensor], sums: dict[Tensor, Tensor], names: dict[Tensor, str]) -> None:
    """Raise UserError if the sums over the examples are not the gradients of a backward pass."""
    floor = negligible(grads.values(), TOLERANCE)
    for weight, grad in grads.items():
        missing = weight not in sums and bool(grad.any())
        tolerance = TOLERANCE_IN_HALF if grad.dtype in _HALF else TOLERANCE
        if missing or not _agree(sums.get(weight), grad, tolerance, floor):
            raise UserError(
                f"The gradient of {names[weight]} is not the sum of what its layer's examples give, so it is "
                "also used outside of that layer: use micro-batches instead."
            )


def _agree(total: Tensor | None, grad: Tensor, tolerance: float, floor: float) -> bool:
    """Whether a sum over examples equals the gradient. `total` is None if there are no examples."""
    wide = grad.float() if grad.dtype in _HALF else grad
    off = float(wide.norm() if total is None else (total - wide).norm())
    return off <= tolerance * float(wide.norm()) + floor
