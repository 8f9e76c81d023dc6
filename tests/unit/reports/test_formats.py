"""The report as Markdown, as a PDF and as JSON: the same as the page, and as safe."""

from __future__ import annotations

import json
import re
import shutil
import stat
import time
import xml.etree.ElementTree as ElementTree
import zlib
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

import critbatch
import sample_records as sample
import sample_studies
from critbatch.cli.main import main
from critbatch.errors import UserError
from critbatch.records.core import Record
from critbatch.records.io import KINDS, save_record
from critbatch.reports import pdf
from critbatch.reports.charts.theme import BLUE, RED
from critbatch.reports.html import render
from critbatch.reports.markdown import Writer, escaped, fenced
from critbatch.reports.model import Block, Chart, Charts, Facts, Table
from critbatch.reports.pdf import find_browser, print_pdf
from critbatch.reports.translator import Translator
from critbatch.reports.views.chapters import chapter, subjects
from critbatch.reports.write import report as write_report
from sample_gaps import MISSING, RECORDS, hostile

EN, ZH = Translator("en"), Translator("zh")
ALL = {**RECORDS, "hostile": hostile(), **{f"missing: {name}": record for name, record in MISSING.items()}}


def _can_draw() -> bool:
    try:
        find_browser()
    except UserError:
        return False
    return find_spec("kaleido") is not None


