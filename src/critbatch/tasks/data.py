"""Data as tensors or as a map-style Dataset: batches, random draws of items, and errors that name the bad item."""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset, default_collate

from critbatch.errors import UserError, first_line
from critbatch.runtime.device import is_out_of_memory
from critbatch.runtime.process import seeded_on_cpu

# A tensor, or a tuple or dict of trees: the form of inputs and targets.
Tree = Any


def map_tree(function: Any, tree: Tree) -> Tree:
    """Apply `function` to every tensor of the tree."""
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, dict):
        return {key: map_tree(function, part) for key, part in tree.items()}
    return tuple(map_tree(function, part) for part in tree)


def is_tree(value: object) -> bool:
    """Whether the value is a tensor, or a tuple or dict of trees."""
    if isinstance(value, dict):
        value = tuple(value.values())
    return isinstance(value, Tensor) or (isinstance(value, tuple) and all(is_tree(part) for part in value))


def leaves(tree: Tree) -> list[Tensor]:
    """Every tensor of the tree."""
    if isinstance(tree, Tensor):
        return [tree]
    parts = tree.values() if isinstance(tree, dict) else tree
    return [leaf for part in parts for leaf in leaves(part)]


class Examples:
    """Inputs and targets as tensors on one device, which are never copied as a whole.

    Args:
        inputs: A tensor of shape (examples, ...), or a tuple or dict of such tensors. Small types stay small: uint8
            images are gathered as uint8, and `Task.prepare` converts one batch at a time.
        targets: The same kinds of tensors.

    Raises:
        UserError: If the tensors do not all have the same number of examples.
    """

    def __init__(self, inputs: Tree, targets: Tree) -> None:
        for name, tree in (("inputs", inputs), ("targets", targets)):
            if not is_tree(tree):
                raise UserError(
                    f"The {name} are {type_of(tree)}: give a torch tensor, or a tuple or dict of tensors "
                    "(torch.as_tensor makes one of a NumPy array)."
                )
        self.inputs, self.targets = inputs, targets
        counts = {len(leaf) if leaf.ndim else 0 for leaf in (*leaves(inputs), *leaves(targets))}
        if len(counts) != 1:
            description = " and ".join(str(count) for count in sorted(counts)) or "nothing"
            raise UserError(f"Inputs and targets have {description} examples: they must have the same number.")
        self._count = counts.pop()

    def __len__(self) -> int:
        return self._count

    def take(self, indices: Tensor) -> tuple[Tree, Tree]:
        """Return the examples with these indices, shape (batch,), on the device of the examples."""

        def gather(leaf: Tensor) -> Tensor:
            return leaf.index_select(0, indices)

        return map_tree(gather, self.inputs), map_tree(gather, self.targets)

    def span(self, first: int, last: int) -> tuple[Tree, Tree]:
        """Return the examples from `first` up to, but not including, `last`, as views."""

        def cut(leaf: Tensor) -> Tensor:
            return leaf[first:last]

        return map_tree(cut, self.inputs), map_tree(cut, self.targets)

    def to(self, device: torch.device) -> Examples:
        """Return the same examples on `device`. If they are there already, return this object."""
        if self.device == device:
            return self

        def move(leaf: Tensor) -> Tensor:
            return leaf.to(device)

        return Examples(map_tree(move, self.inputs), map_tree(move, self.targets))

    @property
    def device(self) -> torch.device:
        return leaves(self.inputs)[0].device

    @property
    def bytes(self) -> int:
        return sum(leaf.element_size() * leaf.numel() for leaf in (*leaves(self.inputs), *leaves(self.targets)))


Data = Examples | Dataset[Any]
GivenData = Data | tuple[Any, ...]  # what `as_data` makes of it


def as_data(source: Any, name: str) -> Data:
    """The data of the user as `Examples` or a Dataset. Accepted: either, or the pair (inputs, targets).

    A TensorDataset of a pair becomes `Examples`, which are gathered many times faster.

    Raises:
        UserError: if it is none of these, or is empty.
    """
    if isinstance(source, TensorDataset):
        source = source.tensors
    if isinstance(source, tuple) and len(source) == 2:
        source = Examples(*source)
    if isinstance(source, Examples):
        data: Data = source
    elif hasattr(source, "__getitem__") and hasattr(source, "__len__"):
        data = source
    else:
        raise UserError(
            f"The {name} data are {type(source).__name__}: give (inputs, targets) as tensors, or a torch Dataset with "
            "__getitem__ and __len__."
        )
    if count(data) == 0:
        raise UserError(f"The {name} data have no example: give at least one.")
    return data


def count(data: Data) -> int:
    return len(data)  # type: ignore[arg-type]


