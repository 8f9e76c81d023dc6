"""Fit the law to points of other runs: read them from a CSV file or a list, check them, and convert their units."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from critbatch.arguments import as_path, checked_call
from critbatch.errors import UserError
from critbatch.law.study_analysis import analyse_with_fit, predict_runs
from critbatch.law.target_points import completed
from critbatch.records.study import Fit, GoalPoint
from critbatch.runtime.provenance import RunTimer

SLACK = 0.05
"""How far units may disagree: published epochs are rounded, and the last batch of an epoch may be short."""


SMALLEST, LARGEST = 1e-15, 1e15
"""Range of plausible steps, epochs, examples, rates and seconds: a number outside it is a typing error."""

LONGEST_SHOWN = 40


def shown(value: object) -> str:
    """A value as error messages show it, shortened if it is long.

    >>> shown(10**100)
    '1000000000000000000000000000000000000000...'
    """
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print integers of several thousand digits.
        return "a number of thousands of digits"
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "..."


def whole_number(value: object, *, least: int = 1) -> int | None:
    """The value as an int; None if it is not a whole number from `least` to LARGEST."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and least <= value <= LARGEST:
        return int(value)
    return None


def in_one_unit(
    points: Mapping[str, GoalPoint], *, examples: int | None = None
) -> tuple[tuple[GoalPoint, ...], int | None]:
    """Complete the steps, epochs and examples of each point where they can be computed.

    Also returns the number of examples in the training set: the given one, or one computed from points that have epochs
    and also steps or examples.

    Args:
        points: by the name that error messages use, such as "line 3".
        examples: in the training set.

    Raises:
        UserError: if a number is not possible, two units disagree, some points cannot be converted to the unit of the
            others, or there is only one batch size.
    """
    if not points:
        raise UserError("There are no points: give rows with a batch_size and steps, epochs or examples to the target.")
    if examples is not None and whole_number(examples) is None:
        raise UserError(
            f"A training set of {shown(examples)} examples is not possible: use a whole number from 1 to {LARGEST:g}."
        )
    points = {place: _checked(place, point) for place, point in points.items()}
    dataset_size = _dataset_size(points, examples)
    complete = {place: completed(point, dataset_size) for place, point in points.items()}
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
    return tuple(complete.values()), dataset_size


def _checked(place: str, point: GoalPoint) -> GoalPoint:
    """Check a point and convert its NumPy numbers to Python numbers."""
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
        product = point.steps * point.batch_size
        if not _near(product, point.examples):
            raise UserError(
                f"{place}: steps times batch size are {product:g} examples, but examples={point.examples:g}: give one "
                "of them, or those of the same run."
            )


def _dataset_size(points: Mapping[str, GoalPoint], given: int | None) -> int | None:
    """The size of the training set, which must be the same for every point that implies one."""
    implied = {place: size for place, point in points.items() if (size := _implied_examples(point)) is not None}
    if not implied:
        return given
    usual = given if given is not None else median(implied.values())
    for place, size in implied.items():
        if not _near(size, usual):
            against = "--examples says" if given is not None else "by the other rows it has"
            raise UserError(
                f"{place}: its steps and epochs make a training set of {size:g} examples, but {against} {usual:g}: are "
                "steps and epochs those of the same run, and all runs on one training set?"
            )
    return given if given is not None else max(1, round(usual))


def _implied_examples(point: GoalPoint) -> float | None:
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


ALIASES = {
    "batch_size": ("batch_size", "batchsize", "batch", "bs", "global_batch_size"),
    "steps": ("steps", "steps_to_target", "step", "iterations", "iters", "updates"),
    "epochs": ("epochs", "epochs_to_target", "epoch"),
    "examples": ("examples", "examples_to_target", "samples", "samples_to_target"),
    "seed": ("seed", "seeds"),
    "censored": ("censored",),
    "reached": ("reached", "reached_target"),
    "learning_rate": ("learning_rate", "lr"),
    "step_seconds": ("step_seconds", "seconds_per_step", "seconds_a_step"),
    "devices": ("devices", "gpus", "accelerators", "processes"),
}
NAMES = {alias: name for name, aliases in ALIASES.items() for alias in aliases}
YES, NO = ("1", "true", "yes", "y", "t"), ("0", "false", "no", "n", "f")


