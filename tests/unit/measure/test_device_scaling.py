"""`critbatch scale`: from the command line, as a call, between real processes, and in the report."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import critbatch
import sample_records as sample
import sample_scaling as sample_scale
from critbatch.cli.main import main
from critbatch.errors import UserError
from critbatch.law.allreduce import LINKS
from critbatch.law.published_clusters import FAMILIES
from critbatch.measure.allreduce import communication, joint_step
from critbatch.measure.device_scaling import BUCKET, FIRST_BUCKET, buckets_of, gradient_bytes
from critbatch.records.core import Advice, Estimate, Speed
from critbatch.records.io import load_records, save_record
from critbatch.records.scaling import Communication, Scale, StepMeasurement
from critbatch.reports.charts.scaling import efficiencies, parts_of_step, sync_times
from critbatch.reports.translator import Translator
from critbatch.reports.views.chapters import figure, summary
from critbatch.reports.views.scaling import SOURCES
from html_page import written
from processes import run
from tiny import tiny_task

EN, ZH = Translator("en"), Translator("zh")
TINY = tiny_task()


def known_advice() -> Advice:
    """An advice for the tiny task: 64 of its 96 examples fit."""
    points = tuple(sample.speed_point(size) for size in (1, 2, 4, 8, 16, 32, 64))
    speed = replace(sample.speed("tiny"), examples=96, points=points)
    best = replace(sample.advice().points[0], batch_size=64)
    return replace(sample.advice(), task="tiny", unit="point", examples=96, speed=speed, best=best)


TASK_FILE = """
import sys
sys.path.insert(0, {tests!r})
from tiny import tiny_task
task = tiny_task()
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(TASK_FILE.format(tests=str(Path(__file__).parents[2] / "fixtures")))
    return tmp_path


def command(*words: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["critbatch", "scale", "mine.py:task", *words])
    with pytest.raises(SystemExit) as end:
        main()
    assert isinstance(end.value.code, int)
    return end.value.code


def test_the_call_counts_gradients_and_keeps_every_constant_with_its_source() -> None:
    record = critbatch.scale(TINY, known_advice(), devices=[1, 2, 4], devices_per_node=2, price_per_device_hour=2.0)
    weights = 4 * 8 + 8 + 8 * 3 + 3
    assert record.constants.gradient_bytes == gradient_bytes(TINY) == 4 * weights
    assert (record.constants.buckets, record.constants.devices_per_node) == (1, 2)
    assert record.constants.within is not None
    assert (record.constants.between.name, record.constants.within.name) == ("ethernet-25", "nvlink-4")
    numbers = {
        "gradient_bytes",
        "buckets",
        "devices_per_node",
        "algorithm",
        "overlap",
        "joining_seconds",
        "delay_seconds",
        "pass_slowdown",
        "link_efficiency",
    }
    assert set(record.constants.sources) == numbers
    assert set(record.constants.sources.values()) <= set(SOURCES)
    assert record.law is not None and record.law.source == "advice"
    assert [point.devices for point in record.best] == [1, 2, 4]
    assert all(point.cost is not None for point in record.best)
    assert record.provenance.machine == known_advice().speed.provenance.machine
    assert Scale.from_json(record.to_json()) == record


def test_a_speed_alone_tells_throughput_and_a_given_law_makes_it_times() -> None:
    speed = known_advice().speed
    bare = critbatch.scale(TINY, speed, devices=[1, 2])
    assert (bare.best, bare.worth_until, bare.law) == ((), None, None)
    assert "scale_without_law" in bare.cautions
    assert bare.strong[0].batch_size == speed.largest_that_fits
    told = critbatch.scale(TINY, speed, devices=[1, 2], steps=(220.0, 130.0))
    assert told.law is not None and told.law.source == "given"
    assert told.best and all(point.seconds is not None for point in told.best)


