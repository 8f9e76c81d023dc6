"""How many examples a forward pass has, from the shapes of a model's inputs and outputs.

One tensor is not enough. The first dimensions of all inputs and outputs must agree, and so must the layers that declare
their layout: recurrent and attention layers with `batch_first`. Where they disagree, `ExampleCounter.count` names them,
and the user gives the size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from critbatch.errors import UserError

DEEPEST = 5  # containers within containers
MOST_VISITS = 1000
MOST_NAMED = 6  # in a sentence
HOW = (
    "say how many examples there are: Monitor(batch_size=...), update(batch_size=...), or micro_batch(...) before each "
    "forward pass"
)


class AmbiguousSizeError(UserError):
    """The tensors of a forward pass do not show how many examples it has."""


@dataclasses.dataclass(eq=False)
class Evidence:
    """What one forward pass shows of its number of examples: shapes only, no tensors.

    Args:
        inputs: shapes of the input tensors, by their paths.
        outputs: shapes of the output tensors, by their paths.
        lists: lengths of the lists of tensors among the inputs, which may have one entry for each example.
        declared: numbers of examples that a layer's layout or a packed sequence states, by the layer's path.
    """

    inputs: dict[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    outputs: dict[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    lists: dict[str, int] = dataclasses.field(default_factory=dict)
    declared: dict[str, int] = dataclasses.field(default_factory=dict)
    _visits: int = 0

    def add_inputs(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        for i, value in enumerate(args):
            self._walk(value, "input" if len(args) == 1 and not kwargs else f"input {i}", self.inputs, 0)
        for name, value in kwargs.items():
            self._walk(value, f"input {name!r}", self.inputs, 0)

    def add_outputs(self, outputs: Any) -> None:
        self._walk(outputs, "output", self.outputs, 0)

    def _walk(self, value: Any, path: str, shapes: dict[str, tuple[int, ...]], depth: int) -> None:
        self._visits += 1
        if self._visits > MOST_VISITS or depth > DEEPEST:
            return
        if isinstance(value, Tensor):
            if value.ndim:
                shapes[path] = (value.size(0),) if value.is_nested else tuple(value.shape)
        elif isinstance(value, PackedSequence):
            self.declared[path] = int(value.batch_sizes[0])
        elif isinstance(value, Mapping):
            for key, part in value.items():
                self._walk(part, f"{path}[{key!r}]", shapes, depth + 1)
        elif isinstance(value, (list, tuple)):
            if (
                isinstance(value, list)
                and len(value) > 1
                and any(isinstance(part, (Tensor, Mapping)) for part in value)
            ):
                self.lists[path] = len(value)
            for i, part in enumerate(value):
                self._walk(part, f"{path}[{i}]", shapes, depth + 1)
        elif shapes is self.inputs and not isinstance(value, (nn.Module, type)):
            for name, part in _fields(value).items():
                self._walk(part, f"{path}.{name}", shapes, depth + 1)


def _fields(value: Any) -> dict[str, Any]:
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
    return dict(getattr(value, "__dict__", {}))


class ExampleCounter:
    """Counts the examples of forward passes.

    Args:
        expected: examples in most forward passes, if the trainer knows. Where tensors disagree, the inputs that have
            this many rows in the first pass decide.
    """

    def __init__(self, expected: int | None = None) -> None:
        self.expected = expected
        self._followed: list[str] = []  # paths of inputs

    def count(self, evidence: Evidence) -> int:
        """How many examples there are.

        Raises:
            AmbiguousSizeError: if the tensors disagree.
        """
        if self.expected is None:
            return agreed_size(evidence)
        if not self._followed:
            self._followed = [path for path, shape in evidence.inputs.items() if shape[0] == self.expected]
        counts = {evidence.inputs[path][0] for path in self._followed if path in evidence.inputs}
        return counts.pop() if len(counts) == 1 else agreed_size(evidence, expected=self.expected)


def agreed_size(evidence: Evidence, *, expected: int | None = None) -> int:
    """The number of examples on which inputs, outputs and layers of a declared layout agree.

    All examples may share a tensor with one row, such as positions: it is ignored if the others agree. A list of
    tensors may have one tensor for each example: the outputs or a layer must then confirm this. A layer that declares
    its layout outweighs the inputs or the outputs, but not both.

    Raises:
        AmbiguousSizeError: if they disagree, or there is no tensor.
    """
    inputs = {shape[0] for shape in evidence.inputs.values()}
    outputs = {shape[0] for shape in evidence.outputs.values()}
    declared = set(evidence.declared.values())
    if len(inputs) > 1 and outputs | declared:
        inputs -= {1}
    if len(outputs) > 1 and inputs | declared:
        outputs -= {1}
    single = _single(inputs, outputs, declared)
    if evidence.lists:
        lengths = set(evidence.lists.values())
        if not outputs | declared:
            single = single if {single} == lengths else None
        elif single is None:
            single = _single(lengths, outputs, declared)
    if single is None or (expected is not None and single == 1 < expected):
        raise AmbiguousSizeError(f"{_disagreement(evidence)}: {HOW}.")
    return single


def _single(inputs: set[int], outputs: set[int], declared: set[int]) -> int | None:
    if len(inputs | outputs | declared) == 1:
        return next(iter(inputs | outputs | declared))
    if len(declared) == 1 and declared in (outputs, inputs):
        return next(iter(declared))
    return None


def _disagreement(evidence: Evidence) -> str:
    parts = [f"the list {path} has {count} entries" for path, count in evidence.lists.items()]
    parts += [f"{path} has {count}" for path, count in evidence.declared.items()]
    parts += [f"{path} has {shape[0]}" for path, shape in (*evidence.inputs.items(), *evidence.outputs.items())]
    if not parts:
        return "No tensor goes into the model, so the number of examples in a batch is not known"
    if len({part.rpartition(" has ")[2] for part in parts}) == 1:
        return f"The number of examples in a batch is not certain, though {parts[0]} on its first dimension"
    shown = ", ".join(parts[:MOST_NAMED]) + (", ..." if len(parts) > MOST_NAMED else "")
    return f"The tensors of a batch disagree about its number of examples on their first dimension ({shown})"


def declare_layouts(model: nn.Module, current: Any) -> list[Any]:
    """Hook the recurrent and attention layers: their `batch_first` says which axis is that of the examples.

    Args:
        model: whose layers are hooked.
        current: returns the `Evidence` of the running pass, or None.

    Returns:
        The handles of the hooks.
    """
    return [
        module.register_forward_pre_hook(
            lambda layer, args, kwargs, name=name: _declare(name, layer, args, kwargs, current()), with_kwargs=True
        )
        for name, module in model.named_modules()
        if isinstance(module, (nn.RNNBase, nn.MultiheadAttention))
    ]


def _declare(
    name: str, layer: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], evidence: Evidence | None
) -> None:
    value = args[0] if args else kwargs.get("input", kwargs.get("query"))
    if evidence is None or not torch.is_grad_enabled():
        return
    path = f"the layer {name or type(layer).__name__}"
    if isinstance(value, PackedSequence):
        evidence.declared[path] = int(value.batch_sizes[0])
    elif isinstance(value, Tensor) and value.ndim == 3 and not value.is_nested:
        evidence.declared[path] = value.shape[0 if layer.batch_first else 1]


def tensors_in(value: Any, depth: int = 0) -> Iterator[Tensor]:
    """Every tensor in mappings, lists and tuples."""
    if isinstance(value, Tensor):
        yield value
    elif depth < DEEPEST and isinstance(value, (tuple, list, Mapping)):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from tensors_in(part, depth + 1)
