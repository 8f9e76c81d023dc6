"""Checks that model, data, loss and metric fit together, on a few examples before training.

Each check raises UserError; `Task` puts its name before the sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from critbatch.errors import UserError
from critbatch.errors import first_line as first_line
from critbatch.tasks.augmentation import Augmentation
from critbatch.tasks.data import IGNORED, Data, Examples, Tree, count, fetch, is_tree, leaves, map_tree

_TRIED = 3  # examples
_PIECE = 4096
_SHOWN = 4  # shapes, in a sentence


def check_model(make: object, new_model: Callable[[int], Any]) -> None:
    """A factory must make a new module each time, with weights to train, whose shapes are known."""
    if not callable(make) or isinstance(make, nn.Module):
        raise UserError(
            f"`model` is a {type(make).__name__}: give a function that makes a new model, such as `lambda: Net()`."
        )
    try:
        first, second = new_model(0), new_model(0)
    except Exception as error:
        raise UserError(f"`model` could not make a model ({first_line(error)}).") from error
    for model in (first, second):
        if not isinstance(model, nn.Module):
            raise UserError(f"`model` made a {type(model).__name__}: make a torch.nn.Module.")
    if any(is_lazy(weight) for weight in first.parameters()):
        raise UserError("the model has weights of unknown shape (a lazy layer): give every layer its sizes.")
    if first is second or _storages(first) & _storages(second):
        raise UserError(
            "`model` gave the same weights twice: make a new model at each call, so that every run starts afresh."
        )
    if not any(weight.requires_grad for weight in first.parameters()):
        raise UserError("the model has no weight to train: leave some with requires_grad=True.")


def _storages(model: nn.Module) -> set[int]:
    return {weight.untyped_storage().data_ptr() for weight in model.parameters() if weight.numel()}


def check_finite(data: Data, part: str) -> None:
    """No example may hold NaN or infinity. Of a Dataset only the tested examples are checked."""
    if isinstance(data, Examples):
        _check_finite(data.inputs, f"{part} inputs")
        _check_finite(data.targets, f"{part} targets")


def _check_finite(tree: Tree, what: str) -> None:
    for leaf in leaves(tree):
        if not (leaf.is_floating_point() or leaf.is_complex()):
            continue
        # In pieces, since the mask of a whole set is a quarter of its size again.
        pieces = (leaf[first : first + _PIECE] for first in range(0, len(leaf), _PIECE))
        bad = sum(int((~piece.reshape(len(piece), -1).isfinite().all(1)).sum()) for piece in pieces)
        if bad:
            raise UserError(f"{bad} of {len(leaf)} {what} hold NaN or infinity: remove or repair these examples.")


def check_fit(
    model: nn.Module,
    forward: Callable[[nn.Module, Tree], Any],
    data: Data,
    part: str,
    *,
    loss: Callable[[Any, Any], Any],
    metric: Callable[[Any, Any], Any],
) -> int | None:
    """The model must take the data, and loss and metric must give one value for each example.

    Returns:
        How many classes the labels may be of; None where targets are no labels.
    """
    size = count(data)
    try:
        batch = fetch(data, [i % size for i in range(_TRIED)], part)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"the {part} data gave no batch of {_TRIED} examples ({first_line(error)}).") from error
    device = next(model.parameters()).device
    inputs, targets = (map_tree(lambda leaf: leaf.to(device), tree) for tree in batch)
    _check_finite(inputs, f"{part} inputs that were tried")
    _check_finite(targets, f"{part} targets that were tried")
    try:
        outputs = forward(model, inputs)
        with torch.no_grad():
            plain_outputs = forward(model, inputs)
    except Exception as error:
        parts = [str(tuple(leaf.shape)) for leaf in leaves(inputs)]
        shapes = ", ".join(parts if len(parts) <= _SHOWN else [*parts[:_SHOWN], f"and {len(parts) - _SHOWN} more"])
        raise UserError(
            f"the model does not take a batch of {_TRIED} {part} inputs of shape {shapes} ({first_line(error)})."
        ) from error
    classes = _check_labels(data, part, outputs, targets)
    losses = _values("loss", part, loss, outputs, targets)
    if not losses.requires_grad:
        raise UserError("the loss has no gradient: compute it from the model's outputs with torch.")
    with torch.no_grad():
        _values("metric", part, metric, plain_outputs, targets)
    return classes


def draws_to_try(augment: Augmentation, batch: Tree) -> Tensor:
    """The smallest, middle and largest possible draws, one for each of the tested examples."""
    rows = torch.linspace(0.0, 1 - 2**-24, _TRIED, device=leaves(batch)[0].device)
    return rows[:, None].repeat(1, augment.numbers)


def check_augmentation(augment: object, data: Data) -> None:
    """An augmentation must keep shape and type, and make an example's inputs of its own and of its numbers alone."""
    if not isinstance(augment, Augmentation):
        raise UserError(
            f"`augment` is a {type(augment).__name__}: give critbatch.Augmentation(apply, numbers=...), or "
            "critbatch.flips_and_crops()."
        )
    if not isinstance(data, Examples):
        raise UserError(
            f"`augment` is for training data that are tensors, but these are a {type(data).__name__}: give the Dataset "
            "a method `item_at(index, epoch)` that returns the pair as that epoch sees it."
        )
    inputs, _ = fetch(data, [i % count(data) for i in range(_TRIED)])
    draws = draws_to_try(augment, inputs)
    changed = _augmented(augment, inputs, draws)
    _check_finite(changed, "augmented training inputs that were tried")
    if not _alike(changed, _augmented(augment, inputs, draws)):
        raise UserError("the augmentation gave two results for the same numbers: take all that is random from `draws`.")
    for i in range(_TRIED):
        if not _alike(_augmented(augment, _one(inputs, i), _one(draws, i)), _one(changed, i)):
            raise UserError(
                "the augmentation of an example depends on the others of its batch: compute it from the example's own "
                "inputs and numbers."
            )


