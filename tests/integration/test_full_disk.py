"""A disk that is full: one sentence, nothing that was kept is lost, and work goes on when there is room."""

import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import torch

from critbatch.errors import UserError
from critbatch.records.io import save_record
from critbatch.reports.write import report as write_report
from critbatch.studies.export import export
from critbatch.studies.sweep import sweep
from critbatch.training.checkpoint import load_checkpoint, save_checkpoint
from integration.test_sweep import Watcher, numbers, unbroken  # noqa: F401
from stored_runs import states_in
from tiny import tiny_task

small = partial(sweep, batch_sizes=(16, 96), learning_rates=(0.03, 0.3), seeds=(0, 1), epochs=4, compile=False)


class Disk:
    """A small one, which can be filled up to so many bytes that stay free."""

    def __init__(self, place: Path) -> None:
        self.place, self.ballast = place, place / "ballast"

    def fill(self, free: int = 0) -> None:
        with self.ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        with self.ballast.open("r+b") as file:
            file.truncate(max(0, file.seek(0, 2) - free))

    def empty(self) -> None:
        self.ballast.unlink()


@pytest.fixture
def disk(tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place]
    mounted = subprocess.run(mount, check=False, capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("a small disk cannot be mounted here")
    yield Disk(place)
    subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.parametrize("free", [0, 4096, 20_000, 150_000])
def test_a_sweep_ends_with_a_sentence_and_goes_on_when_there_is_room(disk, free, unbroken):  # noqa: F811
    out = disk.place / "out"

    def fill(trying: str) -> None:
        if watcher.situation.done == 3 and not disk.ballast.exists():
            disk.fill(free)

    watcher = Watcher(fill)
    ask = partial(small, tiny_task(), out=out)
    if free < 150_000:
        with pytest.raises(UserError, match=r"The store .* cannot be used \(database or disk is full\)"):
            ask(progress=watcher)
    else:
        ask(progress=watcher)
    kept = states_in(out).count("finished")
    assert kept >= 3
    disk.empty()
    rest = Watcher()
    study = ask(progress=rest)
    assert len(rest.tried) == 8 - kept and numbers(study) == numbers(unbroken)
    assert states_in(out) == ["finished"] * 8


@pytest.mark.parametrize("free", [0, 2_000, 9_000])
def test_a_database_at_a_url_does_so_too(disk, free, unbroken):  # noqa: F811
    def fill(trying: str) -> None:
        if watcher.situation.done == 3 and not disk.ballast.exists():
            disk.fill(free)

    watcher = Watcher(fill)
    ask = partial(small, tiny_task(), out=disk.place / "out", storage=f"sqlite:///{disk.place / 'other.sqlite'}")
    with pytest.raises(UserError, match=r"The store sqlite:.* cannot be used \(database or disk is full\)"):
        ask(progress=watcher)
    disk.empty()
    rest = Watcher()
    assert numbers(ask(progress=rest)) == numbers(unbroken) and len(rest.tried) <= 5


long = partial(small, tiny_task(target=0.999), epochs=200)


@pytest.fixture(scope="module")
def long_unbroken(tmp_path_factory):
    return long(out=tmp_path_factory.mktemp("long"))


@pytest.mark.parametrize("free", [0, 20_000])
def test_several_workers_do_so_too(disk, free, long_unbroken):
    out = disk.place / "out"

    def fill(trying: str) -> None:
        if watcher.situation.done >= 1 and not disk.ballast.exists():
            disk.fill(free)

    watcher = Watcher()
    watcher.show = lambda: fill("")
    ask = partial(long, workers=2)
    with pytest.raises(UserError, match=r"full|No space left"):
        ask(out=out, progress=watcher)
    kept = states_in(out).count("finished")
    disk.empty()
    study = ask(out=out)
    assert kept >= 1 and numbers(study) == numbers(long_unbroken)
    assert states_in(out) == ["finished"] * 8


def test_a_checkpoint_that_finds_no_room_leaves_the_one_before(disk):
    path = disk.place / "run.pt"
    save_checkpoint(path, {"step": 1})
    disk.fill(50_000)
    with pytest.raises(UserError, match=r"run.pt cannot be written \(No space left on device\): make room there"):
        save_checkpoint(path, {"step": 2, "weights": torch.zeros(100_000)})
    assert load_checkpoint(path, torch.device("cpu")) == {"step": 1}
    assert sorted(file.name for file in disk.place.iterdir()) == ["ballast", "run.pt"]


def test_records_reports_and_tables_are_written_whole_or_not_at_all(disk, tmp_path):
    study = small(tiny_task(), out=tmp_path / "out")
    disk.fill(8192)
    for write in (
        lambda: save_record(study, disk.place),
        lambda: write_report([study], disk.place / "report.html"),
        lambda: export(study, out=disk.place / "curves.csv", curves=True),
        lambda: export(study, out=disk.place / "curves.jsonl", curves=True),
    ):
        with pytest.raises(UserError, match=r"cannot be written .*\(No space left on device\)"):
            write()
        assert [file.name for file in disk.place.iterdir()] == ["ballast"]


def test_the_command_ends_with_exit_code_2_and_one_line(disk):
    out = disk.place / "out"
    command = [sys.executable, "-m", "critbatch", "sweep", "digits-mlp", "--batch-sizes", "1437", "--epochs", "1"]
    command += ["--learning-rates", "0.1", "--out", str(out)]
    out.mkdir()
    disk.fill(30_000)
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ended.returncode == 2 and "Traceback" not in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("critbatch: ") and "full" in ended.stderr
    disk.fill(1_000_000)  # the library that draws the figures is larger
    assert subprocess.run(command, check=False, capture_output=True).returncode == 2  # no room for the report
    disk.empty()
