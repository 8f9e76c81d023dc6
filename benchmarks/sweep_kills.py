"""A sweep by two workers that is killed 20 times at random moments, on each kind of database.

    .venv/bin/python benchmarks/sweep_kills.py

Workers and the master are killed by SIGKILL: at any moment, all at once while SQLite writes, and within writes of the
database and of checkpoints (`sweep_kill_shots.py`). In the end every run must be there once and equal to that of the
unbroken sweep to the bit, clocks left out. PostgreSQL must be installed. Writes `results/sweep-kills.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from critbatch.records.core import Run
from critbatch.records.study import Study
from critbatch.runtime.device import describe_machine
from critbatch.studies.stored import open_readers, stored_studies
from postgres_server import postgres
from sweep_kill_shots import OF_SQL

HERE = Path(__file__).parent
QUESTION = (
    *("digits-mlp", "--batch-sizes", "16,64,1437", "--seeds", "0,1,2", "--epochs", "30", "--no-stop-at-target"),
    *("--no-compile", "--json"),
)
LONGEST_WAIT = 8.0  # from one kill to the next
SECONDS_FOR_A_SHOT = 60.0
SECONDS_FOR_ALL = 1800.0


class Sweep:
    """One sweep that is started again whenever its master dies."""

    def __init__(self, folder: Path, url: str | None, shots: Path) -> None:
        self.folder, self.shots = folder, shots
        self.command = [sys.executable, "-m", "critbatch", "sweep", *QUESTION, "--workers", "2", "--out", str(folder)]
        self.command += ["--storage", url] if url is not None else []
        self.store = url or folder / "runs.sqlite"
        self.journal = folder / "runs.sqlite-journal"
        self.log = folder.with_suffix(".log")
        self.starts = 0
        self.start()

    def start(self) -> None:
        self.starts += 1
        paths = os.pathsep.join([str(self.shots), *filter(None, [os.environ.get("PYTHONPATH")])])
        settings = {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths, "CRITBATCH_SHOTS": str(self.shots)}
        with self.log.open("ab") as log:
            self.master = subprocess.Popen(
                self.command, stdout=subprocess.DEVNULL, stderr=log, env={**os.environ, **settings}
            )

    def workers(self) -> list[int]:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
                parent = int((folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue
            if parent == self.master.pid and b"critbatch.studies.worker_process" in words:
                found.append(int(folder.name))
        return found

    def is_over(self) -> bool:
        """Its master has come to the end by itself. One that was killed is started again."""
        code = self.master.poll()
        if code == -signal.SIGKILL:
            self.start()
        elif code not in (None, 0):
            raise SystemExit(
                f"The sweep has failed with code {code}: see\n{self.log.read_text(encoding='utf-8')[-3000:]}"
            )
        return code == 0

    def kill(self, pid: int) -> bool:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        if pid == self.master.pid:
            self.master.wait()
        return True


def kill_once(sweep: Sweep, kind: str) -> str | None:
    """Wait for the moment and kill. Returns who died where, or None if the sweep ended before."""
    limit = time.monotonic() + (random.uniform(0, LONGEST_WAIT) if kind in ("worker", "master") else SECONDS_FOR_A_SHOT)
    fired = sweep.shots / "fired"
    if kind not in ("worker", "master", "all"):
        (sweep.shots / "armed").write_text(kind, encoding="utf-8")
    try:
        while not sweep.is_over():
            if fired.is_file() and (words := fired.read_text(encoding="utf-8")):
                pid, _, what = words.partition(" ")
                fired.unlink()
                return f"{'master' if int(pid) == sweep.master.pid else 'worker'}, {what.strip()}"
            if kind == "all" and sweep.journal.exists():
                dead = [sweep.kill(pid) for pid in (*sweep.workers(), sweep.master.pid)]
                return f"all {sum(dead)} processes while SQLite wrote"
            if time.monotonic() >= limit:
                victims = {"worker": sweep.workers(), "master": [sweep.master.pid]}.get(kind)
                if victims is None:
                    return kill_once(sweep, "worker")
                if victims and sweep.kill(random.choice(victims)):
                    return f"{kind}, at any moment"
            time.sleep(0.0005 if kind == "all" else 0.01)
    finally:
        (sweep.shots / "armed").unlink(missing_ok=True)
    return None


def still(study: Study) -> list[Run]:
    """The runs without what a clock says."""
    runs = [
        replace(
            run,
            seconds=0.0,
            evaluation_seconds=0.0,
            crossing=run.crossing and replace(run.crossing, seconds=0.0),
            curve=tuple(replace(point, seconds=0.0) for point in run.curve),
        )
        for run in study.runs
    ]
    return sorted(runs, key=lambda run: (run.batch_size, run.learning_rate, run.seed))


def finish(sweep: Sweep) -> None:
    limit = time.monotonic() + SECONDS_FOR_ALL
    while not sweep.is_over():
        if time.monotonic() > limit:
            raise SystemExit(f"The sweep in {sweep.folder} does not end.")
        time.sleep(0.1)


def verdict(sweep: Sweep, unbroken: Study) -> dict[str, Any]:
    (study,) = stored_studies(sweep.store)
    with open_readers(sweep.store) as (shelf,):
        rows = shelf.rows()
    told = still(study)
    return {
        "runs": len(study.runs),
        "left": study.runs_left,
        "rows": len(rows),
        "rows_not_ended": sum(row.summary is None for row in rows),
        "runs_with_two_rows": len(rows) - len({row.key for row in rows}),
        "equal_to_unbroken": told == still(unbroken),
        "masters_started": sweep.starts,
        "checkpoints_left": len(list((sweep.folder / "checkpoints").glob("*"))),
    }


def measure(name: str, make_url: Callable[[int], str | None], kills: int, folder: Path, unbroken: Study) -> Any:
    """As many sweeps as it takes for so many kills."""
    shots = folder / "shots"
    shots.mkdir()
    shutil.copy(HERE / "sweep_kill_shots.py", shots / "sitecustomize.py")
    kinds = ["worker", "master", *OF_SQL, *(["all"] if name == "sqlite" else [])]
    done: list[str] = []
    sweeps: list[dict[str, Any]] = []
    began = time.monotonic()
    while len(done) < kills:
        sweep = Sweep(folder / f"study-{len(sweeps)}", make_url(len(sweeps)), shots)
        while len(done) < kills and (died := kill_once(sweep, kinds[len(done) % len(kinds)])) is not None:
            done.append(died)
            print(f"{name} {len(done)}: {died}", flush=True)
        finish(sweep)
        sweeps.append(verdict(sweep, unbroken))
        print(f"{name}: {sweeps[-1]}", flush=True)
    return {"kills": dict(Counter(done)), "sweeps": sweeps, "seconds": round(time.monotonic() - began)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="on each database")
    parser.add_argument("--databases", default="sqlite,postgresql")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    asked = parser.parse_args()
    random.seed(asked.seed)
    with ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory()))
        command = [sys.executable, "-m", "critbatch", "sweep", *QUESTION, "--out", str(folder / "unbroken")]
        began = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
        (unbroken,) = stored_studies(folder / "unbroken" / "runs.sqlite")
        print(f"unbroken: {len(unbroken.runs)} runs in {time.monotonic() - began:.0f} s", flush=True)
        result: dict[str, Any] = {
            "command": " ".join(["python", "benchmarks/sweep_kills.py", *sys.argv[1:]]),
            "question": " ".join(QUESTION),
            "databases": {},
        }
        for name in asked.databases.split(","):
            here = folder / name
            here.mkdir()
            urls: dict[str, Callable[[int], str | None]] = {
                "sqlite": lambda n: None,
            }
            if name == "postgresql":
                made = closing.enter_context(postgres())
                urls[name] = lambda n, made=made: made(f"study_{n}")
            result["databases"][name] = measure(name, urls[name], asked.kills, here, unbroken)
    result["machine"] = json.loads(describe_machine(torch.device("cpu")).to_json())
    path = HERE / "results" / "sweep-kills.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
