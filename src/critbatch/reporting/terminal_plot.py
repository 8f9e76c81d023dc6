"""Curves in a terminal: dots of braille, eight to a cell, and a letter along each so that no colour is needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.text import Text

from critbatch.reporting.plain_table import width as columns_of

# Bits of a braille character by column and row of its dots (Unicode, block 2800).
DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
BRAILLE = 0x2800
LETTERS_EVERY = 14  # columns
LEVEL = "╌"
WORST = 0.2  # of all values


@dataclass(frozen=True)
class Line:
    """One curve: its letter, its colour as rich names it, its points from left to right."""

    letter: str
    colour: str
    points: Sequence[tuple[float, float]]

    def at(self, x: float) -> float | None:
        """Its height there, in straight lines between the points; None beyond its ends."""
        for (left, low), (right, high) in zip(self.points, self.points[1:], strict=False):
            if left <= x <= right:
                return low + (high - low) * ((x - left) / (right - left) if right > left else 1.0)
        return None


def plotted(
    lines: Sequence[Line],
    *,
    width: int,
    height: int,
    write: Callable[[float], str],
    level: float | None = None,
    rises: bool = True,
) -> list[Text]:
    """So many rows of at most so many columns, the axis below them included; nothing where there is nothing to draw.

    Args:
        lines: the first is drawn last, on top.
        write: how a value of either axis is written.
        level: a height to mark by a broken line.
        rises: the better values are the higher ones. The worst ones, of the first steps, are left out.
    """
    drawn = [line for line in lines if line.points]
    if not drawn or height < 4:
        return []
    heights = sorted((y for line in drawn for _, y in line.points), reverse=not rises)
    kept = [*heights[int(WORST * len(heights)) :], *([level] if level is not None else [])]
    low, high = min(kept), max(kept)
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    end = max(x for line in drawn for x, _ in line.points) or 1.0
    names = {0: write(high), (height - 2) // 2: write(high - (high - low) / 2), height - 2: write(low)}
    margin = max(map(columns_of, names.values()))
    cells = _plot_cells(drawn, width - margin - 2, height - 1, end=end, low=low, high=high, level=level)
    rows = []
    for number, row in enumerate(cells):
        name = names.get(number, "")
        text = Text(f"{name:>{margin}} {'┤' if name else '│'}", no_wrap=True)
        for letter, colour in row:
            text.append(letter, style=colour)
        rows.append(text)
    last = write(end)
    rows.append(Text(f"{'':>{margin}} └0{last:>{width - margin - 3}}", no_wrap=True))
    return rows


def _plot_cells(
    lines: Sequence[Line], columns: int, rows: int, *, end: float, low: float, high: float, level: float | None
) -> list[list[tuple[str, str]]]:
    def dot_of(y: float) -> int:
        return round((high - y) / (high - low) * (4 * rows - 1))

    cells = [[(" ", "")] * columns for _ in range(rows)]
    if level is not None:
        cells[dot_of(level) // 4] = [(LEVEL, "dim")] * columns
    for line in reversed(lines):
        for (row, column), bits in _dots(line, 2 * columns, 4 * rows, end, dot_of).items():
            cells[row][column] = (chr(BRAILLE + bits), line.colour)
    for number, line in enumerate(lines):
        first = 2 + number * LETTERS_EVERY // max(1, len(lines))
        last = min(columns - 1, int(line.points[-1][0] / end * (columns - 1)))
        for column in {*range(first, last, LETTERS_EVERY), last}:
            y = line.at(end * column / (columns - 1))
            if y is not None and 0 <= dot_of(y) < 4 * rows:
                cells[dot_of(y) // 4][column] = (line.letter, f"bold {line.colour}")
    return cells


def _dots(line: Line, across: int, down: int, end: float, dot_of: Callable[[float], int]) -> dict[tuple[int, int], int]:
    """The bits of each cell that the line goes through, without gaps where it is steep."""
    bits: dict[tuple[int, int], int] = {}
    before: int | None = None
    for column in range(across):
        if (y := line.at(end * column / (across - 1))) is None:
            continue
        here = dot_of(y)
        first, last = sorted((here, here if before is None else before))
        for dot in range(max(0, first), min(down - 1, last) + 1):
            place = dot // 4, column // 2
            bits[place] = bits.get(place, 0) | DOTS[column % 2][dot % 4]
        before = here
    return bits
