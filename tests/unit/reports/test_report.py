"""The report as a file: whole, self-contained, and safe from what records hold."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import sample_records as sample
from critbatch.errors import UserError
from critbatch.records.core import Record, ReplicaResult
from critbatch.reports.charts.theme import PAGE
from critbatch.reports.derived.runs import MOST_CURVES, MOST_POINTS
from critbatch.reports.html import HERE, embedded, page_style
from critbatch.reports.translator import Translator
from critbatch.reports.write import report as write_report
from html_page import Page, written
from sample_gaps import MISSING, hostile

EN, ZH = Translator("en"), Translator("zh")


@pytest.fixture(scope="module")
def advice_page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return written(tmp_path_factory.mktemp("advice"), sample.advice())


def test_the_page_needs_nothing_but_itself(advice_page: Page):
    assert advice_page.all("src") == []
    assert advice_page.all("srcset") == []
    links = {link for link in advice_page.all("href") if not link.startswith("#")}
    assert {link for link in links if not link.startswith("https://arxiv.org/abs/")} == {"data:,"}
    assert {tag for tag, attributes in advice_page.elements if attributes.get("href", "").startswith("http")} == {"a"}
    assert sum("* plotly.js (cartesian - minified) v" in text for _, text in advice_page.scripts) == 1
    style = page_style()
    assert "url(" not in style and "@import" not in style


def test_no_colour_is_written_twice_and_every_variable_has_one():
    source = (HERE / "charts" / "theme.py").read_text(encoding="utf-8")
    codes = re.findall(r"#[0-9a-f]{6}", source)
    assert len(codes) == len(set(codes))
    for file in HERE.glob("page*"):
        assert not re.findall(r"#[0-9a-f]{6}\b", file.read_text(encoding="utf-8")), file.name
    style = page_style()
    assert set(re.findall(r"var\(--([a-z-]+)\)", style)) == set(PAGE)
    assert style.index("prefers-color-scheme: dark") < style.index("@media print")


def test_the_page_allows_its_own_scripts_and_no_others(advice_page: Page):
    (policy,) = [a["content"] for _, a in advice_page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    code = [text for attributes, text in advice_page.scripts if attributes.get("type") != "application/json"]
    hashes = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in code}
    assert set(re.findall(r"'sha256-([^']+)'", policy)) == hashes
    assert "default-src 'none'" in policy


@pytest.mark.parametrize(
    ("language", "lang", "title"),
    [("en", "en", "critbatch: digits-mlp"), ("zh", "zh-Hans", "critbatch\uff1adigits-mlp")],
)
def test_the_page_holds_both_languages_and_shows_the_one_asked_for(
    tmp_path: Path, language: str, lang: str, title: str
):
    page = written(tmp_path, sample.noise(), language=language)
    translations = [attributes for _, attributes in page.elements if attributes.get("class") == "translation"]
    assert dict(page.elements)["html"]["lang"] == lang
    assert translations[0]["lang"] == lang
    assert sorted(each["lang"] for each in translations) == ["en", "zh-Hans"]
    assert ["hidden" in each for each in translations] == [False, True]
    assert translations[0]["data-title"] == title
    for t in (EN, ZH):
        assert t("section_trust") in page.words


def test_what_the_page_points_at_is_there_once(advice_page: Page):
    names = advice_page.all("id")
    assert len(names) == len(set(names))
    for reference in ("aria-labelledby", "aria-describedby", "data-figure"):
        assert set(advice_page.all(reference)) <= set(names)
    assert {link[1:] for link in advice_page.all("href") if link.startswith("#")} <= set(names)


def test_nothing_in_a_record_becomes_a_part_of_the_page(tmp_path: Path):
    broken, plain = written(tmp_path, hostile()), written(tmp_path, replace(sample.advice(), cautions=("few_points",)))
    assert [tag for tag, _ in broken.elements] == [tag for tag, _ in plain.elements]
    assert sample.HOSTILE in broken.words
    texts = [text for attributes, text in broken.scripts if attributes.get("type") == "application/json"]
    assert not any("<" in text or "&" in text for text in texts)
    # Plotly reads tags in labels: what is shown must be written as entities.
    labels = json.dumps(broken.figures, ensure_ascii=False).replace("<br>", "")
    assert "&lt;script&gt;" in labels
    assert "<" not in labels


def test_json_in_the_page_comes_back_the_same():
    value = {"name": "</script><!--\u2028 & 文", "values": [1.5, None]}
    assert json.loads(embedded(value)) == value
    assert not set(embedded(value)) & set("<>&\u2028")


def test_a_study_of_many_long_runs_stays_light_and_says_what_it_left_out(tmp_path: Path):
    study = sample.study(seeds=2, evaluations=300)
    page = written(tmp_path, study)
    curves = [trace for text in page.figures for trace in text["data"] if trace.get("legendgroup")]
    assert len(study.runs) > MOST_CURVES
    assert len(curves) == 2 * MOST_CURVES
    assert max(len(trace["x"]) for trace in curves) == MOST_POINTS
    assert {trace["legendgroup"] for trace in curves} == {str(size) for size in sample.SIZES}
    assert EN("curves_chosen", shown=MOST_CURVES, runs=len(study.runs)) in page.words
    assert EN("curves_thinned", points=MOST_POINTS) in page.words


@pytest.mark.parametrize("record", MISSING.values(), ids=MISSING)
def test_a_missing_part_is_a_sentence_and_never_an_empty_chart(tmp_path: Path, record: Record):
    page = written(tmp_path, record)
    for drawn in page.figures:
        assert any(value is not None for trace in drawn["data"] for value in trace["y"])
    assert not re.search(r"\{[a-z_]+\}|\bNone\b(?! of)|\bnan\b", page.words)
    headings = [tag for tag, _ in page.elements if re.fullmatch(r"h[1-4]", tag)]
    assert headings.count("h1") == 2


def test_one_page_tells_of_several_records_and_joins_the_runs_of_a_task(tmp_path: Path):
    records = (sample.speed(), sample.run(64), sample.noise(), sample.run(256), sample.run(8, task="other"))
    page = written(tmp_path, *records)
    assert [tag for tag, _ in page.elements].count("article") == 2 * 4
    assert EN("runs_reached", task="digits-mlp", n=2, reached=2) in page.words


def test_a_run_tells_of_its_copies_and_of_a_batch_that_grew(tmp_path: Path):
    plain = sample.run(64)
    ends = [
        ReplicaResult(copy=n, steps=9, seconds=1.0, train_loss=0.1, train_metric=0.9, validation_loss=0.2, **score)
        for n, score in enumerate(({"validation_metric": 0.9111}, {"validation_metric": 0.9333}))
    ]
    swap = replace(plain, recipe="swap2020", replicas=tuple(ends), seconds=8.0, parallel_seconds=5.0)
    grown = tuple(replace(point, batch_size=256) for point in plain.curve[-2:])
    adaptive = replace(plain, recipe="adaptive", seed=1, curve=(*plain.curve[:-2], *grown))
    page = written(tmp_path, swap, adaptive)
    assert "2 replicas ended at a validation accuracy of 0.9111 to 0.9333" in page.words
    assert "This took 8 s; with one device per replica it would take 5 s." in page.words
    assert "adaptive, seed 1: the batch size grew from 64 to 256." in page.words
    assert "随机种子 1：批次从 64 增长到 256。" in page.words


def test_a_report_is_made_without_torch():
    code = "import sys, critbatch.reports.write; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_empty_study_says_how_to_fill_it(tmp_path: Path):
    empty = replace(sample.study(seeds=1), runs=())
    with pytest.raises(UserError, match="no run yet: make some with `critbatch sweep digits-mlp`"):
        write_report([empty], tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_no_record_another_record_and_another_language_are_told_in_a_sentence(tmp_path: Path):
    path = tmp_path / "report.html"
    with pytest.raises(UserError, match="no record to report"):
        write_report([], path)
    with pytest.raises(UserError, match="cannot be made of a Target"):
        write_report([sample.TARGET], path)
    with pytest.raises(UserError, match="Language 'fr' is not there: use en or zh"):
        write_report([sample.noise()], path, language="fr")


def test_a_folder_that_cannot_be_written_is_told_in_a_sentence(tmp_path: Path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="cannot be written to"):
        write_report([sample.noise()], tmp_path / "file" / "report.html")


def test_a_report_that_cannot_be_put_in_place_leaves_nothing_behind(tmp_path: Path):
    taken = tmp_path / "report.html"
    taken.mkdir()
    with pytest.raises(UserError, match="cannot be written"):
        write_report([sample.noise()], taken)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_folders_are_made_and_an_older_report_is_replaced(tmp_path: Path):
    path = tmp_path / "deep" / "er" / "report.html"
    write_report([sample.noise()], path)
    write_report([sample.noise()], path, title="Mine & yours")
    assert "<title>Mine &amp; yours</title>" in path.read_text(encoding="utf-8")
    assert [each.name for each in path.parent.iterdir()] == ["report.html"]
