"""Plotly's traces as matplotlib draws them: lines, marks with intervals, filled bands, bars, contours, heat maps.

What a trace holds and this file does not know is an error, so that nothing is silently left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from critbatch.reporting.paper_fields import contour, heatmap
from critbatch.reporting.paper_fonts import Fonts
from critbatch.reporting.paper_look import CAP, HAIR, SMALL_LETTERS
from critbatch.reporting.paper_panels import Panel
from critbatch.reporting.paper_strokes import NotDrawableError, colour, line_style, mark_style
from critbatch.reporting.paper_text import plain
from critbatch.reports.charts.theme import BLUE, INK, MUTED

Trace = Mapping[str, Any]

STEPS = {"linear": "default", "hv": "steps-post", "vh": "steps-pre"}
ALWAYS = {
    "type", "name", "showlegend", "legendgroup", "hoverinfo", "hovertext", "xaxis", "yaxis", "x", "y",
}  # fmt: skip
KNOWN = {
    "scatter": {
        "mode", "line", "marker", "error_x", "error_y", "fill", "fillcolor", "text", "textposition", "textfont",
        "cliponaxis", "opacity",
    },
    "bar": {"marker", "orientation", "error_x", "error_y"},
    "contour": {
        "z", "contours", "ncontours", "colorscale", "line", "connectgaps", "colorbar", "showscale", "opacity",
    },
    "heatmap": {
        "z", "colorscale", "colorbar", "showscale", "zmin", "zmax", "text", "texttemplate", "textfont", "xgap", "ygap",
    },
}  # fmt: skip
BETWEEN = 0.01  # a trace lies above those before it


def draw(trace: Trace, panel: Panel, rank: int, fonts: Fonts, stack: Stack) -> None:
    """Draw the trace, the `rank`-th of its figure.

    Raises:
        NotDrawableError: if the trace holds something that has no form here.
    """
    kind = trace.get("type", "scatter")
    if kind not in KNOWN:
        raise NotDrawableError(f"A trace of the type {kind!r} cannot be drawn in paper style.")
    unknown = sorted(set(trace) - KNOWN[kind] - ALWAYS)
    if unknown:
        raise NotDrawableError(f"{', '.join(unknown)} of a {kind} trace cannot be drawn in paper style.")
    above = 2 + BETWEEN * rank
    if kind == "scatter":
        _scatter(trace, panel, above, fonts)
    elif kind == "bar":
        _bar(trace, panel, above, stack)
    else:
        (contour if kind == "contour" else heatmap)(trace, panel, fonts)


class Stack:
    """How bars share their places in one panel: the ends of the stacks so far, or ranks within a group."""

    def __init__(self, mode: str, gap: float, groups: int) -> None:
        self.mode, self.gap, self.groups, self.rank = mode, gap, groups, 0
        self.ends: dict[float, float] = {}


def _scatter(trace: Trace, panel: Panel, above: float, fonts: Fonts) -> None:
    x, y = panel.numbers(trace.get("x"), "x"), panel.numbers(trace.get("y"), "y")
    line, axes = trace.get("line") or {}, panel.axes
    parts = set((trace.get("mode") or "lines").split("+")) - {"none"}
    if parts - {"lines", "markers", "text"}:
        raise NotDrawableError(f"A trace of the mode {trace['mode']!r} cannot be drawn in paper style.")
    shared = {"zorder": above, "clip_on": trace.get("cliponaxis", True), "alpha": trace.get("opacity")}
    fill = trace.get("fill", "none")
    if fill == "toself":
        axes.fill(x, y, facecolor=colour(trace["fillcolor"]), linewidth=0, gid="band", **shared)
    elif fill == "tozeroy":
        axes.fill_between(x, y, 0, facecolor=colour(trace["fillcolor"]), linewidth=0, gid="band", **shared)
    elif fill != "none":
        raise NotDrawableError(f"A band filled {fill!r} cannot be drawn in paper style.")
    if "lines" in parts and line.get("width", 2) > 0:
        if line.get("shape", "linear") not in STEPS:
            raise NotDrawableError(f"A line of the shape {line['shape']!r} cannot be drawn in paper style.")
        axes.plot(x, y, **line_style(line), drawstyle=STEPS[line.get("shape", "linear")], gid="line", **shared)
    for axis in ("x", "y"):
        _intervals(trace, panel, axis, x, y, above)
    if "markers" in parts:
        seen = np.isfinite(x) & np.isfinite(y)
        style = mark_style(trace)
        for key in ("facecolors", "edgecolors"):
            if len(style[key] or ()) == len(seen) > 1:
                style[key] = [each for each, shown in zip(style[key], seen, strict=True) if shown]
        axes.scatter(x[seen], y[seen], gid="marks", **style, **(shared | {"zorder": above + BETWEEN / 2}))
    if "text" in parts:
        _names(trace, panel, x, y, above, fonts)


def _intervals(trace: Trace, panel: Panel, axis: str, x: np.ndarray, y: np.ndarray, above: float) -> None:
    """From low to high, where either is known; the value need not lie between them."""
    error = trace.get(f"error_{axis}") or {}
    if not error or error.get("visible") is False:
        return
    if error.get("type", "data") != "data":
        raise NotDrawableError(f"Intervals of the type {error['type']!r} cannot be drawn in paper style.")
    values = x if axis == "x" else y
    plus = panel.plain(error.get("array"))
    minus = plus if error.get("symmetric", True) and "arrayminus" not in error else None
    minus = panel.plain(error.get("arrayminus")) if minus is None else minus
    known = np.isfinite(values) & (np.isfinite(plus) | np.isfinite(minus))
    lows, highs = values - np.nan_to_num(minus), values + np.nan_to_num(plus)
    middles, halves = (lows + highs)[known] / 2, np.abs(highs - lows)[known] / 2
    own = [(trace.get(part) or {}).get("color") for part in ("marker", "line")]
    # On a bar an interval of the bar's own colour would not be seen.
    told = [error.get("color"), *(own if trace.get("type") != "bar" else ())]
    shade = next((each for each in told if isinstance(each, str)), INK)
    places = (middles, y[known]) if axis == "x" else (x[known], middles)
    drawn = panel.axes.errorbar(
        *places,
        **{f"{axis}err": halves},
        fmt="none",
        ecolor=colour(shade),
        elinewidth=HAIR,
        capsize=CAP,
        capthick=HAIR,
        zorder=above,
        clip_on=trace.get("cliponaxis", True),
    )
    for stem in drawn[2]:
        stem.set_gid("intervals")


def _names(trace: Trace, panel: Panel, x: np.ndarray, y: np.ndarray, above: float, fonts: Fonts) -> None:
    """Texts beside their marks."""
    vertical, horizontal = (trace.get("textposition") or "middle center").split(" ")
    away = {"left": -3, "center": 0, "right": 3}[horizontal], {"top": 2, "middle": 0, "bottom": -2}[vertical]
    for text, across, up in zip(trace.get("text") or (), x, y, strict=True):
        if text and np.isfinite(across) and np.isfinite(up):
            panel.axes.annotate(
                fonts.shown(plain(text)),
                (across, up),
                away,
                textcoords="offset points",
                ha={"left": "right", "center": "center", "right": "left"}[horizontal],
                va={"top": "bottom", "middle": "center", "bottom": "top"}[vertical],
                fontsize=SMALL_LETTERS,
                color=colour((trace.get("textfont") or {}).get("color", MUTED)),
                zorder=above + BETWEEN / 2,
            )


def _bar(trace: Trace, panel: Panel, above: float, stack: Stack) -> None:
    flat = trace.get("orientation") == "h"
    along, up = ("y", "x") if flat else ("x", "y")
    places, values = panel.numbers(trace.get(along), along), panel.numbers(trace.get(up), up)
    apart = float(np.min(np.diff(np.unique(places)))) if len(np.unique(places)) > 1 else 1.0
    width = apart * (1 - stack.gap)
    starts = np.zeros_like(values)
    if stack.mode == "stack":
        starts = np.array([stack.ends.get(place, 0.0) for place in places])
        stack.ends |= dict(zip(places, starts + np.nan_to_num(values), strict=True))
    elif stack.mode == "group":
        width /= stack.groups
        places = places + (stack.rank - (stack.groups - 1) / 2) * width
        stack.rank += 1
    elif stack.mode != "overlay":
        raise NotDrawableError(f"Bars of the mode {stack.mode!r} cannot be drawn in paper style.")
    shade = (trace.get("marker") or {}).get("color", BLUE)
    shades: Sequence[Any] = [shade] if isinstance(shade, str) else shade
    options: dict[str, Any] = {"color": [colour(each) for each in shades], "zorder": above, "gid": "bar"}
    # A stack's bar may hold less than a pixel: no edge, which would be wider.
    if flat:
        panel.axes.barh(places, values, width, left=starts, linewidth=0, **options)
        _intervals(trace, panel, "x", starts + values, places, above + BETWEEN / 2)
    else:
        panel.axes.bar(places, values, width, bottom=starts, linewidth=0, **options)
        _intervals(trace, panel, "y", places, starts + values, above + BETWEEN / 2)
