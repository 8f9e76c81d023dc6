"""Sweeps by several workers: the same runs as by one, whoever is killed."""

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from torch import nn

from critbatch.errors import UserError
from critbatch.records.core import Outcome, Run
from critbatch.records.study import Study
from critbatch.runtime.progress import Display
from critbatch.studies import supervisor as worker_process
from critbatch.studies.sweep import sweep
from integration.test_sweep import numbers
from stored_runs import states_in
from tiny import tiny_task

small = partial(sweep, batch_sizes=(16, 96), seeds=(0, 1), epochs=4, compile=False)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Study:
    return small(tiny_task(), out=tmp_path_factory.mktemp("unbroken"))


class Meddler(Display):
    """Does something once to the processes of the crew, when so many runs are made, and so many being made."""

    def __init__(self, deed, after: int = 1, running: int = 1):
        super().__init__()
        self.deed, self.after, self.running, self.done_it = deed, after, running, False

    def show(self):
        if not self.done_it and (self.situation.running or 0) >= self.running and self.situation.done >= self.after:
            self.done_it = True
            self.deed()


def workers_of(master: int) -> list[int]:
    """The processes of workers that `master` started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            continue
        if parent == master and b"critbatch.studies.worker_process" in words:
            found.append(int(folder.name))
    return found


def test_two_workers_make_the_runs_that_one_makes_and_their_numbers_to_the_bit(tmp_path, unbroken):
    study = small(tiny_task(), out=tmp_path, workers=2)
    assert study.runs_left == 0 and numbers(study) == numbers(unbroken)
    assert states_in(tmp_path) == ["finished"] * len(unbroken.runs)
    assert list((tmp_path / "workers").iterdir()) == []


def test_a_worker_that_is_killed_is_replaced_and_nothing_is_lost(tmp_path):
    def kill() -> None:
        os.kill(workers_of(os.getpid())[0], signal.SIGKILL)

    ask = partial(small, tiny_task(target=0.999), learning_rates=(0.01,), epochs=2000)
    meddler = Meddler(kill, after=0, running=2)
    study = ask(out=tmp_path / "killed", workers=2, progress=meddler)
    assert meddler.done_it
    assert study.runs_left == 0 and numbers(study) == numbers(ask(out=tmp_path / "unbroken"))
    assert states_in(tmp_path / "killed") == ["finished"] * 4


def test_a_worker_that_the_system_killed_for_want_of_memory_leaves_that_as_the_result_of_its_run(tmp_path, monkeypatch):
    kills = [0]
    monkeypatch.setattr(worker_process, "memory_kills", lambda: kills[0])

    def kill() -> None:
        kills[0] += 1
        os.kill(workers_of(os.getpid())[0], signal.SIGKILL)

    meddler = Meddler(kill, after=0, running=2)
    study = small(
        tiny_task(target=0.999), out=tmp_path, learning_rates=(0.01,), workers=2, epochs=2000, progress=meddler
    )
    ended = [run for run in study.runs if run.outcome is Outcome.OUT_OF_MEMORY]
    assert len(ended) == 1 and len(study.runs) == 4 and study.runs_left == 0


MASTER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from integration.test_sweep_workers import small
from tiny import tiny_task

small(tiny_task(), out=Path(sys.argv[1]), workers=2)
"""


def test_when_the_master_is_killed_the_workers_end_and_the_next_one_ends_where_the_unbroken_one_ends(
    tmp_path, unbroken
):
    command = [sys.executable, "-c", MASTER, str(tmp_path), str(Path(__file__).parents[1] / "fixtures")]
    with subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}) as master:
        while not (workers := workers_of(master.pid)) or not (tmp_path / "runs.sqlite").is_file():
            time.sleep(0.05)
        while "finished" not in states_in(tmp_path):
            time.sleep(0.05)
        workers = workers_of(master.pid)
        master.kill()
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{worker}").exists() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    assert len(states_in(tmp_path)) < len(unbroken.runs)
    study = small(tiny_task(), out=tmp_path)
    assert study.runs_left == 0 and numbers(study) == numbers(unbroken)
    assert states_in(tmp_path) == ["finished"] * len(unbroken.runs)


def test_ctrl_c_stops_the_workers_at_once_with_their_place_kept(tmp_path):
    ask = partial(small, tiny_task(target=0.999), learning_rates=(0.01, 0.03), epochs=200)
    press = Meddler(lambda: signal.raise_signal(signal.SIGINT), after=0)
    broken = ask(out=tmp_path / "broken", workers=2, progress=press)
    assert broken.runs_left > 0 and set(states_in(tmp_path / "broken")) <= {"finished", "waiting"}
    assert workers_of(os.getpid()) == []
    assert numbers(ask(out=tmp_path / "broken", workers=2)) == numbers(ask(out=tmp_path / "unbroken"))