def test_measured_steps_are_fitted_and_what_is_given_stays() -> None:
    advice = known_advice()
    step = StepMeasurement(
        devices=2, batch_size=64, step_seconds=Estimate(value=1e-3, n=9, reason="given"), source="given"
    )
    record = critbatch.scale(TINY, advice, devices=[1, 2], measurements=[step], batch_size=64)
    assert record.fit_miss == pytest.approx(0.0, abs=1e-3)
    alone, pair = record.strong
    assert pair.step_seconds == pytest.approx(1e-3, rel=1e-3)
    assert alone.step_interval is None and pair.step_interval is not None
    assert pair.step_interval.low is not None and pair.step_interval.high is not None
    assert pair.step_interval.low < pair.step_seconds < pair.step_interval.high
    assert record.constants.sources["joining_seconds"] == "source_fitted"
    fixed = critbatch.scale(TINY, advice, devices=[1, 2], measurements=[step], joining_seconds=0.0)
    assert fixed.constants.joining_seconds == 0.0
    assert fixed.constants.sources["joining_seconds"] == "source_given"


def test_measured_steps_of_several_passes_tell_those_of_one(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_record(known_advice().speed, here / "out")
    words = ["--measured", "2:64:0.004:8,4:64:0.002:8", "--micro-batch-size", "8", "--batch-size", "64"]
    assert command(*words, "--devices", "1..8", "--json", "--out", "out", monkeypatch=monkeypatch) == 0
    record = Scale.from_json(capsys.readouterr().out)
    assert [each.micro_batch_size for each in record.measurements] == [8, 8]
    assert [(point.passes, point.micro_batch_size) for point in record.strong] == [(8, 8), (4, 8), (2, 8), (1, 8)]
    assert record.strong[1].step_seconds == pytest.approx(0.004, rel=0.02)
    assert record.strong[2].step_seconds == pytest.approx(0.002, rel=0.02)
    # Passes of half a millisecond longer than timed, or a cost of each step: nearer to the first.
    assert record.strong[3].step_seconds == pytest.approx(0.001, rel=0.3)


def test_a_link_that_was_measured_is_used_where_it_belongs() -> None:
    found = sample_scale.communication()
    here = critbatch.scale(TINY, known_advice(), devices=[1, 2], communication=found).constants
    assert here.within is not None
    assert (here.devices_per_node, here.within.name, here.between.name) == (2, "measured-gloo", "ethernet-25")
    assert here.within.latency_seconds == found.latency_seconds.value
    apart = critbatch.scale(
        TINY, known_advice(), devices=[1, 2], communication=replace(found, one_node=False)
    ).constants
    assert (apart.devices_per_node, apart.within, apart.between.name) == (1, None, "measured-gloo")
    named = critbatch.scale(TINY, known_advice(), communication=found, node_link="pcie-3", link="1e-5,1e9").constants
    assert named.within is not None
    assert (named.within.name, named.between.name) == ("pcie-3", "own: 1e-5,1e9")


def test_gradients_go_in_the_buckets_that_torch_makes() -> None:
    assert [buckets_of(size) for size in (1, FIRST_BUCKET, FIRST_BUCKET + 1, FIRST_BUCKET + 2 * BUCKET)] == [1, 1, 2, 3]


def test_frozen_weights_have_no_gradient_to_sum() -> None:
    def half_frozen() -> nn.Module:
        model = TINY.model()
        next(iter(model.parameters())).requires_grad_(False)
        return model

    assert gradient_bytes(replace(TINY, model=half_frozen)) == 4 * (8 + 8 * 3 + 3)


def test_the_command_reads_the_advice_and_leaves_a_record_and_a_report(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_record(known_advice(), here / "out")
    words = ["--devices", "1..8", "--link", "infiniband-hdr", "--algorithm", "ring", "--price", "2", "--out", "out"]
    assert command(*words, monkeypatch=monkeypatch) == 0
    record = Scale.from_json((here / "out" / "scale.json").read_bytes())
    assert [point.devices for point in record.best] == [1, 2, 4, 8]
    assert (record.constants.between.name, record.constants.algorithm) == ("infiniband-hdr", "ring")
    told = capsys.readouterr().out
    assert EN("scale_law_advice") in told
    assert "report.html" in told
    assert record in load_records(here / "out")


def test_json_is_the_record_and_nothing_else(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_record(known_advice().speed, here / "out")
    words = ["--steps-law", "220,130", "--measured", "2:64:0.001", "--devices", "1,2", "--json", "--out", "out"]
    assert command(*words, monkeypatch=monkeypatch) == 0
    record = Scale.from_json(json.dumps(json.loads(capsys.readouterr().out)))
    assert record.law is not None and record.law.critical_batch_size.value == 130
    assert record.measurements[0].step_seconds.value == 0.001


def test_the_law_can_be_that_of_another_record(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_record(known_advice().speed, here / "out")
    path = save_record(known_advice(), here / "other")
    assert command("--steps-from", str(path), "--devices", "1,2", "--out", "out", monkeypatch=monkeypatch) == 0
    record = Scale.from_json((here / "out" / "scale.json").read_bytes())
    assert record.law is not None and record.law.min_steps == sample.LAW.min_steps


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--devices", "0"], "0 devices are not possible: use 1 to 4096"),
        (["--devices", "8..4"], "use a list, 1,10,100, or doublings"),
        (["--devices", "5000"], "--devices 5000 is not possible: use 4096 at most"),
        (["--link", "token-ring"], "is not known: use nvlink-1"),
        (["--node-link", "cable", "--devices-per-node", "8"], "The link 'cable' is not known"),
        (["--algorithm", "tree"], "use ring, halving_doubling, best"),
        (["--steps-law", "220"], "give S_MIN,B_CRIT such as 220,130"),
        (["--steps-law", "-1,5"], "make no law"),
        (["--steps-law", "220,130", "--steps-from", "x"], "give one of them"),
        (["--steps-from", "nowhere"], "There is no nowhere"),
        (["--measured", "2:64"], "such as 2:256:0.013"),
        (["--measured", "64:2:0.1"], "such as 2:256:0.013"),
        (["--measured", "2:64:inf"], "such as 2:256:0.013"),
        (["--measured", "2:64:0.1:0"], "DEVICES:BATCH_SIZE:SECONDS:MICRO_BATCH_SIZE"),
        (["--measured", "1:64:0.1"], "measure on two at least"),
        (["--micro-batch-size", "65"], "micro_batch_size=65 is not possible: use 1 to 64"),
        (["--batch-size", "1000"], "batch_size=1000 is not possible: use 1 to 96"),
        (["--share", "97"], "share=97 is not possible"),
        (["--price", "-2"], "use 0 or more"),
        (["--worth", "0.7"], "takes off at most half"),
        (["--overlap", "0.5"], "use 1 or more for the overlap"),
    ],
)
def test_wrong_words_are_answered_in_one_sentence(
    words: list[str], says: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_record(known_advice(), here / "out")
    assert command(*words, "--out", "out", monkeypatch=monkeypatch) == 2
    error = capsys.readouterr().err
    assert says in error
    assert "Traceback" not in error


def test_an_empty_folder_says_which_command_comes_first(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--out", "out", monkeypatch=monkeypatch) == 2
    assert "run `critbatch advise mine.py:task` first" in capsys.readouterr().err
    save_record(sample.advice(), here / "out")
    assert command("--out", "out", monkeypatch=monkeypatch) == 2
    assert "records of task 'digits-mlp', not of 'tiny'" in capsys.readouterr().err


def test_a_folder_gives_the_answer_of_the_record_in_it(tmp_path: Path) -> None:
    advice = known_advice()
    save_record(advice, tmp_path)
    of_record, of_folder = (
        critbatch.scale(TINY, known, devices=[1, 2], micro_batch_size=16, batch_size=64) for known in (advice, tmp_path)
    )
    assert [point.passes for point in of_folder.strong] == [4, 2]
    assert of_folder.strong == of_record.strong and of_folder.best == of_record.best


def test_one_process_alone_cannot_measure_a_link() -> None:
    with pytest.raises(UserError, match="start two or more with torchrun"):
        communication(device=torch.device("cpu"))


def test_a_step_of_one_process_is_timed_and_an_impossible_batch_is_refused() -> None:
    found = joint_step(TINY, 32, device=torch.device("cpu"), seconds=0.05)
    assert (found.devices, found.batch_size) == (1, 32)
    assert found.step_seconds.n >= 18
    low, high = found.step_seconds.low, found.step_seconds.high
    assert low is not None and high is not None and 0 < low <= high
    with pytest.raises(UserError, match="use 1 to 96"):
        joint_step(TINY, 97, device=torch.device("cpu"))


def test_two_processes_measure_their_link_and_their_step_and_the_next_call_uses_both(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_record(known_advice(), here)
    lines = """
from critbatch.cli.main import _run
words = ["--devices", "1,2,4", "--batch-size", "32", "--out", str(out)]
sys.argv = ["critbatch", "scale", f"{out / 'mine.py'}:task", *words]
assert _run() == 0
"""
    run(lines, here)
    record = Scale.from_json((here / "scale.json").read_bytes())
    found = record.communication
    assert found is not None
    assert (found.backend, found.processes, found.one_node) == ("gloo", 2, True)
    assert found.latency_seconds.n == found.bytes_per_second.n == 6
    assert 1e-7 < found.latency_seconds.value < 1.0
    assert 1e5 < found.bytes_per_second.value < 1e12
    times = [point.seconds.value for point in found.points]
    assert times[-1] > times[0]
    (step,) = record.measurements
    assert (step.devices, step.batch_size) == (2, 32)
    took = step.step_seconds
    assert took.low is not None and took.high is not None
    assert took.low * 0.98 <= record.strong[1].step_seconds <= took.high * 1.02
    assert command("--devices", "1,2", "--out", ".", monkeypatch=monkeypatch) == 0
    again = Scale.from_json((here / "scale.json").read_bytes())
    assert again.communication == found
    assert again.measurements == record.measurements
    assert again.constants.within is not None and again.constants.within.name == "measured-gloo"


def test_a_group_may_not_ask_for_payloads_that_are_no_floats(tmp_path: Path) -> None:
    lines = """
from critbatch.errors import UserError
from critbatch.measure.allreduce import communication
for payloads in ([4], [4, 6], [0, 8]):
    try:
        communication(payloads, device=torch.device("cpu"))
    except UserError as error:
        assert "multiples of 4" in str(error)
    else:
        raise AssertionError(payloads)
found = communication([4, 4096], device=torch.device("cpu"), rounds=2, seconds_per_visit=0.001)
if rank == 0:
    (out / "found.json").write_text(found.to_json())
"""
    run(lines, tmp_path)
    found = Communication.from_json((tmp_path / "found.json").read_bytes())
    assert [point.payload_bytes for point in found.points] == [4, 4096]
    assert found.latency_seconds.low is None
    assert found.latency_seconds.reason == "too_few_visits"


# The report.


def test_the_summary_says_up_to_where_it_is_worth_it() -> None:
    record = sample_scale.scale()
    assert record.worth_until is not None
    told = summary(record)
    at = next(point for point in record.best if point.devices == record.worth_until)
    assert at.seconds is not None
    first = min(point.devices for point in record.best)
    key = "scale_worth" if at.devices > first else "scale_not_worth"
    assert told.startswith(EN(key, task="digits-mlp", n=at.devices, worth="20 %"))
    assert EN.estimate(at.seconds, EN.seconds) in told
    assert EN.reason("no_overlap_assumed") in told


def test_without_a_law_the_summary_is_of_throughput() -> None:
    told = summary(sample_scale.scale(law=None))
    last = sample_scale.scale(law=None).weak[-1]
    assert f"{last.devices} devices process digits-mlp {EN.times(last.speed_up)} times as fast" in told


@pytest.mark.parametrize("t", [EN, ZH], ids=["en", "zh"])
def test_the_page_lists_every_constant_with_its_source(tmp_path: Path, t: Translator) -> None:
    record = sample_scale.measured()
    page = written(tmp_path, record, language=t.language)
    held = record.constants
    assert held.within is not None
    for link in (held.between, held.within):
        assert link.latency_source in page.words
        assert link.bandwidth_source in page.words
    for key, source in held.sources.items():
        assert t(source) in page.words, key
    assert f"{t.bytes(held.gradient_bytes)}" in page.words
    assert t("cluster_measured", n=2, backend="gloo", miss="4 %") in page.words
    assert t("cluster_fit", n=1, miss=t.percent(0.003)) in page.words


def test_the_headline_picture_has_the_ideal_line_and_marks_where_it_ends() -> None:
    record = sample_scale.scale()
    drawn = {trace.name: trace for trace in figure(record).data}
    ideal = drawn[EN("legend_ideal")]
    assert [y * x for x, y in zip(ideal.x, ideal.y, strict=True)] == pytest.approx([ideal.y[0]] * len(ideal.x))
    star = drawn[EN("label_worth", n=record.worth_until)]
    assert list(star.x) == [record.worth_until]


def test_the_parts_of_a_step_add_up_to_it() -> None:
    record = sample_scale.measured()
    picture = parts_of_step(record, EN)
    assert picture is not None
    sums = [sum(heights) for heights in zip(*(trace.y for trace in picture.figure.data), strict=True)]
    assert sums == pytest.approx([point.step_seconds for point in record.best])


def test_both_algorithms_are_drawn_and_efficiency_begins_at_one() -> None:
    record = sample_scale.scale()
    sums, shares = sync_times(record, EN), efficiencies(record, EN)
    assert sums is not None and shares is not None
    ring, halved = sums.figure.data
    assert list(ring.x) == list(halved.x) == [2, 4, 8, 16, 32, 64]
    assert all(around >= doubled for around, doubled in zip(ring.y[3:], halved.y[3:], strict=True))
    assert [trace.y[0] for trace in shares.figure.data] == pytest.approx([1.0, 1.0])


def test_nothing_in_a_record_becomes_a_part_of_the_page(tmp_path: Path) -> None:
    page = written(tmp_path, sample_scale.hostile())
    assert sample.HOSTILE in page.words
    assert not any("alert" in text for attributes, text in page.scripts if not attributes.get("type"))
    assert "<" not in json.dumps(page.figures, ensure_ascii=False).replace("<br>", "")


def test_every_number_of_a_point_is_finite() -> None:
    for points in (sample_scale.scale().best, sample_scale.scale().weak, sample_scale.scale().strong):
        for point in points:
            assert math.isfinite(point.step_seconds) and math.isfinite(point.efficiency)
            assert point.step_seconds >= point.compute_seconds
            assert point.communication_seconds >= -1e-12
            assert isinstance(known_advice().speed, Speed)


def test_the_tables_of_the_docs_are_those_of_the_record_and_of_this_version() -> None:
    root = Path(__file__).parents[3]
    sys.path.insert(0, str(root / "benchmarks"))
    try:
        import scale as benchmark
    finally:
        sys.path.pop(0)
    records = {
        name: json.loads((root / "benchmarks" / "results" / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("scale-published", "scale", "scale-before")
    }
    text = (root / "docs" / "scale.md").read_text(encoding="utf-8")
    families = records["scale-published"]["families"]
    for name, table in benchmark.tables(*records.values()).items():
        assert table in text, name
    for family, tables in FAMILIES.items():
        assert list(families[family]) == [table.name for table in tables]
        for table in tables[::8]:
            now, then = benchmark.published(table)["points"], families[family][table.name]["points"]
            assert [at["miss"] for at in now] == pytest.approx([at["miss"] for at in then], abs=0.003), table.name
    for link in LINKS.values():
        assert f"| `{link.name}` | {link.latency_seconds * 1e6:g} | {link.bytes_per_second / 1e9:.4g} |" in text
