"""Heights over a plane in paper style: contours and heat maps, with their bar of colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize

from critbatch.reporting.paper_fonts import Fonts
from critbatch.reporting.paper_look import POINTS_PER_PIXEL, SMALL_LETTERS
from critbatch.reporting.paper_panels import Panel
from critbatch.reporting.paper_strokes import NotDrawableError, colour, line_style
from critbatch.reporting.paper_text import plain
from critbatch.reports.charts.theme import INK, MUTED, PAPER

CELL_LETTERS = 5.0  # points
LEVELS = 15  # where a figure does not say


def contour(trace: Mapping[str, Any], panel: Panel, fonts: Fonts) -> None:
    """Filled contours with lines between them, or lines alone, at plotly's levels."""
    x, y, z = _grid(trace, panel)
    contours, line = trace.get("contours") or {}, trace.get("line") or {}
    levels = _levels(contours, z, trace.get("ncontours") or LEVELS)
    step = levels[1] - levels[0]
    # Plotly gives each band the colour of its middle, half a step below the first level and above the last.
    norm = Normalize(levels[0] - step / 2, levels[-1] + step / 2)
    colours, coloring = _colours(trace), contours.get("coloring", "fill")
    alpha = trace.get("opacity")
    if coloring in ("fill", "heatmap"):
        panel.axes.contourf(x, y, z, levels, cmap=colours, norm=norm, extend="both", zorder=1, alpha=alpha)
    elif coloring not in ("lines", "none"):
        raise NotDrawableError(f"Contours coloured by {coloring!r} cannot be drawn in paper style.")
    inside = [level for level in levels if np.nanmin(z) < level < np.nanmax(z)]
    if inside and contours.get("showlines", True):
        if coloring == "lines":
            look: dict[str, Any] = {"cmap": colours, "norm": norm}
        else:
            look = {"colors": [line_style({"color": MUTED} | line)["color"]]}
        width = POINTS_PER_PIXEL * line.get("width", 1)
        panel.axes.contour(x, y, z, inside, linewidths=width, zorder=1.5, alpha=alpha, **look)
    if coloring != "none":
        _bar(trace, panel, ScalarMappable(norm, colours), fonts)


def heatmap(trace: Mapping[str, Any], panel: Panel, fonts: Fonts) -> None:
    """One cell of colour for each height, with its words where there are some."""
    x, y, z = _grid(trace, panel)
    low, high = trace.get("zmin"), trace.get("zmax")
    norm = Normalize(np.nanmin(z) if low is None else low, np.nanmax(z) if high is None else high)
    colours, gap = _colours(trace), max(trace.get("xgap") or 0, trace.get("ygap") or 0)
    edges: dict[str, Any] = {"edgecolors": PAPER, "linewidth": POINTS_PER_PIXEL * gap} if gap else {}
    drawn = panel.axes.pcolormesh(x, y, z, cmap=colours, norm=norm, shading="nearest", zorder=1, gid="cells", **edges)
    _bar(trace, panel, drawn, fonts)
    template = trace.get("texttemplate")
    if template not in (None, "%{text}"):
        raise NotDrawableError(f"Words in cells after the template {template!r} cannot be drawn in paper style.")
    if template is not None:
        _words(trace, panel, norm, colours, fonts)


def _words(
    trace: Mapping[str, Any], panel: Panel, norm: Normalize, colours: LinearSegmentedColormap, fonts: Fonts
) -> None:
    """Words of cells that are given one by one, light on dark and dark on light."""
    x, y = (panel.numbers(trace[axis], axis) for axis in ("x", "y"))
    for across, up, height, text in zip(x, y, trace["z"], trace["text"], strict=True):
        red, green, blue, _ = colours(norm(height))
        ink = PAPER if 0.3 * red + 0.6 * green + 0.1 * blue < 0.5 else INK
        words = fonts.shown(plain(text))
        panel.axes.text(across, up, words, ha="center", va="center", fontsize=CELL_LETTERS, color=ink, zorder=1.5)


def _grid(trace: Mapping[str, Any], panel: Panel) -> tuple[np.ndarray, np.ndarray, Any]:
    """Places and heights, given as rows, or cell by cell with a place for each."""
    x, y = (panel.numbers(trace.get(axis), axis) for axis in ("x", "y"))
    if not isinstance(trace["z"][0], Sequence):
        places = np.unique(x), np.unique(y)
        cells = np.full((len(places[1]), len(places[0])), np.nan)
        cells[np.searchsorted(places[1], y), np.searchsorted(places[0], x)] = panel.plain(trace["z"])
        return *places, np.ma.masked_invalid(cells)
    z = np.ma.masked_invalid(np.array([panel.plain(row) for row in trace["z"]]))
    return (x if len(x) else np.arange(z.shape[1])), (y if len(y) else np.arange(z.shape[0])), z


def _levels(contours: Mapping[str, Any], z: Any, count: int) -> np.ndarray:
    low, high = contours.get("start", np.nanmin(z)), contours.get("end", np.nanmax(z))
    step = contours.get("size") or (high - low) / max(1, count - 1) or 1.0
    return np.asarray(low + step * np.arange(max(2, int(np.floor((high - low) / step + 1e-9)) + 1)))


def _colours(trace: Mapping[str, Any]) -> LinearSegmentedColormap:
    stops = trace.get("colorscale")
    if stops is None or isinstance(stops, str):
        raise NotDrawableError("A scale of colours that is not written out cannot be drawn in paper style.")
    return LinearSegmentedColormap.from_list("trace", [(at, colour(shade)) for at, shade in stops])


def _bar(trace: Mapping[str, Any], panel: Panel, drawn: ScalarMappable, fonts: Fonts) -> None:
    if trace.get("showscale", True) is False:
        return
    described = trace.get("colorbar") or {}
    figure = panel.axes.get_figure()
    assert figure is not None
    bar = figure.colorbar(drawn, ax=panel.axes, pad=0.03, aspect=22, fraction=0.08)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=2, labelsize=SMALL_LETTERS)
    if described.get("tickvals"):
        bar.set_ticks(list(described["tickvals"]), labels=[fonts.shown(plain(t)) for t in described["ticktext"]])
        bar.ax.minorticks_off()
    title = (described.get("title") or {}).get("text")
    if title:
        bar.set_label(fonts.shown(plain(title)))
