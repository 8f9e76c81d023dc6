"""A third language is one file: it is offered by name, and reports and summaries are written in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import sample_records as sample
from critbatch.records.core import Record
from critbatch.records.io import save_record
from critbatch.reports.markdown import markdown
from critbatch.reports.translator import Translator, languages
from critbatch.reports.views.chapters import subjects, summary
from critbatch.reports.write import report as write_report
from html_page import Page
from integration.test_cli import critbatch
from pseudo_language import END, NAME, NO_ACCENTS, third_language
from sample_gaps import RECORDS


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with third_language(tmp_path_factory.mktemp("messages")) as code:
        yield code


def test_it_is_offered_by_its_name(language: str):
    assert languages() == ["en", language, "zh"]
    assert Translator(language).catalog.name == NAME


@pytest.mark.parametrize("record", RECORDS.values(), ids=list(RECORDS))
def test_summary_and_markdown_say_the_same_in_it(record: Record, language: str):
    def texts(code: str) -> tuple[str, str]:
        chapters = markdown(subjects([record]), Translator(code), gallery=lambda _: None)
        return summary(record, code), chapters

    def words(text: str) -> list[str]:
        return text.translate(NO_ACCENTS).split()

    for text, english in zip(texts(language), texts("en"), strict=True):
        assert END in text
        assert words(text) == words(english)


def test_a_markdown_report_is_written_in_it(language: str, tmp_path: Path):
    path = write_report([sample.speed()], tmp_path / "report.md", language=language)
    assert Translator(language)("section_hardware") in path.read_text(encoding="utf-8")


def test_the_page_holds_all_three_and_shows_the_one_asked_for_first(language: str, tmp_path: Path):
    path = write_report([sample.noise()], tmp_path / "report.html", language=language)
    page = Page(path.read_text(encoding="utf-8"))
    translations = [attributes for _, attributes in page.elements if attributes.get("class") == "translation"]
    assert [each["lang"] for each in translations] == [language, "en", "zh-Hans"]
    assert ["hidden" in each for each in translations] == [False, True, True]


def test_the_command_line_takes_it(language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    save_record(sample.noise(), tmp_path)
    assert critbatch("report", str(tmp_path), "--language", language, monkeypatch=monkeypatch) == 0
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert dict(page.elements)["html"]["lang"] == language
