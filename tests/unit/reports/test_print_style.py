"""Figures in paper style: all that plotly draws, in matplotlib, and nothing of the user's settings changed."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import zlib
from collections.abc import Iterator
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

pytest.importorskip("matplotlib", reason="matplotlib is not installed: `pip install 'critbatch[figures]'`")

import matplotlib
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import sample_loss_surface as sample_loss
import sample_records as sample
import sample_studies
from critbatch.errors import UserError
from critbatch.records.core import Record
from critbatch.reporting.paper_figures import paper_figure
from critbatch.reporting.paper_fonts import Fonts, fonts_for
from critbatch.reporting.paper_strokes import NotDrawableError, colour
from critbatch.reporting.paper_text import inches, wrapped
from critbatch.reports.charts.figure import figure
from critbatch.reports.charts.theme import BLUE, INK, LOOK, PAPER, RED
from critbatch.reports.model import Chapter, Chart
from critbatch.reports.translator import Translator
from critbatch.reports.views.chapters import chapter, subjects
from critbatch.reports.views.common import VIEWS
from critbatch.reports.write import paper_fonts
from sample_gaps import MISSING, RECORDS, hostile

LANGUAGES = ["en"] + (["zh"] if any(name in paper_fonts._installed() for name in paper_fonts.CHINESE) else [])


def parts(drawn: Figure, gid: str) -> list[Any]:
    return [each for axes in drawn.axes for each in axes.findobj() if each.get_gid() == gid]


def charts(told: Chapter) -> Iterator[Chart]:
    if told.hero is not None:
        yield told.hero
    for section in told.sections:
        for block in section.blocks:
            if isinstance(block, Chart):
                yield block
            elif block.kind == "charts":
                yield from block.charts


def seen(values: Any) -> list[bool]:
    return [isinstance(value, str) or (value is not None and math.isfinite(value)) for value in values]


def counted(described: dict[str, Any]) -> dict[str, int]:
    """What plotly draws of a figure: marks, points of lines, bars, bands, shapes, intervals."""
    found = dict.fromkeys(("marks", "line", "bar", "band", "shape", "intervals"), 0)
    for trace in described["data"]:
        kind, mode = trace.get("type", "scatter"), trace.get("mode") or "lines"
        if kind not in ("scatter", "bar"):
            continue
        shown = [x and y for x, y in zip(seen(trace["x"]), seen(trace["y"]), strict=True)]
        found["bar"] += sum(shown) if kind == "bar" else 0
        found["marks"] += sum(shown) if kind == "scatter" and "markers" in mode else 0
        lines = kind == "scatter" and "lines" in mode and (trace.get("line") or {}).get("width", 2) > 0
        found["line"] += sum(shown) if lines else 0
        found["band"] += trace.get("fill", "none") != "none"
        for error in (trace.get("error_x") or {}, trace.get("error_y") or {}):
            if error and error.get("visible") is not False:
                ends = [a or b for a, b in zip(seen(error["array"]), seen(error["arrayminus"]), strict=True)]
                found["intervals"] += sum(end and here for end, here in zip(ends, shown, strict=True))
    found["shape"] = len(described["layout"].get("shapes") or ())
    return found


def drawn_of(drawn: Figure) -> dict[str, int]:
    finite = [[x == x and y == y for x, y in line.get_xydata()] for line in parts(drawn, "line")]
    return {
        "marks": sum(len(marks.get_offsets()) for marks in parts(drawn, "marks")),
        "line": sum(map(sum, finite)),
        "bar": sum(math.isfinite(bar.get_height() * bar.get_width()) for bar in parts(drawn, "bar")),
        "band": len(parts(drawn, "band")),
        "shape": len(parts(drawn, "shape")),
        "intervals": sum(len(stems.get_segments()) for stems in parts(drawn, "intervals")),
    }


def test_the_samples_hold_every_kind_of_record_that_has_a_figure():
    missing = set(VIEWS) - {type(record) for record in RECORDS.values()}
    assert not missing, "give sample_gaps.RECORDS one of each"


# What is drawn is the same in each language; where words stand is tested in all of them below.
@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_every_mark_line_bar_band_and_interval_of_every_figure_is_drawn(record: Record):
    (subject,) = subjects([record])
    pictures = [figure(record, "en"), *(c.picture.figure for c in charts(chapter(subject, Translator("en"))))]
    for shown in pictures:
        drawn = paper_figure(shown)
        described = shown.to_plotly_json()
        assert drawn_of(drawn) == counted(described)
        names = [trace["name"] for trace in described["data"] if trace.get("name") and trace.get("showlegend", True)]
        assert sum(len(legend.get_texts()) for legend in drawn.legends) == len(names)


@pytest.mark.parametrize("record", MISSING.values(), ids=MISSING)
def test_figures_with_something_missing_are_drawn_too(record: Record):
    (subject,) = subjects([record])
    for chart in charts(chapter(subject, Translator("en"))):
        drawn = paper_figure(chart.picture.figure)
        assert drawn_of(drawn) == counted(chart.picture.figure.to_plotly_json())


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "record", [sample.speed(), sample_studies.study(), sample_studies.fit(), sample_loss.plane(), sample.study(seeds=1)]
)
def test_nothing_sticks_out_of_the_figure_and_the_legend_covers_no_panel(record: Record, language: str):
    for shown in (figure(record, language), *_pictures(record, language)):
        drawn = paper_figure(shown)
        drawn.draw_without_rendering()
        box, whole = drawn.get_tightbbox(), drawn.bbox.size / drawn.dpi
        assert min(box.x0, box.y0) >= -0.01
        assert box.x1 <= whole[0] + 0.01 and box.y1 <= whole[1] + 0.01
        for legend in drawn.legends:
            assert not any(legend.get_window_extent().overlaps(axes.get_window_extent()) for axes in drawn.axes)
        for axes in drawn.axes:
            boxes = sorted((label.get_window_extent() for label in axes.get_xticklabels()), key=lambda b: b.x0)
            assert all(a.x1 <= b.x0 for a, b in pairwise(boxes) if a.width and b.width)


def _pictures(record: Record, language: str) -> list[go.Figure]:
    (subject,) = subjects([record])
    return [chart.picture.figure for chart in charts(chapter(subject, Translator(language)))]


def test_axes_have_the_scale_the_range_the_ticks_and_the_titles_of_the_page():
    shown = figure(sample.advice())
    (axes,) = paper_figure(shown).axes
    across = shown.layout.xaxis
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert axes.get_xlim() == pytest.approx([10**end for end in across.range])
    assert axes.get_xlabel() == across.title.text
    assert [label.get_text() for label in axes.get_xticklabels()] == list(across.ticktext)
    assert axes.get_xticks() == pytest.approx(list(across.tickvals))


def test_intervals_go_from_the_low_to_the_high_end():
    advice = sample.advice()
    (stems,) = parts(paper_figure(figure(advice)), "intervals")
    ends = {round(low[0]): (low[1], high[1]) for low, high in stems.get_segments()}
    assert advice.best is not None
    assert ends[advice.best.batch_size] == pytest.approx((advice.best.seconds.low, advice.best.seconds.high))


def test_an_interval_that_does_not_hold_its_value_is_drawn_where_it_lies():
    shown = go.Figure(layout={"template": LOOK})
    shown.add_scatter(
        x=[1, 2, 3], y=[5, 5, 5], mode="markers",
        error_y={"type": "data", "symmetric": False, "array": [2, -1, None], "arrayminus": [-1, 3, None]},
    )  # fmt: skip
    (stems,) = parts(paper_figure(shown), "intervals")
    assert [(low[1], high[1]) for low, high in stems.get_segments()] == [(6, 7), (2, 4)]


def test_marks_have_their_own_colours_and_open_ones_are_open():
    advice = sample.advice()
    shown = figure(advice)
    drawn = paper_figure(shown)
    curve = next(marks for marks in parts(drawn, "marks") if len(marks.get_facecolors()) == len(advice.points) + 1)
    trace = next(trace for trace in shown.data if trace.name == "time to target")
    assert [to_hex(each) for each in curve.get_facecolors()] == list(trace.marker.color)
    assert PAPER in trace.marker.color and BLUE in trace.marker.color
    others = parts(paper_figure(figure(sample_studies.study())), "marks")
    (diamond,) = [marks for marks in others if to_hex(marks.get_edgecolors()[0]) == INK]
    assert diamond.get_facecolors()[0][3] == 0


def test_a_dashed_law_is_dashed_and_a_solid_one_solid():
    shown = go.Figure(layout={"template": LOOK})
    for dash in ("solid", "dash", "dot", "dashdot", "longdash"):
        shown.add_scatter(x=[1, 2], y=[1, 2], mode="lines", line={"dash": dash, "color": RED})
    first, *others = (line.get_linestyle() for line in parts(paper_figure(shown), "line"))
    assert (first, others) == ("-", ["--"] * 4)
    assert len({str(line._unscaled_dash_pattern) for line in parts(paper_figure(shown), "line")}) == 5


def test_one_panel_is_a_column_wide_and_several_are_a_page_wide_side_by_side():
    assert paper_figure(figure(sample.advice())).get_size_inches()[0] == 3.4
    assert paper_figure(figure(sample_loss.line())).get_size_inches()[0] == 3.4
    for record, count in ((sample.speed(), 2), (sample_studies.without_target(), 3)):
        drawn = paper_figure(figure(record))
        boxes = [axes.get_position() for axes in drawn.axes]
        assert drawn.get_size_inches()[0] == 7.0
        assert len({round(box.x0, 3) for box in boxes}) == len(boxes) == count
        assert len({round(box.y0, 3) for box in boxes}) == 1


def test_contours_have_the_levels_of_the_page_and_a_bar_of_colours():
    shown = figure(sample_loss.plane())
    trace = shown.data[0]
    axes, bar = paper_figure(shown).axes
    filled = next(each for each in axes.collections if hasattr(each, "levels"))
    assert filled.levels[:2] == pytest.approx([trace.contours.start, trace.contours.start + trace.contours.size])
    assert filled.levels[-1] == pytest.approx(trace.contours.end)
    assert [label.get_text() for label in bar.get_yticklabels()] == list(trace.colorbar.ticktext)
    assert axes.get_aspect() == 1.0


def test_cells_of_a_heat_map_lie_where_they_are_said_to_with_their_words():
    shown = go.Figure(layout={"template": LOOK, "yaxis": {"autorange": "reversed"}})
    cells = {"x": [1, 2, 1], "y": [1, 1, 2], "z": [1, 2, 3], "text": ["a", "b", "c"], "texttemplate": "%{text}"}
    shown.add_heatmap(**cells, colorscale=[[0, BLUE], [1, RED]], showscale=False, zmin=1, zmax=3)
    (axes,) = paper_figure(shown).axes
    (mesh,) = parts(axes.get_figure(), "cells")
    assert mesh.get_array().tolist() == [[1, 2], [3, None]]
    assert axes.yaxis_inverted()
    assert {text.get_text(): text.get_position() for text in axes.texts} == {"a": (1, 1), "b": (2, 1), "c": (1, 2)}


def test_stacked_bars_stand_on_each_other_and_grouped_ones_beside():
    def heights(mode: str) -> list[tuple[float, float, float]]:
        shown = go.Figure(layout={"template": LOOK, "barmode": mode, "bargap": 0.2})
        for value in (1.0, 2.0):
            shown.add_bar(x=["a"], y=[value], marker={"color": BLUE})
        return [(bar.get_x(), bar.get_y(), bar.get_height()) for bar in parts(paper_figure(shown), "bar")]

    assert heights("stack") == [pytest.approx((-0.4, 0, 1)), pytest.approx((-0.4, 1, 2))]
    assert heights("group") == [pytest.approx((-0.4, 0, 1)), pytest.approx((0, 0, 2))]


@pytest.mark.parametrize(
    "trace",
    [
        {"type": "pie", "values": [1, 2]},
        {"type": "scatter3d", "x": [1], "y": [1], "z": [1]},
        {"x": [1], "y": [1], "mode": "markers", "marker": {"symbol": "bowtie"}},
        {"x": [1], "y": [1], "line": {"dash": "5px 2px"}},
        {"x": [1], "y": [1], "fill": "tonexty"},
        {"x": [1], "y": [1], "stackgroup": "one"},
        {"x": [1], "y": [1], "error_y": {"type": "percent", "value": 5}},
        {"type": "heatmap", "z": [[1.0, 2.0]]},
    ],
)
def test_what_has_no_form_in_paper_style_is_an_error_and_not_left_out(trace: dict[str, Any]):
    with pytest.raises(NotDrawableError, match="cannot be drawn in paper style"):
        paper_figure(go.Figure(data=[trace]))


def test_text_from_names_is_shown_letter_for_letter():
    drawn = paper_figure(figure(hostile()))
    words = " ".join(text.get_text() for axes in drawn.axes for text in axes.findobj(matplotlib.text.Text))
    assert "<script>alert(1)</script>" in words.replace("\n", " ")
    assert "&lt;" not in words
    dollars = go.Figure(layout={"template": LOOK, "xaxis": {"title": {"text": "cost $a_1$ in $b^2$"}}})
    dollars.add_scatter(x=[1], y=[1], mode="markers", name="$x$")
    axes = paper_figure(dollars).axes[0]
    assert axes.get_xlabel() == "cost $a_1$ in $b^2$"
    assert axes.xaxis.label.get_parse_math() is False


def test_the_settings_of_matplotlib_stay_as_they_were_and_pyplot_is_not_loaded(tmp_path: Path):
    code = (
        "import matplotlib, sys, sample_records, critbatch\n"
        "matplotlib.rcParams['lines.linewidth'] = 7.5\n"
        "before = matplotlib.rcParams.copy()\n"
        "drawn = sample_records.speed().plot(style='paper')\n"
        "drawn.savefig(sys.argv[1])\n"
        "assert matplotlib.rcParams.copy() == before\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "print(max(line.get_linewidth() for line in drawn.axes[0].lines if line.get_gid()))"
    )
    words = [sys.executable, "-W", "error", "-c", code, str(tmp_path / "speed.png")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=Path(sample.__file__).parent)
    assert (done.returncode, done.stderr) == (0, "")
    assert float(done.stdout) <= 1.0


@pytest.mark.parametrize("language", LANGUAGES)
def test_letters_in_a_pdf_stay_letters(language: str):
    file = BytesIO()
    figure_ = sample.speed().plot(style="paper", language=language)
    figure_.savefig(file, format="pdf")
    text = file.getvalue()
    for packed in re.findall(rb"stream\r?\n(.*?)endstream", text, re.DOTALL):
        try:
            text += zlib.decompress(packed)
        except zlib.error:
            continue
    assert b"/Type3" not in text
    assert b"/FontFile2" in text or b"/FontFile3" in text


def test_a_figure_for_the_screen_stays_the_default():
    assert isinstance(sample.noise().plot(), go.Figure)
    drawn = sample.noise().plot(style="paper")
    assert isinstance(drawn, Figure)
    assert drawn.get_label() == figure(sample.noise()).layout.title.text
    assert drawn._repr_png_().startswith(b"\x89PNG")


def test_another_style_is_told_in_a_sentence():
    with pytest.raises(UserError, match="Style 'poster' is not there: use screen or paper"):
        sample.noise().plot(style="poster")


def test_without_matplotlib_a_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("critbatch.reporting.paper_door.find_spec", lambda name: None)
    with pytest.raises(UserError, match=re.escape('pip install "critbatch[figures]"')):
        sample.noise().plot(style="paper")


def test_without_a_font_for_chinese_a_sentence_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(paper_fonts, "_installed", lambda: {"DejaVu Sans"})
    assert fonts_for(["batch size"]).families == ("DejaVu Sans",)
    with pytest.raises(UserError, match="No font with Chinese letters was found"):
        sample.noise().plot(style="paper", language="zh")


def test_a_letter_that_no_font_has_is_a_square_and_no_warning():
    fonts = Fonts(("DejaVu Sans",))
    assert fonts.shown("a\U0001f9ff\x00b\nc") == "a\u25a1\u25a1b\nc"


def test_long_texts_are_broken_into_rows_that_fit():
    fonts = Fonts(("DejaVu Sans",))
    rows = wrapped("how far apart the directions of steps lie", 1.0, 8, fonts).split("\n")
    assert len(rows) == 3
    assert all(inches(row, 8, fonts) <= 1.0 for row in rows)
    (first, last) = wrapped("x" * 200, 1.0, 8, fonts, most=2).split("\n")
    assert set(first) == {"x"} and last.endswith("…")
    assert inches(last, 8, fonts) <= 1.0


def test_colours_of_plotly_are_read():
    assert colour("#0a6fb0") == pytest.approx((10 / 255, 111 / 255, 176 / 255, 1))
    assert colour("rgba(10, 111, 176, 0.5)") == pytest.approx((10 / 255, 111 / 255, 176 / 255, 0.5))
