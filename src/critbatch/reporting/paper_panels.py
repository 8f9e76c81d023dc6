"""The axes of a figure in paper style: a panel for each pair of plotly's axes, with its scale, range and ticks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullFormatter, NullLocator, PercentFormatter

from critbatch.reporting.paper_fonts import Fonts
from critbatch.reporting.paper_look import LETTERS
from critbatch.reporting.paper_strokes import NotDrawableError
from critbatch.reporting.paper_text import POINTS_PER_INCH, plain, wrapped

Layout = Mapping[str, Any]
AxisName = Literal["x", "y"]
BOTH: tuple[AxisName, AxisName] = ("x", "y")
APART = 2.0  # points between the labels of two ticks


@dataclass
class Panel:
    """One pair of axes.

    `categories` are the names along an axis that has names, in their order; `labels` the words beside the panel, as
    they were given, with the axis that they lie along.
    """

    axes: Axes
    across: Layout
    up: Layout
    categories: dict[str, list[str]] = field(default_factory=dict)
    labels: list[tuple[Text, str, str]] = field(default_factory=list)

    def numbers(self, values: Sequence[Any] | None, axis: str) -> np.ndarray:
        """Values along "x" or "y" as floats: a name is its rank, and what is missing or infinite is NaN."""
        names = self.categories.get(axis)
        if names is not None:
            return np.array([float(names.index(str(value))) for value in values or ()])
        return self.plain(values)

    @staticmethod
    def plain(values: Sequence[Any] | None) -> np.ndarray:
        """Floats, NaN for what is missing or infinite."""
        told = [np.nan if value is None else float(value) for value in (values if values is not None else ())]
        return np.where(np.isfinite(told), told, np.nan)

    def is_log(self, axis: str) -> bool:
        return bool((self.across if axis == "x" else self.up).get("type") == "log")


def axes_of(trace: Mapping[str, Any]) -> tuple[str, str]:
    """The names of the axes that a trace lies on."""
    return trace.get("xaxis") or "x", trace.get("yaxis") or "y"


def axis_of(layout: Layout, name: str) -> Layout:
    """The description of the axis "x", "y2"."""
    found: Layout = layout.get(f"{name[0]}axis{name[1:]}") or {}
    return found


def columns_and_rows(layout: Layout, pairs: Sequence[tuple[str, str]]) -> tuple[list[float], list[float]]:
    """Where the columns begin from the left, and where the rows end from the top, as shares of the figure."""
    lefts = sorted({_domain(layout, x)[0] for x, _ in pairs})
    tops = sorted({_domain(layout, y)[1] for _, y in pairs}, reverse=True)
    return lefts, tops


def panels(figure: Figure, layout: Layout, traces: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], Panel]:
    """A panel for each pair of axes that a trace lies on, where plotly has it."""
    pairs = list(dict.fromkeys(map(axes_of, traces)))
    lefts, tops = columns_and_rows(layout, pairs)
    widths = [next(d[1] - d[0] for x, _ in pairs if (d := _domain(layout, x))[0] == left) for left in lefts]
    heights = [next(d[1] - d[0] for _, y in pairs if (d := _domain(layout, y))[1] == top) for top in tops]
    grid = figure.add_gridspec(len(tops), len(lefts), width_ratios=widths, height_ratios=heights)
    made: dict[tuple[str, str], Panel] = {}
    for x, y in pairs:
        across, up = axis_of(layout, x), axis_of(layout, y)
        if "overlaying" in across or "overlaying" in up:
            raise NotDrawableError("Axes that overlay each other cannot be drawn in paper style.")
        place = grid[tops.index(_domain(layout, y)[1]), lefts.index(_domain(layout, x)[0])]
        panel = Panel(figure.add_subplot(place), across, up)
        for axis, described, name in (("x", across, x), ("y", up, y)):
            values = [v for t in traces if axes_of(t)[axis == "y"] == name for v in t.get(axis) or ()]
            if described.get("type") == "category" or any(isinstance(value, str) for value in values):
                panel.categories[axis] = list(dict.fromkeys(map(str, values)))
        made[x, y] = panel
    for (x, y), panel in made.items():
        _share(panel, x, y, made)
    return made


def _share(panel: Panel, x: str, y: str, made: Mapping[tuple[str, str], Panel]) -> None:
    """Let axes that plotly has match have the same range."""
    for axis, name, described in (("x", x, panel.across), ("y", y, panel.up)):
        other = described.get("matches")
        if other is None or other == name:
            continue
        twin = next((each for pair, each in made.items() if pair[axis == "y"] == other), None)
        if twin is not None:
            (panel.axes.sharex if axis == "x" else panel.axes.sharey)(twin.axes)


def _domain(layout: Layout, name: str) -> tuple[float, float]:
    low, high = axis_of(layout, name).get("domain") or (0.0, 1.0)
    return round(low, 6), round(high, 6)


def scale(panel: Panel) -> None:
    """Logarithmic axes, before anything is drawn on them."""
    for axis in ("x", "y"):
        if panel.is_log(axis):
            (panel.axes.set_xscale if axis == "x" else panel.axes.set_yscale)("log")


def finish(panel: Panel, fonts: Fonts) -> None:
    """Titles, ranges, ticks and grid, after everything is drawn."""
    axes = panel.axes
    for axis, described, ruler in zip(BOTH, (panel.across, panel.up), (axes.xaxis, axes.yaxis), strict=True):
        title = ((described.get("title") or {}).get("text") or "").strip()
        panel.labels.append((ruler.label, title, axis))
        _range(panel, axis, described)
        _ticks(panel, axis, described, fonts)
        if described.get("showticklabels") is False:
            axes.tick_params(axis, labelbottom=False, labelleft=False)
        axes.grid(described.get("showgrid", True), axis=axis)
    if panel.up.get("scaleanchor"):
        axes.set_aspect("equal", adjustable="box")


def _range(panel: Panel, axis: str, described: Layout) -> None:
    axes = panel.axes
    limits = axes.set_xlim if axis == "x" else axes.set_ylim
    span = described.get("range")
    if span is not None:
        low, high = (10.0**end for end in span) if panel.is_log(axis) else span
        limits(low, high)
    elif axis in panel.categories:
        limits(-0.5, len(panel.categories[axis]) - 0.5)
    elif described.get("rangemode") == "tozero":
        low, high = axes.get_xlim() if axis == "x" else axes.get_ylim()
        lowest = axes.dataLim.x0 if axis == "x" else axes.dataLim.y0
        limits(low if lowest < 0 else 0.0, high)
    if described.get("autorange") == "reversed":
        (axes.invert_xaxis if axis == "x" else axes.invert_yaxis)()


def _ticks(panel: Panel, axis: str, described: Layout, fonts: Fonts) -> None:
    ruler = panel.axes.xaxis if axis == "x" else panel.axes.yaxis
    names = panel.categories.get(axis)
    values = described.get("tickvals")
    if values is None and names is not None:
        values = names
    if values is not None:
        texts = described.get("ticktext") or [str(value) for value in values]
        ruler.set_major_locator(FixedLocator([float(place) for place in panel.numbers(values, axis)]))
        ruler.set_major_formatter(FixedFormatter([fonts.shown(plain(text)) for text in texts]))
        ruler.set_minor_locator(NullLocator())
    elif not panel.is_log(axis):
        ruler.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    form = described.get("tickformat")
    if form == ".0%":
        ruler.set_major_formatter(PercentFormatter(1.0, decimals=0))
    elif form:
        raise NotDrawableError(f"Ticks of the format {form!r} cannot be drawn in paper style.")


def fit(panel: Panel, fonts: Fonts) -> None:
    """Break titles into rows that are no longer than the panel, whose size is known once it was laid out."""
    box, figure = panel.axes.get_window_extent(), panel.axes.get_figure()
    assert figure is not None
    for label, text, axis in panel.labels:
        length = (box.width if axis == "x" else box.height) / figure.dpi
        label.set_text(wrapped(text, length, LETTERS, fonts))


def thin(panel: Panel, fonts: Fonts) -> None:
    """Leave out the labels of every other tick, or of more, where they would run into each other."""
    figure = panel.axes.get_figure()
    assert figure is not None
    points = figure.dpi / POINTS_PER_INCH
    for axis in ("x", "y"):
        ruler = panel.axes.xaxis if axis == "x" else panel.axes.yaxis
        locator, form = ruler.get_major_locator(), ruler.get_major_formatter()
        # Names of rows stay, all of them.
        if not isinstance(locator, FixedLocator) or (axis == "y" and not panel.is_log("y")):
            continue
        places, texts = (
            [float(place) for place in locator()],
            list(form.seq) if isinstance(form, FixedFormatter) else [],
        )
        boxes = [label.get_window_extent() for label in ruler.get_ticklabels()]
        ends = [(box.x0, box.x1) if axis == "x" else (box.y0, box.y1) for box in boxes]
        if not any(high > low for low, high in ends) or len(places) != len(ends) or not texts:
            continue
        every = next(n for n in range(1, len(ends) + 1) if _free(ends[::n], APART * points))
        if every > 1:
            ruler.set_major_locator(FixedLocator(places[::every]))
            ruler.set_major_formatter(FixedFormatter(texts[::every]))
            ruler.set_minor_locator(FixedLocator([place for i, place in enumerate(places) if i % every]))
            ruler.set_minor_formatter(NullFormatter())


def _free(ends: Sequence[tuple[float, float]], apart: float) -> bool:
    told = sorted(ends)
    return all(before[1] + apart <= after[0] for before, after in pairwise(told))
