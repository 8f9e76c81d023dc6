"""The table of a study's runs, and its record read from the store alone."""

import csv
import json
import math
import subprocess
import sys
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import optuna
import pytest

import critbatch
from critbatch.errors import UserError
from critbatch.records.core import Outcome, Run
from critbatch.records.io import save_record
from critbatch.records.study import Study
from critbatch.reports.write import report as write_report
from critbatch.studies.export import curve_rows, run_rows
from critbatch.studies.optuna_export import ExportedRun
from critbatch.studies.store import Store
from critbatch.studies.stored import stored_studies
from critbatch.studies.sweep import sweep
from stored_runs import run_of
from tiny import tiny_task
from unit.studies.test_store import KEY, TERMS

small = partial(sweep, batch_sizes=(16, 96), learning_rates=(0.03, 0.3), epochs=2, compile=False)
OTHER = replace(KEY, seed=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A study with an option that is varied, kept as `critbatch sweep` keeps it."""
    out = tmp_path_factory.mktemp("study")
    study = small(
        tiny_task(), out=out, seeds=(0, 1), option_grid={"momentum": (0.0, 0.9)}, command="critbatch sweep tiny"
    )
    save_record(study, out)
    return out


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_row_has_all_that_a_run_has_beside_its_curve(folder):
    path = critbatch.export(folder)
    assert path == folder / "runs.csv"
    (study,) = stored_studies(folder / "runs.sqlite")
    rows = {row["run"]: row for row in table(path)}
    assert len(rows) == len(study.runs) == 16
    inside = {"target", "crossing", "curve", "noise", "replicas", "options"}
    for name in {field.name for field in fields(Run)} - inside:
        told = [getattr(run, name) for run in study.runs]
        assert sorted(row[name] for row in rows.values()) == sorted("" if v is None else str(v) for v in told), name
    assert sorted(row["option_momentum"] for row in rows.values()) == ["0.0"] * 8 + ["0.9"] * 8
    reached = [row for row in rows.values() if row["outcome"] == "reached"]
    assert reached and all(float(row["crossing_step"]) == float(row["score"]) < math.inf for row in reached)
    assert all(row["score"] == "inf" for row in rows.values() if row["outcome"] == "finished")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", " =", "－"])
def test_text_that_a_spreadsheet_would_run_is_text_in_the_csv_and_numbers_stay_numbers(tmp_path, start):
    evil = f"{start}HYPERLINK(1)"
    run = replace(run_of(KEY), task=evil, recipe=evil, options={"a": evil, "b": -0.5, "c": "-0.5", "d": (-1.0, 2.0)})
    save_record(run, tmp_path)
    for curves in (False, True):
        for row in table(critbatch.export(tmp_path, out=tmp_path / "table.csv", curves=curves)):
            assert row["task"] == row["recipe"] == f"'{evil}"
    (row,) = table(critbatch.export(tmp_path))
    assert (row["option_a"], row["option_b"], row["option_c"], row["option_d"]) == (
        f"'{evil}",
        "-0.5",
        "-0.5",
        "'-1.0 2.0",
    )
    assert json.loads(critbatch.export(tmp_path, format="jsonl").read_text(encoding="utf-8"))["task"] == evil


def test_curves_have_a_row_an_evaluation_that_names_its_run(folder):
    path = critbatch.export(folder, curves=True)
    (study,) = stored_studies(folder / "runs.sqlite")
    rows, runs = table(path), {row["run"]: row for row in table(critbatch.export(folder))}
    assert len(rows) == sum(len(run.curve) for run in study.runs)
    for name, run in runs.items():
        mine = [row for row in rows if row["run"] == name]
        assert len(mine) == int(run["evaluations"])
        assert mine[-1]["validation_loss"] == run["last_validation_loss"] and mine[-1]["step"] == run["steps"]


def test_the_record_of_a_study_gives_the_rows_that_its_store_gives(folder):
    from_store, from_record = table(critbatch.export(folder)), table(critbatch.export(folder / "study-sgd.json"))
    for rows in (from_store, from_record):
        for row in rows:
            del row["study"], row["stage"]
        rows.sort(key=lambda row: row["run"])
    assert from_store == from_record
    (study,) = stored_studies(folder / "runs.sqlite")
    assert table(critbatch.export(study, out=folder / "again.csv"))[0]["run"] in {row["run"] for row in from_store}


def test_json_lines_are_json_also_where_numbers_are_not_finite(folder):
    lines = critbatch.export(folder, format="jsonl").read_text().splitlines()

    def refuse(word: str) -> None:
        raise AssertionError(word)

    rows = [json.loads(line, parse_constant=refuse) for line in lines]
    assert len(rows) == 16 and any(row["score"] is None for row in rows)
    assert {type(row["pruned"]) for row in rows} == {bool}


def test_parquet_has_the_types_of_the_values_and_the_rows_of_the_csv(folder, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("critbatch.studies.export.ROWS_AT_A_TIME", 7)
    found = parquet.read_table(critbatch.export(folder, out=folder / "here" / "runs.parquet"))
    assert found.num_rows == 16 and str(found.schema.field("diverged_at").type) == "int64"
    assert [str(value) for value in found["run"].to_pylist()] == [row["run"] for row in table(critbatch.export(folder))]
    curves = parquet.read_table(critbatch.export(folder, curves=True, format="parquet"))
    assert curves.num_rows == len(table(critbatch.export(folder, curves=True)))


def test_options_of_several_types_become_text_in_parquet(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    values = enumerate((1, "x", None, (1, 2)))
    runs = [replace(run_of(KEY), options={"a": value, "b": 1 + n / 2}) for n, value in values]
    study = replace(small(tiny_task(), out=tmp_path, seeds=(0,)), runs=tuple(runs))
    found = parquet.read_table(critbatch.export(study, out=tmp_path / "runs.parquet"))
    assert found["option_a"].to_pylist() == ["1", "x", None, "1 2"]
    assert found["option_b"].to_pylist() == [1.0, 1.5, 2.0, 2.5]


def test_without_pyarrow_a_sentence_names_the_extra_and_nothing_is_left(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"pip install 'critbatch\[parquet\]', or use csv or jsonl"):
        critbatch.export(folder, out=tmp_path / "runs.parquet")
    assert list(tmp_path.iterdir()) == []


def optuna_studies(path: Path) -> list[optuna.Study]:
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
    return [optuna.load_study(study_name=name, storage=storage) for name in optuna.get_all_study_names(storage)]


def test_a_study_of_optuna_has_a_trial_a_run_with_names_units_curves_and_no_infinite_value(folder):
    path = critbatch.export(folder, format="optuna")
    assert path == folder / "optuna.sqlite"
    (ours,), (study,) = stored_studies(folder / "runs.sqlite"), optuna_studies(path)
    assert study.metric_names == ["optimizer steps to validation metric 0.7"]
    assert len(study.trials) == len(ours.runs) == 16
    runs = {(run.batch_size, run.learning_rate, run.seed, run.options["momentum"]): run for run in ours.runs}
    for trial in study.trials:
        run = runs.pop(tuple(trial.params[name] for name in ("batch_size", "learning_rate", "seed", "momentum")))
        assert (trial.state.name == "COMPLETE") == (run.outcome is Outcome.REACHED)
        assert trial.value == (run.crossing.step if run.crossing is not None else None)
        assert trial.intermediate_values == {point.step: point.validation_metric for point in run.curve}
        assert trial.user_attrs["training (seconds)"] == run.seconds and trial.duration.total_seconds() >= run.seconds
    assert {trial.state.name for trial in study.trials} == {"COMPLETE", "PRUNED"}
    assert study.best_params["learning_rate"] == 0.3


def test_runs_that_failed_are_fails_for_optuna_and_values_that_are_not_finite_are_left_out(tmp_path):
    keys = [replace(KEY, seed=seed) for seed in range(4)]
    reached, diverged, pruned, missed = (run_of(key) for key in keys)
    nan = replace(diverged.curve[-1], step=9, validation_loss=math.nan)
    diverged = replace(diverged, outcome=Outcome.DIVERGED, crossing=None, curve=(*diverged.curve, nan))
    pruned = replace(pruned, outcome=Outcome.FINISHED, crossing=None, pruned=True, options={"decay": "linear"})
    missed = replace(missed, outcome=Outcome.FINISHED, crossing=None, options={"decay": None, "at": (0.5, 0.8)})
    with Store.open(tmp_path, TERMS) as store:
        for key, run in zip(keys, (reached, diverged, pruned, missed), strict=True):
            store.run(key, lambda checkpoint, run=run: run)
    with Store.open(tmp_path, replace(TERMS, target=None)) as store:
        store.run(KEY, lambda checkpoint: replace(run_of(KEY, Outcome.FINISHED, target=None), curve=()))
        store.run(OTHER, lambda checkpoint: run_of(OTHER, Outcome.FINISHED, target=None))
    first, second = optuna_studies(critbatch.export(tmp_path, format="optuna", out=tmp_path / "new" / "a.db"))
    assert [trial.state.name for trial in first.trials] == ["COMPLETE", "FAIL", "PRUNED", "PRUNED"]
    assert 9 in diverged_steps(diverged) and 9 not in first.trials[1].intermediate_values
    assert first.trials[3].params["at"] == "0.5 0.8" and first.trials[3].params["lr_decay"] == "None"
    assert second.metric_names == ["lowest validation loss"]
    assert [(trial.state.name, trial.value) for trial in second.trials] == [("FAIL", None), ("COMPLETE", 0.5)]
    with pytest.raises(UserError, match="leave --curves out"):
        critbatch.export(tmp_path, format="optuna", curves=True)


def diverged_steps(run: Run) -> list[int]:
    return [point.step for point in run.curve]


def test_two_studies_of_a_folder_are_told_apart_and_runs_of_other_commands_are_there_too(tmp_path):
    with Store.open(tmp_path, TERMS) as store:
        store.run(KEY, lambda checkpoint: run_of(KEY))
    with Store.open(tmp_path, replace(TERMS, epochs=3.0)) as store:
        store.run(replace(KEY, stage="race"), lambda checkpoint: run_of(KEY))
    rows = table(critbatch.export(str(tmp_path)))
    assert [row["stage"] for row in rows] == ["sweep", "race"] and len({row["study"] for row in rows}) == 2
    assert stored_studies(tmp_path / "runs.sqlite") == []


@pytest.mark.parametrize(
    ("place", "sentence"),
    [("nowhere", "There is no .*nowhere"), ("sqlite:///nowhere.sqlite", "There is no store at sqlite:///nowhere")],
)
def test_a_place_without_runs_is_said_in_a_sentence(tmp_path, place, sentence):
    with pytest.raises(UserError, match=sentence):
        critbatch.export(place if "://" in place else tmp_path / place)
    with Store.open(tmp_path, TERMS):
        pass
    with pytest.raises(UserError, match="holds no run that has come to its end"):
        critbatch.export(tmp_path)
    with pytest.raises(UserError, match="format='xls' is not known: use 'csv' or 'parquet' or 'jsonl' or 'optuna'"):
        critbatch.export(tmp_path, format="xls")


def test_a_study_read_from_its_store_is_the_study_that_the_sweep_returned(tmp_path):
    study = small(tiny_task(), out=tmp_path, seeds=(0, 1), command="critbatch sweep tiny")
    assert stored_studies(tmp_path / "runs.sqlite") == [study]


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from unit.studies.test_export import small
from integration.test_sweep import Watcher
from tiny import tiny_task

watcher = Watcher(lambda trying: watcher.situation.done == 3 and os.kill(os.getpid(), signal.SIGKILL))
small(tiny_task(), out=Path(sys.argv[1]), seeds=(0, 1), progress=watcher)
"""


def test_a_study_that_was_killed_half_way_is_reported_from_its_store_alone(tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(Path(__file__).parents[2] / "fixtures")]
    assert subprocess.run(command, check=False, capture_output=True).returncode == -9
    (study,) = stored_studies(tmp_path / "runs.sqlite")
    assert len(study.runs) == 3 and study.runs_left == 5 and study.analysis is not None
    assert study.provenance.wall_seconds == pytest.approx(
        sum(run.seconds + run.evaluation_seconds for run in study.runs)
    )
    assert write_report(str(tmp_path)).read_text().count("3 of 8 runs") > 0
    older = replace(study, runs=study.runs[:1])
    save_record(older, tmp_path)
    page = write_report(str(tmp_path)).read_text()
    assert "3 of 8 runs" in page and "1 of 8 runs" not in page
    page = tmp_path / "other.html"
    assert write_report(f"sqlite:///{tmp_path / 'runs.sqlite'}", page, language="zh") == page


def test_a_database_can_be_exported_and_reported_by_its_url(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'other.sqlite'}"
    study = small(tiny_task(), out=tmp_path / "out", seeds=(0,), storage=url)
    assert stored_studies(url) == [study]
    monkeypatch.chdir(tmp_path)
    assert len(table(critbatch.export(url))) == 4


def test_rows_of_nothing_are_nothing_and_a_run_without_a_curve_has_a_row():
    assert run_rows([]) == [] and list(curve_rows([])) == []
    empty = replace(run_of(KEY, Outcome.OUT_OF_MEMORY), curve=(), target=None)
    (row,) = run_rows([ExportedRun(empty)])
    assert row["last_train_loss"] is None and row["lowest_validation_loss"] == math.inf
    assert list(curve_rows([ExportedRun(empty)])) == []


def test_a_study_is_kept_without_its_runs(tmp_path):
    study = small(tiny_task(), out=tmp_path, seeds=tuple(range(40)), learning_rates=(0.3,), batch_sizes=(96,), epochs=1)
    with Store.open(tmp_path / "other", TERMS) as store:
        store.save_study(study, ended=True)
        told = store.saved_study()
    assert isinstance(told, Study) and told == replace(study, runs=(), analysis=None)
    assert len(told.to_json()) < 30_000
