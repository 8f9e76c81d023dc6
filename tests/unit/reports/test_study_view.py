"""The chapters of studies that were analysed and of fits: what they say, and what their figures show."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sample_records as sample
import sample_studies as studies
import sample_study_gaps as gaps
from critbatch.records.core import Estimate, Outcome, Record
from critbatch.records.study import Analysis, BudgetUnit, Fit, Regime, SizeResult, Study, TradeOff
from critbatch.reports.derived.study import Trend, claim, findings, lag, trend
from critbatch.reports.model import width
from critbatch.reports.translator import Translator
from critbatch.reports.views.chapters import chapter, figure, summary
from critbatch.reports.write import report as write_report
from html_page import written

EN, ZH = Translator("en"), Translator("zh")
ALL = {**studies.RECORDS, **gaps.MISSING}


def found(record: Study | Fit):
    told = findings(record)
    assert told is not None
    return told


@pytest.mark.parametrize("record", studies.hostile().values(), ids=list(studies.hostile()))
def test_nothing_in_a_study_becomes_a_part_of_the_page(tmp_path: Path, record: Record):
    page = written(tmp_path, record)
    assert not any("alert" in text for attributes, text in page.scripts if not attributes.get("type"))
    assert sample.HOSTILE in page.words
    texts = [text for attributes, text in page.scripts if attributes.get("type") == "application/json"]
    assert not any("<" in text or "&" in text for text in texts)
    assert "<" not in json.dumps(page.figures, ensure_ascii=False).replace("<br>", "")


@pytest.mark.parametrize("record", ALL.values(), ids=list(ALL))
def test_both_languages_hold_the_same_sections_tiles_and_points(record: Study | Fit):
    english, chinese = (chapter(record, t) for t in (EN, ZH))
    assert [each.key for each in english.sections] == [each.key for each in chinese.sections]
    assert len(english.tiles) == len(chinese.tiles)
    assert len(english.answer.more) == len(chinese.answer.more)
    drawn = [
        [block.picture.figure.data for section in told.sections for block in section.blocks if block.kind == "chart"]
        for told in (english, chinese)
    ]
    points = [[[(trace.x, trace.y) for trace in data] for data in each] for each in drawn]
    assert repr(points[0]) == repr(points[1])


def test_the_answer_of_a_study_names_size_rate_regimes_law_and_what_tuning_does():
    told = summary(studies.study())
    first = "Of all settings tried, batch size 128 with learning rate 0.144 (sgd) was fastest for digits-mlp."
    assert told.startswith(first)
    assert "Up to batch size 32, doubling the batch about halves the steps. Above 256, a larger batch saves" in told
    critical = EN.estimate(studies.TRADE_OFF.critical_batch_size, EN.about)
    assert EN("law_said_holds", critical=critical) in told
    assert EN("claim_epochs_only") in told
    assert EN("rates_bend") in told


@pytest.mark.parametrize(("language", "t"), [("en", EN), ("zh", ZH)])
def test_the_terminal_shows_a_row_for_each_size_in_columns(language: str, t: Translator):
    told = summary(studies.study(), language).splitlines()
    head = next(i for i, line in enumerate(told) if line.lstrip().startswith(t("batch_size") + " "))
    rows = told[head : head + 1 + len(sample.SIZES)]
    assert len({width(row) for row in rows}) == 1
    assert t("sizes_bound", steps="400") in rows[-1]
    assert t("regime_maximal_parallelism") in rows[-2]


@pytest.mark.parametrize(
    ("falls", "key"),
    [
        ({"epochs": 0.1, "steps": 0.1}, "everywhere"),
        ({"epochs": 0.1, "steps": 0.0}, "epochs_only"),
        ({"epochs": 0.0, "fixed": 0.3}, "untuned"),
        ({"epochs": 0.0, "fixed": 0.0}, "never"),
    ],
)
def test_where_larger_batches_train_worse_is_read_off_the_intervals(falls: dict[str, float], key: str):
    assert claim(studies.budgets(**falls)) == key


def test_without_equal_steps_or_intervals_less_is_claimed():
    epochs = [each for each in studies.budgets() if each.spent is BudgetUnit.EPOCHS]
    assert claim(epochs) == "epochs"
    assert claim([each for each in studies.budgets(epochs=0.0) if each.tuned][:1]) == "tuned_never"
    assert claim(()) == "open"
    points = tuple(replace(point, train_metric=sample.bare(point.batch_size)) for point in epochs[0].points)
    assert trend(replace(epochs[0], points=points), "train_metric") is Trend.OPEN


def test_a_worse_validation_is_overfitting_only_where_training_is_as_good():
    plain = studies.budgets(epochs=0.2)
    assert lag(plain) == "budgets_not_overfitting"
    points = tuple(replace(point, train_metric=studies.score(0.98)) for point in plain[0].points)
    assert lag((replace(plain[0], points=points), *plain[1:])) == "budgets_generalization"
    assert lag(studies.budgets(epochs=0.0)) is None


def test_a_law_that_does_not_hold_says_so_with_its_p_value_and_is_dashed():
    record = gaps.MISSING["law refuted"]
    assert isinstance(record, Study)
    told = "".join(
        block.text for section in chapter(record, EN).sections for block in section.blocks if block.kind == "text"
    )
    assert EN("law_test_fails", p="0.003", test=EN("test_bend")) in told
    law = next(trace for trace in figure(record).data if trace.name == EN("legend_law_fails"))
    assert law.line.dash == "dash"
    assert "do not follow" in summary(record)


def test_a_law_that_was_not_tested_is_not_called_refuted():
    record = gaps.MISSING["law not tested"]
    told = summary(record)
    assert "could not be tested" in told
    assert "do not follow" not in told
    assert EN.reason("too_few_points") in told


def texts_of(record: Study | Fit, t: Translator) -> str:
    told = chapter(record, t)
    return " ".join(block.text for section in told.sections for block in section.blocks if block.kind == "text")


@pytest.mark.parametrize("t", [EN, ZH], ids=["en", "zh"])
def test_a_law_that_cannot_be_told_is_called_neither_true_nor_refuted(t: Translator):
    record = gaps.MISSING["law that cannot be told"]
    assert isinstance(record, Study)
    said = texts_of(record, t)
    assert t("law_test_open", p="0.4") in said and t.reason("little_power") in said
    assert t("law_says_no") not in said
    assert t("law_exponent", exponent=t.estimate(record.analysis.trade_off.exponent, t.about)) in said
    exact = t.bounded(record.analysis.trade_off.critical_if_exact, t.about)
    assert t("law_if_exact", critical=exact) in said
    critical = t.bounded(record.analysis.trade_off.critical_batch_size, t.about)
    answer = chapter(record, t).answer
    assert t("law_said_open", critical=critical) in answer.more
    law = next(trace for trace in figure(record, language=t.language).data if trace.name == t("legend_law_open"))
    assert law.line.dash == "dash"


def test_a_fit_that_cannot_be_told_has_it_in_its_first_sentence():
    told = summary(gaps.MISSING["law that cannot be told with a small misfit"])
    assert "There are too few points to tell whether the law holds" in told.split("\n")[0]
    assert EN.reason("little_power") in told
    assert EN.reason("small_misfit") in texts_of(gaps.MISSING["law that cannot be told with a small misfit"], EN)


def test_a_law_with_a_small_misfit_holds_to_within_that():
    told = summary(gaps.MISSING["law with a small misfit"])
    assert "to within 5 %" in told


def test_rounded_repeats_are_among_what_is_to_be_kept_in_mind():
    assert EN.reason("rounded_repeats") in summary(gaps.MISSING["rounded repeats"])


def test_a_table_of_many_batch_sizes_is_shown_in_part_and_counted_whole():
    sizes = tuple(replace(studies.size_result(64), batch_size=8 + i) for i in range(1000))
    record = studies.fit(analysis=replace(studies.analysis(), sizes=sizes))
    told = found(record)
    assert len(told.sizes) < 400 and told.sizes[0] is sizes[0] and told.sizes[-1] is sizes[-1]
    assert "at 1000 batch sizes; 1000 of the sizes reached the target" in " ".join(chapter(record, EN).answer.more)
    assert f"show {len(told.sizes)} of 1000 batch sizes" in texts_of(record, EN)


@pytest.mark.parametrize(
    ("name", "bound"), [("perfect scaling all the way", "at least 900"), ("no perfect scaling", "at most 6")]
)
def test_where_only_a_bound_is_known_no_number_is_printed(tmp_path: Path, name: str, bound: str):
    record = gaps.MISSING[name]
    assert isinstance(record, Fit)
    assert bound in summary(record)
    tile = next(tile for tile in chapter(record, EN).tiles if tile.label == EN("tile_critical"))
    assert tile.value == bound
    assert "∞" not in written(tmp_path, record).words


def test_a_constant_budget_gives_no_critical_batch_size():
    record = gaps.MISSING["constant budget"]
    told = summary(record)
    assert told.startswith("The points of published.csv do not determine a critical batch size.")
    assert EN.reason("constant_budget") in told
    assert "130" not in told.split("\n\n")[0]


def test_the_table_of_runs_shows_settings_and_what_was_ended_early(tmp_path: Path):
    page = written(tmp_path, studies.study())
    assert "momentum = 0.8, nesterov = False" in page.words
    assert EN("outcome_stopped_early") in page.words
    assert EN("outcomes_stopped", n=1) in page.words
    assert EN("asked_stopped") in page.words
    assert EN("column_options") not in written(tmp_path, sample.study(seeds=1, evaluations=3)).words


def test_a_study_of_thousands_of_runs_gives_a_page_that_opens_and_says_what_it_leaves_out(tmp_path: Path):
    few = sample.study(seeds=1, evaluations=5).runs
    many = tuple(replace(run, seed=seed) for seed in range(75) for run in few)
    record = studies.study(runs=many)
    path = write_report([record], tmp_path / "report.html")
    light = write_report([studies.study()], tmp_path / "light.html")
    assert path.stat().st_size < light.stat().st_size + 2e6
    text = path.read_text(encoding="utf-8")
    assert EN("runs_left_out", shown="300", left="2,700") in text.replace("&#39;", "'")
    assert EN("marks_chosen", shown="400", runs="3,000") in text


def test_what_is_read_off_runs_is_read_once_for_a_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from critbatch.reports.derived import runs as readings

    calls = []
    plain = readings.best_of_each_size
    monkeypatch.setattr(readings, "best_of_each_size", lambda runs, most: calls.append(most) or plain(runs, most))
    write_report([studies.study()], tmp_path / "report.html")
    assert sorted(calls) == sorted({readings.MOST_CURVES, readings.MOST_MARKS, readings.MOST_ROWS})


def test_an_empty_fit_has_no_figure_and_a_run_that_was_ended_early_is_told_so():
    with pytest.raises(TypeError, match="nothing to draw"):
        figure(studies.BARE_FIT)
    run = replace(sample.run(64, outcome=Outcome.FINISHED, steps=90), pruned=True)
    assert "was stopped early" in summary(run)


numbers = st.one_of(st.floats(1e-3, 1e6), st.sampled_from([0.0, math.inf]))
bounds = st.one_of(st.none(), st.floats(1e-3, 1e6))
estimates = st.builds(Estimate, value=numbers, n=st.integers(1, 9), low=bounds, high=bounds, reason=st.just("one_seed"))
some = st.one_of(st.none(), estimates)
sizes = st.builds(
    SizeResult,
    batch_size=st.integers(1, 5000),
    runs=st.integers(1, 20),
    rates=st.integers(0, 5),
    learning_rate=st.one_of(st.none(), st.floats(1e-5, 10.0)),
    usable_rates=st.one_of(st.none(), st.just((0.01, 0.1))),
    at_edge=st.booleans(),
    steps=some,
    bound=st.one_of(st.none(), st.floats(1.0, 1e5)),
    examples=some,
    epochs=some,
    seconds=some,
    regime=st.one_of(st.none(), st.sampled_from(list(Regime))),
)
laws = st.builds(
    TradeOff,
    min_steps=some,
    min_examples=some,
    min_epochs=some,
    critical_batch_size=estimates,
    n=st.just(9),
    sizes=st.just(3),
    scatter=st.floats(0, 2),
    p_value=st.one_of(st.none(), st.floats(0, 1)),
    test=st.sampled_from(["", "bend", "lack_of_fit"]),
    is_consistent=st.booleans(),
    reason=st.sampled_from(["", "law_misfit", "steps_rise", "too_few_points", "constant_budget"]),
)
analyses = st.builds(
    Analysis,
    target=st.just(sample.TARGET),
    sizes=st.lists(sizes, max_size=5, unique_by=lambda size: size.batch_size).map(tuple),
    trade_off=st.one_of(st.none(), laws),
    perfect_until=st.one_of(st.none(), st.integers(1, 5000)),
    useful_until=st.one_of(st.none(), st.integers(1, 5000)),
    rate_law=st.one_of(st.none(), st.just(studies.RATE_LAW)),
    budgets=st.sampled_from([(), studies.budgets(), studies.budgets()[:1]]),
)


@settings(max_examples=60, deadline=None)
@given(analysis=analyses)
def test_whatever_an_analysis_holds_it_is_told_without_holes(analysis: Analysis):
    law = analysis.trade_off
    for record in (
        studies.study(analysis=analysis),
        studies.fit(
            analysis=analysis, law_holds=law is not None and law.is_consistent, reason=law.reason if law else ""
        ),
    ):
        for language in ("en", "zh"):
            chapter(record, Translator(language))
            assert not re.search(r"\{[a-z_]+\}|\bNone\b|\bnan\b", summary(record, language))
