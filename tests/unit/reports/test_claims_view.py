"""The lecture's chapter: its verdicts, what they rest on, and what its pictures show."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import sample_claims as lectures
import sample_records as sample
from critbatch.claims.summary import judge_claims
from critbatch.claims.tables import PUBLISHED
from critbatch.records.claims import Claim, ClaimId, ClaimsReport, ClaimVerdict, Partition, Winner
from critbatch.records.core import Record
from critbatch.records.io import load_records, save_record
from critbatch.reports.charts.claims import recipes_picture, update_and_epoch
from critbatch.reports.charts.gd_paths import batches_of, partition_picture, paths_picture
from critbatch.reports.charts.theme import Picture
from critbatch.reports.derived.claims import STATEMENTS, deciding, effect_text, finding, statement_label
from critbatch.reports.model import Block, Cell, Table, Verdict
from critbatch.reports.translator import Translator, catalog
from critbatch.reports.views.chapters import chapter, figure, summary
from critbatch.reports.views.common import view_of
from critbatch.reports.write import report as write_report
from html_page import written

EN, ZH = Translator("en"), Translator("zh")
ALL: dict[str, Record] = {"lecture": lectures.lecture(), **lectures.MISSING}


def claim_of(lecture: ClaimsReport, name: ClaimId) -> Claim:
    return next(claim for claim in lecture.claims if claim.name is name)


def blocks_of(lecture: ClaimsReport, key: str, t: Translator = EN) -> tuple[Block, ...]:
    return next(section.blocks for section in chapter(lecture, t).sections if section.key == key)


def tables_of(lecture: ClaimsReport, key: str) -> dict[str, Table]:
    return {block.caption: block for block in blocks_of(lecture, key) if isinstance(block, Table)}


def pictures_of(lecture: ClaimsReport, t: Translator) -> Iterator[Picture]:
    for section in chapter(lecture, t).sections:
        for block in section.blocks:
            charts = block.charts if block.kind == "charts" else (block,) if block.kind == "chart" else ()
            yield from (chart.picture for chart in charts)


@pytest.mark.parametrize("record", ALL.values(), ids=list(ALL))
def test_both_languages_hold_the_same_sections_rows_badges_and_points(record: ClaimsReport):
    english, chinese = (chapter(record, t) for t in (EN, ZH))
    shapes = []
    for told in (english, chinese):
        tables = [block for section in told.sections for block in section.blocks if isinstance(block, Table)]
        badges = [[cell.badge for row in table.rows for cell in row] for table in tables]
        kinds = [(section.key, [block.kind for block in section.blocks]) for section in told.sections]
        shapes.append((kinds, badges, [len(table.rows) for table in tables], len(told.tiles)))
    assert shapes[0] == shapes[1]
    points = [repr([[(trace.x, trace.y) for trace in p.figure.data] for p in pictures_of(record, t)]) for t in (EN, ZH)]
    assert points[0] == points[1]


def test_nothing_in_a_lecture_becomes_a_part_of_the_page(tmp_path: Path):
    page = written(tmp_path, lectures.hostile())
    assert not any("alert" in text for attributes, text in page.scripts if not attributes.get("type"))
    assert sample.HOSTILE in page.words
    texts = [text for attributes, text in page.scripts if attributes.get("type") == "application/json"]
    assert not any("<" in text or "&" in text for text in texts)
    assert "<" not in json.dumps(page.figures, ensure_ascii=False).replace("<br>", "")
    assert {"b", "script"} & {tag for tag, _ in page.elements} <= {"script", "b"}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_terminal_has_a_line_for_each_claim_with_sign_number_and_finding(language: str):
    t = Translator(language)
    record = lectures.lecture()
    told = summary(record, language).splitlines()
    assert told[0].startswith(t("claims_headline", n=10, task="digits-mlp", held=6, not_held=2, undecided=2))
    rows = [line for line in told if re.match(r"[✓✗?] \d+\. ", line)]
    assert rows == [row for row in view_of(record).lines(record, t) if row]
    assert [int(row.split()[1][:-1]) for row in rows] == list(range(1, 11))
    signs = {ClaimVerdict.HELD: "✓", ClaimVerdict.NOT_HELD: "✗", ClaimVerdict.UNDECIDED: "?"}
    for row, claim in zip(rows, record.claims, strict=True):
        assert row[0] == signs[claim.holds]
        assert t(f"holds_{claim.holds}") in row
        assert finding(record, claim, t) in row


def test_the_first_table_has_every_claim_with_its_badge_and_leads_to_its_section(tmp_path: Path):
    record = lectures.lecture()
    (table,) = tables_of(record, "lecture").values()
    assert [row[1].badge for row in table.rows] == [str(claim.holds) for claim in record.claims]
    keys = [section.key for section in chapter(record, EN).sections]
    assert [row[0].target for row in table.rows] == keys[1:11]
    page = written(tmp_path, record)
    assert {f"#en-1-{key}" for key in keys[1:11]} <= set(page.all("href"))
    badges = [
        attributes["class"] for _, attributes in page.elements if attributes.get("class", "").startswith("badge ")
    ]
    assert {each.split()[1] for each in badges} == {"held", "not_held", "undecided"}


def test_a_verdict_is_told_by_the_statement_that_decided_it():
    record = lectures.lecture()
    worse = deciding(claim_of(record, ClaimId.OPTIMIZATION))
    assert worse is not None
    assert (worse.key, worse.holds) == ("train_worse_tuned", ClaimVerdict.UNDECIDED)
    quicker = deciding(claim_of(record, ClaimId.TIME))
    assert quicker is not None
    assert quicker.key == "shorter_epoch"
    assert quicker.effect is not None
    told = finding(record, claim_of(record, ClaimId.TIME), EN)
    assert "160 × (95 % interval 150 to 170 ×, n = 40)" in told
    assert EN.reason("lecture_wide") in finding(record, claim_of(record, ClaimId.OPTIMIZATION), EN)


def test_the_claim_on_minima_tells_sharpness_and_what_the_minima_suffer_and_that_not_everyone_believes_it():
    record = lectures.lecture()
    claim = claim_of(record, ClaimId.MINIMA)
    told = finding(record, claim, EN)
    by_key = {each.key: effect_text(record, each, EN) for each in claim.statements}
    assert by_key["sharper"] in told and by_key["suffers_validation"] in told
    texts = [block.text for block in blocks_of(record, "claim-minima") if block.kind == "literature"]
    assert len(texts) == 1
    assert texts[0].startswith("Not everyone believes this.")
    (rests,) = [table for c, table in tables_of(record, "claim-minima").items() if c == EN("claims_statements")]
    assert [row[1].text for row in rests.rows][2] == "0.71 ×"  # the measure that speaks against it


def test_a_recipe_that_has_both_is_told_with_its_steps_and_its_accuracy():
    record = lectures.lecture()
    claim = claim_of(record, ClaimId.BOTH)
    told = finding(record, claim, EN)
    assert "11 × (95 % interval 8.8 to 14 ×, n = 5)" in told
    assert "-0.04 points (95 % interval -0.3 to +0.2 points, n = 5)" in told


def test_differences_have_their_sign_and_those_of_shares_are_in_hundredths():
    record = lectures.lecture()
    (escaped, *_) = claim_of(record, ClaimId.NOISE).statements
    assert effect_text(record, escaped, EN) == "+64 points (95 % interval +47 to +76 points, n = 50)"
    (network, *_) = claim_of(record, ClaimId.GENERALIZATION).statements
    assert effect_text(record, network, ZH).startswith("+0.42 个百分点（95 % 区间 +0.11 至 +0.73 个百分点")


def test_what_was_not_measured_is_a_sentence_and_why_it_was_not():
    record = lectures.partial()
    for name in set(ClaimId) - {ClaimId.BATCHES, ClaimId.TIME}:
        blocks = blocks_of(record, f"claim-{name}")
        (verdict,) = [block for block in blocks if isinstance(block, Verdict)]
        assert (verdict.holds, verdict.text) == ("undecided", EN.reason("lecture_not_asked"))
        assert not [block for block in blocks if block.kind in ("chart", "charts", "table")]
    told = summary(record)
    assert EN.reason("lecture_one_seed") in told
    assert EN.reason("lecture_no_time") in told


def test_why_statements_are_undecided_is_said_once_each_below_them():
    record = lectures.lecture()
    (why,) = [block for block in blocks_of(record, "claim-minima") if block.kind == "bullets"]
    assert why.items == (EN.reason("lecture_wide"),)
    assert EN.reason("lecture_not_stuck") in [
        item for block in blocks_of(record, "claim-noise") if block.kind == "bullets" for item in block.items
    ]


def test_each_cell_of_the_partition_names_the_batch_that_holds_the_example():
    for partition in lectures.lecture().partitions:
        picture = partition_picture(partition, EN)
        assert picture is not None
        (cells,) = picture.figure.data
        assert len(cells.x) == 60
        for example, epoch, batch in zip(cells.x, cells.y, cells.z, strict=True):
            order = partition.epochs[epoch - 1]
            if math.isnan(batch):
                assert example - 1 not in order
            else:
                assert example - 1 in order[4 * (batch - 1) : 4 * batch]


def test_an_example_that_was_drawn_into_two_batches_names_both_where_it_is_pointed_at():
    partition = Partition(order="with_replacement", batch_size=2, epochs=((0, 1, 0, 3),))
    assert batches_of(partition.epochs[0], 0, 2) == [1, 2]
    picture = partition_picture(partition, EN)
    assert picture is not None
    (cells,) = picture.figure.data
    assert list(cells.text) == ["1+", "1", "", "2"]
    assert cells.hovertext[0] == "epoch 1, example 1: batch 1, 2"


def test_the_paths_begin_at_one_place_and_have_a_point_for_each_update():
    paths = lectures.paths()
    picture = paths_picture(paths, EN)
    assert picture is not None
    contour, *ways, start = picture.figure.data
    assert contour.type == "contour"
    assert [len(way.x) for way in ways] == [21, 2]
    assert {(way.x[0], way.y[0]) for way in ways} == {(start.x[0], start.y[0])} == {(0.5, 1.5)}
    assert picture.title == "One epoch: 1 steady step with batch size 20, 20 unsteady steps with 1"


@pytest.mark.parametrize("log", [False, True])
def test_one_thread_stands_beside_all_threads_on_the_lectures_axes_and_on_logarithmic_ones(log: bool):
    speeds = lectures.lecture().speeds
    both = update_and_epoch(speeds, EN, log=log)
    assert both is not None
    for picture, per_epoch in zip(both, (False, True), strict=True):
        assert [trace.name for trace in picture.figure.data] == ["1 thread", "2 threads"]
        assert picture.figure.layout.xaxis.type == picture.figure.layout.yaxis.type == ("log" if log else "linear")
        for speed, trace in zip(speeds, picture.figure.data, strict=True):
            seconds = {point.batch_size: point.step_seconds for point in speed.fitting}
            for size, value in zip(trace.x, trace.y, strict=True):
                step = seconds[int(size)]
                assert step is not None
                assert value == pytest.approx(step.value * (speed.examples / size if per_epoch else 1))


def test_the_linear_axis_begins_at_zero_and_its_ticks_wear_units():
    both = update_and_epoch(lectures.lecture().speeds, EN, log=False)
    assert both is not None
    axis = both[0].figure.layout.yaxis
    assert axis.tickvals[0] == 0
    assert axis.ticktext[1] == EN.seconds(axis.tickvals[1]) == "200 µs"


def test_keskars_table_holds_both_rows_of_a_network_ours_and_the_papers():
    tables = tables_of(lectures.lecture(), "claim-generalization")
    rows = {row[0].text: row for row in tables[EN("claims_networks_caption")].rows}
    assert list(rows) == ["F1", "F1 in the paper", "C1", "C1 in the paper"]
    assert [cell.text for cell in rows["C1 in the paper"][1:5]] == [
        "0.9989 ± 0.0002",
        "0.9966 ± 0.002",
        "0.8004 ± 0.0012",
        "0.7726 ± 0.0042",
    ]
    assert rows["F1"][5].text == "+0.0042"


def test_keskars_sharpness_is_told_for_each_epsilon_beside_the_papers():
    rows = tables_of(lectures.lecture(), "claim-minima")[EN("claims_sharpness_caption")].rows
    told = [[cell.text for cell in row] for row in rows]
    assert told[1] == ["F1 in the paper", "0.001", "1.23 ± 0.83", "205.1 ± 70", "170 ×"]
    assert [row[1] for row in told] == ["0.001", "0.001", "0.0005", "0.0005"]
    # Of the sample the sharpness of the large batch is that of the small one times 2.5 in each box.
    assert told[0][4] == told[2][4] == "2.5 ×"


def test_the_published_numbers_are_those_of_the_paper():
    assert set(PUBLISHED) == {"F1", "F2", "C1", "C2", "C3", "C4"}
    gaps = {name: round(100 * (each.test_small.mean - each.test_large.mean), 2) for name, each in PUBLISHED.items()}
    assert gaps == {"F1": 0.22, "F2": 4.57, "C1": 2.78, "C2": 1.98, "C3": 3.13, "C4": 5.27}
    assert PUBLISHED["C3"].sharpness[5e-4][1].mean == 105.11
    for each in PUBLISHED.values():
        assert each.sharpness[1e-3][0].mean < each.sharpness[1e-3][1].mean


def test_the_summary_table_marks_winners_says_ties_and_tells_the_lectures_entry():
    record = lectures.lecture()
    rows = {row[0].text: row for row in tables_of(record, "claim-summary")[EN("claims_summary_caption")].rows}
    epoch = rows[EN("claims_row_epoch")]
    assert (epoch[1].marks, epoch[2].marks) == ((), (EN("mark_wins"),))
    assert epoch[1].text == "7.7 ms" and "n = 40" in epoch[1].note
    tie = rows[EN("claims_row_optimization")]
    assert tie[1].marks == tie[2].marks == (EN("mark_even"),)
    assert (tie[3].text, tie[4].badge) == (EN("claims_entry_optimization"), "not_held")
    assert finding(record, claim_of(record, ClaimId.SUMMARY), EN).startswith("In 4 of 6 rows")


def test_a_row_of_the_summary_that_was_not_measured_stays_and_is_open():
    first, second, *_ = lectures.summary_rows()
    record = lectures.lecture(summary=(first, replace(second, large=None, better=Winner.OPEN)))
    rows = tables_of(record, "claim-summary")[EN("claims_summary_caption")].rows
    assert len(rows) == 6
    assert [row[4].badge for row in rows] == ["held", *["undecided"] * 5]
    assert rows[1][2] == rows[5][1] == Cell("–")


def test_recipes_stand_beside_the_small_batch_which_is_the_star():
    record = lectures.lecture()
    picture = recipes_picture(record.recipes, record.small_batch_size, "accuracy", EN)
    assert picture is not None
    marks = {trace.name: (trace.marker.symbol, trace.x[0], trace.y[0]) for trace in picture.figure.data}
    assert marks["sgd, batch size 16"] == ("star", 2000, 0.972)
    assert marks["lars2017, batch size 1,437"] == ("circle", 182, 0.9716)
    assert marks["sgd, batch size 1,437, rate of the small batch"][0] == "circle-open"
    assert not any("swap2020" in name for name in marks)  # it never came to the target
    rows = tables_of(record, "claim-both")[EN("claims_recipes_caption")].rows
    assert (rows[-1][2].text, rows[-1][3].text) == ("0 of 3", "–")
    assert [bool(row[0].marks) for row in rows] == [True, False, False, False, False]


def test_the_overview_draws_the_effects_that_decide_claims_in_the_colour_and_mark_of_their_verdict():
    record = lectures.lecture()
    drawn = figure(record)
    marks = sum(len(trace.x) for trace in drawn.data)
    deciders = [s for claim in record.claims for s in claim.statements if s.main and s.effect and s.effect.low]
    assert marks == len(deciders)
    assert {trace.name: trace.marker.symbol for trace in drawn.data} == {
        "held": "circle",
        "not held": "x-thin",
        "undecided": "diamond-open",
    }
    assert [text[0] for text in drawn.layout.yaxis.ticktext] == list("✓✓✓?✓?✗✗✓✓")
    assert {(shape.xref, shape.x0) for shape in drawn.layout.shapes} == {("x", 1), ("x2", 0)}


def test_a_lecture_without_a_number_has_no_figure():
    with pytest.raises(TypeError, match="This ClaimsReport has nothing to draw"):
        figure(replace(lectures.partial(), claims=()))


def test_every_statement_that_is_judged_has_its_sentences():
    record = lectures.lecture()
    assert record.paths is not None
    judged = judge_claims(
        task=record.task,
        small=record.small_batch_size,
        partitions=record.partitions,
        orders=record.orders,
        paths=record.paths,
        speeds=record.speeds,
        study=record.study,
        escapes=record.escapes,
        networks=record.networks,
        sharpness=record.sharpness,
        shifts=record.shifts,
        summary=record.summary,
        advice=record.advice,
        recipes=record.recipes,
    )
    statements = [statement for claim in judged for statement in claim.statements]
    assert len({statement.key for statement in statements}) > 20
    assert {statement.key for statement in statements} <= set(STATEMENTS)
    assert {f"{kind}_{key}" for kind in ("statement", "finding") for key in STATEMENTS} <= set(catalog("en").messages)
    assert {statement.reason for statement in statements} - {""} <= catalog("en").reasons


def test_a_statement_of_a_later_version_is_told_by_its_key():
    record = lectures.lecture()
    later = replace(claim_of(record, ClaimId.PATHS).statements[0], key="from_a_later_version")
    assert statement_label(record, later, EN) == "from_a_later_version"
    told = finding(record, Claim(name=ClaimId.PATHS, holds=ClaimVerdict.HELD, statements=(later,)), EN)
    assert told == "from_a_later_version: +41 points (95 % interval +35 to +47 points, n = 20)"


def test_a_lecture_in_a_folder_is_one_chapter_with_its_parts(tmp_path: Path):
    record = lectures.lecture()
    assert record.advice is not None
    for each in (record, record.advice, record.escapes[0], record.speeds[0]):
        save_record(each, tmp_path)
    found = load_records(tmp_path)
    assert found[0].to_json() == record.to_json()
    path = write_report(found, tmp_path / "report.html")
    assert path.read_text(encoding="utf-8").count("<article>") == 2
