from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from critbatch.errors import UserError
from critbatch.record_files import load_records, save_record
from critbatch.records import Advice, Record, Run, Speed
from sample_records import advice, speed


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