def _augmented(augment: Augmentation, inputs: Tree, draws: Tensor) -> Tree:
    description = _describe(inputs)
    try:
        changed = augment(map_tree(torch.clone, inputs), draws.clone())
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"the augmentation does not take inputs of {description} and numbers of shape {tuple(draws.shape)} "
            f"({first_line(error)})."
        ) from error
    if _describe(changed) != description:
        raise UserError(
            f"the augmentation made {_describe(changed)} of inputs of {description}: it must keep shape and type."
        )
    return changed


def _describe(tree: Any) -> str:
    """Shape and type of each tensor of a tree; of anything else its type."""
    if not is_tree(tree):
        return f"a {type(tree).__name__}"
    if isinstance(tree, Tensor):
        return f"shape {tuple(tree.shape)} and type {str(tree.dtype).removeprefix('torch.')}"
    parts = (
        [f"{key}: {_describe(part)}" for key, part in tree.items()] if isinstance(tree, dict) else map(_describe, tree)
    )
    return f"({'; '.join(parts)})"


def _one(tree: Tree, place: int) -> Tree:
    return map_tree(lambda leaf: leaf[place : place + 1], tree)


def _alike(one: Tree, other: Tree) -> bool:
    pairs = zip(leaves(one), leaves(other), strict=True)
    return all(torch.allclose(left.double(), right.double(), rtol=0.01, atol=1e-4) for left, right in pairs)


def _values(kind: str, part: str, function: Callable[[Any, Any], Any], outputs: Any, targets: Tree) -> Tensor:
    values = _call(kind, part, function, outputs, targets, _TRIED)
    if is_tree(outputs) and all(leaf.ndim and len(leaf) == _TRIED for leaf in leaves(outputs)):
        # Sums over micro-batches and processes are those of the whole batch only where no example touches another.
        alone = _call(kind, part, function, map_tree(_first, outputs), map_tree(_first, targets), 1)
        if not torch.allclose(alone, values[:1], rtol=0.01, atol=1e-4, equal_nan=True):
            raise UserError(
                f"the {kind} of an example depends on the others of its batch (it is {values[0].item():.4g} among "
                f"{_TRIED}, {alone.item():.4g} alone): compute it from the example's own output and target, and see "
                "that their shapes agree."
            )
    return values


def _first(leaf: Tensor) -> Tensor:
    return leaf[:1]


def _call(kind: str, part: str, function: Callable[[Any, Any], Any], outputs: Any, targets: Tree, size: int) -> Tensor:
    try:
        values = function(outputs, targets)
    except Exception as error:
        raise UserError(
            f"the {kind} does not take the model's outputs and the {part} targets of a batch of {size} "
            f"({first_line(error)})."
        ) from error
    if not isinstance(values, Tensor) or values.shape != (size,):
        result = f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else f"a {type(values).__name__}"
        raise UserError(
            f"the {kind} of a batch of {size} came back as {result}: return one value per example, shape (batch,), "
            "for example with reduction='none'."
        )
    return values


def _check_labels(data: Data, part: str, outputs: Any, targets: Tree) -> int | None:
    """Class labels must be classes of the model. Other targets are not checked.

    Of a Dataset the labels that are tried are seen here, the others when their batches are made.

    Returns:
        How many classes; None where the targets are no labels.
    """
    if not isinstance(targets, Tensor) or not isinstance(outputs, Tensor):
        return None
    if targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool:
        return None
    classes = outputs.shape[-1] if outputs.ndim else 0
    if outputs.shape[:-1] != targets.shape or classes < 2:
        return None
    labels = data.targets if isinstance(data, Examples) else targets
    if labels.ndim > 1:  # a sequence may leave out some of its tokens, an example alone may not be left out
        labels = labels[labels != IGNORED]
    if not labels.numel():
        if not isinstance(data, Examples):
            return classes
        raise UserError(f"all {part} labels are {IGNORED}, which are left out: give some from 0 to {classes - 1}.")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise UserError(
            f"the {part} labels run from {low} to {high}, but the model has {classes} outputs: labels must be 0 to "
            f"{classes - 1}."
        )
    return classes
