"""The store shared by several processes: who makes what, who takes over from the dead, and what is kept."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from critbatch.records.core import Run
from critbatch.studies import liveness as presence
from critbatch.studies.liveness import WorkerIdentity, new_name
from critbatch.studies.store import Store
from stored_runs import run_of
from unit.studies.test_store import KEY, TERMS

OTHER = replace(KEY, seed=1)
PLACES = ["file", "sqlite"]
WORKER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from unit.studies.test_store import KEY, TERMS
from critbatch.studies.store import Store

store = Store.open(Path(sys.argv[1]), TERMS, url=sys.argv[3] or None)
claim = store.claim(lambda stock: [KEY])
checkpoint = store.checkpoint(KEY)
checkpoint.parent.mkdir(exist_ok=True)
checkpoint.write_text("half way")
print("claimed", flush=True)
time.sleep(600)
"""


def url_of(place: str, folder: Path) -> str | None:
    return f"sqlite:///{folder / 'other.sqlite'}" if place == "sqlite" else None


@contextmanager
def worker(folder: Path, url: str | None):
    """Another process that is making the run of KEY."""
    command = [sys.executable, "-c", WORKER, str(folder), str(Path(__file__).parents[1] / "fixtures"), url or ""]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "claimed\n"
        yield process
        process.kill()


@pytest.mark.parametrize("place", PLACES)
def test_what_another_makes_is_not_made_again_and_what_it_leaves_when_killed_is_taken_up_at_once(tmp_path, place):
    url = url_of(place, tmp_path)
    with worker(tmp_path, url) as other, Store.open(tmp_path, TERMS, url=url) as store:
        assert store.state().running == {KEY} and store.claim(lambda stock: [KEY]) is None
        free = store.claim(lambda stock: [KEY, OTHER])
        assert free.key == OTHER and store.keep(free, run_of(OTHER))
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert store.state().broken == {KEY}
        seen = []
        store.run(KEY, lambda checkpoint: seen.append(checkpoint.read_text()) or run_of(KEY))
        assert seen == ["half way"] and not store.checkpoint(KEY).exists()
        assert store.runs() == (run_of(KEY), run_of(OTHER))
        assert list((tmp_path / "workers").iterdir()) == [tmp_path / "workers" / store._identity.name]


@pytest.mark.parametrize("place", PLACES)
def test_a_process_thought_dead_that_comes_back_does_not_overwrite_what_the_other_made(tmp_path, place, monkeypatch):
    url, late = url_of(place, tmp_path), replace(run_of(KEY), seconds=99.0)
    with Store.open(tmp_path, TERMS, url=url) as frozen, Store.open(tmp_path, TERMS, url=url) as store:
        claim = frozen.claim(lambda stock: [KEY])
        monkeypatch.setattr(store._identity, "is_dead", lambda name, beat: name == frozen._identity.name)
        taken = store.claim(lambda stock: [KEY])
        assert taken.id == claim.id
        assert not frozen.keep(claim, late)
        frozen.release(claim)
        assert store.state().running == {KEY}
        assert store.keep(taken, run_of(KEY))
        assert frozen.find(KEY) == run_of(KEY) and frozen.claim(lambda stock: [KEY]) is None


def test_a_process_of_another_machine_is_dead_when_its_beat_stands_still_for_a_minute_as_seen_from_here(
    tmp_path, monkeypatch
):
    now = [1000.0]
    monkeypatch.setattr(presence.time, "monotonic", lambda: now[0])
    with WorkerIdentity(tmp_path) as here:
        theirs = "another-machine.abc"
        assert not here.is_dead(theirs, 5)
        now[0] += presence.SECONDS_UNTIL_DEAD
        assert not here.is_dead(theirs, 6)
        now[0] += presence.SECONDS_UNTIL_DEAD
        assert not here.is_dead(theirs, 6)
        now[0] += 1.0
        assert here.is_dead(theirs, 6)
        assert not here.is_dead(theirs, 7)


def test_the_beats_of_a_run_reach_the_other_machines(tmp_path, monkeypatch):
    monkeypatch.setattr("critbatch.studies.liveness.SECONDS_BETWEEN_HEARTBEATS", 0.01)

    def slow(checkpoint: Path) -> Run:
        with Store.open(tmp_path, TERMS) as other:
            while max(row.heartbeat for row in other.rows()) < 3:
                time.sleep(0.01)
        return run_of(KEY)

    with Store.open(tmp_path, TERMS) as store:
        assert store.run(KEY, slow) == run_of(KEY)


def test_a_name_is_alive_as_long_as_its_process(tmp_path):
    child = f"""
import sys
from pathlib import Path
from critbatch.studies.liveness import WorkerIdentity
identity = WorkerIdentity(Path({str(tmp_path)!r}), {(name := new_name())!r})
print("there", flush=True)
sys.stdin.read()
"""
    with WorkerIdentity(tmp_path) as here:
        command = [sys.executable, "-c", child]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "there\n"
            assert not here.is_dead(name, 0) and not here.is_dead(here.name, 0)
            process.kill()
            process.wait()
            assert here.is_dead(name, 0)


CLAIMS = """
import sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from stored_runs import run_of
from unit.studies.test_store import KEY, TERMS
from critbatch.studies.store import Store

keys = [replace(KEY, seed=seed) for seed in range(20)]
with Store.open(Path(sys.argv[1]), TERMS, url=sys.argv[3] or None) as store:
    while (claim := store.claim(lambda stock: keys)) is not None:
        assert store.keep(claim, run_of(claim.key))
        print(claim.key.seed, flush=True)
"""


@pytest.mark.parametrize("place", PLACES)
def test_three_processes_that_begin_together_make_each_run_once(tmp_path, place):
    url = url_of(place, tmp_path)
    command = [sys.executable, "-c", CLAIMS, str(tmp_path), str(Path(__file__).parents[1] / "fixtures"), url or ""]
    crew = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    told = [process.communicate(timeout=120) for process in crew]
    assert [process.returncode for process in crew] == [0, 0, 0], told
    made = [int(seed) for out, _ in told for seed in out.split()]
    assert sorted(made) == list(range(20))
    with Store.open(tmp_path, TERMS, url=url) as store:
        assert len(store.rows()) == 20 and len(store.runs()) == 20


def test_what_the_first_says_is_what_all_go_by(tmp_path):
    with Store.open(tmp_path, TERMS) as one, Store.open(tmp_path, TERMS) as two:
        assert [one.set_shared("length", "2"), two.set_shared("length", "3"), one.set_shared("length", "4")] == [
            "2",
            "2",
            "2",
        ]


POSTGRES = os.environ.get("CRITBATCH_TEST_POSTGRES", "")


@pytest.mark.skipif(not POSTGRES, reason="no $CRITBATCH_TEST_POSTGRES, the URL of an empty database")
def test_a_server_keeps_its_promises_too(tmp_path):
    with worker(tmp_path, POSTGRES) as other, Store.open(tmp_path, TERMS, url=POSTGRES) as store:
        assert store.state().running == {KEY} and store.claim(lambda stock: [KEY]) is None
        other.kill()
        other.wait()
        assert store.state().broken == {KEY}
        store.run(KEY, lambda checkpoint: run_of(KEY))
        assert run_of(KEY) in store.runs()
