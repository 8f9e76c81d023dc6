"""Examples with their targets: tensors in memory, or any map-style Dataset."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from critbatch.errors import UserError

# A tensor, or a tuple or dict of trees: what a model takes and a loss compares with.
Tree = Any


def map_tree(function: Any, tree: Tree) -> Tree:
    """Apply `function` to every tensor of the tree."""
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, dict):
        return {key: map_tree(function, part) for key, part in tree.items()}
    return tuple(map_tree(function, part) for part in tree)


def is_tree(given: object) -> bool:
    """Whether it is a tensor, or a tuple or dict of trees."""
    if isinstance(given, dict):
        given = tuple(given.values())
    return isinstance(given, Tensor) or (isinstance(given, tuple) and all(is_tree(part) for part in given))


def leaves(tree: Tree) -> list[Tensor]:
    """Every tensor of the tree."""
    if isinstance(tree, Tensor):
        return [tree]
    parts = tree.values() if isinstance(tree, dict) else tree
    return [leaf for part in parts for leaf in leaves(part)]


class Examples:
    """Inputs and targets as tensors that lie on one device and are never copied whole.

    Args:
        inputs: tensor of shape (examples, ...), or a tuple or dict of such tensors. Small types stay small: uint8
            images are gathered as uint8, and `Task.prepare` makes floats of one batch at a time.
        targets: likewise.

    Raises:
        UserError: if a tensor has another number of examples than the first.
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
            found = " and ".join(str(count) for count in sorted(counts)) or "nothing"
            raise UserError(f"Inputs and targets have {found} examples: they must have the same number.")
        self._count = counts.pop()

    def __len__(self) -> int:
        return self._count

    def take(self, indices: Tensor) -> tuple[Tree, Tree]:
        """The examples with these indices, shape (batch,), on the examples' device."""

        def gather(leaf: Tensor) -> Tensor:
            return leaf.index_select(0, indices)

        return map_tree(gather, self.inputs), map_tree(gather, self.targets)

    def span(self, first: int, last: int) -> tuple[Tree, Tree]:
        """The examples from `first` up to `last`, as views."""

        def cut(leaf: Tensor) -> Tensor:
            return leaf[first:last]

        return map_tree(cut, self.inputs), map_tree(cut, self.targets)

    def to(self, device: torch.device) -> Examples:
        """The same examples on `device`: itself where they lie there already."""
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


def as_data(given: Any, name: str) -> Data:
    """What the user gave as data: `Examples`, a Dataset with a length, or the pair (inputs, targets).

    A TensorDataset of a pair becomes `Examples`, which are gathered many times faster.

    Raises:
        UserError: if it is none of these, or is empty.
    """
    if isinstance(given, TensorDataset):
        given = given.tensors
    if isinstance(given, tuple) and len(given) == 2:
        given = Examples(*given)
    if isinstance(given, Examples):
        data: Data = given
    elif hasattr(given, "__getitem__") and hasattr(given, "__len__"):
        data = given
    else:
        raise UserError(
            f"The {name} data are {type(given).__name__}: give (inputs, targets) as tensors, or a torch Dataset with "
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


def type_of(given: object) -> str:
    """In words: its type, and of a tuple or dict also the types within."""
    parts = tuple(given.values()) if isinstance(given, dict) else given
    inner = f" of {', '.join(type(part).__name__ for part in parts)}" if isinstance(parts, tuple) else ""
    return "None" if given is None else type(given).__name__ + inner
