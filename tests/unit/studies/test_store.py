"""The store of runs: what is kept, what is made again, what is refused."""

import math
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from critbatch.errors import UserError
from critbatch.records.core import SCHEMA_VERSION, Crossing, Outcome, Run
from critbatch.studies.run_key import RunKey, StudyKey, score
from critbatch.studies.store import Store
from stored_runs import TARGET, point, run_of, states_in

TERMS = StudyKey(
    task="tiny",
    fingerprint="abc",
    parts={"model": "1", "loss": "2", "metric": "2"},
    recipe="sgd",
    target=TARGET,
    epochs=2.0,
    settings={"growth": 1.1},
)
KEY = RunKey(batch_size=64, learning_rate=0.1, seed=0)


def never(checkpoint: Path) -> Run:
    raise AssertionError("a run that is there was made again")


def test_a_run_is_made_once(tmp_path):
    with Store.open(tmp_path, TERMS) as store:
        made = store.run(KEY, lambda checkpoint: run_of(KEY))
        assert store.run(KEY, never) == made
    with Store.open(tmp_path, TERMS) as store:
        assert store.run(KEY, never) == made
        assert store.runs() == (made,)
    assert len(states_in(tmp_path)) == 1


def test_a_record_comes_back_the_same_however_long_its_curve_is(tmp_path):
    long = run_of(KEY, points=400)
    long = replace(long, curve=(*long.curve, point(500, math.inf)))
    assert len(long.to_json()) > 2**16  # more than a column of MySQL's usual type for text holds
    with Store.open(tmp_path, TERMS) as store:
        store.run(KEY, lambda checkpoint: long)
    with Store.open(tmp_path, TERMS) as store:
        assert store.find(KEY) == long


def test_every_end_of_a_run_but_an_interruption_is_a_result(tmp_path):
    best, crossing = RunKey(batch_size=128, learning_rate=0.3, seed=1), Crossing(step=9.0, epoch=1.0, seconds=1.0)
    ends = {
        KEY: replace(run_of(KEY), crossing=crossing),
        best: replace(run_of(best), crossing=replace(crossing, step=2.5)),
    }
    for seed, outcome in enumerate((Outcome.FINISHED, Outcome.DIVERGED, Outcome.OUT_OF_MEMORY), start=1):
        ends[replace(KEY, seed=seed)] = run_of(replace(KEY, seed=seed), outcome)
    with Store.open(tmp_path, TERMS) as store:
        for key, run in ends.items():
            store.run(key, lambda checkpoint, run=run: run)
    with Store.open(tmp_path, TERMS) as store:
        assert [store.run(key, never) for key in ends] == list(ends.values())
        briefs = store.state().finished
    assert [brief.steps_to_target for brief in briefs.values()] == [9.0, 2.5, math.inf, math.inf, math.inf]
    assert [brief.outcome for brief in briefs.values()] == [run.outcome for run in ends.values()]
    # With SQL alone, as another program would read them.
    with closing(sqlite3.connect(tmp_path / "runs.sqlite")) as database:
        rows = database.execute(
            "SELECT state, json_extract(key, '$[0]'), json_extract(record, '$.outcome'), started <= ended, "
            "schema_version FROM critbatch_runs ORDER BY id"
        ).fetchall()
    outcomes = ["reached", "reached", "finished", "diverged", "out_of_memory"]
    sizes = [64, 128, 64, 64, 64]
    assert rows == [("finished", *row, 1, SCHEMA_VERSION) for row in zip(sizes, outcomes, strict=True)]


def test_without_a_target_the_score_is_the_lowest_validation_loss():
    run = run_of(KEY, Outcome.FINISHED, target=None)
    assert score(run) == 0.5
    assert score(replace(run, curve=(replace(run.curve[0], validation_loss=math.nan),))) == math.inf


def test_an_interrupted_run_goes_on_from_its_checkpoint_in_the_same_row(tmp_path):
    def interrupted(checkpoint: Path) -> Run:
        checkpoint.parent.mkdir(exist_ok=True)
        checkpoint.write_text("half way")
        return run_of(KEY, Outcome.INTERRUPTED)

    def rest(checkpoint: Path) -> Run:
        assert checkpoint.read_text() == "half way"
        return run_of(KEY)

    with Store.open(tmp_path, TERMS) as store:
        assert store.run(KEY, interrupted).outcome is Outcome.INTERRUPTED
        assert store.find(KEY) is None and store.runs() == ()
    assert states_in(tmp_path) == ["waiting"]
    with Store.open(tmp_path, TERMS) as store:
        assert store.run(KEY, rest).outcome is Outcome.REACHED
    assert states_in(tmp_path) == ["finished"]