def read_points(path: Path) -> dict[str, GoalPoint]:
    """The points of a file, by line, such as "line 3".

    The first row names the columns, in any order and case: `batch_size`, and one of `steps`, `epochs` and `examples` to
    the target; optional are `seed`, `learning_rate`, `censored` (or `reached`), `step_seconds` and `devices`. Other
    columns are ignored. Cells are separated by commas, semicolons or tabs; lines that begin with # are comments.

    Raises:
        UserError: if the file cannot be read, or a row of it cannot be used.
    """
    lines = [(number, line) for number, line in _lines(path) if line.strip() and not line.lstrip().startswith("#")]
    if not lines:
        raise UserError(f"{path} is empty: its first row must name the columns, such as batch_size,steps.")
    separator = max(",;\t", key=lines[0][1].count)
    rows = [(number, _cells(line, separator, number)) for number, line in lines]
    columns = _columns(rows[0][1])
    points = {}
    for number, cells in rows[1:]:
        if len(cells) > len(rows[0][1]) and any(cells[len(rows[0][1]) :]):
            raise UserError(f"Line {number} has {len(cells)} cells, but there are {len(rows[0][1])} columns.")
        point = _point({name: cells[i] for name, i in columns.items() if i < len(cells)}, number)
        points[f"line {number}"] = point
    if not points:
        raise UserError(f"{path} names columns, but has no rows below them: give one row for each run.")
    return points


