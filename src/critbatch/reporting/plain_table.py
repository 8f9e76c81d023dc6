"""A table as plain text, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from unicodedata import east_asian_width

from critbatch.reporting.blocks import Cell, Table


def plain(table: Table) -> list[str]:
    """Head and rows in columns, numbers to the right; what is small on the page stands in brackets."""
    rows = [list(table.header), *([_written(cell) for cell in row] for row in table.rows)]
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    return [_row(row, widths) for row in rows]


def _written(cell: Cell) -> str:
    marks = f" ({'; '.join(cell.marks)})" if cell.marks else ""
    return f"{cell.text} [{cell.note}]{marks}" if cell.note else f"{cell.text}{marks}"


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(" " * (most - width(cell)) + cell for cell, most in zip(cells, widths, strict=True)).rstrip()


def width(text: str) -> int:
    """Columns of a terminal that the text takes: a Chinese character takes two."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)
