"""Colours, lines and marks of plotly as matplotlib has them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from matplotlib.colors import to_rgba

from critbatch.reporting.paper_look import HAIR, POINTS_PER_PIXEL
from critbatch.reports.charts.theme import BLUE

DASHES = {
    "solid": "solid",
    "dot": (0, (1, 1.6)),
    "dash": (0, (3.7, 1.8)),
    "longdash": (0, (6, 2)),
    "dashdot": (0, (4, 1.5, 1, 1.5)),
}
# A mark's form, and its size against plotly's.
SYMBOLS = {
    "circle": ("o", 1.0),
    "square": ("s", 0.9),
    "diamond": ("D", 0.9),
    "star": ("*", 1.25),
    "triangle-up": ("^", 1.1),
    "triangle-down": ("v", 1.1),
    "cross": ("P", 1.1),
    "x": ("X", 1.1),
    "x-thin": ("x", 0.9),
    "cross-thin": ("+", 1.1),
}
STROKES = ("x-thin", "cross-thin")


class NotDrawableError(TypeError):
    """A figure holds something that has no form in paper style yet."""


def colour(value: Any) -> tuple[float, float, float, float]:
    """A colour of plotly's, #0a6fb0, #0a6fb024 or rgba(10, 111, 176, 0.5), as four shares."""
    found = re.fullmatch(r"rgba?\(([^)]*)\)", str(value))
    if found is None:
        return to_rgba(value)
    red, green, blue, *rest = (float(part) for part in found[1].split(","))
    return red / 255, green / 255, blue / 255, rest[0] if rest else 1.0


def line_style(line: Mapping[str, Any]) -> dict[str, Any]:
    dash = line.get("dash", "solid")
    if dash not in DASHES:
        raise NotDrawableError(f"A line of the dash {dash!r} cannot be drawn in paper style.")
    return {
        "color": colour(line.get("color", BLUE)),
        "linewidth": POINTS_PER_PIXEL * line.get("width", 2),
        "linestyle": DASHES[dash],
    }


def mark_style(trace: Mapping[str, Any], *, one: bool = False) -> dict[str, Any]:
    """Form, size and colours of the marks: `one` for all of them, or one for each where they differ."""
    marker = trace.get("marker") or {}
    symbol = marker.get("symbol", "circle")
    name = symbol.removesuffix("-open")
    if name not in SYMBOLS:
        raise NotDrawableError(f"A mark of the form {symbol!r} cannot be drawn in paper style.")
    shape, larger = SYMBOLS[name]
    inner = marker.get("color", (trace.get("line") or {}).get("color", BLUE))
    edge = marker.get("line") or {}
    fills = [colour(each) for each in ([inner] if isinstance(inner, str) else inner)]
    if one:
        fills = fills[:1]
    width = POINTS_PER_PIXEL * edge.get("width", 1 if symbol != name or name in STROKES else 0)
    outline = [colour(edge["color"])] if "color" in edge else fills
    if name in STROKES:
        fills, outline = outline, []  # a thin cross is all edge, and takes the colour of its face
    elif symbol != name:
        fills = [(0.0, 0.0, 0.0, 0.0)]
    return {
        "marker": shape,
        "s": (POINTS_PER_PIXEL * larger * marker.get("size", 6)) ** 2,
        "facecolors": fills,
        "edgecolors": outline or None,
        "linewidths": max(width, HAIR) if width else 0.0,
    }