def as_tuples(tree: Tree) -> Tree:
    """`default_collate` makes lists of tuples: make tuples of them again."""
    if isinstance(tree, dict):
        return {key: as_tuples(part) for key, part in tree.items()}
    return tuple(as_tuples(part) for part in tree) if isinstance(tree, (list, tuple)) else tree


def type_of(value: object) -> str:
    """The type of the value in words; for a tuple or dict also the types of its items."""
    parts = tuple(value.values()) if isinstance(value, dict) else value
    inner = f" of {', '.join(type(part).__name__ for part in parts)}" if isinstance(parts, tuple) else ""
    return "None" if value is None else type(value).__name__ + inner


IGNORED = -100  # the target that torch leaves out of a cross-entropy

# An epoch and the indices of a batch.
Row = tuple[int, Sequence[int]]


@dataclass(frozen=True)
class Fault:
    """Why there is no batch, in a sentence. It comes back from a DataLoader's worker as a value: an error of a worker
    would come back with the worker's traceback as its message."""

    sentence: str


class DatasetBatches(Dataset[Any]):
    """Makes batches of the items of a Dataset, and finds the item that does not fit.

    Items draw from torch's, NumPy's and Python's generators as seeded by (seed, epoch, indices of the batch), so that
    they are the same in a resumed run and with any number of workers, and change nothing for others.

    Args:
        data: has `__getitem__`; or `item_at(index, epoch)`, which is then used; or `__getitems__` for many at once.
        part: of the task, for sentences: "training" or "validation".
        classes: that a label of one number may be, or a label of each token; None where targets are no labels.
        seed: of what items draw.
    """

    def __init__(self, data: Any, *, part: str, classes: int | None = None, seed: int = 0) -> None:
        self.data, self.part, self.classes, self.seed = data, part, classes, seed
        self._form: Form | None = None

    def __getitems__(self, row: Row) -> list[Any]:
        """The batch of a one-item list, which is how a DataLoader requests it."""
        return [self.batch(row)]

    def batch(self, row: Row) -> tuple[Tree, Tree] | Fault:
        """Inputs and targets of the items with these indices in this epoch, or why there are none."""
        epoch, indices = row
        with seeded_on_cpu(_hash(self.seed, epoch, *indices)):
            items = self._items(epoch, indices)
        if isinstance(items, Fault):
            return items
        try:
            return self._checked(items, indices)
        except _Misfit as misfit:
            return Fault(str(misfit))

    def _items(self, epoch: int, indices: Sequence[int]) -> list[Any] | Fault:
        data, items = self.data, []
        by_epoch = callable(getattr(data, "item_at", None))
        if not by_epoch and callable(getattr(data, "__getitems__", None)):
            try:
                return list(data.__getitems__(list(indices)))
            except Exception as error:
                if is_out_of_memory(error):
                    raise
                failure = f"{first_line(error)} for items {_listed(indices)}"
        else:
            failure = ""
        for index in indices:
            try:
                items.append(data.item_at(index, epoch) if by_epoch else data[index])
            except UserError as error:
                return Fault(str(error))
            except Exception as error:
                if is_out_of_memory(error):
                    raise
                return Fault(str(self._misfit(index, f"raises {first_line(error)}: mend it, or leave it out")))
        return Fault(f"The {self.part} Dataset raises {failure}: mend its __getitems__.") if failure else items

    def _checked(self, items: list[Any], indices: Sequence[int]) -> tuple[Tree, Tree]:
        for index, item in zip(indices, items, strict=True):
            if not isinstance(item, (tuple, list)) or len(item) != 2:
                description = f"{len(item)} values" if isinstance(item, (tuple, list)) else type_of(item)
                raise self._misfit(index, f"is {description}: return the pair (input, target)")
        try:
            batch = _collated(items)
        except Exception as error:
            self._refuse_odd_one(items, indices)
            raise _Misfit(
                f"Items {_listed(indices)} of the {self.part} Dataset make no batch ({first_line(error)}): return "
                "tensors or numbers of one shape."
            ) from error
        for name, tree, own in zip(("input", "target"), batch, items[0], strict=True):
            if not is_tree(tree):
                raise self._misfit(indices[0], f"has {type_of(own)} for its {name}: return tensors or numbers")
        form = form_of(batch)
        if self._form is None or not _alike(form, self._form):
            self._refuse_odd_one(items, indices, form)
        self._form = self._form or form
        self._refuse_values(batch, indices)
        return batch

    def _refuse_odd_one(self, items: list[Any], indices: Sequence[int], batch: Form | None = None) -> None:
        """Raise for the first item that differs from the others.

        Args:
            batch: what the items made together; None where they made no batch.
        """
        forms = []
        for index, item in zip(indices, items, strict=True):
            try:
                example = _collated([item])
                if not is_tree(example):
                    raise TypeError("text is no tensor")
                forms.append(form_of(example))
            except Exception as error:
                what = ", ".join(map(type_of, item))
                raise self._misfit(
                    index,
                    f"is ({what}), of which no tensor can be made ({first_line(error)}): return tensors or numbers",
                ) from error
        usual = self._form or dict(Counter(tuple(form.items()) for form in forms).most_common(1)[0][0])
        if batch is not None and _alike(batch, usual):
            return
        # Where a batch was made, lengths may differ from those of another batch.
        odd = [i for i, form in enumerate(forms) if not _alike(form, usual)]
        if not odd and self._form is not None:
            usual = dict(Counter(tuple(form.items()) for form in forms).most_common(1)[0][0])
        odd = odd or [i for i, form in enumerate(forms) if form != usual]
        if odd:
            form = forms[odd[0]]
            raise self._misfit(
                indices[odd[0]],
                f"has {differing(form, usual)}, and others have {differing(usual, form)}: make all items alike",
            )

    def _refuse_values(self, batch: tuple[Tree, Tree], indices: Sequence[int]) -> None:
        for name, tree in zip(("input", "target"), batch, strict=True):
            for leaf in leaves(tree):
                # The sum is quicker than a mask, and not finite wherever a summand is not.
                if (leaf.is_floating_point() or leaf.is_complex()) and not leaf.detach().sum().isfinite():
                    bad = (~leaf.reshape(len(leaf), -1).isfinite().all(1)).nonzero()
                    if len(bad):
                        index = indices[int(bad[0])]
                        raise self._misfit(index, f"holds NaN or infinity in its {name}: remove or repair it")
        labels = batch[1]
        if self.classes is None or not isinstance(labels, Tensor):
            return
        outside = (labels < 0) | (labels >= self.classes)
        if labels.ndim > 1:
            outside &= labels != IGNORED
        if outside.any():
            place = outside.nonzero()[0]
            raise self._misfit(
                indices[int(place[0])],
                f"has the label {int(labels[tuple(place)])}, but the model has {self.classes} outputs: labels must be "
                f"0 to {self.classes - 1}",
            )

    def _misfit(self, index: int, what: str) -> _Misfit:
        return _Misfit(f"Item {index} of the {self.part} Dataset {what}.")


