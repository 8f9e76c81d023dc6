"""Points of runs made elsewhere, read from a CSV file: one run a row."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path

from critbatch.errors import UserError
from critbatch.predict.point_units import LARGEST, LONGEST_SHOWN, SMALLEST
from critbatch.records.study import GoalPoint

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
    """The points of a file, by the lines that they are on.

    The first row names the columns, in any order and case: `batch_size`, and one of `steps`, `epochs` and `examples` to
    the target; optional are `seed`, `learning_rate`, `censored` (or `reached`), `step_seconds` and `devices`. Other
    columns are left alone. Cells are separated by commas, semicolons or tabs; lines that begin with # are comments.

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
    """Where the columns are."""
    columns: dict[str, int] = {}
    for i, title in enumerate(header):
        name = NAMES.get(re.sub(r"[\s-]+", "_", title.lower()))
        if name in columns:
            raise UserError(f"Columns {header[columns[name]]!r} and {title!r} are both the {name}: leave one of them.")
        if name is not None:
            columns[name] = i
    found = ", ".join(title[:LONGEST_SHOWN] for title in header)
    if "batch_size" not in columns:
        raise UserError(f"There is no column batch_size among {found}: name it in the first row.")
    if not {"steps", "epochs", "examples"} & set(columns):
        raise UserError(f"There is no column steps, epochs or examples among {found}: name one in the first row.")
    return columns


def _point(cells: dict[str, str], number: int) -> GoalPoint:
    def read(name: str) -> float | None:
        text = cells.get(name, "")
        return _number(text, f"Line {number}, column {name}") if text else None

    def given(name: str) -> float | None:
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
        steps=given("steps"),
        epochs=given("epochs"),
        examples=given("examples"),
        censored=_is_censored(cells, number),
        seed=whole("seed", 0),
        learning_rate=given("learning_rate"),
        step_seconds=given("step_seconds"),
        devices=whole("devices", 1),
    )
    if point.steps is None and point.epochs is None and point.examples is None:
        raise UserError(f"Line {number} has no steps, epochs or examples to the target: give one of them.")
    return point


def _number(text: str, place: str) -> float:
    try:
        # What Python reads as a number and people do not write: 1_000, or the digits of other scripts.
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
    said = {name: cells[name].lower() for name in ("censored", "reached") if cells.get(name)}
    for name, word in said.items():
        if word not in YES + NO:
            raise UserError(f"Line {number}, column {name}: {word[:LONGEST_SHOWN]!r} is neither yes nor no: use one.")
    answers = {(word in YES) == (name == "censored") for name, word in said.items()}
    if len(answers) > 1:
        raise UserError(f"Line {number} is both censored and reached: a run that missed its target is censored.")
    return answers == {True}
