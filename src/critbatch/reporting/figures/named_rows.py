"""Figures whose rows have names: marks with intervals, side by side where several belong to one row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from critbatch.reporting.figures.theme import AMBER, BLUE, GREEN, RED, lines, safe, shade

# A name on an axis that is longer than this leaves no room for the marks.
LONGEST_NAME = 28
FEW_COLOURS = (BLUE, RED, GREEN, AMBER)


def row_axis(title: str, names: Sequence[str]) -> dict[str, Any]:
    """The vertical axis, the first name on top."""
    return {
        "title": {"text": safe(title)},
        "range": [len(names) - 0.4, -0.6],
        "tickvals": list(range(len(names))),
        "ticktext": [lines(*_halves(short(name))) for name in names],
        "showgrid": False,
    }


def short(name: str) -> str:
    """The name, its middle left out where it is long: labels differ at their ends as often as at their beginnings."""
    half = LONGEST_NAME // 2
    return name if len(name) <= LONGEST_NAME else f"{name[:half]}…{name[-half + 1 :]}"


def _halves(name: str) -> list[str]:
    """A long name in two rows, broken at the comma nearest to its middle."""
    commas = [i for i, letter in enumerate(name) if letter in ",，"]
    if len(name) <= LONGEST_NAME // 2 or not commas:
        return [name]
    at = min(commas, key=lambda i: abs(i - len(name) / 2)) + 1
    return [name[:at], name[at:].lstrip()]


def beside(rank: int, of: int) -> float:
    """How far from the middle of its row the `rank`-th of `of` marks lies."""
    return 0.5 * ((rank + 0.5) / of - 0.5)


def colour_of(rank: int, of: int) -> str:
    """Colours that differ much where they are few, else a ramp."""
    return FEW_COLOURS[rank] if of <= len(FEW_COLOURS) else shade(rank, of)
