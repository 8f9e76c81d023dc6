"""What the figures show, and what they read off runs."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

import sample_records as sample
from critbatch.records.core import Estimate, Outcome, Record
from critbatch.reports.charts.advice import steps_to_target
from critbatch.reports.charts.runs import learning_curves
from critbatch.reports.derived.runs import at_epoch, scores_at_equal_epochs, soonest_settings, thin
from critbatch.reports.translator import Translator
from critbatch.reports.views.chapters import figure
from sample_gaps import RECORDS

EN = Translator("en")


def test_a_metric_between_two_evaluations_is_interpolated():
    run = sample.run(64, evaluations=2)
    start, end = run.curve
    half = at_epoch(run, end.epoch / 2)
    assert half == pytest.approx(
        ((start.train_metric + end.train_metric) / 2, (start.validation_metric + end.validation_metric) / 2)
    )
    assert at_epoch(run, 2 * end.epoch) is None


def test_sizes_are_compared_after_the_epochs_that_all_of_them_have_had():
    long, short = sample.run(16, evaluations=9), sample.run(256, evaluations=9)
    worse = sample.run(256, 0.01, evaluations=9)
    epoch, scores = scores_at_equal_epochs([long, short, worse])
    assert epoch == pytest.approx(min(long.epochs, max(short.epochs, worse.epochs)))
    assert [score.batch_size for score in scores] == [16, 256]
    assert scores[1].mean == max(pair[1] for run in (short, worse) if (pair := at_epoch(run, epoch)))


def test_a_setting_counts_when_most_of_its_seeds_reach_the_target():
    reached = [sample.run(64, 0.1, seed=0), sample.run(64, 0.1, seed=1)]
    failed = [sample.run(64, 0.1, seed=seed, outcome=Outcome.FINISHED) for seed in (2, 3)]
    assert soonest_settings([*reached, *failed]) == []
    (setting,) = soonest_settings([*reached, failed[0]])
    assert (setting.batch_size, len(setting.seconds)) == (64, 2)


def test_thinning_keeps_the_ends():
    assert thin(range(1000), 7) == [0, 166, 333, 500, 666, 832, 999]
    assert thin([1, 2], 7) == [1, 2]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_every_record_has_a_figure_with_axes_that_say_what_they_show(record: Record, language: str):
    drawn = figure(record, language).to_plotly_json()
    axes = [axis for name, axis in drawn["layout"].items() if re.fullmatch(r"[xy]axis\d*", name)]
    assert len(axes) >= 2 and all(axis["title"]["text"] for axis in axes)
    assert all("hovertext" in trace or trace["hoverinfo"] == "skip" for trace in drawn["data"])


def test_a_number_has_no_figure():
    with pytest.raises(TypeError, match="Estimate has nothing to draw"):
        figure(Estimate(value=1.0, n=1, reason="one_seed"))


def test_the_headline_picture_marks_the_best_the_current_and_the_largest_size():
    advice = sample.advice()
    drawn = figure(advice)
    stars = {
        trace.marker.symbol: trace.x[0] for trace in drawn.data if trace.marker.symbol in ("star", "diamond", "square")
    }
    assert advice.best and advice.current and advice.largest
    assert stars == {
        "star": advice.best.batch_size,
        "diamond": advice.current.batch_size,
        "square": advice.largest.batch_size,
    }
    (band,) = drawn.layout.shapes
    assert advice.near_optimal_range is not None
    assert (band.x0, band.x1) == advice.near_optimal_range
    curve = next(trace for trace in drawn.data if trace.name == "time to target")
    at_best = list(curve.x).index(advice.best.batch_size)
    assert curve.y[at_best] + curve.error_y.array[at_best] == pytest.approx(advice.best.seconds.high)


def test_the_speed_figure_shows_the_fit_the_knee_and_what_does_not_fit():
    drawn = figure(sample.speed())
    names = [trace.name for trace in drawn.data]
    lost = [trace for trace in drawn.data if trace.name == EN("legend_does_not_fit")]
    assert names.count(EN("legend_fit")) == 2
    assert [list(trace.x) for trace in lost] == [[4096.0], [4096.0]]
    assert any("knee" in note.text for note in drawn.layout.annotations)


def test_the_law_in_the_figure_needs_twice_the_least_steps_at_the_noise_scale():
    picture = steps_to_target((), sample.advice().points, sample.LAW, "image", EN)
    assert picture is not None
    law = next(trace for trace in picture.figure.data if trace.name == EN("legend_law"))
    for size, steps in zip(law.x, law.y, strict=True):
        assert steps == pytest.approx(sample.MIN_STEPS * (1 + sample.NOISE_EXAMPLES / size))


def test_runs_that_missed_the_target_or_diverged_have_marks_of_their_own():
    picture = steps_to_target(sample.runs(), (), None, "image", EN)
    assert picture is not None
    assert {trace.name: trace.marker.symbol for trace in picture.figure.data} == {
        "reached the target": "circle",
        "target not reached": "triangle-up-open",
        "diverged": "x-thin",
    }


def test_runs_by_several_recipes_have_a_colour_each_and_are_not_compared_at_equal_epochs() -> None:
    runs = [sample.run(64), sample.run(256), replace(sample.run(64), recipe="lars2017")]
    drawn = learning_curves(runs, EN)
    assert drawn is not None
    names = {trace.name: trace.line.color for trace in drawn.figure.data}
    assert set(names) == {"sgd, batch size 64", "lars2017, batch size 64", "sgd, batch size 256"}
    assert len(set(names.values())) == 3
    _, scores = scores_at_equal_epochs(runs)
    assert [len(score.validation) for score in scores] == [1, 1]
