"""Commands are killed, stopped and starved at random moments: no run is lost or doubled, nobody sees a traceback.

20 faults are tried by `make test`, 200 by `make torture`; CRITBATCH_TORTURE_FAULTS is their number and
CRITBATCH_TORTURE_SEED that of their moments. A fault that a kill of the disk or the network would bring is in
`tests/test_full_disk.py` and `benchmarks/sweep_kills.py`, too.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest

from critbatch.records.core import Advice
from critbatch.studies.stored import open_readers, stored_studies
from integration.test_full_disk import Disk, disk  # noqa: F401
from integration.test_sweep import numbers
from stored_runs import states_in

FAULTS = int(os.environ.get("CRITBATCH_TORTURE_FAULTS", "20"))
SEED = int(os.environ.get("CRITBATCH_TORTURE_SEED", "0"))
FIXTURES = Path(__file__).parents[1] / "fixtures"
LONGEST_SECONDS = 120.0  # for one command, on a busy machine

TASK_FILE = """
from tiny import tiny_task
task = tiny_task(target={target})
"""
SWEEP = ["--batch-sizes", "16,96", "--learning-rates", "0.03,0.3", "--seeds", "0,1", "--epochs", "4", "--not-compiled"]
RUNS = 8


class Commands:
    """Starts commands and says how they ended."""

    def __init__(self, here: Path) -> None:
        self.here = here
        paths = os.pathsep.join([str(FIXTURES), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
        self.server = subprocess.Popen(
            [sys.executable, str(FIXTURES / "fork_server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self.environment,
        )
        self.count = 0
        for name, target in (("easy", 0.7), ("hard", 0.999)):
            (here / f"{name}.py").write_text(TASK_FILE.format(target=target), encoding="utf-8")

    def ask(self, order: dict[str, Any]) -> int:
        assert self.server.stdin is not None and self.server.stdout is not None
        self.server.stdin.write(json.dumps(order) + "\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())

    def start(self, *words: str, **faults: int) -> Command:
        self.count += 1
        log = self.here / f"{self.count}.log"
        return Command(self, self.ask({"words": words, "out": str(log), "err": str(log), **faults}), log, words)

    def close(self) -> None:
        self.server.communicate(timeout=LONGEST_SECONDS)


class Command:
    """One that is at work."""

    def __init__(self, commands: Commands, pid: int, log: Path, words: tuple[str, ...]) -> None:
        self.commands, self.pid, self.log, self.words = commands, pid, log, words

    def send(self, *kinds: signal.Signals) -> None:
        for kind in kinds:
            with suppress(ProcessLookupError):
                os.kill(self.pid, kind)

    def is_over(self) -> bool:
        return Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"

    def end(self) -> int:
        """Wait for it, and hold that nobody saw a traceback."""
        limit = time.monotonic() + LONGEST_SECONDS
        while not self.is_over():
            if time.monotonic() > limit:
                self.send(signal.SIGKILL)
                pytest.fail(f"{self.words} has not ended in {LONGEST_SECONDS:g} seconds: {self.said()}")
            time.sleep(0.005)
        code = self.commands.ask({"wait": self.pid})
        assert "Traceback" not in self.said(), f"{self.words}: {self.said()}"
        return code

    def said(self) -> str:
        if not self.log.is_file():  # it was killed before it had opened it
            return ""
        return self.log.read_text(encoding="utf-8", errors="replace")[-6000:]


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    made = Commands(tmp_path_factory.mktemp("torture"))
    yield made
    made.close()


# --- faults: each is given a command that has begun, and waits for its moment ----------------------------------------


def pause(random: Random, longest: float = 1.0) -> None:
    time.sleep(random.choice([0.05, 0.2, 1.0]) * longest * random.random())


def killed(kind: signal.Signals) -> Callable[[Commands, list[str], Random], set[int]]:
    def fault(commands: Commands, words: list[str], random: Random) -> set[int]:
        command = commands.start(*words)
        pause(random, 2.0)
        command.send(kind)
        code = command.end()
        assert code in (-kind, 0), command.said()
        return {code}

    return fault


def interrupted_twice(commands: Commands, words: list[str], random: Random) -> set[int]:
    command = commands.start(*words)
    pause(random, 2.0)
    command.send(signal.SIGINT)
    pause(random, 0.3)
    command.send(signal.SIGINT)
    code = command.end()
    assert code in (0, 130), command.said()
    return {code}


def stopped_for_a_while(commands: Commands, words: list[str], random: Random) -> set[int]:
    command = commands.start(*words)
    pause(random)
    command.send(signal.SIGSTOP)
    time.sleep(0.5)
    command.send(signal.SIGCONT)
    code = command.end()
    assert code == 0, command.said()
    return {code}


def clock_set_back(commands: Commands, words: list[str], random: Random) -> set[int]:
    code = (command := commands.start(*words, clock_back=random.randint(0, 200))).end()
    assert code == 0, command.said()
    return {code}


def without_file_handles(commands: Commands, words: list[str], random: Random) -> set[int]:
    code = (command := commands.start(*words, open_files=random.randint(4, 14))).end()
    assert code in (0, 2), command.said()
    assert code == 0 or command.said().splitlines()[-1].startswith("critbatch: "), command.said()
    return {code}


def two_at_once(commands: Commands, words: list[str], random: Random) -> set[int]:
    first = commands.start(*words)
    pause(random, 0.5)
    second = commands.start(*words)
    codes = {first.end(), second.end()}
    # A sweep is shared. Of advice, lecture and the like the second is told that the first is at work.
    assert codes in ({0}, {0, 2}), first.said() + second.said()
    return codes


def locked(commands: Commands, words: list[str], random: Random) -> set[int]:
    out = Path(words[words.index("--out") + 1])
    command = commands.start(*words)
    pause(random)
    store = next(out.rglob("runs.sqlite"), None) if out.is_dir() else None
    if store is not None:
        with closing(sqlite3.connect(store, timeout=10)) as database, suppress(sqlite3.OperationalError):
            database.execute("BEGIN EXCLUSIVE")
            time.sleep(0.5)
            database.rollback()
    code = command.end()
    assert code == 0, command.said()
    return {code}


KINDS = {
    "killed": killed(signal.SIGKILL),
    "terminated": killed(signal.SIGTERM),
    "hung up": killed(signal.SIGHUP),
    "interrupted twice": interrupted_twice,
    "stopped for a while": stopped_for_a_while,
    "clock set back": clock_set_back,
    "without file handles": without_file_handles,
    "two at once": two_at_once,
    "locked database": locked,
}


def moments(random: Random) -> Iterator[str]:
    """Every kind equally often, in random order."""
    while True:
        kinds = list(KINDS)
        random.shuffle(kinds)
        yield from kinds


# --- what is tortured ------------------------------------------------------------------------------------------------


def runs_in(out: Path) -> Counter[str]:
    """The runs that have come to their end, by their keys."""
    if not (out / "runs.sqlite").is_file():
        return Counter()
    with open_readers(out / "runs.sqlite") as found:
        return Counter(f"{shelf.terms.digest} {key}" for shelf in found for key, _ in shelf.keyed_runs())


def tortured(commands: Commands, words: list[str], out: Path, kinds: Iterable[str], random: Random) -> Counter[str]:
    """Begin the command with one fault after the other, and then let it end. Returns what came of the faults."""
    ends: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    for kind in kinds:
        for code in KINDS[kind](commands, words, random):
            ends[f"{kind}: {code}"] += 1
        now = runs_in(out)
        assert not kept - now, f"{kind} lost runs"
        assert max(now.values(), default=1) == 1, f"{kind} made a run twice"
        kept = now
    last = commands.start(*words)
    assert last.end() == 0, last.said()
    assert not kept - runs_in(out)
    return ends


@pytest.fixture(scope="module")
def unbroken(commands: Commands) -> Any:
    """The study of a sweep that nothing happened to."""
    out = commands.here / "unbroken"
    command = commands.start("sweep", f"{commands.here / 'easy.py'}:task", *SWEEP, "--out", str(out))
    assert command.end() == 0, command.said()
    (study,) = stored_studies(out / "runs.sqlite")
    return study


SHARES = {"sweep": 0.5, "advise": 0.3, "report": 0.2}


def of(name: str) -> int:
    return max(1, round(FAULTS * SHARES[name]))


def test_a_tortured_sweep_has_each_run_once_and_as_the_unbroken_one(commands: Commands, unbroken: Any) -> None:
    random, left = Random(SEED), of("sweep")
    kinds = moments(random)
    while left > 0:
        faults = min(left, 5)  # then it is about at its end
        left -= faults
        out = commands.here / f"sweep-{left}"
        words = ["sweep", f"{commands.here / 'easy.py'}:task", *SWEEP, "--out", str(out)]
        if FAULTS >= 100 and left % 4 == 0:
            words += ["--workers", "2"]
        print(tortured(commands, words, out, islice(kinds, faults), random))
        (study,) = stored_studies(out / "runs.sqlite")
        assert numbers(study) == numbers(unbroken)
        assert states_in(out) == ["finished"] * RUNS
        assert not [path for path in out.rglob("*") if path.suffix == ".pt"]


def test_a_tortured_advice_has_each_run_once_and_comes_to_an_answer(commands: Commands) -> None:
    random = Random(SEED + 1)
    out = commands.here / "advise"
    words = ["advise", f"{commands.here / 'easy.py'}:task", "--budget", "4", "--out", str(out)]
    print(tortured(commands, words, out, islice(moments(random), of("advise")), random))
    advice = Advice.from_json((out / "advice.json").read_bytes())
    assert max(Counter((run.batch_size, run.learning_rate, run.seed) for run in advice.runs).values()) == 1


def test_a_tortured_report_is_whole_or_not_there(commands: Commands, unbroken: Any) -> None:
    random = Random(SEED + 2)
    folder = commands.here / "unbroken"
    for n, kind in enumerate(islice(moments(random), of("report"))):
        out = folder / f"report-{n % 3}.html"
        words = ["report", str(folder), "--out", str(out)]
        KINDS[kind](commands, words, random)
        assert not out.exists() or out.read_bytes().rstrip().endswith(b"</html>")
    assert states_in(folder) == ["finished"] * RUNS


def test_a_tortured_lecture_ends(commands: Commands) -> None:
    if FAULTS < 100:
        pytest.skip("a lecture takes a minute: `make torture` has it")
    random = Random(SEED + 3)
    out = commands.here / "lecture"
    words = ["lecture", f"{commands.here / 'easy.py'}:task", "--seeds", "2", "--budget", "30", "--workers", "1"]
    kinds = islice(moments(random), FAULTS // 10)
    print(tortured(commands, [*words, "--out", str(out)], out, kinds, random))
    assert (out / "claims.json").is_file()


def test_a_disk_that_fills_up_at_any_moment_costs_no_run(commands: Commands, unbroken: Any, disk: Disk) -> None:  # noqa: F811
    random = Random(SEED + 4)
    for n in range(max(1, FAULTS // 10)):
        out = disk.place / f"out-{n}"
        words = ["sweep", f"{commands.here / 'easy.py'}:task", *SWEEP, "--out", str(out), "--json"]
        command = commands.start(*words)
        pause(random)
        disk.fill(random.choice([0, 4096, 50_000, 500_000]))
        code = command.end()
        assert code in (0, 2), command.said()
        kept = Counter[str]()
        with suppress(Exception):  # a full disk has no room for the journal that a reader of SQLite may need
            kept = runs_in(out)
        disk.empty()
        for report in out.glob("*.html"):  # it is larger than half of the disk
            report.unlink()
        assert (last := commands.start(*words)).end() in (0, 2), last.said()
        for report in out.glob("*.html"):
            report.unlink()
        (study,) = stored_studies(out / "runs.sqlite")
        assert not kept - runs_in(out) and numbers(study) == numbers(unbroken)
        assert states_in(out) == ["finished"] * RUNS
        shutil.rmtree(out)
