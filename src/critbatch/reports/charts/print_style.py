"""Figures for print: 3.4 or 7 inches wide, letters of 8 points, written by kaleido."""

from __future__ import annotations

import asyncio
import copy
import math
import re
import shutil
import subprocess
import sys
import unicodedata
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from critbatch.errors import UserError, first_line
from critbatch.records.core import Record
from critbatch.reports.charts.theme import GREY, GRID, INK, MUTED, PAPER
from critbatch.reports.pdf import find_browser
from critbatch.reports.views.chapters import figure

STYLES = ("screen", "paper")
PIXELS_PER_INCH = 96  # CSS pixels, plotly's unit of length
COLUMN_INCHES, TEXT_INCHES, PANEL_INCHES = 3.4, 7.0, 2.3
DOTS_PER_INCH = 300  # resolution of a PNG
LETTERS, SMALL_LETTERS = 8 * PIXELS_PER_INCH / 72, 7 * PIXELS_PER_INCH / 72
SHRINK = 2 / 3  # for lines and marks, since the figures of the page are about twice as wide
# TrueType fonts first: browsers embed other fonts into a PDF as Type 3, which some journals refuse.
FONT = (
    "Helvetica, Arial, 'Liberation Sans', 'Noto Sans', 'DejaVu Sans', "
    "'Noto Sans CJK SC', 'PingFang SC', 'Microsoft YaHei', sans-serif"
)
# Symbols and dashes tell series apart in grey print and for colour-blind readers. A colour has one sign per figure.
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "pentagon", "hexagram", "cross", "x")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "6px,2px", "2px,4px", "8px,2px,2px,2px")
LEGEND_SIGN, LEGEND_ROW = 45, 19  # pixels of a legend entry for its sign and gaps, and of a legend row
AXIS_HEIGHT, BAR_WIDTH = 42, 52  # pixels for the ticks and title of a horizontal axis, and for a colour bar
HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff]")

_AXIS = {
    "gridcolor": GRID,
    "gridwidth": 0.5,
    "linecolor": GREY,
    "linewidth": 0.8,
    "showline": True,
    "zeroline": False,
    "automargin": True,
    "ticks": "outside",
    "tickcolor": GREY,
    "ticklen": 3,
    "tickwidth": 0.8,
    "tickangle": 0,
    "tickfont": {"size": SMALL_LETTERS, "color": MUTED},
    "title": {"standoff": 4, "font": {"size": LETTERS, "color": INK}},
    "nticks": 6,
}
LOOK = go.layout.Template(
    layout={
        "font": {"family": FONT, "size": LETTERS, "color": INK},
        "paper_bgcolor": PAPER,
        "plot_bgcolor": PAPER,
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "legend": {"orientation": "h", "font": {"size": SMALL_LETTERS, "color": MUTED}, "itemsizing": "trace"},
        "annotationdefaults": {"font": {"color": MUTED, "size": SMALL_LETTERS}, "showarrow": False},
    }
)


class PrintFigure(go.Figure):  # type: ignore[misc]
    """A plotly figure that is written at its own size, by the browser that prints reports."""

    def to_image(self, format: str = "png", **options: Any) -> bytes:
        """The picture: "pdf", "svg", "png", "jpeg" or "webp".

        Args:
            format: of the picture.
            options: width, height, scale, as of plotly's `to_image`; by default the figure's size at 300 dots per inch.

        Raises:
            UserError: if kaleido, a browser or a font for Chinese is missing, or the browser fails.
        """
        (image,) = pictures([(self, format)], **options)
        return image

    def write_image(self, file: Any, format: str | None = None, **options: Any) -> None:
        """Write the picture to a path or to an open file. The path's suffix gives the format, unless it is given."""
        if isinstance(file, str | Path):
            Path(file).write_bytes(self.to_image(format or Path(file).suffix[1:] or "png", **options))
        else:
            file.write(self.to_image(format or "png", **options))


def render_figure(record: Record, style: str, language: str) -> go.Figure:
    """The record's figure, for the screen or for print.

    Raises:
        TypeError: if a picture of this record would not help, or it holds nothing to draw.
        UserError: if there is no such style or language.
    """
    if style not in STYLES:
        raise UserError(f"Style {style!r} is not there: use {' or '.join(STYLES)}.")
    screen = figure(record, language)
    return screen if style == "screen" else for_print(screen)