def _lines(path: Path) -> Iterable[tuple[int, str]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not a text file in UTF-8: save the table as CSV.") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no such name is possible"
        raise UserError(f"{path} cannot be read ({reason}): give a CSV file.") from None
    if "\0" in text:
        raise UserError(f"{path} is not a text file: save the table as CSV.")
    return enumerate(re.split(r"\r\n|\r|\n", text), start=1)


def _cells(line: str, separator: str, number: int) -> list[str]:
    try:
        (cells,) = csv.reader(io.StringIO(line), delimiter=separator, skipinitialspace=True, strict=True)
    except (csv.Error, ValueError):
        raise UserError(f"Line {number} is no row of a CSV file: are its quotation marks closed?") from None
    return [cell.strip() for cell in cells]


def _columns(header: list[str]) -> dict[str, int]:
    """The index of each known column."""
    columns: dict[str, int] = {}
    for i, title in enumerate(header):
        name = NAMES.get(re.sub(r"[\s-]+", "_", title.lower()))
        if name in columns:
            raise UserError(f"Columns {header[columns[name]]!r} and {title!r} are both the {name}: leave one of them.")
        if name is not None:
            columns[name] = i
    titles = ", ".join(title[:LONGEST_SHOWN] for title in header)
    if "batch_size" not in columns:
        raise UserError(f"There is no column batch_size among {titles}: name it in the first row.")
    if not {"steps", "epochs", "examples"} & set(columns):
        raise UserError(f"There is no column steps, epochs or examples among {titles}: name one in the first row.")
    return columns


def _point(cells: dict[str, str], number: int) -> GoalPoint:
    def read(name: str) -> float | None:
        text = cells.get(name, "")
        return _number(text, f"Line {number}, column {name}") if text else None

    def positive(name: str) -> float | None:
        value = read(name)
        if value is not None and value <= 0:
            raise UserError(f"Line {number}, column {name}: {value:g} is not possible: use a number above 0.")
        return value

    def whole(name: str, least: int) -> int | None:
        value = read(name)
        if value is not None and (value != round(value) or value < least):
            raise UserError(
                f"Line {number}, column {name}: {value:g} is not possible: use a whole number from {least}."
            )
        return None if value is None else round(value)

    size = whole("batch_size", 1)
    if size is None:
        raise UserError(f"Line {number}, column batch_size is empty: give the batch size of the run.")
    point = GoalPoint(
        batch_size=size,
        steps=positive("steps"),
        epochs=positive("epochs"),
        examples=positive("examples"),
        censored=_is_censored(cells, number),
        seed=whole("seed", 0),
        learning_rate=positive("learning_rate"),
        step_seconds=positive("step_seconds"),
        devices=whole("devices", 1),
    )
    if point.steps is None and point.epochs is None and point.examples is None:
        raise UserError(f"Line {number} has no steps, epochs or examples to the target: give one of them.")
    return point


def _number(text: str, place: str) -> float:
    try:
        # Python also accepts 1_000 and digits of other scripts, which people do not write in a table.
        value = float(text) if text.isascii() and "_" not in text else None
    except ValueError:
        value = None
    if value is None:
        raise UserError(f"{place}: {text[:LONGEST_SHOWN]!r} is no number: write it in digits, such as 8192 or 0.5.")
    if not (value == 0 or SMALLEST <= abs(value) <= LARGEST):
        raise UserError(
            f"{place}: {text[:LONGEST_SHOWN]!r} is not possible: use a number from {SMALLEST:g} to {LARGEST:g}."
        )
    return value


def _is_censored(cells: dict[str, str], number: int) -> bool:
    words = {name: cells[name].lower() for name in ("censored", "reached") if cells.get(name)}
    for name, word in words.items():
        if word not in YES + NO:
            raise UserError(f"Line {number}, column {name}: {word[:LONGEST_SHOWN]!r} is neither yes nor no: use one.")
    answers = {(word in YES) == (name == "censored") for name, word in words.items()}
    if len(answers) > 1:
        raise UserError(f"Line {number} is both censored and reached: a run that missed its target is censored.")
    return answers == {True}


@checked_call
def fit(
    points: str | Path | Sequence[GoalPoint],
    *,
    at: Sequence[int] = (),
    examples: int | None = None,
    seed: int = 0,
    command: str = "critbatch.fit",
) -> Fit:
    """Fit the law of steps against examples to runs made elsewhere.

    The law is `(S / S_min - 1)(E / E_min - 1) = 1`. The answer has the critical batch size, and says where the law
    fails.

    Args:
        points: CSV file with one run a row: batch_size, and steps, epochs or examples to target. Further columns:
            learning_rate, seed, censored (yes where the target was missed), step_seconds, devices. In Python also a
            list of points. Of several learning rates at one size the best is used.
        at: Batch sizes to predict a tuned run at. Default: none.
        examples: Examples in the training set. Default: computed from the points.
        seed: Seed of the bootstrap.
        command: Command that the user gave, kept in the record.

    Raises:
        UserError: if the points cannot be used.
    """
    watch = RunTimer()
    if impossible := [size for size in at if whole_number(size) is None]:
        raise UserError(
            f"A batch size of {shown(impossible[0])} is not possible: use a whole number from 1 to {LARGEST:g}."
        )
    if isinstance(points, (str, Path)):
        name, given_points = as_path(points).name, read_points(as_path(points))
    else:
        name, given_points = "points", numbered(points)
    complete, dataset_size = in_one_unit(given_points, examples=examples)
    analysis, fitted = analyse_with_fit(complete, examples=dataset_size, seed=seed)
    law = analysis.trade_off
    return Fit(
        name=name,
        examples=dataset_size,
        points=complete,
        analysis=analysis,
        predictions=predict_runs(fitted, at) if fitted is not None else (),
        law_holds=law is not None and law.is_consistent,
        reason=law.reason if law is not None else analysis.cautions[0],
        provenance=watch.provenance(command=command, seed=seed, device=None),
    )
