"""What lies over the traces of a figure in paper style: reference lines, shaded ranges, words, titles of panels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.lines import Line2D
from matplotlib.patches import Polygon
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Transform, blended_transform_factory

from critbatch.reporting.paper_fonts import Fonts
from critbatch.reporting.paper_look import LETTERS, POINTS_PER_PIXEL, SMALL_LETTERS
from critbatch.reporting.paper_panels import Panel, axis_of
from critbatch.reporting.paper_strokes import NotDrawableError, colour, line_style
from critbatch.reporting.paper_text import plain
from critbatch.reports.charts.theme import MUTED, PAPER

BELOW, ABOVE, WORDS = 0.8, 4.0, 6.0
HALO, INWARD = 1.5, 3.0  # points
LEFT_OF = {"left": "left", "center": "center", "right": "right", "auto": "center"}
OVER = {"top": "top", "middle": "center", "bottom": "bottom", "auto": "center"}
Panels = Mapping[tuple[str, str], Panel]


def add_shape(shape: Mapping[str, Any], panels: Panels) -> None:
    """A line or a rectangle, each end in the units of an axis or as a share of the panel."""
    x, y = shape.get("xref", "x"), shape.get("yref", "y")
    panel = _panel(x, y, panels)
    ends = {key: float(shape[key]) for key in ("x0", "x1", "y0", "y1")}
    over = _transform(panel, x, y)
    height = BELOW if shape.get("layer") == "below" else ABOVE
    if shape["type"] == "line":
        across, up = (ends["x0"], ends["x1"]), (ends["y0"], ends["y1"])
        style = line_style({"color": MUTED} | (shape.get("line") or {}))
        panel.axes.add_artist(Line2D(across, up, transform=over, zorder=height, gid="shape", **style))
    elif shape["type"] == "rect":
        corners = [(ends[a], ends[b]) for a, b in (("x0", "y0"), ("x1", "y0"), ("x1", "y1"), ("x0", "y1"))]
        panel.axes.add_artist(
            Polygon(
                corners, transform=over, facecolor=colour(shape["fillcolor"]), linewidth=0, zorder=height, gid="shape"
            )
        )
    else:
        raise NotDrawableError(f"A shape of the type {shape['type']!r} cannot be drawn in paper style.")
    # What is in the units of an axis must lie within its range.
    in_x, in_y = (not ref.endswith("domain") for ref in (x, y))
    panel.axes.update_datalim(
        [(ends["x0"], ends["y0"]), (ends["x1"], ends["y1"])],
        updatex=in_x and x != "paper",
        updatey=in_y and y != "paper",
    )


def add_words(note: Mapping[str, Any], panels: Panels, layout: Mapping[str, Any], fonts: Fonts) -> None:
    """Words at a place, or the title of a panel where they stand on its upper edge."""
    if note.get("showarrow"):
        raise NotDrawableError("Arrows cannot be drawn in paper style.")
    if note.get("name") == "band":
        return  # too narrow for its name here: the legend has it
    x, y = note.get("xref", "x"), note.get("yref", "y")
    panel = _panel(x, y, panels) if "paper" not in (x, y) else _under(note, panels, layout)
    across, up = _place(panel, "x", x, float(note["x"])), _place(panel, "y", y, float(note["y"]))
    anchor = LEFT_OF[note.get("xanchor", "auto")], OVER[note.get("yanchor", "auto")]
    on_top = y == "paper" or y.endswith("domain")
    if on_top and up > 1 - 1e-9 and anchor[1] == "bottom":
        title = panel.axes.set_title(" ", loc="left", fontsize=LETTERS, gid="words")
        panel.labels.append((title, note["text"], "x"))
        return
    # Words that begin at an edge of the panel stand off it a little.
    inward = INWARD * {"left": 1, "right": -1}.get(anchor[0], 0) if x.endswith("domain") and across in (0, 1) else 0
    panel.axes.annotate(
        fonts.shown(plain(note["text"])),
        (across, up),
        (inward + POINTS_PER_PIXEL * (note.get("xshift") or 0), POINTS_PER_PIXEL * (note.get("yshift") or 0)),
        xycoords=_transform(panel, x, y),
        textcoords="offset points",
        ha=anchor[0],
        va=anchor[1],
        fontsize=SMALL_LETTERS,
        color=colour((note.get("font") or {}).get("color") or MUTED),
        zorder=WORDS,
        gid="words",
        path_effects=[withStroke(linewidth=HALO, foreground=PAPER)],
    )


def _panel(x: str, y: str, panels: Panels) -> Panel:
    names = x.removesuffix(" domain"), y.removesuffix(" domain")
    found = [
        panel for pair, panel in panels.items() if all(n in ("paper", own) for n, own in zip(names, pair, strict=True))
    ]
    if not found:
        raise NotDrawableError(f"Nothing lies on the axes {x!r} and {y!r} of a shape or note.")
    return found[0]


def _under(note: Mapping[str, Any], panels: Panels, layout: Mapping[str, Any]) -> Panel:
    """The panel nearest to words that are placed in the whole figure."""

    def away(pair: tuple[str, str]) -> float:
        far = 0.0
        for axis, name in zip("xy", pair, strict=True):
            low, high = axis_of(layout, name).get("domain") or (0.0, 1.0)
            far += max(low - note[axis], 0.0, note[axis] - high)
        return far

    return panels[min(panels, key=away)]


def _place(panel: Panel, axis: str, ref: str, value: float) -> float:
    """A place on a logarithmic axis is given by its exponent, one in the whole figure as a share of it."""
    if ref == "paper":
        low, high = (panel.across if axis == "x" else panel.up).get("domain") or (0.0, 1.0)
        return (value - low) / (high - low)
    return 10.0**value if not ref.endswith("domain") and panel.is_log(axis) else value


def _transform(panel: Panel, x: str, y: str) -> Transform:
    parts = [panel.axes.transAxes if r.endswith("domain") or r == "paper" else panel.axes.transData for r in (x, y)]
    return blended_transform_factory(*parts)
