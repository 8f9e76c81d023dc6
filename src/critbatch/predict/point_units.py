"""Points in one unit: steps, epochs and examples of a table made to agree, and the size of its data set found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np

from critbatch.errors import UserError
from critbatch.predict.goal_points import completed
from critbatch.records.study import GoalPoint

SLACK = 0.05
"""How far units may disagree: published epochs are rounded, and the last batch of an epoch may be short."""


SMALLEST, LARGEST = 1e-15, 1e15
"""Of steps, epochs, examples, rates and seconds that are possible: beyond these a number is a slip."""

LONGEST_SHOWN = 40


def shown(value: object) -> str:
    """A value as a sentence shows it, cut where it is long.

    >>> shown(10**100)
    '1000000000000000000000000000000000000000...'
    """
    try:
        text = repr(value)
    except ValueError:  # Python writes no integer of more than some thousand digits.
        return "a number of thousands of digits"
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "..."


def whole_number(value: object, *, least: int = 1) -> int | None:
    """The value as an int; None where it is no whole number from `least` to LARGEST."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and least <= value <= LARGEST:
        return int(value)
    return None


def in_one_unit(
    points: Mapping[str, GoalPoint], *, examples: int | None = None
) -> tuple[tuple[GoalPoint, ...], int | None]:
    """The points with steps, epochs and examples as far as they follow, and the number of examples in the training set.

    That number is the one given, or follows from points that have both epochs and steps or examples.

    Args:
        points: by what they are called in a sentence, such as "line 3".
        examples: in the training set.

    Raises:
        UserError: if a number is not possible, two units disagree, some points cannot be told in the unit of the
            others, or there is only one batch size.
    """
    if not points:
        raise UserError("There are no points: give rows with a batch_size and steps, epochs or examples to the target.")
    if examples is not None and whole_number(examples) is None:
        raise UserError(
            f"A training set of {shown(examples)} examples is not possible: use a whole number from 1 to {LARGEST:g}."
        )
    points = {place: _checked(place, point) for place, point in points.items()}
    found = _examples(points, examples)
    complete = {place: completed(point, found) for place, point in points.items()}
    in_steps = [place for place, point in complete.items() if point.steps is not None]
    in_epochs = [place for place, point in complete.items() if point.steps is None]
    if in_steps and in_epochs:
        raise UserError(
            f"{in_steps[0]} is in steps or examples, {in_epochs[0]} in epochs alone, and the size of the training set "
            "is not known: give it (--examples), or one unit for all."
        )
    sizes = {point.batch_size for point in points.values()}
    if len(sizes) == 1:
        raise UserError(f"All points are at batch size {sizes.pop()}: give points at three batch sizes or more.")
    return tuple(complete.values()), found


def _checked(place: str, point: GoalPoint) -> GoalPoint:
    """The point, with numbers of NumPy as those of Python."""
    if not isinstance(point, GoalPoint):
        raise UserError(f"{place} is no GoalPoint: give it as GoalPoint(batch_size=64, steps=1000).")
    plain: dict[str, Any] = {}
    for name, least in (("batch_size", 1), ("devices", 1), ("seed", 0)):
        value = getattr(point, name)
        if value is None and name != "batch_size":
            continue
        number = whole_number(value, least=least)
        if number is None:
            raise UserError(f"{place}: {name}={shown(value)} is not possible: use a whole number from {least}.")
        plain[name] = number
    if point.steps is None and point.epochs is None and point.examples is None:
        raise UserError(f"{place} has no steps, epochs or examples to the target: give one of them.")
    for name in ("steps", "epochs", "examples", "learning_rate", "step_seconds"):
        value = getattr(point, name)
        if value is None:
            continue
        is_number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
        if not (is_number and SMALLEST <= value <= LARGEST):
            raise UserError(
                f"{place}: {name}={shown(value)} is not possible: use a number from {SMALLEST:g} to {LARGEST:g}."
            )
        plain[name] = float(value)
    _check_units(place, point)
    same = all(type(getattr(point, name)) in (int, float) for name in plain)
    return point if same else replace(point, **plain)


def _check_units(place: str, point: GoalPoint) -> None:
    if point.steps is not None and point.examples is not None:
        seen = point.steps * point.batch_size
        if not _near(seen, point.examples):
            raise UserError(
                f"{place}: steps times batch size are {seen:g} examples, but examples={point.examples:g}: give one of "
                "them, or those of the same run."
            )


def _examples(points: Mapping[str, GoalPoint], given: int | None) -> int | None:
    """The size of the data set by each point that tells it, which must be one."""
    told = {place: size for place, point in points.items() if (size := _told(point)) is not None}
    if not told:
        return given
    usual = given if given is not None else median(told.values())
    for place, size in told.items():
        if not _near(size, usual):
            against = "--examples says" if given is not None else "by the other rows it has"
            raise UserError(
                f"{place}: its steps and epochs make a training set of {size:g} examples, but {against} {usual:g}: are "
                "steps and epochs those of the same run, and all runs on one training set?"
            )
    return given if given is not None else max(1, round(usual))


def _told(point: GoalPoint) -> float | None:
    if point.epochs is None:
        return None
    if point.examples is not None:
        return point.examples / point.epochs
    return None if point.steps is None else point.steps * point.batch_size / point.epochs


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= SLACK * max(one, other)


def numbered(points: Sequence[GoalPoint]) -> dict[str, GoalPoint]:
    """Points by their place in a list."""
    return {f"point {i}": point for i, point in enumerate(points, start=1)}