def test_a_run_that_raises_is_no_result_and_can_be_made_again(tmp_path):
    def broken(checkpoint: Path) -> Run:
        raise RuntimeError("a fault of the user's model")

    with Store.open(tmp_path, TERMS) as store:
        with pytest.raises(RuntimeError, match="a fault of the user's model"):
            store.run(KEY, broken)
        assert store.run(KEY, lambda checkpoint: run_of(KEY)) == run_of(KEY)
    assert len(states_in(tmp_path)) == 1


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from unit.studies.test_store import KEY, TERMS
from critbatch.studies.store import Store

def make(checkpoint):
    checkpoint.parent.mkdir()
    checkpoint.write_text("half way")
    os.kill(os.getpid(), signal.SIGKILL)

Store.open(Path(sys.argv[1]), TERMS).run(KEY, make)
"""


def test_what_a_killed_process_left_is_finished_by_the_next_one_and_is_there_once(tmp_path):
    child = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(Path(__file__).parents[2] / "fixtures")], check=False
    )
    assert child.returncode == -signal.SIGKILL
    assert states_in(tmp_path) == ["running"]
    seen = []
    with Store.open(tmp_path, TERMS) as store:
        store.run(KEY, lambda checkpoint: seen.append(checkpoint.read_text()) or run_of(KEY))
    assert seen == ["half way"]
    assert states_in(tmp_path) == ["finished"]


HOLDER = """
import sys
from pathlib import Path
from critbatch.studies.liveness import FolderLock
lock = FolderLock(Path(sys.argv[1]), alone=sys.argv[2] == 'alone')
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(folder: Path, how: str):
    """Another process holds the folder, alone or shared."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        yield
        holder.kill()


@pytest.mark.parametrize(("theirs", "alone"), [("alone", True), ("alone", False), ("shared", True)])
def test_a_command_that_works_alone_in_a_folder_shares_it_with_no_other(tmp_path, theirs, alone):
    with held(tmp_path, theirs), pytest.raises(UserError, match="Another command is at work in"):
        Store.open(tmp_path, TERMS, alone=alone)
    with Store.open(tmp_path, TERMS, alone=alone) as store:
        assert store.runs() == ()


def test_commands_that_share_a_folder_work_side_by_side(tmp_path):
    with held(tmp_path, "shared"), Store.open(tmp_path, TERMS) as store:
        assert store.runs() == ()


keys = st.builds(
    RunKey,
    batch_size=st.integers(1, 2**40),
    learning_rate=st.floats(1e-12, 1e6),
    seed=st.integers(0, 2**32 - 1),
    stage=st.sampled_from(["sweep", "race 1", "race 2", "准备"]),
    options=st.sampled_from(
        [(), (("momentum", 0.9),), (("momentum", 0.0),), (("at", (0.5, 0.8)), ("lr_decay", "linear"))]
    ),
)


@given(keys, keys)
def test_two_keys_never_share_a_checkpoint(one, other):
    assert (one.digest == other.digest) == (one == other)
    assert RunKey.from_json(one.to_json()) == one


def test_two_keys_never_collide_however_close(tmp_path):
    rates = [0.1, math.nextafter(0.1, 1.0), 0.1 + 0.2, 0.3, 1e-12, 1e6]
    every = [replace(KEY, learning_rate=rate) for rate in rates]
    every += [replace(KEY, batch_size=2**40), replace(KEY, seed=2**32 - 1), replace(KEY, stage="race 1")]
    every += [replace(KEY, options=(("momentum", value),)) for value in (0.0, 0.9, True, None, "0.9", (0.5, 0.8))]
    with Store.open(tmp_path, TERMS) as store:
        for key in every:
            store.run(key, lambda checkpoint, key=key: run_of(key))
    with Store.open(tmp_path, TERMS) as store:
        assert [store.find(key) for key in every] == [run_of(key) for key in every]
        assert len(store.runs()) == len(every)


def test_runs_of_other_terms_are_kept_apart(tmp_path):
    for terms in (
        TERMS,
        replace(TERMS, epochs=3.0),
        replace(TERMS, recipe="adam"),
        replace(TERMS, settings={"growth": 2}),
    ):
        with Store.open(tmp_path, terms) as store:
            assert store.find(KEY) is None
            store.run(KEY, lambda checkpoint: run_of(KEY))
    assert len(states_in(tmp_path)) == 4


def test_a_task_that_changed_is_refused_with_what_changed(tmp_path):
    Store.open(tmp_path, TERMS).close()
    changed = r"was before its loss and its metric changed \(fingerprint abc there, xyz now\): give another --out, or "
    with pytest.raises(UserError, match=changed):
        Store.open(tmp_path, replace(TERMS, fingerprint="xyz", parts={"model": "1", "loss": "3", "metric": "4"}))


def test_the_folder_of_another_task_is_refused(tmp_path):
    Store.open(tmp_path, TERMS).close()
    with pytest.raises(UserError, match="are of the task 'tiny', not of 'other': give another --out"):
        Store.open(tmp_path, replace(TERMS, task="other"))


@contextmanager
def without_the_rights_of_root():
    """Root may write everywhere: become nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_that_cannot_be_written_is_said_in_one_sentence():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        for out in (Path(folder), Path(folder) / "below"):
            with (
                without_the_rights_of_root(),
                pytest.raises(UserError, match=r"cannot be written \(Permission denied\)"),
            ):
                Store.open(out, TERMS)
        Path(folder).chmod(0o755)


