"""What the figures of studies and fits show."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

import sample_records as sample
import sample_studies as studies
from critbatch.records.study import Fit, Regime, Study
from critbatch.reports.charts.advice import best_rates
from critbatch.reports.charts.study import steps_against_examples, three_budgets
from critbatch.reports.derived.study import StudyResults, findings
from critbatch.reports.translator import Translator
from critbatch.reports.views.chapters import figure, summary

EN = Translator("en")


def found(record: Study | Fit) -> StudyResults:
    told = findings(record)
    assert told is not None
    return told


def test_the_hero_shows_intervals_law_regimes_perfect_scaling_and_the_size_that_missed():
    drawn = figure(studies.study())
    traces = {trace.name: trace for trace in drawn.data}
    law = traces[EN("legend_law_holds")]
    for size, steps in zip(law.x, law.y, strict=True):
        assert steps == pytest.approx(sample.MIN_STEPS * (1 + sample.NOISE_EXAMPLES / size))
    perfect = traces[EN("legend_perfect_line")]
    assert perfect.x[0] * perfect.y[0] == pytest.approx(perfect.x[-1] * perfect.y[-1])
    assert [(list(each.x), list(each.y)) for name, each in traces.items() if name == EN("legend_bound")] == [
        ([studies.MISSED], [400.0])
    ]
    best = traces[EN("legend_steps_of_sizes")]
    first = studies.size_result(8).steps
    assert first is not None and first.high is not None
    assert best.y[0] + best.error_y.array[0] == pytest.approx(first.high)
    bands = [traces[EN(f"regime_{regime}")] for regime in Regime]
    assert [band.x[1] for band in bands[:-1]] == [band.x[0] for band in bands[1:]]
    assert bands[0].x[1] == pytest.approx(math.sqrt(32 * 64))
    assert bands[-1].x[1] == pytest.approx(math.sqrt(512 * 1024))


def test_the_curve_of_steps_against_examples_is_the_law():
    picture = steps_against_examples(found(studies.study()), EN)
    assert picture is not None
    law = next(trace for trace in picture.figure.data if trace.name == EN("legend_law_holds"))
    least = sample.MIN_STEPS * sample.NOISE_EXAMPLES
    for steps, examples in zip(law.x, law.y, strict=True):
        assert (steps / sample.MIN_STEPS - 1) * (examples / least - 1) == pytest.approx(1)


def test_rates_at_an_edge_are_open_and_the_rules_have_their_slopes():
    picture = best_rates(found(studies.study()), EN)
    assert picture is not None
    traces = {trace.name: trace for trace in picture.figure.data}
    assert list(traces[EN("legend_rate_at_edge")].x) == [8]
    assert 8 not in traces[EN("legend_best_rate")].x
    for key, power in (("legend_linear", 1.0), ("legend_square_root", 0.5)):
        rule = traces[EN(key)]
        assert math.log(rule.y[1] / rule.y[0]) / math.log(rule.x[1] / rule.x[0]) == pytest.approx(power)


def test_the_three_budgets_stand_side_by_side_and_below_each_other_where_it_is_narrow():
    picture = three_budgets(found(studies.study()), EN)
    assert picture is not None
    drawn = picture.figure.to_plotly_json()
    axes = [drawn["layout"][name] for name in ("xaxis", "xaxis2", "xaxis3")]
    assert all(left["domain"][1] < right["domain"][0] for left, right in pairwise(axes))
    narrow = drawn["layout"]["meta"]["narrow"]
    heights = [narrow[name]["domain"] for name in ("yaxis", "yaxis2", "yaxis3")]
    assert all(upper[0] > lower[1] for upper, lower in pairwise(heights))
    assert heights[-1][0] == pytest.approx(0, abs=1e-9)
    assert {(trace["name"], trace["line"]["dash"]) for trace in drawn["data"]} == {
        (EN(f"legend_{part}_{kind}", metric="accuracy"), "solid" if kind == "tuned" else "dash")
        for part in ("train", "validation")
        for kind in ("tuned", "fixed")
    }
    assert sum(trace["showlegend"] for trace in drawn["data"]) == 4
    heads = [note["text"] for note in drawn["layout"]["annotations"]]
    assert heads == ["Equal epochs: 8", "Equal steps: 320", "Equal training time: 310 ms"]


def test_a_study_without_a_target_draws_the_budgets():
    drawn = figure(studies.without_target())
    assert drawn.layout.title.text == EN("title_claim_epochs_only")
    told = summary(studies.without_target())
    assert EN.reason("censored_sizes") not in told
    assert EN.reason("generalization_not_measured") not in told


def test_a_fit_in_epochs_is_drawn_in_epochs():
    drawn = figure(studies.in_epochs())
    assert drawn.layout.yaxis.title.text == EN("axis_epochs_to_target")
    law = next(trace for trace in drawn.data if trace.name == EN("legend_law_holds"))
    assert law.y[-1] > law.y[0]
    assert steps_against_examples(found(studies.in_epochs()), EN) is None
