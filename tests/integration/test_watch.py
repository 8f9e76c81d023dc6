"""Studies watched while others work on them: what a look finds, how it reads, and that it disturbs nobody."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from rich.console import Console

from critbatch.cli.main import main
from critbatch.records.core import Outcome
from critbatch.records.monitor import WatchSnapshot
from critbatch.records.study import Study, StudySpec
from critbatch.reports.live import BRAILLE, Line, plot_lines, view
from critbatch.reports.model import width as columns_of
from critbatch.reports.translator import Translator
from critbatch.studies.liveness import is_held
from critbatch.studies.run_key import RunKey
from critbatch.studies.store import Store
from critbatch.studies.watch import StudyWatcher
from integration.test_cli import TASK_FILE
from integration.test_store_shared import worker
from sample_records import speed
from stored_runs import TARGET, run_of
from unit.studies.test_store import KEY, TERMS

EN, ZH = Translator("en"), Translator("zh")
QUESTION = StudySpec(
    task="tiny",
    fingerprint="abc",
    recipe="sgd",
    batch_sizes=(32, 64),
    learning_rates=(0.1, 0.3),
    seeds=(0, 1),
    epochs=2.0,
    target=TARGET,
)
STUDY = Study(question=QUESTION, unit="example", examples=448, provenance=speed().provenance)
BEST = RunKey(batch_size=32, learning_rate=0.3, seed=0)
MISSED = replace(BEST, seed=1)
DIVERGED = RunKey(batch_size=64, learning_rate=0.3, seed=0)
BROKEN = replace(DIVERGED, seed=1)


def fill(folder: Path, *, broken: bool = True) -> None:
    """Three runs at their end and one that was interrupted, of eight."""
    with Store.open(folder, TERMS) as store:
        store.save_study(STUDY, ended=False)
        store.run(BEST, lambda checkpoint: run_of(BEST))
        store.run(MISSED, lambda checkpoint: run_of(MISSED, Outcome.FINISHED))
        store.run(DIVERGED, lambda checkpoint: run_of(DIVERGED, Outcome.DIVERGED))
        if broken:
            store.run(BROKEN, lambda checkpoint: run_of(BROKEN, Outcome.INTERRUPTED))


def looked(place: Path | str) -> WatchSnapshot:
    with StudyWatcher(str(place)) as watch:
        return watch.look()


def shown(look: WatchSnapshot, t: Translator = EN, *, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(view(look, t, width=width, height=30))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_look_tells_what_is_done_at_work_broken_off_and_left(tmp_path: Path):
    fill(tmp_path)
    with worker(tmp_path, None):
        look = looked(tmp_path)
    (study,) = look.studies
    assert (study.task, study.recipe, study.question, study.target) == ("tiny", "sgd", QUESTION, TARGET)
    assert (study.done, study.failed, study.broken_off, study.left) == (3, 1, 1, 5)
    (run,) = study.at_work
    assert (run.batch_size, run.learning_rate, run.seed) == (KEY.batch_size, KEY.learning_rate, KEY.seed)
    assert look.held and look.lives and not look.over
    small, large = study.sizes
    best = run_of(BEST)
    assert best.crossing is not None
    assert (small.batch_size, small.made, small.failed, small.learning_rate, small.seed) == (32, 2, 0, 0.3, 0)
    assert (small.reached, small.steps, small.seconds) == (True, best.crossing.step, best.crossing.seconds)
    assert small.curve == tuple((point.epoch, point.validation_loss) for point in best.curve)
    assert small.best_value == min(point.validation_loss for point in best.curve)
    assert (large.made, large.failed) == (1, 1)


def test_the_time_left_is_that_of_the_runs_that_are_missing(tmp_path: Path):
    fill(tmp_path)
    (study,) = looked(tmp_path).studies
    # 0.5 s for each run that was made: two are left at batch size 32, three at 64.
    assert study.seconds_left == pytest.approx(5 * 0.5)
    assert not study.at_most


def test_a_run_whose_maker_was_killed_is_broken_off_and_nobody_is_at_work(tmp_path: Path):
    fill(tmp_path)
    with worker(tmp_path, None), closing(StudyWatcher(str(tmp_path))) as watch:
        assert watch.look().lives
    with StudyWatcher(str(tmp_path)) as watch:
        look = watch.look()
    (study,) = look.studies
    assert study.at_work == ()
    assert study.broken_off == 2
    assert not look.lives and not look.over
    assert EN("watch_nobody") in shown(look)


@pytest.mark.parametrize("place", ["file", "sqlite"])
def test_a_database_is_watched_by_its_url(tmp_path: Path, place: str):
    url = f"sqlite:///{tmp_path / 'other.sqlite'}" if place == "sqlite" else None
    with Store.open(tmp_path, TERMS, url=url) as store:
        store.save_study(STUDY, ended=False)
        store.run(BEST, lambda checkpoint: run_of(BEST))
    (study,) = looked(url or tmp_path / "runs.sqlite").studies
    assert (study.done, study.left) == (1, 7)


def test_when_nothing_is_left_and_nobody_works_it_is_over(tmp_path: Path):
    with Store.open(tmp_path, TERMS) as store:
        store.save_study(
            replace(STUDY, question=replace(QUESTION, learning_rates=(0.3,), batch_sizes=(32,))), ended=True
        )
        for key in (BEST, MISSED):
            store.run(key, lambda checkpoint, key=key: run_of(key))
    look = looked(tmp_path)
    assert look.over
    assert EN("watch_over") in shown(look)


def test_runs_of_which_no_sweep_has_told_are_shown_too(tmp_path: Path):
    with Store.open(tmp_path, replace(TERMS, target=None, judged_by=TARGET)) as store:
        store.run(BEST, lambda checkpoint: run_of(BEST))
    look = looked(tmp_path)
    (study,) = look.studies
    assert (study.done, study.left, study.question, study.seconds_left) == (1, None, None, None)
    assert look.over
    text = shown(look)
    assert EN("watch_count_open", done=1, running=0) in text
    assert EN("watch_ended") in text


LOCKS_ALONE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from unit.studies.test_store import TERMS
from critbatch.studies.store import Store
Store.open(Path(sys.argv[1]), TERMS, alone=True).close()
"""


