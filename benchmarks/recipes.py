"""Every recipe beside the small-batch run: equal epochs, equal tuning budgets, five seeds.

    python benchmarks/recipes.py --task mnist-mlp --out recipe-runs

Tunes the learning rate of each arm on 5,000 training images set apart, then runs each with five seeds and looks at the
test set once, at the end of these. Each finished run is a line of a file in `--out`: the same command goes on from
there. At the end it writes `benchmarks/results/recipes-TASK.json`; `recipe_figures.py` prints the tables.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from critbatch.runtime.device import describe_machine
from recipe_runs import ARMS, CPU, REFERENCE, VALIDATION, Arm, Setting, final_round, search, settled, split, tuning_run

RESULTS = Path(__file__).parent / "results"
Line = dict[str, Any]
Job = tuple[str, Arm, float]


class RunFile:
    """The finished runs, one a line."""

    def __init__(self, path: Path, setting: Setting) -> None:
        self.path, self.lines = path, list[Line]()
        head = setting.to_plain()
        if path.is_file():
            # A line that was cut short is a run that had not finished.
            whole = [line for line in path.read_text(encoding="utf-8").split("\n")[:-1] if line]
            if whole and json.loads(whole[0]) != head:
                raise SystemExit(f"{path} holds runs of another setting: use another --out.")
            self.lines = [json.loads(line) for line in whole[1:]]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in (head, *self.lines)), encoding="utf-8")

    def add(self, lines: Iterable[Line]) -> None:
        new = list(lines)
        self.lines += new
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(line) + "\n" for line in new))

    def of(self, part: str, arm: str | None = None) -> list[Line]:
        return [line for line in self.lines if line["part"] == part and arm in (None, line["arm"])]


def rate_at(centre: float, place: float) -> float:
    """On a grid of half decades around `centre`, to four digits."""
    return float(f"{centre * 10 ** (place / 2):.4g}")


def places(grid: int) -> list[float]:
    return [float(k - grid // 2) for k in range(grid)]


def goodness(line: Line) -> tuple[bool, float, float]:
    """What the best of a tuning is best in: validation accuracy, then validation loss."""
    loss = line["validation_loss"]
    return line["outcome"] == "finished", line["validation_accuracy"], -(math.inf if loss is None else loss)


def best(lines: Iterable[Line]) -> Line:
    return max(lines, key=goodness)


def two_more(centre: float, grid: int, lines: list[Line]) -> tuple[list[float], bool]:
    """Beyond the edge where the best of the grid lies there, else to both sides of it; and whether it lay there."""
    by_rate = {line["learning_rate"]: line for line in lines}
    there = {place: by_rate[rate_at(centre, place)] for place in places(grid)}
    place = max(there, key=lambda k: goodness(there[k]))
    low, high = min(there), max(there)
    if place == low:
        return [rate_at(centre, low - 1), rate_at(centre, low - 2)], True
    if place == high:
        return [rate_at(centre, high + 1), rate_at(centre, high + 2)], True
    return [rate_at(centre, place - 0.5), rate_at(centre, place + 0.5)], False


def many(setting: Setting, jobs: list[Job], workers: int) -> Iterator[Line]:
    if workers == 1:
        for job in jobs:
            yield tuning_run(setting, *job)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(tuning_run, setting, *job) for job in jobs]):
            yield future.result()


def tune(setting: Setting, runs: RunFile, workers: int) -> dict[str, dict[str, Any]]:
    """The best rate of each tuned arm, from as many runs for each."""
    tuned = [name for name, arm in ARMS.items() if arm.centre is not None]
    found: dict[str, dict[str, Any]] = {}
    # What an arm takes from another's tuning must be there before its own.
    for names in (
        [name for name in tuned if ARMS[name].second_rate_of is None],
        [name for name in tuned if ARMS[name].second_rate_of is not None],
    ):
        arms = {name: settled(name, found) for name in names}
        grid = [(name, arm, rate_at(arm.centre or 0.0, k)) for name, arm in arms.items() for k in places(setting.grid)]
        _try(setting, runs, grid, workers)
        more = {name: two_more(arm.centre or 0.0, setting.grid, runs.of("tuning", name)) for name, arm in arms.items()}
        _try(setting, runs, [(name, arms[name], rate) for name in names for rate in more[name][0]], workers)
        for name in names:
            lines = sorted(runs.of("tuning", name), key=lambda line: line["learning_rate"])
            top = best(lines)
            found[name] = {
                "learning_rate": top["learning_rate"],
                "window_moved": more[name][1],
                "best_at_edge": top in (lines[0], lines[-1]),
            }
    for name, arm in ARMS.items():
        if arm.trials:
            _try(setting, runs, [(name, *trial) for trial in search(name, setting.epochs)], workers)
            top = best(runs.of("tuning", name))
            found[name] = {"learning_rate": top["learning_rate"], "options": top["options"]}
    return found


def _try(setting: Setting, runs: RunFile, jobs: list[Job], workers: int) -> None:
    """One run of each job, those that are there left out."""
    done = {(line["arm"], line["learning_rate"]) for line in runs.of("tuning")}
    left = [job for job in jobs if (job[0], job[2]) not in done]
    for n, line in enumerate(many(setting, left, workers), 1):
        runs.add([line])
        accuracy = f"{100 * line['validation_accuracy']:.2f} %" if line["outcome"] == "finished" else "diverged"
        told = f"{line['arm']}, rate {line['learning_rate']:g}: {accuracy} in {line['wall_seconds']:.1f} s"
        print(f"tuning {n}/{len(left)}: {told}", flush=True)


def settled_arms(tuned: dict[str, dict[str, Any]]) -> dict[str, tuple[Arm, float]]:
    """Every arm as it is run with all seeds, and its rate."""
    return {
        name: (settled(name, tuned), tuned[arm.rate_of or name]["learning_rate"] * arm.rate_factor)
        for name, arm in ARMS.items()
    }


def rounded(plain: Any) -> Any:
    """All numbers to six digits."""
    if isinstance(plain, dict):
        return {key: rounded(value) for key, value in plain.items()}
    if isinstance(plain, list | tuple):
        return [rounded(value) for value in plain]
    return float(f"{plain:.6g}") if isinstance(plain, float) else plain


def record(setting: Setting, runs: RunFile, tuned: dict[str, dict[str, Any]]) -> dict[str, Any]:
    task = split(setting.task, setting.examples).task
    arms = {}
    kept = ("learning_rate", "options", "outcome", "validation_accuracy", "validation_loss")
    for name, (arm, rate) in settled_arms(tuned).items():
        tuning = [
            {key: line[key] for key in kept if key in line}
            for line in sorted(runs.of("tuning", name), key=lambda line: line["learning_rate"])
        ]
        finals = sorted(runs.of("final", name), key=lambda line: line["seed"])
        left_out = ("arm", "part", "round_seconds")
        arms[name] = {
            **asdict(arm),
            **tuned.get(name, {}),
            "options": arm.options,
            "learning_rate": rate,
            "tuning": tuning,
            "runs": [{key: value for key, value in line.items() if key not in left_out} for line in finals],
        }
    rounds = {(line["seed"], line["round_seconds"]) for line in runs.of("final")}
    return {
        "setting": setting.to_plain() | {"train": task.examples, "validation": VALIDATION, "reference": REFERENCE},
        "machine": json.loads(describe_machine(CPU).to_json()),
        "tuning_runs": len(runs.of("tuning")),
        "tuning_wall_seconds": round(sum(line["wall_seconds"] for line in runs.of("tuning"))),
        "final_runs": len(runs.of("final")),
        "final_wall_seconds": round(sum(seconds for _, seconds in rounds)),
        "arms": arms,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=["mnist-mlp", "fashion-mlp"], required=True)
    parser.add_argument("--out", type=Path, required=True, help="a folder for the finished runs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="a folder for the record")
    parser.add_argument("--workers", type=int, default=1, help="processes for tuning; the final runs have one")
    parser.add_argument("--epochs", type=float, default=10.0)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--grid", type=int, default=7, help="learning rates at first, odd; two more follow")
    parser.add_argument("--examples", type=int, help="of the training set, for a quick look")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    setting = Setting(
        task=asked.task,
        epochs=asked.epochs,
        examples=asked.examples,
        grid=asked.grid,
        seeds=tuple(range(asked.seeds)),
    )
    runs = RunFile(asked.out / f"{asked.task}.jsonl", setting)
    tuned = tune(setting, runs, asked.workers)
    arms = settled_arms(tuned)
    for seed in setting.seeds:
        done = {line["arm"] for line in runs.of("final") if line["seed"] == seed}
        left = {name: arm for name, arm in arms.items() if name not in done}
        if left:
            runs.add(final_round(setting, left, seed, lambda words: print(words, flush=True), beside=arms[REFERENCE]))
    asked.results.mkdir(parents=True, exist_ok=True)
    path = asked.results / f"recipes-{asked.task}.json"
    path.write_text(json.dumps(rounded(record(setting, runs, tuned)), indent=1) + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
