"""A store of 10,000 finished runs: seconds to decide what is left, to report, and to export; bytes on the disk.

    .venv/bin/python benchmarks/store_size.py

The runs are made up from the law of steps to target, with curves of 60 evaluations as training has them. Each duration
is that of a process of its own, five times; to decide is timed from when the libraries of the database are loaded.
Writes `results/store-size.json`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

from critbatch.records.core import CurvePoint, Outcome, Run
from critbatch.records.study import Study, StudySpec
from critbatch.runtime.device import describe_machine
from critbatch.runtime.provenance import RunTimer
from critbatch.studies import run_table
from critbatch.studies.run_key import RunKey, summary_of
from critbatch.studies.run_table import StudyState
from critbatch.studies.search import choose
from critbatch.studies.spec import build_spec
from critbatch.studies.store import Store
from critbatch.studies.sweep import terms_of
from critbatch.tasks.registry import find_task
from critbatch.training.evaluation import Evaluation

HERE = Path(__file__).parent
TASK = find_task("digits-mlp")
CPU = torch.device("cpu")
EVALUATIONS = 60
EPOCHS = 100.0
SIZES = (1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1437)
RATES = tuple(float(f"{0.001 * 1.45**k:.3g}") for k in range(25))
DECIDE = """
import sys, time
sys.path.insert(0, {here!r})
import sqlalchemy
from store_size import ask
from pathlib import Path
began, used = time.perf_counter(), time.process_time()
claim, left = ask(Path({folder!r}), {seeds})
print(time.perf_counter() - began, time.process_time() - used, left)
"""


def question_of(seeds: int) -> StudySpec:
    return build_spec(
        TASK,
        batch_sizes=SIZES,
        learning_rates=RATES,
        seeds=range(seeds),
        recipe="sgd",
        epochs=EPOCHS,
        target=TASK.target,
        stops_at_target=False,
    )


def made_up(key: RunKey, question: StudySpec) -> Run:
    """A run that comes to the target by the law, with some scatter, or does not in its epochs."""
    draw = random.Random(key.digest)
    best = 0.4 / (1 + 60 / key.batch_size)
    rho = key.learning_rate / best
    steps = 40 * (1 + 60 / key.batch_size) * (rho + 1 / rho) / 2 * math.exp(draw.gauss(0, 0.1))
    last = math.ceil(EPOCHS * TASK.examples / key.batch_size)
    curve = tuple(
        _point(step, steps, key, draw)
        for step in sorted({round(last ** (n / (EVALUATIONS - 1))) for n in range(EVALUATIONS)} | {0})
    )
    crossing = question.target.crossing(curve) if question.target is not None else None
    return Run(
        task=TASK.name,
        recipe="sgd",
        batch_size=key.batch_size,
        micro_batch_size=key.batch_size,
        learning_rate=key.learning_rate,
        seed=key.seed,
        target=None,
        outcome=Outcome.FINISHED,
        crossing=None if not question.stops_at_target else crossing,
        steps=last,
        examples=last * key.batch_size,
        epochs=EPOCHS,
        seconds=last * 0.0003,
        evaluation_seconds=0.1,
        curve=curve,
        metric_name="accuracy",
    )


def _point(step: int, steps: float, key: RunKey, draw: random.Random) -> CurvePoint:
    loss = 2.3 * math.exp(-3 * step / steps) + 0.08 + draw.random() * 0.01
    accuracy = 1 - 0.9 * math.exp(-3.4 * step / steps) - draw.random() * 0.003
    return CurvePoint(
        step=step,
        examples=step * key.batch_size,
        epoch=step * key.batch_size / TASK.examples,
        seconds=step * 0.0003 * (1 + draw.random() / 10),
        learning_rate=key.learning_rate * (0.5 + draw.random() / 2),
        train_loss=loss - draw.random() * 0.01,
        train_metric=min(1.0, accuracy + draw.random() * 0.003),
        validation_loss=loss,
        validation_metric=accuracy,
    )


def open_store(folder: Path, question: StudySpec) -> Store:
    return Store.open(folder, terms_of(TASK, question, Evaluation(), CPU))


def fill(folder: Path, seeds: int) -> None:
    """All runs of the question, many in one transaction instead of two transactions each."""
    question = question_of(seeds)
    watch = RunTimer()
    with open_store(folder, question) as store:
        provenance = watch.provenance(command="critbatch sweep digits-mlp", seed=0, device=CPU)
        head = Study(question=question, unit=TASK.unit, examples=TASK.examples, provenance=provenance)
        store.save_study(head, ended=True)
        keys = choose(question, StudyState()).keys
        for start in range(0, len(keys), 1000):
            with store._database.write(store._study) as connection:
                for key in keys[start : start + 1000]:
                    run = made_up(key, question)
                    number = store._table.insert(connection, key, "host.0")
                    run_table.finish(connection, number, "host.0", run, summary_of(run, target=question.target))
            print(f"{min(start + 1000, len(keys))} runs", flush=True)


def bookkeeping(folder: Path, runs: int) -> list[float]:
    """Seconds that the store takes for a run, to claim and to keep it, on the disk of `folder`."""
    question, found = question_of(1), []
    with open_store(folder, question) as store:
        for key in choose(question, StudyState()).keys[:runs]:
            run = made_up(key, question)
            began = time.perf_counter()
            claim = store.claim(lambda stock, key=key: [key])
            assert claim is not None
            store.keep(claim, run)
            found.append(time.perf_counter() - began)
    return found


def ask(folder: Path, seeds: int) -> tuple[Any, int]:
    """What a worker does first: open the store, see what is left, claim it. Then it is given back."""
    question, left = question_of(seeds), 0

    def wanted(stock: Any) -> list[RunKey]:
        nonlocal left
        keys = choose(question, stock).keys
        left = sum(key not in stock.finished for key in keys)
        return keys

    with open_store(folder, question) as store:
        claim = store.claim(wanted)
        if claim is not None:
            store.release(claim)
    return claim, left


def timed(command: list[str], times: int) -> dict[str, Any]:
    """Of wall clock, and of processor, which other work on the machine does not move."""
    seconds, processor = [], []
    for _ in range(times):
        began, before = time.perf_counter(), _processor()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
        seconds.append(time.perf_counter() - began)
        processor.append(_processor() - before)
    return {"seconds": _spread(seconds), "processor_seconds": _spread(processor)}


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _spread(found: list[float]) -> dict[str, Any]:
    return {"median": median(found), "least": min(found), "most": max(found), "n": len(found)}


def decided(folder: Path, seeds: int, times: int) -> dict[str, Any]:
    """Without the start of Python and the imports, which any command has."""
    code = DECIDE.format(here=str(HERE), folder=str(folder), seeds=seeds)
    told = [
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
        for _ in range(times)
    ]
    seconds, processor, left = zip(*told, strict=True)
    return {
        "seconds": _spread([float(one) for one in seconds]),
        "processor_seconds": _spread([float(one) for one in processor]),
        "left": int(left[-1]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=25, help="400 runs each")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="keep the store there, or use the one that is there")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary) / "study"
        if not (folder / "runs.sqlite").is_file():
            in_memory = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else temporary))
            fill(in_memory, asked.seeds)
            shutil.move(in_memory, folder)
        with open_store(folder, question_of(asked.seeds)) as store:
            runs = len(store.state().finished)
        each = bookkeeping(Path(temporary) / "small", 100)
        script = str(Path(sys.executable).parent / "critbatch")
        page, table = folder / "report.html", folder / "runs.csv"
        result = {
            "command": " ".join(["python", "benchmarks/store_size.py", *sys.argv[1:]]),
            "runs": runs,
            "evaluations_of_a_run": EVALUATIONS,
            "seconds_to_claim_and_keep_a_run": _spread(each),
            "to_decide_that_nothing_is_left": decided(folder, asked.seeds, asked.times),
            "to_decide_what_is_left": decided(folder, asked.seeds + 1, asked.times),
            "to_report": timed([script, "report", str(folder), "--out", str(page)], asked.times),
            "to_export_runs": timed([script, "export", str(folder), "--out", str(table)], asked.times),
            "bytes_of_store": (folder / "runs.sqlite").stat().st_size,
            "bytes_of_page": page.stat().st_size,
            "load_average": os.getloadavg(),
            "machine": json.loads(describe_machine(CPU).to_json()),
        }
    print(json.dumps(result, indent=1))
    (HERE / "results" / "store-size.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