def test_two_commands_in_one_folder_share_the_work(tmp_path, unbroken):
    studies: list[Study] = []
    threads = [threading.Thread(target=lambda: studies.append(small(tiny_task(), out=tmp_path))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [numbers(study) for study in studies] == [numbers(unbroken)] * 2
    assert states_in(tmp_path) == ["finished"] * len(unbroken.runs)


def test_runs_that_are_far_behind_are_ended_and_are_bounds(tmp_path):
    study = sweep(
        tiny_task(target=0.999),
        out=tmp_path,
        batch_sizes=(16,),
        learning_rates=(0.0001, 0.001, 0.01, 0.1),
        seeds=(0,),
        epochs=16,
        prune=True,
        compile=False,
    )
    behind = [run for run in study.runs if run.pruned]
    assert behind and all(run.outcome is Outcome.FINISHED and run.epochs < 16 for run in behind)
    assert {run.learning_rate for run in behind} < {0.0001, 0.001, 0.01}
    assert states_in(tmp_path).count("pruned") == len(behind)


BROKEN = """
import torch
from tiny import tiny_task
from dataclasses import replace

def loss(outputs, targets):
    if len(targets) == 96:
        raise ValueError("nobody has thought of a full batch")
    return torch.nn.functional.cross_entropy(outputs, targets, reduction="none")

task = replace(tiny_task(), loss=loss)
"""


def test_what_a_worker_raises_is_said_and_the_rest_is_kept(tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text(BROKEN)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "fixtures"))
    ask = partial(small, f"{tmp_path / 'broken.py'}:task", out=tmp_path / "out", workers=2)
    with pytest.raises(UserError, match=r"A worker has failed \(ValueError: nobody has thought of a full batch\)"):
        ask()
    assert (
        "Traceback"
        in (tmp_path / "out" / "workers" / "worker-1.log").read_text()
        + (tmp_path / "out" / "workers" / "worker-2.log").read_text()
    )
    assert "running" not in states_in(tmp_path / "out")


def test_a_task_that_cannot_be_sent_is_refused_with_a_sentence(tmp_path):
    class Stuck(nn.Linear):
        def __reduce__(self):
            raise TypeError("stuck")

    from dataclasses import replace

    stuck = Stuck(4, 3)

    def prepare(inputs):
        return stuck and inputs

    task = replace(tiny_task(), model=lambda: nn.Sequential(nn.Linear(4, 3)), prepare=prepare)
    with pytest.raises(UserError, match="cannot be sent to other processes"):
        small(task, out=tmp_path, workers=2)


def runs_by_length(study: Study) -> dict[int, set[int]]:
    return {size: {run.steps for run in study.runs if run.batch_size == size} for size in (16, 96)}


def test_equal_seconds_become_steps_by_one_clock_for_all(tmp_path):
    ask = partial(
        small, tiny_task(), out=tmp_path, learning_rates=(0.01,), epochs=None, seconds=0.02, stop_at_target=False
    )
    first = ask()
    steps = runs_by_length(first)
    assert all(len(of_size) == 1 for of_size in steps.values())
    again = ask(seeds=(0, 1, 2))
    assert runs_by_length(again) == steps and again.speed == first.speed
    shortest = min(run.seconds for run in first.runs)
    assert 0.02 / 20 < shortest < 0.02 * 20


def test_equal_steps_are_equal(tmp_path):
    study = small(tiny_task(), out=tmp_path, learning_rates=(0.01,), epochs=None, steps=37, stop_at_target=False)
    assert runs_by_length(study) == {16: {37}, 96: {37}}


def test_a_varied_option_is_tried_with_each_rate_and_told_with_the_run(tmp_path):
    study = small(
        tiny_task(),
        out=tmp_path,
        learning_rates=(0.03,),
        seeds=(0,),
        fixed_options={"weight_decay": 0.001},
        option_grid={"momentum": (0.0, 0.9)},
    )

    def told(run: Run) -> tuple[int, object, object]:
        return run.batch_size, run.options["momentum"], run.options["weight_decay"]

    assert sorted(map(told, study.runs)) == [(size, m, 0.001) for size in (16, 96) for m in (0.0, 0.9)]
    assert len({run.curve[-1].train_loss for run in study.runs}) == 4