def for_print(screen: go.Figure) -> PrintFigure:
    """The figure in print style: a column wide, or a page where panels stand side by side.

    It has no title: in print that is the caption. The title of the page's figure is in `layout.meta["caption"]`.
    """
    json_figure = copy.deepcopy(screen.to_plotly_json())
    traces, layout = json_figure["data"], json_figure["layout"]
    axes = [name for name in layout if re.fullmatch("[xy]axis[0-9]*", name)]
    columns = len({tuple(layout[name].get("domain") or (0, 1)) for name in axes if name[0] == "x"}) or 1
    width = PIXELS_PER_INCH * (TEXT_INCHES if columns > 1 else COLUMN_INCHES)
    meta = layout.get("meta") or {}
    height = PIXELS_PER_INCH * PANEL_INCHES * meta.get("taller", 1.0)
    for trace in traces:
        trace.pop("legendgroup", None)  # each group has a row of its own
        _shrink(trace)
    _tell_apart(traces)
    for shape in layout.get("shapes") or ():
        _shrink(shape)
    notes = [note for note in layout.get("annotations") or () if note.get("name") != "band"]  # already in the legend
    for note in notes:
        note["font"] = {"color": MUTED} | (note.get("font") or {}) | {"size": SMALL_LETTERS}
    above = [note for note in notes if note.get("yref") == "paper" and note.get("y", 0) >= 1]
    left = max([_room_left_of(layout[name]) for name in axes if name[0] == "y" and _is_leftmost(layout, name)] or [30])
    bar = BAR_WIDTH if any(trace.get("colorbar") for trace in traces) else 0
    legend_height = _fit_legend(traces, layout, width - 8 - bar)
    panel_width = (width - 12 - left * columns - bar) / columns
    if any(layout[name].get("scaleanchor") for name in axes):
        height = panel_width + AXIS_HEIGHT  # a square plot
    for name in axes:
        _fit_axis(layout[name], panel_width if name[0] == "x" else height - AXIS_HEIGHT, is_across=name[0] == "x")
    title_rows = 0
    for note in above:
        note["text"] = wrapped(note["text"], panel_width, SMALL_LETTERS)
        title_rows = max(title_rows, note["text"].count("<br>") + 1)
    top = legend_height + title_rows * 1.3 * SMALL_LETTERS + 6
    if legend_height:
        # A legend that begins left of the panels may be as wide as the figure; otherwise it is as wide as the panels.
        across, up = width - left - 8 - bar, height + legend_height - top - (AXIS_HEIGHT - 6)
        layout["legend"] |= {"x": -(left + 6) / across, "xanchor": "left", "y": 1 + (top - 2) / up, "yanchor": "top"}
    layout |= {
        "annotations": notes,
        "title": None,
        "meta": {**meta, "caption": (layout.get("title") or {}).get("text") or ""},
        "template": LOOK,
        "width": width,
        "height": height + legend_height,
        "margin": {"l": left, "r": 8 + bar, "t": top, "b": AXIS_HEIGHT - 6},
    }
    return PrintFigure(data=traces, layout=layout, skip_invalid=False)


def pictures(figures: Sequence[tuple[go.Figure, str]], **options: Any) -> list[bytes]:
    """The pictures of several figures, each with its format, by one browser.

    Raises:
        UserError: if kaleido, a browser or a font for Chinese is missing, or the browser fails.
    """
    if find_spec("kaleido") is None:
        raise UserError(
            'Picture files need kaleido: `pip install "critbatch[figures]"`. Without it, show the figure in a browser '
            "or notebook."
        )
    browser = find_browser()
    if any(map(is_chinese, {id(screen): screen for screen, _ in figures}.values())) and not has_chinese_font():
        raise UserError(
            "No font with Chinese letters was found for the figure: install one, such as Noto Sans CJK "
            "(package fonts-noto-cjk), or ask for English."
        )
    jobs = []
    for screen, kind in figures:
        layout = screen.layout
        # Vector pictures already have the right size; only pixels need a resolution.
        scale = DOTS_PER_INCH / PIXELS_PER_INCH if kind in ("png", "jpeg", "jpg", "webp") else 1
        size = {"width": layout.width or 700, "height": layout.height or 450, "scale": scale}
        json_figure = copy.deepcopy(screen.to_plotly_json())
        for rank, trace in enumerate(json_figure["data"]):
            trace.setdefault("uid", f"{rank}")  # otherwise plotly gives traces random names
        jobs.append((json_figure, {"format": kind, **size, **options}))
    try:
        # In a thread of its own, since a notebook already runs an event loop.
        with ThreadPoolExecutor(1) as thread:
            images = thread.submit(lambda: asyncio.run(_render(jobs, browser))).result()
    except Exception as error:
        raise UserError(
            f"{browser} did not draw the figure ({first_line(error)}): try another browser, "
            "CRITBATCH_BROWSER=/path/to/browser names it."
        ) from error
    return [
        _same_each_time(image) if job[1]["format"] == "svg" else image for image, job in zip(images, jobs, strict=True)
    ]


