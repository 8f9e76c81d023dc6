"""Stores that version 0.1 kept in Optuna's tables and files are taken over: whole, once, whoever comes first."""

from __future__ import annotations

import csv
import json
import sqlite3
import subprocess
import sys
import zipfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

import critbatch
from critbatch.errors import UserError
from critbatch.records.core import Run
from critbatch.studies.migration import take_over_folder
from critbatch.studies.run_key import StudyKey
from critbatch.studies.store import Store
from critbatch.studies.stored import open_readers, store_of, stored_studies
from critbatch.studies.watch import StudyWatcher

FIXTURES = Path(__file__).parents[2] / "fixtures" / "version_0"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return unpack("sweep", tmp_path)


def unpack(name: str, folder: Path) -> Path:
    with zipfile.ZipFile(FIXTURES / f"{name}.zip") as archive:
        archive.extractall(folder / name)
    return folder / name


def expected(folder: Path) -> list[Run]:
    return [Run.from_json(json.dumps(run)) for run in json.loads((folder / "finished.json").read_text())]


def terms_in(folder: Path) -> StudyKey:
    """Read with SQL alone from Optuna's tables."""
    with closing(sqlite3.connect(folder / "store.sqlite")) as database:
        ((text,),) = database.execute("SELECT value_json FROM study_user_attributes WHERE key = 'terms'")
    return StudyKey.from_json(json.loads(text))


def states(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "runs.sqlite")) as database:
        return [state for (state,) in database.execute("SELECT state FROM critbatch_runs ORDER BY id")]


STATES = ["finished", "pruned", *["finished"] * 2, "pruned", *["finished"] * 2, "pruned", *["finished"] * 2]


def test_all_runs_are_taken_over_in_their_order_and_the_old_file_stays_as_it_was(folder: Path) -> None:
    before, terms = (folder / "store.sqlite").read_bytes(), terms_in(folder)
    with Store.open(folder, terms) as store:
        assert store.runs() == tuple(expected(folder))
        assert store.saved_study() is not None
        rows = store.rows()
    assert states(folder) == [*STATES, "waiting", "running"]
    assert all(row.started is not None and row.ended is not None for row in rows[:10])
    assert rows[-1].owner.startswith("a-node-that-died.") and rows[-1].heartbeat == 3
    assert (folder / "store.sqlite").read_bytes() == before
    # What was noted on the way is there too: two of four pruned or finished after it.
    with closing(sqlite3.connect(folder / "runs.sqlite")) as database:
        notes = [json.loads(text) for (text,) in database.execute("SELECT intermediate FROM critbatch_runs")]
    assert sum(map(bool, notes)) >= 6 and all(set(note) <= {"1", "2", "4"} for note in notes)
    with Store.open(folder, terms) as store:  # the second time finds them there
        assert store.runs() == tuple(expected(folder))


OPEN = """
import sys
from pathlib import Path
from critbatch.studies.run_key import StudyKey
from critbatch.studies.store import Store

terms = StudyKey.from_json(Path(sys.argv[2]).read_text())
sys.stdin.readline()
with Store.open(Path(sys.argv[1]), terms) as store:
    print(len(store.runs()), len(store.rows()))
"""


def test_of_several_processes_one_takes_over_and_the_others_find_the_runs(folder: Path) -> None:
    (folder / "terms.json").write_text(terms_in(folder).to_json())
    command = [sys.executable, "-c", OPEN, str(folder), str(folder / "terms.json")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(3)]  # type: ignore[call-overload]
    answers = [process.communicate("now\n", timeout=120)[0] for process in processes]
    assert answers == ["10 12\n"] * 3
    assert len(states(folder)) == 12


def test_what_an_earlier_version_adds_later_is_taken_over_too(folder: Path) -> None:
    terms = terms_in(folder)
    with closing(sqlite3.connect(folder / "store.sqlite")) as database, database:
        database.execute("UPDATE trials SET state = 'WAITING' WHERE trial_id = 10")
    with Store.open(folder, terms) as store:
        assert len(store.runs()) == 9
    with closing(sqlite3.connect(folder / "store.sqlite")) as database, database:
        database.execute("UPDATE trials SET state = 'COMPLETE' WHERE trial_id = 10")
    with Store.open(folder, terms) as store:
        assert store.runs() == tuple(expected(folder)) and len(store.rows()) == 12


