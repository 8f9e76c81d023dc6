"""Texts of figures in paper style: plain again after plotly's entities, and broken into rows that fit."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from critbatch.reporting.paper_fonts import Fonts

POINTS_PER_INCH = 72
WIDE = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef"
# Chinese may be broken between any two letters, but not before a closing mark.
PIECE = re.compile(rf"[{WIDE}][，。：；、）！？]*|[^\s{WIDE}]+|\s+")


def plain(text: str) -> str:
    """A label as it reads: plotly has it with entities, and with <br> between rows.

    >>> plain("a &lt;b&gt;<br>c")
    'a <b>\\nc'
    """
    return html.unescape(re.sub(r"<br\s*/?>", "\n", text))


def inches(text: str, points: float, fonts: Fonts) -> float:
    """The width of the longest row."""
    prop = FontProperties(family=list(fonts.families), size=points)
    rows = [row for row in text.split("\n") if row]
    return max((text_to_path.get_text_width_height_descent(row, prop, False)[0] for row in rows), default=0.0) / (
        POINTS_PER_INCH
    )


def wrapped(text: str, width: float, points: float, fonts: Fonts, *, most: int = 3) -> str:
    """The text in rows of at most `width` inches; what is beyond the `most`-th row is left out with an ellipsis."""
    rows = [row for line in fonts.shown(plain(text)).split("\n") for row in _rows(line, width, points, fonts)]
    if len(rows) > most:
        rows = [*rows[: most - 1], _cut(rows[most - 1] + "…", width, points, fonts)]
    return "\n".join(rows)


def _rows(line: str, width: float, points: float, fonts: Fonts) -> list[str]:
    if inches(line, points, fonts) <= width:
        return [line]
    rows, row = [], ""
    for piece in PIECE.findall(line):
        if row and inches(row + piece.rstrip(), points, fonts) > width:
            rows.append(row.rstrip())
            row = ""
        row += piece if row else piece.lstrip()
        while inches(row.rstrip(), points, fonts) > width and len(row) > 1:
            at = _longest(row, width, points, fonts)
            rows.append(row[:at])
            row = row[at:]
    return [*rows, row.rstrip()] if row.strip() else rows


def _longest(row: str, width: float, points: float, fonts: Fonts) -> int:
    """How many letters of a word that is too long stand in one row."""
    return next((n for n in range(len(row) - 1, 1, -1) if inches(row[:n], points, fonts) <= width), 1)


def _cut(row: str, width: float, points: float, fonts: Fonts) -> str:
    while len(row) > 2 and inches(row, points, fonts) > width:
        row = f"{row[:-2]}…"
    return row


def texts_of(value: object) -> list[str]:
    """Every text in a figure's description."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for key, each in value.items() if key not in ("hovertext", "template") for text in texts_of(each)]
    if isinstance(value, Sequence):
        return [text for each in value for text in texts_of(each)]
    return []
