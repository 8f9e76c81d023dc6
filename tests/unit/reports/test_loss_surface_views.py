"""The chapters of the loss around some weights: what they say, and what their figures show."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

import sample_loss_surface as sample
from critbatch.errors import UserError
from critbatch.measure.critical_point import SUGGESTIONS
from critbatch.records.core import Estimate, NoiseScale, Record
from critbatch.records.io import file_part, file_stem, load_records, save_record
from critbatch.records.loss_surface import Eigenvalue, PointType
from critbatch.reports.charts.loss_surface import sharpness_and_rise
from critbatch.reports.charts.noise import noise_by_layer
from critbatch.reports.translator import Translator, catalog
from critbatch.reports.views.chapters import figure, summary
from critbatch.reports.write import report as write_report
from html_page import written

EN, ZH = Translator("en"), Translator("zh")


@pytest.mark.parametrize("record", sample.hostile().values(), ids=list(sample.hostile()))
def test_nothing_in_a_record_of_the_loss_becomes_a_part_of_the_page(tmp_path: Path, record: Record):
    page = written(tmp_path, record)
    assert {"b", "script"} & {tag for tag, _ in page.elements} <= {"script", "b"}
    assert not any("alert" in text for attributes, text in page.scripts if not attributes.get("type"))
    assert sample.sample.HOSTILE in page.words
    texts = [text for attributes, text in page.scripts if attributes.get("type") == "application/json"]
    assert not any("<" in text or "&" in text for text in texts)
    assert "<" not in json.dumps(page.figures, ensure_ascii=False).replace("<br>", "")


def test_an_eigenvalue_lies_within_the_error_that_is_written():
    for value, residual in ((12.34561, 1e-9), (-3.2e-5, 1e-3), (1234567.0, 0.4), (0.0, 0.0), (7.0, 0.0123)):
        eigenvalue = Eigenvalue(value=value, residual=residual, converged=True)
        told, error = (float(part.replace(",", "")) for part in EN.eigenvalue(eigenvalue).split(" ± "))
        assert told - error <= value - residual + 1e-12 * abs(value)
        assert told + error >= value + residual - 1e-12 * abs(value)
    assert EN.eigenvalue(replace(eigenvalue, converged=False)).endswith("not converged")
    unplaced = replace(eigenvalue, converged=False, placed=False)
    assert EN.eigenvalue(unplaced).endswith("others may lie beyond it")
    assert EN.within(unplaced).endswith("others may lie beyond it")


@pytest.mark.parametrize(
    ("value", "residual", "key"),
    [(-0.8, 0.01, "curvature_down"), (0.8, 0.01, "curvature_up"), (-0.005, 0.01, "curvature_open")],
)
def test_a_sign_is_said_only_beyond_the_error(value: float, residual: float, key: str):
    end = Eigenvalue(value=value, residual=residual, converged=True)
    told = summary(replace(sample.curvature(), smallest=(end,)))
    assert EN(key, smallest=EN.eigenvalue(end)) in told


def test_the_density_is_logarithmic_and_marks_the_ends_with_their_errors():
    drawn = figure(sample.curvature())
    assert drawn.layout.yaxis.type == "log"
    largest = next(trace for trace in drawn.data if trace.name == EN("legend_largest_eigenvalues"))
    assert list(largest.x) == [each.value for each in sample.curvature().largest]
    assert list(largest.error_x.array) == pytest.approx([each.residual for each in sample.curvature().largest])


def test_without_a_density_the_eigenvalues_stand_alone():
    drawn = figure(replace(sample.curvature(), density=None))
    assert drawn.layout.yaxis.title.text == EN("axis_eigenvalue")
    assert [len(trace.y) for trace in drawn.data] == [4, 1]


def test_the_sharpest_and_the_flattest_are_named_and_a_measure_that_disagrees_is_counted():
    told = summary(sample.sharpness())
    assert f"{sample.LARGE.label} is the sharpest" in told
    assert f"The flattest is {sample.SMALL.label}" in told
    # The two adaptive boxes of the sample turn the order round.
    assert "Of 8 measures, 2 rank another solution as the sharpest." in told


def test_a_line_shows_loss_over_metric_training_solid_and_validation_dashed():
    drawn = figure(sample.line())
    assert [trace.line.dash for trace in drawn.data] == ["solid", "dash", "solid", "dash"]
    assert drawn.layout.yaxis.type == "log"
    assert drawn.layout.yaxis.domain[0] > drawn.layout.yaxis2.domain[1]
    assert {shape.x0 for shape in drawn.layout.shapes} == {0, 1}


def test_a_barrier_is_one_only_above_the_higher_end():
    assert "rises to" in summary(sample.line())
    flat = replace(sample.line(), points=tuple(sample.place(i / 4 - 1, 0.0, 0.03 + i / 50) for i in range(13)))
    assert "never rises above" in summary(flat)


def test_losses_that_are_not_finite_are_gaps_and_are_counted(tmp_path: Path):
    record = sample.MISSING["plane with infinite corners"]
    (contour,) = [trace for trace in figure(record).data if trace.type == "contour"]
    gaps = sum(height is None for row in contour.z for height in row)
    assert gaps == 22
    page = written(tmp_path, record)
    assert EN("landscape_left_out", n=gaps) in page.words
    assert EN.reason("not_finite") in page.words


def test_the_contours_are_those_of_the_logarithm_of_the_loss():
    (contour,) = [trace for trace in figure(sample.plane()).data if trace.type == "contour"]
    at = {(point.alpha, point.beta): point.train_loss for point in sample.plane().points}
    for beta, row in zip(contour.y, contour.z, strict=True):
        assert [10**height for height in row] == pytest.approx([at[alpha, beta] for alpha in contour.x])


def test_negative_losses_have_a_straight_axis():
    assert figure(sample.MISSING["line of negative losses"]).layout.yaxis.type == "linear"


def test_sharpness_against_rise_has_one_mark_a_solution_with_the_interval_of_the_rise():
    shift = sample.shift()
    picture = sharpness_and_rise(shift, EN)
    assert picture is not None
    sharp = {each.solution.label: each.values[0].value.value for each in shift.sharpness}
    rises = {each.label: each.rise for each in shift.rises if each.shift == "validation"}
    assert len(picture.figure.data) == len(sharp)
    for trace in picture.figure.data:
        assert (trace.x[0], trace.y[0]) == (sharp[trace.name], rises[trace.name].value)
        assert trace.y[0] + trace.error_y.array[0] == pytest.approx(rises[trace.name].high)


@pytest.mark.parametrize("standing", list(PointType))
def test_every_standing_is_said_and_its_tries_are_sentences(standing: PointType):
    for t in (EN, ZH):
        told = summary(replace(sample.critical_point(standing), tries=SUGGESTIONS[standing]), t.language)
        assert told.startswith(t(f"critical_{standing}", task="digits-mlp"))
        assert all(t.reason(key) in told for key in SUGGESTIONS[standing])
    assert set(SUGGESTIONS[standing]) <= catalog("en").reasons


@pytest.mark.parametrize(
    "key", ["not_converged", "place_unknown", "curvature_within_error", "no_scale", "one_draw", "not_random", "exact"]
)
def test_every_reason_of_the_measurements_has_a_sentence(key: str):
    assert key in catalog("en").reasons


def test_small_batches_escape_more_only_where_the_intervals_are_apart():
    assert summary(sample.escape()).startswith("On digits-narrow, small batches escape more often")
    assert summary(sample.MISSING["intervals that overlap"]).startswith("It is undecided whether small")
    less = summary(sample.MISSING["small batches escape less"])
    assert less.startswith("On digits-narrow, small batches escape less")


def test_a_number_without_an_interval_says_why_or_that_none_is_needed(tmp_path: Path):
    assert EN.estimate(Estimate(value=2.0, n=1, reason="not_random"), EN.about) == "2 (no random sampling)"
    page = written(tmp_path, sample.MISSING["few solutions"])
    assert EN("cost_no_interval", reason=EN.reason("few_solutions")) in page.words


def test_noise_has_lines_of_its_other_metrics_and_bars_of_its_layers(tmp_path: Path):
    noise = sample.layered_noise()
    assert [trace.name for trace in figure(noise).data] == [
        EN("legend_noise_scale"),
        EN("legend_noise_in_metric"),
        EN("legend_noise_by_curvature"),
    ]
    picture = noise_by_layer(noise.points[-1].layers, "sequence", EN)
    assert picture is not None
    (bars,) = picture.figure.data
    assert list(bars.x) == pytest.approx([layer.scale.noise_scale for layer in noise.points[-1].layers[:-1]])
    page = written(tmp_path, noise)
    assert EN("method_noise_examples") in page.words
    assert EN("column_tokens") in page.words
    assert EN("method_noise_text") in page.words


@pytest.mark.parametrize(("task", "said"), [("mnist-mlp", True), ("fashion-mlp", False), ("digits-mlp", False)])
def test_the_published_noise_scale_of_mnist_stands_beside_mnist_alone(tmp_path: Path, task: str, said: bool):
    page = written(tmp_path, sample.sample.noise(task))
    assert (EN("method_noise_mnist") in page.words) is said


def test_a_layer_without_signal_has_no_bar():
    silent = NoiseScale(gradient_norm2=-1.0, covariance_trace=1.0)
    layer = replace(sample.layered_noise().points[-1].layers[0], scale=silent)
    assert math.isinf(silent.noise_scale)
    assert noise_by_layer([layer], "image", EN) is None


def test_records_of_the_loss_come_back_from_a_folder(tmp_path: Path):
    records = [record for name, record in sample.RECORDS.items() if not name.startswith("noise")]
    for record in records:
        save_record(record, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "curvature-sgd-B-64-lr-0.025-seed-0.json",
        "sharpness.json",
        "landscape-line.json",
        "landscape-plane.json",
        "shift.json",
        "critical-point-sgd-B-64-lr-0.025-seed-0.json",
        "escape.json",
    }
    assert sorted(record.to_json() for record in load_records(tmp_path)) == sorted(r.to_json() for r in records)


def test_any_label_makes_a_file_name_and_another_label_another_one():
    labels = ["../../etc/passwd", "a/b", "a b", "a:b", "", "...", "x" * 300, "x" * 301, "图" * 200, "CON\0", "-"]
    names = [file_part(label) for label in labels]
    assert len(set(names)) == len(labels)
    for name in names:
        assert name and not set(name) & set("/\\:\0<>| ") and not name.startswith((".", "-"))
        assert len(f"critical-point-{name}.json.part".encode()) < 255
    stem = file_stem(replace(sample.curvature(), solution=replace(sample.SMALL, label="../x")))
    assert stem.startswith("curvature-x-")


def test_a_record_that_no_chapter_is_made_of_names_those_that_are(tmp_path: Path):
    with pytest.raises(UserError, match=r"cannot be made of a Setup: give Advice, .* Speed or Study"):
        write_report([sample.SETUP], tmp_path / "report.html")
    with pytest.raises(UserError, match="cannot be made of a Setup"):
        summary(sample.SETUP)