class _Misfit(ValueError):  # noqa: N818
    """An exception that becomes a `Fault`."""


# For each tensor of a batch: its path in the tree, its type, and its shape without the batch dimension.
Form = dict[str, tuple[torch.dtype, tuple[int, ...]]]


def form_of(tree: Tree, path: str = "") -> Form:
    if isinstance(tree, Tensor):
        return {path: (tree.dtype, tuple(tree.shape[1:]))}
    parts = tree.items() if isinstance(tree, dict) else enumerate(tree)
    return {name: form for key, part in parts for name, form in form_of(part, f"{path}/{key}").items()}


def _alike(one: Form, other: Form) -> bool:
    """Compare forms without lengths: lengths may differ between batches, but not within one."""
    return {name: (form[0], len(form[1])) for name, form in one.items()} == {
        name: (form[0], len(form[1])) for name, form in other.items()
    }


def differing(form: Form, other: Form) -> str:
    """The parts of `form` that `other` lacks, in words."""
    parts = []
    for path, (dtype, shape) in form.items():
        other_dtype, other_shape = other.get(path, (None, None))
        words = [f"type {str(dtype).removeprefix('torch.')}"] if dtype != other_dtype else []
        words += [f"shape {shape}"] if shape != other_shape else []
        root, _, key = path.removeprefix("/").partition("/")
        if words:
            where = ("an input", "a target")[int(root)] + (f" {key!r}" if key else "")
            parts.append(f"{where} of {' and '.join(words)}")
    return " and ".join(parts) or "no other"


def _collated(items: list[Any]) -> tuple[Tree, Tree]:
    inputs, targets = (as_tuples(tree) for tree in default_collate([tuple(item) for item in items]))
    return inputs, targets


def _listed(indices: Sequence[int]) -> str:
    shown = ", ".join(map(str, indices[:3]))
    return shown if len(indices) <= 3 else f"{shown} … {indices[-1]}"


def _hash(*numbers: int) -> int:
    """Python's own hash of numbers is no secret, but differs between versions."""
    raw = b"".join(number.to_bytes(16, "little", signed=True) for number in numbers[:2])
    raw += struct.pack(f"<{len(numbers) - 2}q", *numbers[2:])
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "little") >> 1


def fetch(data: Data, indices: list[int], part: str = "") -> tuple[Tree, Tree]:
    """A few examples, from either kind of data.

    Raises:
        UserError: if an item of a Dataset is not the pair (input, target), or holds what no tensor can be made of.
    """
    if isinstance(data, Examples):
        return data.take(torch.tensor(indices, device=data.device))
    batch = DatasetBatches(data, part=part).batch((0, indices))
    if isinstance(batch, Fault):
        raise UserError(batch.sentence)
    return batch
