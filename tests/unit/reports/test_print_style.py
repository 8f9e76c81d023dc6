"""Figures for print: the data of the page at the size of a column, written by the browser that prints reports."""

from __future__ import annotations

import re
import struct
import xml.etree.ElementTree as ElementTree
import zlib
from collections.abc import Iterator
from importlib.util import find_spec
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

import sample_loss_surface as sample_loss
import sample_records as sample
import sample_studies
from critbatch.errors import UserError
from critbatch.records.core import Record
from critbatch.reports.charts import print_style
from critbatch.reports.charts.print_style import (
    LETTERS,
    SMALL_LETTERS,
    for_print,
    has_chinese_font,
    pictures,
    text_width,
    wrapped,
)
from critbatch.reports.charts.theme import BLUE, LOOK, RED
from critbatch.reports.model import Chapter, Chart
from critbatch.reports.pdf import find_browser
from critbatch.reports.translator import Translator
from critbatch.reports.views.chapters import chapter, figure, subjects
from critbatch.reports.views.common import VIEWS
from sample_gaps import MISSING, RECORDS, hostile


def _has_browser() -> bool:
    try:
        find_browser()
    except UserError:
        return False
    return find_spec("kaleido") is not None


needs_browser = pytest.mark.skipif(not _has_browser(), reason="kaleido, or Chromium or Chrome, is not installed")


def charts(told: Chapter) -> Iterator[Chart]:
    if told.hero is not None:
        yield told.hero
    for section in told.sections:
        for block in section.blocks:
            if isinstance(block, Chart):
                yield block
            elif block.kind == "charts":
                yield from block.charts


def screen_figures(record: Record, language: str = "en") -> list[go.Figure]:
    (subject,) = subjects([record])
    return [chart.picture.figure for chart in charts(chapter(subject, Translator(language)))]


def values(described: dict[str, Any]) -> list[tuple[Any, ...]]:
    """What a figure shows, but for how it looks."""
    names = ("type", "mode", "x", "y", "z", "text", "fill")
    intervals = [
        [(trace.get(axis) or {}).get(end) for axis in ("error_x", "error_y") for end in ("array", "arrayminus")]
        for trace in described["data"]
    ]
    traces = [tuple(trace.get(name) for name in names) for trace in described["data"]]
    return [(*trace, ends) for trace, ends in zip(traces, intervals, strict=True)]


def test_the_samples_hold_every_kind_of_record_that_has_a_figure() -> None:
    missing = set(VIEWS) - {type(record) for record in RECORDS.values()}
    assert not missing, "give sample_gaps.RECORDS one of each"


@pytest.mark.parametrize("record", {**RECORDS, **MISSING}.values(), ids={**RECORDS, **MISSING})
def test_a_figure_for_print_holds_the_values_ranges_and_shapes_of_the_page(record: Record) -> None:
    for shown in screen_figures(record):
        before, after = shown.to_plotly_json(), for_print(shown).to_plotly_json()
        assert values(after) == values(before)
        assert len(after["layout"].get("shapes") or ()) == len(before["layout"].get("shapes") or ())
        for name, axis in before["layout"].items():
            if re.fullmatch("[xy]axis[0-9]*", name):
                drawn = after["layout"][name]
                for key in ("type", "range", "tickvals", "domain", "autorange", "matches"):
                    assert drawn.get(key) == axis.get(key)


def test_the_figure_of_the_page_is_not_changed() -> None:
    shown = figure(sample.speed())
    before = shown.to_json()
    for_print(shown)
    assert shown.to_json() == before


def test_one_panel_is_a_column_wide_and_several_side_by_side_a_page() -> None:
    assert for_print(figure(sample.advice())).layout.width == pytest.approx(3.4 * 96)
    assert for_print(figure(sample_loss.line())).layout.width == pytest.approx(3.4 * 96)
    for record in (sample.speed(), sample_studies.without_target()):
        assert for_print(figure(record)).layout.width == pytest.approx(7 * 96)


def test_letters_are_8_points_and_those_of_ticks_and_legend_7() -> None:
    layout = for_print(figure(sample.advice())).layout.template.layout
    assert layout.font.size * 72 / 96 == pytest.approx(8)
    assert layout.xaxis.title.font.size == layout.yaxis.title.font.size == LETTERS
    for part in (layout.xaxis.tickfont, layout.yaxis.tickfont, layout.legend.font):
        assert part.size * 72 / 96 == pytest.approx(7)


def test_the_title_is_left_to_the_caption() -> None:
    shown = figure(sample.noise())
    drawn = for_print(shown)
    assert drawn.layout.title.text is None
    assert drawn.layout.meta["caption"] == shown.layout.title.text


def test_series_that_differ_in_colour_differ_in_symbol_or_dash_too() -> None:
    shown = go.Figure(layout={"template": LOOK})
    for name, colour in (("one", BLUE), ("two", RED)):
        shown.add_scatter(x=[1], y=[1], mode="markers", marker={"color": colour}, name=name)
        shown.add_scatter(x=[1, 2], y=[1, 2], mode="lines", line={"color": colour}, name=name)
    marks_one, line_one, marks_two, line_two = for_print(shown).data
    assert marks_one.marker.symbol != marks_two.marker.symbol
    assert line_one.line.dash != line_two.line.dash