def test_a_command_of_an_earlier_version_that_is_at_work_is_waited_for(folder: Path) -> None:
    terms = terms_in(folder)
    (owner,) = [path.name for path in (folder / "workers").iterdir()]
    child = f"""
import sys
from pathlib import Path
from critbatch.studies.liveness import WorkerIdentity
identity = WorkerIdentity(Path({str(folder / "workers")!r}), {owner!r})
print("there", flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", child]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "there\n"
        with pytest.raises(UserError, match="A command of an earlier version of critbatch is at work in"):
            Store.open(folder, terms)
        process.kill()
    with Store.open(folder, terms) as store:
        assert len(store.runs()) == 10


def test_an_old_store_is_read_and_watched_without_being_taken_over(folder: Path) -> None:
    (study,) = stored_studies(folder / "store.sqlite")
    assert store_of(folder) == folder / "store.sqlite"
    assert len(study.runs) == 10 and study.runs_left == 2
    with StudyWatcher(folder) as watch:
        (seen,) = watch.look().studies
    assert (seen.done, seen.left) == (10, 2)
    table = critbatch.export(folder)
    with table.open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 10
    assert not (folder / "runs.sqlite").exists()


def test_a_journal_is_read_up_to_the_line_that_a_killed_process_half_wrote(tmp_path: Path) -> None:
    folder = unpack("journal", tmp_path)
    url, log = f"journal://{folder / 'runs.log'}", folder / "runs.log"
    log.write_bytes(log.read_bytes() + b'{"op_code": 5, "study')
    before = log.read_bytes()
    with open_readers(url) as (shelf,):
        assert shelf.runs() == tuple(expected(folder))
        terms = shelf.terms
    assert sorted(path.name for path in folder.glob("runs.log*")) == ["runs.log", "runs.log.lock"]
    with (
        pytest.warns(UserWarning, match=r"are now in .*runs\.log\.sqlite"),
        Store.open(folder, terms, url=url) as store,
    ):
        assert store.runs() == tuple(expected(folder)) and len(store.rows()) == 12
    assert log.read_bytes() == before
    with Store.open(folder, terms, url=f"sqlite:///{log}.sqlite") as store:
        assert len(store.runs()) == 10


def test_old_tables_in_a_database_of_its_own_are_taken_over_beside_the_new_ones(folder: Path, tmp_path: Path) -> None:
    terms, url = terms_in(folder), f"sqlite:///{folder / 'store.sqlite'}"
    (study,) = stored_studies(url)
    assert len(study.runs) == 10
    with Store.open(tmp_path / "elsewhere", terms, url=url) as store:
        assert store.runs() == tuple(expected(folder))
    with closing(sqlite3.connect(folder / "store.sqlite")) as database:
        ((count,),) = database.execute("SELECT count(*) FROM trials")
    assert count == 12


def test_an_old_store_of_another_task_is_refused_as_a_new_one_is(folder: Path) -> None:
    with pytest.raises(UserError, match="are of the task 'digits-narrow', not of 'other'"):
        Store.open(folder, replace(terms_in(folder), task="other"))


def test_an_old_store_that_is_damaged_is_said_in_one_sentence_and_nothing_is_taken_over(folder: Path) -> None:
    terms, file = terms_in(folder), folder / "store.sqlite"
    file.write_bytes(file.read_bytes()[:40_000])
    with pytest.raises(UserError, match="cannot be used") as caught:
        Store.open(folder, terms)
    assert "\n" not in str(caught.value) and states(folder) == []


def test_folders_get_their_names_of_today_and_nothing_is_lost_where_both_are_there(tmp_path: Path) -> None:
    old, new = tmp_path / "ends", tmp_path / "resume"
    take_over_folder(old, new)
    assert not new.exists()
    old.mkdir()
    (old / "a.pt").write_text("a")
    take_over_folder(old, new)
    assert not old.exists() and (new / "a.pt").read_text() == "a"
    old.mkdir()
    (old / "a.pt").write_text("other")
    (old / "b.pt").write_text("b")
    take_over_folder(old, new)
    assert {path.name: path.read_text() for path in new.iterdir()} == {"a.pt": "a", "b.pt": "b"}
    assert (old / "a.pt").read_text() == "other"