def test_a_watch_writes_nothing_and_holds_no_lock(tmp_path: Path):
    fill(tmp_path)

    def state() -> dict[str, str]:
        return {
            str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.rglob("*") if path.is_file()
        }

    before = state()
    with StudyWatcher(str(tmp_path)) as watch:
        watch.look()
        assert state() == before
        command = [sys.executable, "-c", LOCKS_ALONE, str(tmp_path), str(Path(__file__).parents[1] / "fixtures")]
        assert subprocess.run(command, check=False).returncode == 0
        watch.look()
    assert state().keys() == before.keys()


def test_whether_a_file_is_held_is_asked_without_taking_it(tmp_path: Path):
    fill(tmp_path)
    lock = tmp_path / "store.lock"
    assert not is_held(lock)
    with worker(tmp_path, None):
        assert is_held(lock)
        assert is_held(lock)
    assert not is_held(lock)
    assert not is_held(tmp_path / "none")


def test_of_a_folder_of_studies_the_one_at_work_is_shown_and_a_line_of_each_other(tmp_path: Path):
    fill(tmp_path / "first" / "sweep")
    with StudyWatcher(str(tmp_path)) as watch:
        assert len(watch.look().studies) == 1
        with Store.open(tmp_path / "second", replace(TERMS, recipe="adam")) as store:
            store.save_study(replace(STUDY, question=replace(QUESTION, recipe="adam")), ended=False)
        with worker(tmp_path / "first" / "sweep", None):
            look = watch.look()
    assert sorted(study.recipe for study in look.studies) == ["adam", "sgd"]
    text = shown(look)
    assert text.startswith("tiny, recipe sgd")
    assert EN("watch_other", task="tiny", recipe="adam", done=0, running=0) in text


@pytest.mark.parametrize(("width", "t"), [(80, EN), (80, ZH), (60, EN), (200, EN)])
def test_a_narrow_terminal_cuts_nothing_and_no_colour_is_needed(tmp_path: Path, width: int, t: Translator):
    fill(tmp_path)
    with worker(tmp_path, None):
        look = looked(tmp_path)
    text = shown(look, t, width=width)
    assert max(map(columns_of, text.splitlines())) <= width
    words = " ".join(text.split())
    said = {
        t("watch_count", done=3, total=8, left=5, running=1),
        t("watch_failed", n=1),
        t("watch_broken", n=1),
        t("watch_reached"),
        t("watch_curves_loss"),
    }
    for sentence in said:
        assert "".join(sentence.split()) in "".join(words.split())
    assert "…" not in text
    assert "\x1b" not in text
    (row,) = [line for line in text.splitlines() if line.startswith("A ")]
    assert row.split()[1] == "32"
    assert sum("┤" in line for line in text.splitlines()) == 3


def test_a_task_cannot_give_orders_to_the_terminal(tmp_path: Path):
    with Store.open(tmp_path, replace(TERMS, task="\x1b[31mred[bold]")) as store:
        store.run(BEST, lambda checkpoint: run_of(BEST))
    text = shown(looked(tmp_path))
    assert "\x1b" not in text
    assert text.startswith("?[31mred[bold]")


def test_a_curve_goes_from_corner_to_corner_without_gaps_and_ends_with_its_letter():
    rows = [row.plain for row in plot_lines([Line("A", "", [(0.0, 0.0), (10.0, 1.0)])], width=46, height=9, write=str)]
    picture = [row.split("│")[-1].split("┤")[-1] for row in rows[:-1]]
    assert rows[0].startswith("1.0 ┤")
    assert picture[0].endswith("A")
    filled = [{at for at, cell in enumerate(row) if ord(cell) > BRAILLE or cell == "A"} for row in picture]
    assert sorted(set().union(*filled)) == list(range(41))  # 46 columns less those of the axis
    assert all(max(below) >= min(above) - 1 for above, below in pairwise(filled))
    assert rows[-1].endswith("10.0")


