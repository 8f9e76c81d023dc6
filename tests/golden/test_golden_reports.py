"""What users see of each sample record: reports as Markdown and as a page, sentences on the terminal, JSON on disk.

A failing test shows the lines that differ. If the change is wanted, rewrite the snapshots:

    CRITBATCH_WRITE_GOLDEN=1 python -m pytest -q tests/golden

`reports/` holds a file for each whole record and language. A record with something missing is kept as its difference
from a whole one, so that a changed sentence does not change a hundred files. `records.jsonl.xz` holds each record's
JSON as it is written today, `records-0.1.0.jsonl.xz` as version 0.1.0 wrote it: nothing rewrites that one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

import critbatch
from golden_files import (
    HERE,
    WRITES,
    check_file,
    check_text,
    difference,
    file_name,
    read_records,
    rounded_json,
    write_records,
)
from golden_inputs import ADVICE, MISSING, PAGES, RECORDS, Record, summary
from golden_page import PageText, elements_of, text_of, text_of_figures

LANGUAGES = {"en": "en", "zh": "zh-Hans"}
REPORTS = HERE / "reports"
TODAY, VERSION_0_1 = HERE / "records.jsonl.xz", HERE / "records-0.1.0.jsonl.xz"
SAMPLES = {**RECORDS, **MISSING, **ADVICE}
BASE = re.compile(r"Where it differs from the report of (.*):\n")


@pytest.fixture(autouse=True)
def _without_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are held by the figures' data: drawing them would take minutes."""
    for name in ("matplotlib", "kaleido"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reports")


@cache
def report(name: str, folder: Path) -> dict[str, str]:
    """All that the project says of the records of that name, by language."""
    records = PAGES[name] if name in PAGES else (MISSING[name],)
    page = PageText(_written(records, folder / "report.html", "en"))
    texts = {}
    for language, html_language in LANGUAGES.items():
        translation = page.translations[html_language]
        parts = {
            "terminal": summary(records[0], language) if len(records) == 1 else "",
            "Markdown": _written(records, folder / "report.md", language).rpartition("\n---\n")[0],
            "page": f"{text_of(translation)}\n{elements_of(translation)}",
            "figures": text_of_figures(translation),
        }
        texts[language] = "\n\n".join(f"===== {title} =====\n{text}" for title, text in parts.items()) + "\n"
    return texts


def _written(records: Sequence[Record], path: Path, language: str) -> str:
    return critbatch.report(records, path, language=language).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_the_report_of_a_whole_record_is_the_same(name: str, folder: Path) -> None:
    for language, text in report(name, folder).items():
        check_file(REPORTS / file_name(name, f".{language}.txt"), text)


@pytest.mark.parametrize("name", MISSING)
def test_the_report_of_a_record_with_something_missing_differs_as_before(name: str, folder: Path) -> None:
    for language, text in report(name, folder).items():
        path = REPORTS / "missing" / file_name(name, f".{language}.txt")
        base = _nearest(MISSING[name], text, language, folder) if WRITES else _base_of(path)
        whole = report(base, folder)[language]
        rows = difference(_without_words_of_page(whole), _without_words_of_page(text))
        check_file(path, f"Where it differs from the report of {base}:\n{rows}")


def _without_words_of_page(text: str) -> str:
    """They are those of the Markdown, made by a template that the whole records hold."""
    return re.sub(r"(?s)(?<===== page =====\n).*?(?=elements: )", "", text)


def _nearest(record: Record, text: str, language: str, folder: Path) -> str:
    """The whole record whose report needs the fewest changes."""
    same_kind = [name for name, whole in RECORDS.items() if type(whole) is type(record)]
    return min(same_kind, key=lambda name: len(difference(report(name, folder)[language], text)))


def _base_of(path: Path) -> str:
    found = BASE.match(path.read_text(encoding="utf-8")) if path.exists() else None
    return found[1] if found else next(iter(RECORDS))


@pytest.mark.parametrize("name", ADVICE)
def test_what_a_monitor_advises_is_said_as_before(name: str) -> None:
    texts = (f"===== {language} =====\n{ADVICE[name].text(language)}\n" for language in LANGUAGES)
    check_file(REPORTS / file_name(name, ".txt"), "\n".join(texts))


def test_no_snapshot_is_left_over() -> None:
    names = {file_name(name, f".{language}.txt") for name in PAGES for language in LANGUAGES}
    names |= {file_name(name, ".txt") for name in ADVICE}
    names |= {f"missing/{file_name(name, f'.{language}.txt')}" for name in MISSING for language in LANGUAGES}
    extra = {path.relative_to(REPORTS).as_posix() for path in REPORTS.rglob("*.*")} - names
    for name in extra if WRITES else ():
        (REPORTS / name).unlink()
    assert WRITES or not extra


def test_records_are_written_as_before() -> None:
    if WRITES:
        write_records(TODAY, {name: record.to_json() for name, record in SAMPLES.items()})
    before = read_records(TODAY)
    assert list(before) == list(SAMPLES)
    for name, record in SAMPLES.items():
        check_text(f"JSON of {name}", rounded_json(before[name]), rounded_json(record.to_json()))


def test_a_record_that_was_read_is_written_the_same() -> None:
    for name, text in read_records(TODAY).items():
        assert type(SAMPLES[name]).from_json(text).to_json() == text


def test_records_of_version_0_1_are_read_as_those_of_today() -> None:
    today = read_records(TODAY)
    for name, text in read_records(VERSION_0_1).items():
        assert type(SAMPLES[name]).from_json(text).to_json() == today[name], name