def test_a_file_in_the_place_of_the_folder_is_said_in_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match=r"cannot be written \((File exists|Not a directory)\): give another --out"):
            Store.open(out, TERMS)


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path):
    (tmp_path / "runs.sqlite").write_text("not a database" * 1000)
    with pytest.raises(UserError, match=r"runs.sqlite cannot be used \(file is not a database\)"):
        Store.open(tmp_path, TERMS)
    assert (tmp_path / "runs.sqlite").read_text() == "not a database" * 1000


def test_a_database_that_was_cut_short_is_said_in_one_sentence(tmp_path):
    with Store.open(tmp_path, TERMS) as store:
        store.run(KEY, lambda checkpoint: run_of(KEY, points=300))
    file = tmp_path / "runs.sqlite"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(UserError, match=r"runs.sqlite cannot be used \(database disk image is malformed\)"):
        Store.open(tmp_path, TERMS)


def test_a_folder_may_have_any_name(tmp_path):
    folder = tmp_path / "50%25 {x} 数据 ? #1"
    with Store.open(folder, TERMS) as store:
        store.run(KEY, lambda checkpoint: run_of(KEY))
    assert {path.name for path in folder.iterdir()} == {"runs.sqlite", "store.lock", "workers"}
    assert list((folder / "workers").iterdir()) == []


def test_two_folders_with_one_database_never_make_the_same_run(tmp_path):
    url = f"sqlite:///{tmp_path / 'shared.sqlite'}"

    def make(checkpoint: Path) -> Run:
        with Store.open(tmp_path / "b", TERMS, url=url) as other:
            with pytest.raises(UserError, match="is being made by another process"):
                other.run(KEY, never)
            other.run(replace(KEY, seed=1), lambda checkpoint: run_of(replace(KEY, seed=1)))
        return run_of(KEY)

    with Store.open(tmp_path / "a", TERMS, url=url) as store:
        store.run(KEY, make)
    with Store.open(tmp_path / "b", TERMS, url=url) as store:
        assert store.run(KEY, never) == run_of(KEY)
        assert len(store.runs()) == 2


def test_a_shared_database_holds_several_tasks(tmp_path):
    url = f"sqlite:///{tmp_path / 'shared.sqlite'}"
    for terms in (TERMS, replace(TERMS, task="other", fingerprint="xyz")):
        with Store.open(tmp_path / terms.task, terms, url=url) as store:
            store.run(KEY, lambda checkpoint: run_of(KEY))
            assert len(store.runs()) == 1


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("nonsense", "'nonsense' is not the address of a database"),
        ("nobase://me:secret@host/name", r"nobase://me:\*\*\*@host/name cannot be used"),
        ("oracle://me:secret@host/name", r"The driver of oracle://me:\*\*\*@host/name is not installed"),
        ("sqlite:////nowhere/store.sqlite", r"cannot be used \(unable to open database file\)"),
    ],
)
def test_a_database_that_cannot_be_reached_is_said_in_one_sentence_without_its_password(tmp_path, url, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        Store.open(tmp_path, TERMS, url=url)
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_store_of_a_later_version_is_refused_in_one_sentence(tmp_path):
    Store.open(tmp_path, TERMS).close()
    with closing(sqlite3.connect(tmp_path / "runs.sqlite")) as database, database:
        database.execute("UPDATE critbatch_store SET value = '2' WHERE name = 'version'")
    with pytest.raises(UserError, match=r"runs.sqlite was written by a later version of critbatch \(format 2, known"):
        Store.open(tmp_path, TERMS)


def test_optuna_says_nothing_and_stays_as_talkative_as_it_was(tmp_path, capfd):
    before = optuna.logging.get_verbosity()
    with Store.open(tmp_path, TERMS) as store:
        store.run(KEY, lambda checkpoint: run_of(KEY))
    assert capfd.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == before