def test_the_worst_values_are_left_out_and_the_target_is_marked():
    points = [(float(i), 0.0 if i == 0 else 0.9 + i / 1000) for i in range(10)]
    lines = [Line("A", "", points)]
    rows = [row.plain for row in plot_lines(lines, width=40, height=6, write=lambda y: f"{y:.3f}", level=0.95)]
    assert rows[0].startswith("0.950") and "╌" in rows[0]
    assert min(float(row.split("┤")[0]) for row in rows if "┤" in row) > 0.8
    assert plot_lines([Line("A", "", [])], width=40, height=6, write=str) == []


# The command.


def critbatch(*words: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["critbatch", *words])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code if isinstance(end.value.code, int) else 0


def test_where_the_output_is_no_terminal_one_look_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    fill(tmp_path)
    assert critbatch("watch", str(tmp_path), monkeypatch=monkeypatch) == 0
    assert EN("watch_nobody") in capsys.readouterr().out
    assert critbatch("watch", str(tmp_path), "--language", "zh", monkeypatch=monkeypatch) == 0
    assert ZH("watch_nobody") in capsys.readouterr().out


def test_json_is_one_look_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    fill(tmp_path)
    assert critbatch("watch", str(tmp_path), "--json", monkeypatch=monkeypatch) == 0
    out = capsys.readouterr().out
    assert replace(WatchSnapshot.from_json(out), at="") == replace(looked(tmp_path), at="")
    assert json.loads(out)["studies"][0]["sizes"][0]["batch_size"] == 32


def test_the_report_is_written_when_asked_and_only_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fill(tmp_path)
    assert critbatch("watch", str(tmp_path), "--once", monkeypatch=monkeypatch) == 0
    assert not (tmp_path / "report.html").exists()
    assert critbatch("watch", str(tmp_path), "--once", "--report", monkeypatch=monkeypatch) == 0
    assert EN("outcomes_left", n=5) in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("nowhere", "There is no folder nowhere"),
        ("empty", "empty holds no study"),
        ("sqlite:///none.sqlite", "There is no store at sqlite:///none.sqlite"),
        ("sqlite:///nowhere/store.sqlite", "There is no store at sqlite:///nowhere/store.sqlite"),
        ("sqlite:///other.sqlite", "sqlite:///other.sqlite cannot be used"),
        ("http://host/name", "http://host/name"),
        ("postgresql+nothing://host/name", "postgresql+nothing"),
        ("://", "is not the address of a database"),
    ],
)
def test_what_cannot_be_watched_is_told_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: str, says: str
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "other.sqlite").touch()
    assert critbatch("watch", place, monkeypatch=monkeypatch) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert says in told.err
    assert told.err.count("\n") == 1


def terminal(command: list[str], folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """The command in a terminal of its own, and the end that shows what it writes."""
    here, there = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "LINES": "40", "TERM": "xterm"}
    process = subprocess.Popen(
        command, stdin=there, stdout=there, stderr=there, cwd=folder, env=environment, start_new_session=True
    )
    os.close(there)
    return process, here


def read_until(end: int, words: str = "") -> str:
    """What a terminal has shown, until the words come or its last process has gone."""
    shown = ""
    while not words or words not in shown:
        try:
            piece = os.read(end, 4096)
        except OSError:  # so Linux says that the other end is closed
            break
        if not piece:
            break
        shown += piece.decode(errors="replace")
    return shown


def critbatch_command(*words: str) -> list[str]:
    return [sys.executable, "-m", "critbatch", *words]


def test_a_sweep_of_another_process_is_seen_to_go_on_and_to_end(tmp_path: Path):
    (tmp_path / "mine.py").write_text(TASK_FILE)
    words = ["--batch-sizes", "20,50", "--learning-rates", "0.1,0.3", "--seeds", "0,1", "--epochs", "3", "--out", "out"]
    sweep = critbatch_command("sweep", "mine.py:task", *words)
    with subprocess.Popen(sweep, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as working:
        while not list((tmp_path / "out" / "workers").glob("*")):
            assert working.poll() is None
            time.sleep(0.02)
        watching, end = terminal(critbatch_command("watch", "out", "--every", "0.1"), tmp_path)
        screen = read_until(end)
        os.close(end)
        assert watching.wait() == 0
        assert working.wait() == 0
    assert EN("watch_count", done=8, total=8, left=0, running=0) in screen
    assert screen.rindex(EN("watch_over")) > screen.rindex(EN("watch_count", done=8, total=8, left=0, running=0))
    assert "Traceback" not in screen
    assert looked(tmp_path / "out").over


def test_ctrl_c_ends_the_watch_and_not_the_study(tmp_path: Path):
    fill(tmp_path)
    with worker(tmp_path, None) as working:
        watching, end = terminal(critbatch_command("watch", str(tmp_path), "--every", "0.1"), tmp_path)
        before = read_until(end, EN("watch_at", time=""))
        watching.send_signal(signal.SIGINT)
        after = read_until(end)
        os.close(end)
        assert watching.wait() == 0
        assert working.poll() is None
    assert EN("watch_run", batch_size=64, rate="0.1", seed=0, host="")[:40] in before
    assert EN("watch_goes_on") in after
    assert "Traceback" not in before + after