needs_pictures = pytest.mark.skipif(not _can_draw(), reason="kaleido, or Chromium or Chrome, is not installed")
READER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where kaleido is not installed, which is also much faster."""
    monkeypatch.setattr("critbatch.reports.charts.print_style.find_spec", lambda name: None)


def read(text: str) -> list[Token]:
    return [inner for token in READER.parse(text) for inner in (token, *(token.children or ()))]


def shown(tokens: list[Token]) -> str:
    return " ".join(token.content for token in tokens if token.type in ("text", "code_inline", "fence"))


def one_row(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


# --- Markdown --------------------------------------------------------------------------------------------------------


def test_markdown_has_a_writer_for_each_kind_of_block():
    assert {block.kind for block in get_args(Block)} <= set(Writer(EN, lambda picture: None).writers)


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("record", ALL.values(), ids=ALL)
def test_all_that_the_page_says_stands_in_the_markdown_and_nothing_of_it_is_markup(
    tmp_path: Path, record: Record, language: str
):
    text = write_report([record], tmp_path / "report.md", language=language).read_text(encoding="utf-8")
    tokens, t = read(text), Translator(language)
    (subject,) = subjects([record])
    told = chapter(subject, t)
    headings = [inner for token, inner in pairwise(tokens) if token.type == "heading_open"]
    titles = [shown(inner.children or []) for inner in headings]
    assert [one_row(title) for title in titles] == [
        one_row(title) for title in (told.answer.headline, *(section.title for section in told.sections))
    ]
    blocks = [block for section in told.sections for block in section.blocks]
    tables = [block for block in blocks if isinstance(block, Table)]
    rows = sum(1 + len(table.rows) for table in tables) + (2 if told.tiles else 0)
    assert [token.type for token in tokens].count("tr_open") == rows
    written = one_row(shown(tokens))
    for sentence in (*told.answer.lead, *told.answer.more, *(note for table in tables for note in table.notes)):
        assert one_row(sentence) in written
    assert not {token.type for token in tokens} & {"html_inline", "image", "s_open", "em_open", "code_block"}
    allowed = re.compile(r"<details>\n<summary>[^<>]*</summary>\n|</details>\n?")
    assert all(allowed.fullmatch(token.content) for token in tokens if token.type == "html_block")
    links = [token.attrGet("href") for token in tokens if token.type == "link_open"]
    assert all(str(link).startswith("https://arxiv.org/abs/") for link in links)
    codes = [block.code for block in blocks if isinstance(block, Facts) and block.code]
    assert [token.content.strip("\n") for token in tokens if token.type == "fence"] == [c.strip("\n") for c in codes]


MARKUP = "\\`*_{}[]()<>#+-.!|~&:$=@/ \n\tabc19文www"


@given(st.text(st.sampled_from(MARKUP), max_size=30) | st.text(max_size=30))
def test_an_escaped_text_is_one_paragraph_of_that_text(text: str):
    text = text.replace("\x00", "")
    tokens = read(escaped(text))
    plain = {"paragraph_open", "inline", "text", "paragraph_close", "text_special"}
    assert {token.type for token in tokens} <= plain
    found = "".join(token.content for token in tokens if token.type in ("text", "text_special"))
    assert found == re.sub(r"\s+", " ", text).strip()


@given(st.text(st.sampled_from(MARKUP), max_size=30))
def test_an_escaped_text_is_one_cell_of_a_table(text: str):
    tokens = read(f"| {escaped(text)} | b |\n| --- | --- |\n| c | {escaped(text)} |")
    assert [token.type for token in tokens].count("th_open") == 2
    assert [token.type for token in tokens].count("td_open") == 2
    assert shown(tokens).count(one_row(text)) >= 2


@given(st.text(st.sampled_from("`~\n ab"), max_size=30))
def test_code_cannot_end_its_own_fence(code: str):
    fences = [token for token in read(fenced(code)) if token.type == "fence"]
    assert [token.content.rstrip() for token in fences] == [code.rstrip()]
    assert len(read(fenced(code))) == 1


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("see https://evil.example/x", "see https\\://evil.example/x"),
        ("www.evil.example", "www\\.evil.example"),
        (":tada: 3:1", "\\:tada: 3:1"),
        ("cost $a$ and $b$", "cost \\$a\\$ and \\$b\\$"),
        ("S_min at B_noise", "S_min at B_noise"),
        ("1. not a list", "1\\. not a list"),
        ("# not a heading", "\\# not a heading"),
        ("80 % interval 1.1 to 1.6 s (n = 3)", "80 % interval 1.1 to 1.6 s (n = 3)"),
    ],
)
def test_what_github_would_read_is_escaped_and_plain_sentences_are_not(text: str, written: str):
    assert escaped(text) == written


@needs_pictures
def test_each_figure_is_a_png_and_an_svg_beside_the_markdown(tmp_path: Path):
    path = write_report([sample.speed()], tmp_path / "my report.md")
    text = path.read_text(encoding="utf-8")
    (subject,) = subjects([sample.speed()])
    blocks = [block for section in chapter(subject, EN).sections for block in section.blocks]
    charts = [chart for block in blocks if isinstance(block, Charts) for chart in block.charts]
    charts += [block for block in blocks if isinstance(block, Chart)]
    tokens = read(text)
    images = [token for token in tokens if token.type == "image"]
    assert sorted(image.content for image in images) == sorted(escaped(chart.picture.alt) for chart in charts)
    folder = tmp_path / "my report-figures"
    names = [f"figure-{i + 1}" for i in range(len(charts))]
    assert [image.attrGet("src") for image in images] == [f"my%20report-figures/{name}.png" for name in names]
    assert sorted(file.name for file in folder.iterdir()) == sorted(
        f"{n}.{kind}" for n in names for kind in ("png", "svg")
    )
    for name in names:
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert ElementTree.parse(folder / f"{name}.svg").getroot().tag.endswith("svg")
        assert f"(my%20report-figures/{name}.svg)" in text


@needs_pictures
def test_the_same_records_give_the_same_files_and_pictures_of_an_earlier_report_go(tmp_path: Path):
    path = tmp_path / "report.md"
    write_report([sample.speed()], path)
    many = {file.name for file in (tmp_path / "report-figures").iterdir()}
    (tmp_path / "report-figures" / "mine.png").write_bytes(b"not ours")
    write_report([sample.noise()], path)
    first = {file.name: file.read_bytes() for file in (tmp_path / "report-figures").iterdir()}
    write_report([sample.noise()], path)
    assert {file.name: file.read_bytes() for file in (tmp_path / "report-figures").iterdir()} == first
    assert set(first) == {"figure-1.png", "figure-1.svg", "mine.png"} < many | {"mine.png"}


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("t", [EN, ZH], ids=["en", "zh"])
def test_without_kaleido_descriptions_stand_for_figures_and_one_sentence_says_how_to_get_them(
    tmp_path: Path, t: Translator
):
    text = write_report([sample.advice()], tmp_path / "report.md", language=t.language).read_text(encoding="utf-8")
    assert text.count(t("format_no_kaleido")) == 1
    hero = chapter(sample.advice(), t).hero
    assert hero is not None
    assert f"> **{escaped(hero.picture.title)}**\n>\n> {escaped(hero.picture.alt)}\n" in text
    assert [file.name for file in tmp_path.iterdir()] == ["report.md"]


def test_without_a_font_for_chinese_the_markdown_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("critbatch.reports.markdown.missing_tool", lambda: "")
    monkeypatch.setattr("critbatch.reports.markdown.has_chinese_font", lambda: False)
    text = write_report([sample.noise()], tmp_path / "report.md", language="zh").read_text(encoding="utf-8")
    assert text.count(ZH("format_no_font")) == 1
    assert not (tmp_path / "report-figures").exists()


def test_where_the_browser_does_not_draw_descriptions_stand_for_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(jobs: object) -> list[bytes]:
        raise UserError("no")

    monkeypatch.setattr("critbatch.reports.markdown.missing_tool", lambda: "")
    monkeypatch.setattr("critbatch.reports.markdown.pictures", fail)
    text = write_report([sample.noise()], tmp_path / "report.md").read_text(encoding="utf-8")
    assert text.count(EN("format_not_drawn")) == 1 and "![" not in text
    assert not (tmp_path / "report-figures").exists()


@pytest.mark.usefixtures("no_pictures")
def test_chapters_stand_below_a_title_or_the_first_one_is_it(tmp_path: Path):
    records, path = [sample.speed(), sample.noise()], tmp_path / "report.md"
    for title, levels in ((None, ["h1", "h2"]), ("Mine *and* yours", ["h2", "h2"])):
        tokens = read(write_report(records, path, title=title).read_text(encoding="utf-8"))
        told = [chapter(subject, EN).answer.headline for subject in subjects(records)]
        heads = [
            (token.tag, shown(inner.children or []))
            for token, inner in pairwise(tokens)
            if token.type == "heading_open"
        ]
        assert [tag for tag, text in heads if text in told] == levels
        assert (heads[0] == ("h1", "Mine *and* yours")) is (title is not None)


# --- JSON ------------------------------------------------------------------------------------------------------------


def test_json_holds_the_records_and_gives_them_back(tmp_path: Path):
    records = [*RECORDS.values(), hostile()]
    told = json.loads(write_report(records, tmp_path / "report.json").read_text(encoding="utf-8"))
    assert [set(each) for each in told] == [{"kind", "record"}] * len(records)
    back = [KINDS[each["kind"]].from_json(json.dumps(each["record"])) for each in told]
    # In a run that diverged there are losses that are no numbers, and so equal nothing.
    assert [each.to_json() for each in back] == [each.to_json() for each in records]


# --- PDF -------------------------------------------------------------------------------------------------------------

needs_browser = pytest.mark.skipif(
    not any(shutil.which(name) for name in pdf.NAMES), reason="no Chromium or Chrome: install one to run this test"
)


def drawing(content: bytes) -> str:
    """What the pages of a PDF draw, unpacked."""
    found = []
    for packed in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL):
        try:
            found.append(zlib.decompress(packed).decode("latin-1"))
        except zlib.error:
            continue
    return "\n".join(found)


def draws(content: bytes, colour: str) -> bool:
    """Whether a line or a surface of a PDF has the colour."""
    wanted = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    told = re.findall(r"([\d.]+) ([\d.]+) ([\d.]+) (?:rg|RG)\b", drawing(content))
    return any([float(part) for part in parts] == pytest.approx(wanted, abs=0.003) for parts in told)


@needs_browser
@pytest.mark.browser
def test_a_pdf_holds_the_pages_with_their_figures_and_nothing_else_is_left(tmp_path: Path):
    path = write_report([sample.advice()], tmp_path / "report.pdf")
    content = path.read_bytes()
    assert content.startswith(b"%PDF") and content.rstrip().endswith(b"%%EOF")
    assert [file.name for file in tmp_path.iterdir()] == ["report.pdf"]
    assert len(re.findall(rb"/Type\s*/Page\b", content)) > 2
    # The best size is red and the curve blue, as in the figures alone: the page's own words have other colours.
    empty = print_pdf(render_without_figures(), tmp_path)
    for colour in (RED, BLUE):
        assert draws(content, colour) and not draws(empty, colour)


def render_without_figures() -> str:
    page = render(subjects([sample.advice()]), language="en")
    return re.sub(r'<script type="application/json" data-figure="[^"]*">.*?</script>', "", page, flags=re.DOTALL)


def program(folder: Path, text: str) -> str:
    path = folder / "browser"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_a_browser_that_takes_too_long_is_ended_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    place = tmp_path / "out"
    place.mkdir()
    monkeypatch.setenv(pdf.VARIABLE, program(tmp_path, f"sleep 300 & echo $! > {tmp_path}/child; wait"))
    with pytest.raises(UserError, match=r"did not print the report within 3 seconds: try again"):
        print_pdf("<html></html>", place, timeout=3)
    assert list(place.iterdir()) == []
    child = Path("/proc") / (tmp_path / "child").read_text().strip() / "stat"
    given_up = time.monotonic() + 60
    while is_alive(child) and time.monotonic() < given_up:
        time.sleep(0.01)  # the signal is sent, but the machine may be busy
    assert not is_alive(child)


def is_alive(status: Path) -> bool:
    """By the `stat` of a process in Linux: one that was ended may wait for its parent to notice."""
    try:
        return status.read_text().split(") ")[1][0] not in "ZX"
    except OSError:
        return False


def test_a_browser_that_does_not_print_is_told_with_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    older = tmp_path / "out" / "report.pdf"
    older.parent.mkdir()
    older.write_text("older")
    monkeypatch.setenv(pdf.VARIABLE, program(tmp_path, "echo No usable sandbox >&2; exit 1"))
    with pytest.raises(UserError, match=r"did not print the report \(No usable sandbox\): try another browser"):
        write_report([sample.noise()], older)
    assert [file.name for file in older.parent.iterdir()] == ["report.pdf"]
    assert older.read_text() == "older"


def test_only_root_goes_without_a_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for user, without in ((0, True), (1000, False)):
        monkeypatch.setattr("os.geteuid", lambda user=user: user)
        assert ("--no-sandbox" in pdf._options(tmp_path, tmp_path)) is without


def test_where_no_browser_is_found_the_ways_to_a_pdf_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(pdf.VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(pdf, "OTHERS", ())
    with pytest.raises(UserError, match=r"install one .* as HTML and print it from any browser, CRITBATCH_BROWSER="):
        write_report([sample.noise()], tmp_path / "report.pdf")
    monkeypatch.setenv(pdf.VARIABLE, "nowhere/chrome")
    with pytest.raises(UserError, match="CRITBATCH_BROWSER=nowhere/chrome is no program"):
        find_browser()
    assert list(tmp_path.iterdir()) == []


# --- which format ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    ("name", "given", "start"),
    [
        ("report.html", None, "<!DOCTYPE html>"),
        ("report", None, "<!DOCTYPE html>"),
        ("report.md", None, "> "),
        ("REPORT.MARKDOWN", None, "> "),
        ("report.json", None, "[\n{"),
        ("report.txt", "md", "> "),
        ("report.md", "html", "<!DOCTYPE html>"),
    ],
)
def test_the_format_is_the_one_given_or_that_of_the_suffix(tmp_path: Path, name: str, given: str | None, start: str):
    path = critbatch.report([sample.noise()], tmp_path / name, format=given)
    assert path.read_text(encoding="utf-8").startswith(start)


def test_another_format_is_told_in_a_sentence(tmp_path: Path):
    with pytest.raises(UserError, match="format='docx' is not known: use 'html' or 'md' or 'pdf' or 'json'"):
        write_report([sample.noise()], tmp_path / "report.docx", format="docx")


@pytest.mark.usefixtures("no_pictures")
def test_the_command_writes_beside_the_records_and_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    save_record(sample_studies.study(), tmp_path)

    def run(*words: str) -> int:
        monkeypatch.setattr("sys.argv", ["critbatch", "report", str(tmp_path), *words])
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0)

    assert run("--format", "md", "--language", "zh") == 0
    assert run("--format", "json") == 0
    assert run("--out", str(tmp_path / "deep" / "mine.md")) == 0
    places = [tmp_path / "report.md", tmp_path / "report.json", tmp_path / "deep" / "mine.md"]
    assert capsys.readouterr().out.splitlines() == [str(place) for place in places]
    assert ZH("section_trust") in places[0].read_text(encoding="utf-8")
    assert json.loads(places[1].read_text(encoding="utf-8"))[0]["kind"] == "study"
    # What it wrote is no record of the folder.
    assert run("--format", "json") == 0
    capsys.readouterr()
    assert run("--format", "docx") == 2
    assert "--format 'docx' is not known: use html, md, pdf, json" in capsys.readouterr().err
