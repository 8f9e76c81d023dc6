"""The look of every figure: colours that colour-blind readers can tell apart, axes with units, and dark mode."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

# In dark mode the page replaces each colour by its dark partner. Hues follow Okabe and Ito 2008.
INK, MUTED, GRID, PAPER = "#1c2630", "#5a6875", "#e3e8ed", "#ffffff"
BLUE, RED, GREEN, AMBER, GREY = "#0a6fb0", "#d1510a", "#0a8a68", "#b9770e", "#8b97a3"
RAMP = ("#e07b00", "#d85b2a", "#c9434c", "#b2346b", "#943286", "#723a99", "#4d47a2", "#2a55a0", "#0a5f96")
DARK = {
    INK: "#e8edf2",
    MUTED: "#a3b0bc",
    GRID: "#2c3742",
    PAPER: "#161d25",
    BLUE: "#58b0ee",
    RED: "#ff8f52",
    GREEN: "#3ecfa4",
    AMBER: "#f0b64a",
    GREY: "#7d8a97",
    **dict(
        zip(
            RAMP,
            ("#ffb347", "#ff9a62", "#fb847f", "#ee77a0", "#d974bd", "#bd79d6", "#9d83e6", "#7a8eee", "#579aee"),
            strict=True,
        )
    ),
}
# The page's own colours as CSS variables: light, dark and print. Small letters need more contrast than marks, so some
# differ from the colours of the figures.
PAGE = {
    "ink": (INK, DARK[INK], "#000000"),
    "muted": (MUTED, DARK[MUTED], "#444444"),
    "line": (GRID, DARK[GRID], "#cccccc"),
    "paper": (PAPER, DARK[PAPER], PAPER),
    "ground": ("#f4f6f8", "#0e141a", PAPER),
    "accent": (BLUE, DARK[BLUE], "#0a4f80"),
    "best": ("#b8470a", DARK[RED], "#9c3c08"),
    "best-ground": ("#fdf1e9", "#2b2019", PAPER),
    "held": ("#086b51", DARK[GREEN], "#064d3a"),
}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Noto Sans CJK SC', 'PingFang SC', sans-serif"


@dataclass(frozen=True)
class Picture:
    """A figure, a title that states its message, and a description for readers who cannot see it."""

    title: str
    alt: str
    figure: go.Figure

    def titled(self) -> go.Figure:
        """The figure with its title inside, for use outside a page."""
        self.figure.update_layout(
            title={"text": safe(self.title), "x": 0, "xref": "paper"}, margin={"t": 96}, height=460
        )
        return self.figure


@dataclass(frozen=True)
class Axis:
    """An axis: its title with the unit, and how to format a tick. `ticks` are preferred values."""

    title: str
    write: Callable[[float], str]
    log: bool = True
    ticks: Sequence[float] = ()
    most: int = 11  # ticks

    def layout(self, values: Iterable[float | None]) -> dict[str, Any]:
        """Range and ticks that cover `values`."""
        positions = [v for v in values if v is not None and math.isfinite(v) and (v > 0 or not self.log)]
        axis: dict[str, Any] = {"title": {"text": safe(self.title)}, "type": "log" if self.log else "linear"}
        if not positions or not self.log:
            return axis
        low, high = math.log10(min(positions)), math.log10(max(positions))
        pad = max(0.06 * (high - low), 0.08)
        low, high = low - pad, high + pad
        ticks = spaced([t for t in self.ticks if t > 0] or round_values(low, high), (high - low) / self.most)
        return axis | {"range": [low, high], "tickvals": ticks, "ticktext": [safe(self.write(t)) for t in ticks]}


def safe(text: str) -> str:
    """Escape the text, since plotly interprets some tags in labels."""
    return html.escape(text, quote=False)


def lines(*rows: str) -> str:
    """Join lines of a hover text; empty ones are dropped."""
    return "<br>".join(safe(row) for row in rows if row)


def round_values(low: float, high: float) -> list[float]:
    """Round numbers between 10^low and 10^high: decades, or 1, 2, 5 if there are few decades."""
    steps = (
        (1.0,)
        if high - low > 2.2
        else (1.0, 2.0, 5.0)
        if high - low > 0.5
        else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
    )
    decades = range(math.floor(low), math.ceil(high) + 1)
    return [s * 10.0**d for d in decades for s in steps if low <= math.log10(s * 10.0**d) <= high]


def spaced(ticks: Sequence[float], apart: float) -> list[float]:
    """The ticks that are at least `apart` from the one before, in log10."""
    chosen: list[float] = []
    for tick in sorted(set(ticks)):
        if not chosen or math.log10(tick / chosen[-1]) >= apart:
            chosen.append(tick)
    return chosen


def canvas(x: dict[str, Any], y: dict[str, Any]) -> go.Figure:
    """An empty figure with these axes."""
    figure = go.Figure(layout={"template": LOOK})
    figure.update_layout(xaxis=x, yaxis=y)
    return figure


def side_by_side(left: Picture, right: Picture) -> go.Figure:
    """Two pictures in one figure. Both use the same colours, so only the left one has a legend."""
    figure = make_subplots(cols=2, horizontal_spacing=0.12, subplot_titles=(safe(left.title), safe(right.title)))
    for column, panel in enumerate((left.figure, right.figure), start=1):
        for trace in panel.data:
            figure.add_trace(trace.update(showlegend=column == 1), row=1, col=column)
        for shape in panel.layout.shapes:
            figure.add_shape(shape, row=1, col=column)
        for note in panel.layout.annotations:
            figure.add_annotation(note, row=1, col=column)
        figure.update_xaxes(panel.layout.xaxis, row=1, col=column)
        figure.update_yaxes(panel.layout.yaxis, row=1, col=column)
    figure.update_layout(template=LOOK, height=460, margin={"t": 72}, legend={"y": -0.2, "yanchor": "top"})
    return figure.update_annotations(font={"size": 13})


def page_colours() -> str:
    """The colours of the page as CSS. Print comes last, so that it overrides dark mode."""
    light, dark, print_colours = (
        ":root { " + " ".join(f"--{name}: {shades[which]};" for name, shades in PAGE.items()) + " }"
        for which in range(3)
    )
    return f"{light}\n@media (prefers-color-scheme: dark) {{ {dark} }}\n@media print {{ {print_colours} }}\n"


def pale(colour: str) -> str:
    return f"{colour}24"


def shade(rank: int, of: int) -> str:
    """Colour number `rank` of `of` ordered items, from orange to blue."""
    return RAMP[round(rank * (len(RAMP) - 1) / max(1, of - 1))] if of > 1 else BLUE


def bars(values: Sequence[float], lows: Sequence[float | None], highs: Sequence[float | None]) -> dict[str, Any]:
    """Error bars from `lows` to `highs`. A value without an interval has none."""
    above = [h - v if h is not None and math.isfinite(h) else None for v, h in zip(values, highs, strict=True)]
    below = [v - low if low is not None else None for v, low in zip(values, lows, strict=True)]
    if not any(above) and not any(below):
        return {"visible": False}
    return {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "thickness": 1.3, "width": 3}


_AXIS = {
    "gridcolor": GRID,
    "linecolor": GREY,
    "zeroline": False,
    "automargin": True,
    "ticks": "outside",
    "tickcolor": GREY,
    "ticklen": 4,
    "title": {"standoff": 10, "font": {"size": 13}},
}
LOOK = go.layout.Template(
    layout={
        "font": {"family": FONT, "size": 13, "color": INK},
        "paper_bgcolor": PAPER,
        "plot_bgcolor": PAPER,
        "margin": {"l": 12, "r": 16, "t": 12, "b": 12},
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1.02,
            "yanchor": "bottom",
            "font": {"size": 12, "color": MUTED},
        },
        "hoverlabel": {"bgcolor": PAPER, "bordercolor": GREY, "font": {"color": INK, "family": FONT}, "align": "left"},
        "hovermode": "closest",
        "modebar": {"bgcolor": PAPER, "color": MUTED, "activecolor": BLUE},
        "title": {"font": {"size": 17}},
        "annotationdefaults": {"font": {"color": MUTED, "size": 12}, "showarrow": False},
    }
)