@pytest.mark.parametrize("language", ["en", "zh"])
def test_labels_of_ticks_do_not_run_into_each_other_and_titles_are_no_longer_than_their_axis(language: str) -> None:
    for record in (sample_studies.fit(), sample.speed(), sample.advice(), sample_loss.line()):
        drawn = for_print(figure(record, language))
        layout = drawn.layout
        for name in ("xaxis", "yaxis"):
            axis = layout[name]
            for row in (axis.title.text or "").split("<br>"):
                assert text_width(row, LETTERS) <= (layout.width if name == "xaxis" else layout.height)
        axis = layout.xaxis
        if axis.type != "log":
            continue
        low, high = axis.range
        across = (layout.width - layout.margin.l - layout.margin.r) * (
            axis.domain[1] - axis.domain[0] if axis.domain else 1
        )
        shown = [
            (across * (print_style.math.log10(value) - low) / (high - low), text_width(text, SMALL_LETTERS))
            for value, text in zip(axis.tickvals or (), axis.ticktext or (), strict=True)
            if text and axis.type == "log"
        ]
        for (place, width), (following, other) in pairwise(shown):
            assert place + width / 2 < following - other / 2


def test_long_texts_are_broken_into_rows_that_fit() -> None:
    rows = wrapped("how far apart the directions of steps lie", 96.0, LETTERS).split("<br>")
    assert len(rows) > 2 and all(text_width(row, LETTERS) <= 96 for row in rows)
    assert " ".join(rows) == "how far apart the directions of steps lie"
    chinese = wrapped("这次训练的批次大小与学习率", 60.0, LETTERS).split("<br>")
    assert all(text_width(row, LETTERS) <= 60 for row in chinese) and "".join(chinese) == "这次训练的批次大小与学习率"


def test_text_from_names_stays_as_it_is() -> None:
    before, after = figure(hostile()), for_print(figure(hostile()))
    assert [trace.hovertext for trace in after.data] == [trace.hovertext for trace in before.data]
    assert "<script>" not in after.to_json()


@needs_browser
def test_pictures_have_their_size_in_every_format() -> None:
    drawn = for_print(figure(sample.advice()))
    pdf, svg, png = pictures([(drawn, kind) for kind in ("pdf", "svg", "png")])
    box = re.search(rb"/MediaBox ?\[0 0 ([0-9.]+) ([0-9.]+)\]", pdf)
    assert box is not None and float(box[1]) == pytest.approx(3.4 * 72, abs=0.5)
    assert float(box[2]) == pytest.approx(drawn.layout.height * 72 / 96, abs=1)
    root = ElementTree.fromstring(svg)
    assert float(root.get("width", "0")) == pytest.approx(3.4 * 96)
    assert struct.unpack(">I", png[16:20])[0] == pytest.approx(3.4 * 300, abs=2)
    assert b"<image" not in svg and b"/Subtype /Image" not in pdf  # lines and letters, no pixels


@needs_browser
def test_the_same_figure_gives_the_same_svg() -> None:
    drawn = for_print(figure(sample.noise()))
    first, second = pictures([(drawn, "svg")]) + pictures([(drawn, "svg")])
    assert first == second


@needs_browser
@pytest.mark.skipif(not has_chinese_font(), reason="no font with Chinese letters is installed")
def test_words_in_a_picture_are_those_of_the_language() -> None:
    english, chinese = (for_print(figure(sample.noise(), language)) for language in ("en", "zh"))
    svg, chinese_svg = pictures([(english, "svg"), (chinese, "svg")])
    assert "Gradient noise scale" in svg.decode() and "梯度噪声尺度" in chinese_svg.decode()


@needs_browser
def test_letters_in_a_pdf_are_letters() -> None:
    (pdf,) = pictures([(for_print(figure(sample.speed())), "pdf")])
    packed = re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL)
    text = pdf + b"".join(zlib.decompress(each) for each in packed if each[:1] == b"x")
    assert b"/Font" in text and b"/ToUnicode" in text


@needs_browser
def test_a_picture_is_written_to_a_path_or_an_open_file(tmp_path: Path) -> None:
    drawn, file = sample.noise().plot(style="paper"), BytesIO()
    drawn.write_image(tmp_path / "noise.svg")
    drawn.write_image(file, format="svg")
    assert (tmp_path / "noise.svg").read_bytes() == file.getvalue()


def test_a_figure_for_the_screen_stays_the_default() -> None:
    assert sample.noise().plot().layout.width is None
    assert sample.noise().plot(style="paper").layout.width == pytest.approx(3.4 * 96)


def test_another_style_is_refused_in_a_sentence() -> None:
    with pytest.raises(UserError, match="Style 'poster' is not there: use screen or paper"):
        sample.noise().plot(style="poster")


def test_without_kaleido_a_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(print_style, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=re.escape('pip install "critbatch[figures]"')):
        sample.noise().plot(style="paper").write_image("noise.pdf")


def test_without_a_browser_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(print_style, "find_spec", lambda name: name)
    monkeypatch.setenv("CRITBATCH_BROWSER", "")
    monkeypatch.setattr("critbatch.reports.pdf.shutil.which", lambda name: None)
    with pytest.raises(UserError, match="Chromium or Chrome"):
        sample.noise().plot(style="paper").to_image()


@needs_browser
def test_a_browser_that_fails_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "chromium"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CRITBATCH_BROWSER", str(broken))
    with pytest.raises(UserError, match="did not draw the figure"):
        sample.noise().plot(style="paper").to_image()


def test_without_a_font_for_chinese_a_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(print_style, "find_spec", lambda name: name)
    monkeypatch.setattr(print_style, "find_browser", lambda: "chromium")
    monkeypatch.setattr(print_style, "has_chinese_font", lambda: False)
    with pytest.raises(UserError, match="No font with Chinese letters was found"):
        sample.noise().plot(style="paper", language="zh").to_image("svg")
