"""Two workers of a sweep against one, on two cores: rounds that take turns.

    .venv/bin/python benchmarks/sweep_workers.py

The same runs, of one thread each. What is compared is the time from the beginning of the first run to the end of the
last, as the store has it; the start of the command is told apart. The ceiling is what two processes that train beside
each other, with no store between them, bring over one. Writes `results/sweep-workers.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

import torch

from critbatch.runtime.device import describe_machine

HERE = Path(__file__).parent
SIZES, SEEDS = (16, 32), tuple(range(8))
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}
TRAIN = """
import time, torch
torch.set_num_threads(1)
from pathlib import Path
from critbatch.recipes import plan_of
from critbatch.training.trainer import train
from critbatch.tasks.registry import find_task
task = find_task("digits-mlp")
print("ready", flush=True)
input()
began = time.perf_counter()
for seed in range(4):
    train(task, plan_of("sgd", batch_size=16, learning_rate=0.05, epochs={epochs}), seed=seed, compile=False)
print(time.perf_counter() - began, flush=True)
"""


def sweep_seconds(folder: Path, workers: int, epochs: float) -> dict[str, float]:
    """Of the whole command, and from the first run to the last."""
    words = ["digits-mlp", "--batch-sizes", ",".join(map(str, SIZES)), "--seeds", ",".join(map(str, SEEDS))]
    words += [
        "--learning-rates",
        "0.05",
        "--epochs",
        str(epochs),
        "--no-stop-at-target",
        "--no-compile",
        "--threads",
        "1",
    ]
    command = [sys.executable, "-m", "critbatch", "sweep", *words, "--workers", str(workers), "--out", str(folder)]
    began, used = time.perf_counter(), _processor()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ONE_THREAD)
    whole, processor = time.perf_counter() - began, _processor() - used
    with closing(sqlite3.connect(folder / "runs.sqlite")) as store:
        rows = store.execute("SELECT started, ended, state FROM critbatch_runs").fetchall()
    assert len(rows) == len(SIZES) * len(SEEDS) and {state for *_, state in rows} == {"finished"}
    span = max(ended for _, ended, _ in rows) - min(started for started, *_ in rows)
    return {"whole": whole, "runs": span, "processor": processor}


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def train_seconds(processes: int, epochs: float) -> float:
    """Of so many processes that train beside each other; the slowest one's."""
    crew = [
        subprocess.Popen(
            [sys.executable, "-c", TRAIN.format(epochs=epochs)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=ONE_THREAD,
        )
        for _ in range(processes)
    ]
    for one in crew:
        assert one.stdout is not None and one.stdout.readline() == "ready\n"
    for one in crew:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    return max(float(one.communicate()[0]) for one in crew)


def spread(found: list[float]) -> dict[str, Any]:
    return {"median": median(found), "least": min(found), "most": max(found), "n": len(found)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=float, default=100.0)
    asked = parser.parse_args()
    rounds: list[dict[str, Any]] = []
    load = os.getloadavg()
    with tempfile.TemporaryDirectory() as temporary:
        for number in range(asked.rounds):
            order = (1, 2) if number % 2 == 0 else (2, 1)
            told = {w: sweep_seconds(Path(temporary) / f"{number}-{w}", w, asked.epochs) for w in order}
            alone = {count: train_seconds(count, asked.epochs) for count in order}
            rounds.append({"one": told[1], "two": told[2], "ceiling": 2 * alone[1] / alone[2]})
            print(f"{told[1]['runs'] / told[2]['runs']:.2f} times faster; {rounds[-1]}", flush=True)
    result = {
        "command": " ".join(["python", "benchmarks/sweep_workers.py", *sys.argv[1:]]),
        "runs": len(SIZES) * len(SEEDS),
        "epochs": asked.epochs,
        "times_faster": spread([r["one"]["runs"] / r["two"]["runs"] for r in rounds]),
        "times_faster_with_start": spread([r["one"]["whole"] / r["two"]["whole"] for r in rounds]),
        "processor_seconds_of_two_over_one": spread([r["two"]["processor"] / r["one"]["processor"] for r in rounds]),
        "seconds_of_start_and_end_with_one": spread([r["one"]["whole"] - r["one"]["runs"] for r in rounds]),
        "seconds_of_start_and_end_with_two": spread([r["two"]["whole"] - r["two"]["runs"] for r in rounds]),
        "ceiling_of_two_processes_without_a_store": spread([r["ceiling"] for r in rounds]),
        "rounds": rounds,
        "load_average_before": load,
        "machine": json.loads(describe_machine(torch.device("cpu")).to_json()),
    }
    print(json.dumps({name: result[name] for name in result if name not in ("rounds", "machine")}, indent=1))
    (HERE / "results" / "sweep-workers.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
