from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import pytest

import sample_claims
import sample_loss_surface
from critbatch.errors import UserError
from critbatch.records.core import SCHEMA_VERSION, Advice, Record, Run, Speed
from critbatch.records.io import load_records, save_record
from critbatch.reports.write import report as write_report
from sample_records import advice, noise, run, speed


def test_records_of_a_folder_come_back_as_they_were_the_answer_first(tmp_path: Path) -> None:
    written: list[Record] = [speed(), advice(), *advice().runs[:2]]
    for record in written:
        save_record(record, tmp_path)
    found = load_records(tmp_path)
    assert isinstance(found[0], Advice) and isinstance(found[1], Speed)
    assert sorted(record.to_json() for record in found) == sorted(record.to_json() for record in written)


def test_one_file_is_enough(tmp_path: Path) -> None:
    path = save_record(speed(), tmp_path)
    assert load_records(path) == [speed()]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"task": 3}'])
def test_a_broken_record_is_one_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "speed.json").write_text(text)
    with pytest.raises(UserError, match="is not a Speed record of this version"):
        load_records(tmp_path)


def test_infinity_and_nan_survive_json() -> None:
    run = advice().runs[0]
    point = run.curve[0]
    odd = replace(point, train_loss=float("nan"), validation_loss=float("inf"))
    again = Run.from_json(replace(run, curve=(odd,)).to_json())
    assert again.curve[0].validation_loss == float("inf")
    assert again.curve[0].train_loss != again.curve[0].train_loss


def test_plot_gives_the_figure_of_a_record() -> None:
    import critbatch

    assert critbatch.__version__
    assert speed().plot().data


def test_a_name_of_broken_bytes_is_kept_with_question_marks(tmp_path: Path) -> None:
    broken = "o\udcff"  # as Python reads a word of the command line that is no UTF-8
    noisy = replace(noise(), task=broken, provenance=replace(noise().provenance, command=f"critbatch --out {broken}"))
    (record,) = load_records(save_record(noisy, tmp_path))
    assert (record.task, record.provenance.command) == ("o?", "critbatch --out o?")
    assert replace(record, task=noisy.task, provenance=noisy.provenance) == noisy


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "recursion limit exceeded"),
        ('{"task": 1}', "task: Input should be a valid string"),
        ("1" * 100_000, "the text: "),
        ("", "EOF while parsing"),
        ("\xff", "the text: "),
        ('{"version": 99}', "This is not a Noise record of this version of critbatch"),
    ],
)
def test_a_file_that_is_no_record_is_named_in_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "noise.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=r"^\S+noise\.json: This is not a Noise record .*write it again") as caught:
        load_records(tmp_path)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_recipe_cannot_lead_a_record_out_of_its_folder(tmp_path: Path) -> None:
    path = save_record(replace(run(64, 0.1), recipe="../../evil"), tmp_path / "here")
    assert path.parent == tmp_path / "here" and load_records(tmp_path / "here")


def test_records_whose_values_do_not_hold_together_are_refused_in_one_sentence(tmp_path: Path) -> None:
    record = sample_loss_surface.curvature()
    save_record(replace(record, density=replace(record.density, weights=record.density.weights[:-1])), tmp_path)
    with pytest.raises(UserError, match=r"^The records of \S+ do not hold together \(ValueError: .*\): write"):
        write_report(tmp_path)


@dataclass(frozen=True, kw_only=True)
class Part(Record):
    size: int


@dataclass(frozen=True, kw_only=True)
class Whole(Record):
    renamed_fields: ClassVar[dict[str, str]] = {"how_many": "count", "bit": "parts"}

    count: int
    parts: tuple[Part, ...] = ()
    by_size: dict[int, Part] = field(default_factory=dict)


def test_every_record_names_its_version() -> None:
    for text in (speed().to_json(), speed().to_json(indent=1)):
        assert next(iter(json.loads(text).items())) == ("schema_version", SCHEMA_VERSION)
        assert Speed.from_json(text) == speed() and vars(Speed.from_json(text)).keys() == vars(speed()).keys()


@pytest.mark.parametrize("indent", [None, 1])
def test_fields_that_are_not_known_are_kept_wherever_they_are(indent: int | None) -> None:
    plain = {
        "schema_version": SCHEMA_VERSION,
        "count": 2,
        "parts": [{"size": 1, "colour": {"red": [1, "Infinity"]}}, {"size": 2}],
        "by_size": {"3": {"size": 3, "名": None}},
        "later": [0.1],
    }
    record = Whole.from_json(json.dumps(plain))
    assert record == Whole(count=2, parts=(Part(size=1), Part(size=2)), by_size={3: Part(size=3)})
    assert json.loads(record.to_json(indent=indent)) == plain
    # Also as a part of a record that is made now.
    outer = Whole(count=1, parts=record.parts)
    assert json.loads(outer.to_json())["parts"] == plain["parts"]


def test_a_record_of_a_later_version_is_read_with_a_notice() -> None:
    text = json.dumps({"schema_version": SCHEMA_VERSION + 1, "size": 4, "later": 1})
    with pytest.warns(UserWarning, match="Part record was written by a later version of critbatch"):
        record = Part.from_json(text)
    assert record == Part(size=4) and json.loads(record.to_json())["later"] == 1


def test_a_field_is_read_by_the_name_that_it_had_before() -> None:
    old = '{"how_many": 3, "bit": [{"size": 1}]}'
    assert Whole.from_json(old) == Whole(count=3, parts=(Part(size=1),))
    assert Whole.from_json('{"how_many": 3, "count": 4}').count == 4


def test_numbers_that_no_record_has_are_refused_also_beside_unknown_fields() -> None:
    with pytest.raises(UserError, match="count: Field required"):
        Whole.from_json('{"size": 1}')


def test_a_file_of_claims_with_the_name_of_version_0_1_is_read_unless_there_is_a_newer_one(tmp_path: Path) -> None:
    former, now = sample_claims.lecture(), replace(sample_claims.lecture(), seeds=7)
    save_record(former, tmp_path).rename(tmp_path / "lecture.json")
    assert [record.to_json() for record in load_records(tmp_path)] == [former.to_json()]
    assert save_record(now, tmp_path).name == "claims.json"
    assert [record.to_json() for record in load_records(tmp_path)] == [now.to_json()]


def test_former_names_of_fields_are_read_wherever_a_record_occurs() -> None:
    record = sample_claims.lecture()
    former = record.to_json()
    for now, before in (("pruned", "stopped_early"), ("replicas", "members"), ("runs_left", "left")):
        former = former.replace(f'"{now}":', f'"{before}":')
    # The report's own `left` has always had this name.
    assert record.advice is not None and record.study is not None and former.count('"stopped_early":') > 10
    assert type(record).from_json(former).to_json() == record.to_json()


def test_a_field_is_found_by_its_former_name_with_a_warning() -> None:
    record = advice()
    with pytest.warns(DeprecationWarning, match=r"Advice\.within_ten_percent .*near_optimal_range"):
        assert record.within_ten_percent == record.near_optimal_range  # type: ignore[attr-defined]
    scale = noise().points[-1].scale
    with pytest.warns(DeprecationWarning, match=r"NoiseScale\.examples"):
        assert scale.examples == scale.noise_scale  # type: ignore[attr-defined]
    assert not hasattr(record, "no_such_field")