def missing_tool() -> str:
    """The message key for the missing tool that pictures need, or ""."""
    if find_spec("kaleido") is None:
        return "format_no_kaleido"
    try:
        find_browser()
    except UserError:
        return "format_no_browser"
    return ""


@cache
def has_chinese_font() -> bool:
    """Whether the browser can show Chinese. macOS and Windows include a font for it."""
    program = shutil.which("fc-list")
    if sys.platform != "linux" or program is None:
        return True
    return bool(subprocess.run([program, ":lang=zh", "family"], capture_output=True, check=False).stdout.strip())


def is_chinese(figure: go.Figure) -> bool:
    """Whether a text of the figure has Chinese letters."""
    return any(HAN.search(text) for text in _texts(figure.to_plotly_json()))


async def _render(jobs: Sequence[tuple[dict[str, Any], dict[str, Any]]], path: str) -> list[bytes]:
    import kaleido

    # Without MathJax: it is loaded from the network, and turns dollar signs in names into formulas.
    async with kaleido.Kaleido(path=path, mathjax=False) as browser:
        return [bytes(await browser.calc_fig(json_figure, opts=options)) for json_figure, options in jobs]


def _same_each_time(svg: bytes) -> bytes:
    """Replace the random id in plotly's SVG, so that the same figure gives the same file."""
    name = re.search(rb'id="defs-([0-9a-f]{6})"', svg)
    if name is None:
        return svg
    digest = b"%06x" % (zlib.crc32(svg.replace(name[1], b"")) & 0xFFFFFF)
    return svg.replace(name[1], digest)


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for key, each in value.items() if key not in ("hovertext", "template") for text in _texts(each)]
    if isinstance(value, (list, tuple)):
        return [text for each in value for text in _texts(each)]
    return []


def _shrink(element: dict[str, Any]) -> None:
    """Scale lines, marks, error bars and letters of a trace or shape to print size."""
    for name in ("line", "marker", "error_x", "error_y"):
        part = element.get(name)
        if not part:
            continue
        if name == "line":
            part["width"] = SHRINK * part.get("width", 2)
        elif name == "marker" and element.get("type", "scatter") == "scatter":
            size = part.get("size", 6)
            part["size"] = [SHRINK * each for each in size] if isinstance(size, (list, tuple)) else SHRINK * size
            if (part.get("line") or {}).get("width"):
                part["line"]["width"] = SHRINK * part["line"]["width"]
        elif name != "marker" and part.get("visible") is not False:
            part |= {"thickness": 0.9, "width": 2}
    if "textfont" in element or element.get("text") is not None:
        element["textfont"] = (element.get("textfont") or {}) | {"size": SMALL_LETTERS}
    if element.get("type") in ("contour", "heatmap") and element.get("showscale", True) is not False:
        bar = element.setdefault("colorbar", {})
        bar |= {"thickness": 9, "outlinewidth": 0, "tickfont": {"size": SMALL_LETTERS}, "ticklen": 2, "xpad": 4}
        bar["title"] = {"side": "right", **(bar.get("title") or {}), "font": {"size": SMALL_LETTERS}}
    if (
        element.get("type", "scatter") == "scatter"
        and "lines" in (element.get("mode") or "lines")
        and "line" not in element
    ):
        element["line"] = {"width": 2 * SHRINK}


def _tell_apart(traces: Sequence[dict[str, Any]]) -> None:
    """Give each series that differs only in colour a symbol or dash of its own."""
    kinds = (("marker", "markers", "symbol", SYMBOLS), ("line", "lines", "dash", DASHES))
    for part, mode, sign, signs in kinds:
        own = [
            trace
            for trace in traces
            if trace.get("type", "scatter") == "scatter"
            and mode in (trace.get("mode") or "lines")
            and isinstance((trace.get(part) or {}).get("color"), str)
            and (part == "marker" or "markers" not in (trace.get("mode") or "lines"))
        ]
        used_signs = {trace[part][sign] for trace in own if isinstance(trace[part].get(sign), str)} - {signs[0]}
        plain = [trace for trace in own if trace[part].get(sign) in (None, signs[0])]
        colours = list(dict.fromkeys(trace[part]["color"][:7] for trace in plain))
        free = [each for each in signs if each not in used_signs] or list(signs)
        for trace in plain:
            trace[part][sign] = free[colours.index(trace[part]["color"][:7]) % len(free)]


