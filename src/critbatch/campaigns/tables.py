"""Rows to a file of CSV, JSON lines or Parquet, written whole or not at all."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from critbatch.campaigns.rows import KINDS, Row, finite
from critbatch.errors import UserError
from critbatch.records.io import atomic_replacement, reason_of

ROWS_AT_A_TIME = 50_000
# Also in their full width, which some spreadsheets take for the same.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def write_csv(rows: Iterable[Row], columns: Sequence[str], path: Path) -> None:
    """Commas, UTF-8; an empty cell where there is no value, `inf` and `nan` for numbers that are not finite.

    Text that a spreadsheet would run as a formula begins with an apostrophe: see `without_formula`.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows({name: without_formula(value) for name, value in row.items()} for row in rows)


def without_formula(value: Any) -> Any:
    """The value of a cell; text that a spreadsheet would run gets an apostrophe before it, as OWASP advises.

    Names of tasks and options come from other people's files: `=HYPERLINK(...)` must stay text when the table is
    opened. Numbers stay numbers, also where they are text.

    >>> without_formula("=1+1"), without_formula(-0.5), without_formula("-0.5")
    ("'=1+1", -0.5, '-0.5')
    """
    if not isinstance(value, str) or not value.lstrip(" ").startswith(FORMULA_STARTS):
        return value
    return value if re.fullmatch(r"[+-](\d+\.?\d*|\.\d+)(e[+-]?\d+)?|-inf", value, re.IGNORECASE) else f"'{value}"


def write_jsonl(rows: Iterable[Row], columns: Sequence[str], path: Path) -> None:
    """An object a line; null where there is no value, and for numbers that are not finite."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(finite(row), ensure_ascii=False) + "\n" for row in rows)


def write_parquet(rows: Iterable[Row], columns: Sequence[str], path: Path) -> None:
    """Columns of the type of their values; those of several types, as options may be, are text."""
    try:
        import pyarrow as arrow
        from pyarrow.parquet import ParquetWriter
    except ImportError as error:
        raise UserError(
            f"Parquet needs the package pyarrow ({error}): pip install 'critbatch[parquet]', or use csv or jsonl."
        ) from error
    rest = iter(rows)
    first = list(islice(rest, ROWS_AT_A_TIME))
    kinds = {name: _kind_of(first, name) for name in columns}
    types = {str: arrow.string(), bool: arrow.bool_(), int: arrow.int64(), float: arrow.float64()}
    schema = arrow.schema([(name, types[kinds[name]]) for name in columns])
    with ParquetWriter(str(path), schema) as writer:
        for many in chain([first], _chunks(rest)):
            cells = {name: [_as(kinds[name], row[name]) for row in many] for name in columns}
            writer.write_table(arrow.table(cells, schema=schema))


WRITERS: dict[str, Callable[[Iterable[Row], Sequence[str], Path], None]] = {
    "csv": write_csv,
    "parquet": write_parquet,
    "jsonl": write_jsonl,
}


def write_table(rows: Iterable[Row], columns: Sequence[str], path: Path, kind: str) -> None:
    """Write the rows in a format of `WRITERS`.

    Raises:
        UserError: if the file cannot be written, or the format needs a package that is not installed.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_replacement(path) as part:
            WRITERS[kind](rows, columns, part)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({reason_of(error)}): give another --out.") from error


def _kind_of(rows: Sequence[Row], name: str) -> type[Any]:
    kinds = {type(row[name]) for row in rows} - {type(None)}
    if not kinds:
        return KINDS.get(name, float)
    if len(kinds) == 1:
        return kinds.pop()
    return float if kinds <= {int, float} else str


def _as(kind: type[Any], value: Any) -> Any:
    return None if value is None else kind(value)


def _chunks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while many := list(islice(rows, ROWS_AT_A_TIME)):
        yield many
