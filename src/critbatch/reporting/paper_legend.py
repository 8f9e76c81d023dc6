"""The legend of a figure in paper style: above the panels, in as many columns as fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from critbatch.reporting.paper_fonts import Fonts
from critbatch.reporting.paper_look import SMALL_LETTERS
from critbatch.reporting.paper_strokes import colour, line_style, mark_style
from critbatch.reporting.paper_text import POINTS_PER_INCH, inches, wrapped
from critbatch.reports.charts.theme import BLUE, MUTED

HANDLE, GAP, BETWEEN = 1.9, 0.5, 1.2  # in letters: the sign, the space behind it, that between columns
MOST_COLUMNS = 4
MARGIN = 0.1  # inches

Trace = Mapping[str, Any]


def named(traces: Sequence[Trace]) -> list[Trace]:
    """Those that the legend tells of, as on the page."""
    return [trace for trace in traces if trace.get("name") and trace.get("showlegend", True) is not False]


def add_legend(figure: Figure, traces: Sequence[Trace], width: float, fonts: Fonts) -> float:
    """Put the legend above all panels. Returns its height in inches, 0 where there is nothing to tell."""
    told = named(traces)
    if not told:
        return 0.0
    room = width - 2 * MARGIN
    sign = (HANDLE + GAP) * SMALL_LETTERS / POINTS_PER_INCH
    labels = [wrapped(trace["name"], room - sign, SMALL_LETTERS, fonts, most=2) for trace in told]
    widths = [inches(label, SMALL_LETTERS, fonts) + sign for label in labels]
    columns = _columns(widths, room)
    figure.legend(
        [handle(trace) for trace in told],
        labels,
        loc="outside upper left",
        ncols=columns,
        frameon=False,
        fontsize=SMALL_LETTERS,
        labelcolor=MUTED,
        handlelength=HANDLE,
        handletextpad=GAP,
        columnspacing=BETWEEN,
        labelspacing=0.35,
        borderpad=0.0,
        borderaxespad=0.3,
    )
    rows = -(-len(told) // columns) + sum("\n" in label for label in labels)
    return rows * 1.45 * SMALL_LETTERS / POINTS_PER_INCH


def _columns(widths: Sequence[float], room: float) -> int:
    between = BETWEEN * SMALL_LETTERS / POINTS_PER_INCH
    for columns in range(min(MOST_COLUMNS, len(widths)), 1, -1):
        # As matplotlib fills them: one after the other, the first ones with one more.
        each, more = divmod(len(widths), columns)
        ends = [each * i + min(i, more) for i in range(columns + 1)]
        widest = [max(widths[start:end]) for start, end in pairwise(ends)]
        if sum(widest) + between * (columns - 1) <= room:
            return columns
    return 1


def handle(trace: Trace) -> Line2D | Patch:
    """What stands before the name: the trace's line, mark or colour."""
    marker = trace.get("marker") or {}
    if trace.get("type") == "bar":
        shade = marker.get("color", BLUE)
        return Patch(facecolor=colour(shade if isinstance(shade, str) else shade[0]), linewidth=0)
    if trace.get("fill", "none") != "none":
        return Patch(facecolor=colour(trace["fillcolor"]), linewidth=0)
    mode = trace.get("mode") or "lines"
    line = trace.get("line") or {}
    style = line_style(line) if "lines" in mode and line.get("width", 2) > 0 else {"linestyle": "none"}
    if "markers" in mode:
        mark = mark_style(trace, one=True)
        style |= {
            "marker": mark["marker"],
            "markersize": min(mark["s"] ** 0.5, SMALL_LETTERS),
            "markerfacecolor": mark["facecolors"][0],
            "markeredgecolor": (mark["edgecolors"] or mark["facecolors"])[0],
            "markeredgewidth": mark["linewidths"],
        }
    return Line2D([], [], **style)
