"""Where the examples are in a tensor: on which axis, and whether other things are folded into that axis.

It is not guessed from sizes, which agree by chance: the model is run on two examples and on three, and the axis that
grows is the one.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence


class Layout(NamedTuple):
    """Where the examples of a tensor are. None in its place: the tensor belongs to all examples alike.

    Args:
        axis: on which they are; -1 if no single axis grows with the number of examples.
        folded: whether the axis has several places for each example, those of one example side by side.
        apart: if folded, whether the first places of all examples come first, then their second ones, and so on.
    """

    axis: int
    folded: bool = False
    apart: bool = False


UNCLEAR = Layout(-1)


class Layouts(NamedTuple):
    """Those of the tensors that go into a call of a module, and of the floating-point tensors that come out."""

    inputs: tuple[Layout | None, ...]
    outputs: tuple[Layout | None, ...]


class Shapes(NamedTuple):
    """The shapes of the same tensors."""

    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]


def layouts_of(two: Shapes, three: Shapes) -> Layouts:
    """What follows from the shapes in a call with two examples and in the same call with three."""
    if len(two.inputs) != len(three.inputs) or len(two.outputs) != len(three.outputs):
        return Layouts(tuple(UNCLEAR for _ in three.inputs), tuple(UNCLEAR for _ in three.outputs))
    return Layouts(
        tuple(map(layout_of, two.inputs, three.inputs)),
        tuple(map(layout_of, two.outputs, three.outputs)),
    )


def layout_of(two: tuple[int, ...], three: tuple[int, ...]) -> Layout | None:
    """That of one tensor."""
    if two == three:
        return None
    if len(two) != len(three):
        return UNCLEAR
    grown = [axis for axis, (short, long) in enumerate(zip(two, three, strict=True)) if short != long]
    if len(grown) != 1 or two[grown[0]] * 3 != three[grown[0]] * 2:
        return UNCLEAR
    return Layout(grown[0], folded=two[grown[0]] != 2)


def fits(shape: Sequence[int], layout: Layout | None, batch: int) -> bool:
    """Whether a tensor of this shape can hold so many examples in this way."""
    if layout is None:
        return True
    if layout == UNCLEAR or layout.axis >= len(shape):
        return False
    size = shape[layout.axis]
    return size % batch == 0 if layout.folded else size == batch


def to_front(tensor: Tensor, layout: Layout | None, batch: int) -> Tensor:
    """Shape (batch, ...): the examples on the first axis, and nothing else on it."""
    if layout is None:
        return tensor.expand(batch, *tensor.shape)
    moved = tensor.movedim(layout.axis, 0)
    if layout.apart:
        return moved.reshape(-1, batch, *moved.shape[1:]).transpose(0, 1)
    return moved.reshape(batch, -1, *moved.shape[1:]) if layout.folded else moved


def as_batch_of_one(row: Tensor, layout: Layout | None) -> Tensor:
    """One row of `to_front` in the layout that it came from."""
    if layout is None:
        return row
    return row.movedim(0, layout.axis) if layout.folded else row.unsqueeze(layout.axis)


def tensors_in(given: Any) -> Iterator[Tensor]:
    """Every tensor in tuples, lists, mappings and dataclasses, in order. A `PackedSequence` has none to show."""
    if isinstance(given, Tensor):
        yield given
    elif isinstance(given, PackedSequence):
        return
    elif isinstance(given, Mapping):
        for part in given.values():
            yield from tensors_in(part)
    elif isinstance(given, (tuple, list)):
        for part in given:
            yield from tensors_in(part)
    elif dataclasses.is_dataclass(given) and not isinstance(given, type):
        for field in dataclasses.fields(given):
            yield from tensors_in(getattr(given, field.name))


def map_tensors(function: Callable[[Tensor], Any], given: Any) -> Any:
    """The same structure with every tensor of `tensors_in` replaced, in the same order."""
    if isinstance(given, Tensor):
        return function(given)
    if isinstance(given, PackedSequence):
        return given
    if isinstance(given, MutableMapping):
        changed = copy.copy(given)
        for key, part in given.items():
            changed[key] = map_tensors(function, part)
        return changed
    if isinstance(given, Mapping):
        return {key: map_tensors(function, part) for key, part in given.items()}
    if isinstance(given, (tuple, list)):
        parts = [map_tensors(function, part) for part in given]
        return type(given)(*parts) if hasattr(given, "_fields") else type(given)(parts)
    if dataclasses.is_dataclass(given) and not isinstance(given, type):
        other: Any = copy.copy(given)
        for field in dataclasses.fields(given):
            object.__setattr__(other, field.name, map_tensors(function, getattr(given, field.name)))
        return other
    return given
