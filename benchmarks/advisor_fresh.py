"""The advice and the sweep's best, both judged by runs that neither has seen.

    python benchmarks/advisor_fresh.py --set final --out advisor-runs

The best of a sweep is chosen by the medians that it is then told by: a part of it is luck, so that nothing can be as
good. Here ten new seeds are run at what the advice recommended and at what the sweep found best, after `advisor.py` was
run with the same `--out`. Tasks whose rate decays have no such runs: what a run takes is then a choice of its length.
Writes `benchmarks/results/advisor-fresh-SET.json`; `advisor_fresh_figures.py` prints the tables.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from advisor import CLOCKS, MEASURED, clock_of, fresh_steps, rounded
from advisor_scores import Sweep
from advisor_sets import SETS
from advisor_tasks import case_of
from advisor_truth import RESULTS, Runner, rate_of
from critbatch.law.step_time import step_seconds_at

SEEDS = tuple(range(200, 210))


def of_task(name: str, folder: Path) -> list[dict[str, Any]]:
    """Each clock and target: seconds of the new seeds at the recommendation, and at the best of the sweep."""
    scenarios = json.loads((folder / f"{name}.scenarios.json").read_text(encoding="utf-8"))["scenarios"]
    runner, told = Runner(name, folder / f"{name}.fresh.jsonl"), []
    for one in scenarios:
        sweep, speed = Sweep(name, one["target"]), clock_of(name, one["clock"], folder)
        size, _ = sweep.best(speed)
        places = {"best": (size, rate_of(runner.case.recipe, sweep.best_rung(size)))}
        advice = one["searches"]["measured"]
        if "batch_size" in advice:
            places["advice"] = (advice["batch_size"], advice["learning_rate"])
        case = {"task": name, "target": one["target"], "clock": one["clock"]}
        for label, (batch_size, rate) in places.items():
            step = step_seconds_at(speed, batch_size).value
            steps = fresh_steps(runner, one["target"], sweep, batch_size, rate, SEEDS)
            case[label] = {"batch_size": batch_size, "learning_rate": rate, "seconds": [step * each for each in steps]}
        told.append(case)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=list(SETS), required=True)
    parser.add_argument("--out", type=Path, required=True, help="the folder that `advisor.py` was run with")
    parser.add_argument("--tasks", nargs="*", help="some of them")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    cases = []
    for name in asked.tasks or [name for name in SETS[asked.set] if not case_of(name).decays]:
        began = time.monotonic()
        cases += of_task(name, asked.out)
        print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
    if asked.tasks is None:
        head = {"seeds": SEEDS, "clocks": [MEASURED, *CLOCKS]}
        rows = ",\n".join(f"  {json.dumps(one)}" for one in rounded(cases))
        text = json.dumps(head, indent=1)[:-2] + f',\n "cases": [\n{rows}\n ]\n}}\n'
        (RESULTS / f"advisor-fresh-{asked.set}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