def _fit_legend(traces: Sequence[dict[str, Any]], layout: dict[str, Any], room: float) -> float:
    """Put the legend above the panels, in columns of equal width. Returns its height in pixels."""
    legend_traces = [trace for trace in traces if trace.get("name") and trace.get("showlegend", True) is not False]
    if (
        not legend_traces
        or layout.get("showlegend") is False
        or (len(legend_traces) == 1 and not _shown_alone(legend_traces[0], layout))
    ):
        layout["showlegend"] = False
        return 0.0
    for trace in legend_traces:
        trace["name"] = wrapped(trace["name"], room - LEGEND_SIGN, SMALL_LETTERS)
    widest = max(text_width(row, SMALL_LETTERS) for trace in legend_traces for row in trace["name"].split("<br>")) + 4
    columns = max(1, min(len(legend_traces), int(room // (widest + LEGEND_SIGN))))
    lines = [trace["name"].count("<br>") for trace in legend_traces]
    rows = [lines[start : start + columns] for start in range(0, len(lines), columns)]
    height: float = sum(LEGEND_ROW + max(row) * 1.3 * SMALL_LETTERS for row in rows) + 12
    layout["legend"] = {"entrywidth": room / columns - LEGEND_SIGN - 1, "entrywidthmode": "pixels"}
    return height


def _shown_alone(trace: dict[str, Any], layout: dict[str, Any]) -> bool:
    """Whether plotly shows the legend of a figure that names one trace only."""
    return bool(layout.get("showlegend") or trace.get("showlegend"))


def _fit_axis(axis: dict[str, Any], length: float, *, is_across: bool) -> None:
    """Break the title into rows no longer than the axis, and drop labels that do not fit."""
    title = (axis.get("title") or {}).get("text")
    axis["title"] = {"text": wrapped(title, length, LETTERS)} if title else None
    for name in ("tickfont", "tickangle"):
        axis.pop(name, None)
    values, texts = axis.get("tickvals"), axis.get("ticktext")
    if values is None or texts is None or len(values) < 2 or not (is_across or axis.get("type") == "log"):
        return
    sizes = [text_width(text, SMALL_LETTERS) + 5 if is_across else 1.25 * SMALL_LETTERS for text in texts]
    places = _places(axis, values, length)
    every = next(n for n in range(1, len(values) + 1) if _free(places[::n], sizes[::n]))
    axis["ticktext"] = [text if rank % every == 0 else "" for rank, text in enumerate(texts)]


def _is_leftmost(layout: Mapping[str, Any], name: str) -> bool:
    """Whether a vertical axis belongs to the first column of panels."""
    across = layout.get(f"xaxis{name[5:]}") or {}
    return (across.get("domain") or (0, 1))[0] < 0.01


def _room_left_of(axis: Mapping[str, Any]) -> float:
    """Pixels for the labels and title of a vertical axis. With plotly's own margins they can overlap."""
    texts = axis.get("ticktext") or ["0.00"]
    labels = max((text_width(row, SMALL_LETTERS) for text in texts for row in str(text).split("<br>")), default=0.0)
    return 10 + labels + (1.4 * LETTERS if (axis.get("title") or {}).get("text") else 0.0)


def _places(axis: Mapping[str, Any], values: Sequence[float], length: float) -> list[float]:
    """Positions of the ticks along the axis, in pixels."""
    at = [math.log10(value) if axis.get("type") == "log" else float(value) for value in values]
    low, high = axis.get("range") or (min(at), max(at))
    return [abs(length * (each - low) / ((high - low) or 1.0)) for each in at]


def _free(places: Sequence[float], sizes: Sequence[float]) -> bool:
    ends = sorted((place - size / 2, place + size / 2) for place, size in zip(places, sizes, strict=True))
    return all(before[1] <= after[0] for before, after in pairwise(ends))


def text_width(text: str, size: float) -> float:
    """Approximate width of a text in a sans-serif font of this size, in the unit of the size."""
    plain = re.sub(r"<[^>]*>|&[a-z]+;", "x", text)
    return size * sum(_em(letter) for letter in plain)


def _em(letter: str) -> float:
    if unicodedata.east_asian_width(letter) in "WF":
        return 1.0
    if letter in "iljtfr.,:;|!'()[] ":
        return 0.36
    return 0.92 if letter in "mwMW@%" else 0.72 if letter.isupper() else 0.61


def wrapped(text: str, width: float, size: float) -> str:
    """Break the text into rows of at most this width, as plotly marks them. Chinese breaks between any two letters."""
    rows: list[str] = []
    for line in text.split("<br>"):
        row = ""
        for piece in re.findall(r"[\u2e80-\u9fff\uf900-\uffef]|[^\s\u2e80-\u9fff\uf900-\uffef]+\s*|\s+", line):
            if row and text_width(row + piece.rstrip(), size) > width:
                rows.append(row.rstrip())
                row = ""
            row += piece
        rows.append(row.rstrip())
    return "<br>".join(rows)
