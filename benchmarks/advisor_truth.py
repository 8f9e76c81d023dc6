"""The ground truth of the advisor's study: a tuned sweep of each task, steps to its two targets.

    python benchmarks/advisor_truth.py NAME... --out advisor-runs

Batch sizes a factor 2 apart; at each, learning rates a factor 2 apart until the best has a worse neighbour on either
side for both targets; three seeds at the best and its neighbours. Each finished run is a line of a file in `--out`, and
the same command goes on from there. At the end it writes `benchmarks/results/advisor-truth-NAME.json`.

Where the rate decays, steps to a target are the shortest planned length whose run comes to it: lengths a factor sqrt(2)
apart are run; between the longest that falls short and the shortest that comes it is a straight line in log(length).
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from advisor_sets import ALL, LOSS, Case
from advisor_tasks import CPU, case_of, task_of
from critbatch.law.objective import two_digits
from critbatch.recipes import plan_of
from critbatch.records.core import CurvePoint, Target
from critbatch.tasks.task import Task
from critbatch.training.evaluation import Evaluation
from critbatch.training.state import Budget
from critbatch.training.trainer import Training

RESULTS = Path(__file__).parent / "results"
SEEDS = (100, 101, 102)
# When a run is evaluated: as `advise` does.
EVALUATION = Evaluation(growth=1.1, validation_examples=2000, train_examples=0)
BASE = {"sgd": 0.1, "adam": 0.001}
# A run this many times behind the best of its batch size has missed.
PATIENCE = 2.5
FIRST_SIZE, FIRST_STEPS = 64, 2000
MOST_STEPS = 20_000
SHORTEST = 16
Steps = tuple[float, float]
"""To the looser and to the tighter target; infinite where it was missed."""


@dataclass(frozen=True)
class Made:
    """A run, or of a schedule that decays all the runs at one rate and seed.

    Args:
        spent: steps that were made.
    """

    batch_size: int
    rung: int
    seed: int
    spent: int
    steps: Steps

    @property
    def row(self) -> list[float | None]:
        told = [None if math.isinf(steps) else round(steps, 1) for steps in self.steps]
        return [self.batch_size, self.rung, self.seed, self.spent, *told]


def rate_of(recipe: str, rung: int) -> float:
    return two_digits(BASE[recipe] * 2.0**rung)


def begin(
    name: str, task: Task, batch_size: int, rate: float, seed: int, length: int | None, **settings: Any
) -> Training:
    """A run that has not made a step. `length` is the planned one, where the rate decays."""
    case = case_of(name)
    epochs = (length or 10 * MOST_STEPS) * batch_size / case.examples
    options = case.options if length else {}
    plan = plan_of(case.recipe, batch_size=batch_size, learning_rate=rate, epochs=epochs, **options)
    return Training(task, plan, seed=seed, device=CPU, evaluation=EVALUATION, compile=False, **settings)


def crossed(curve: Sequence[CurvePoint], case: Case) -> Steps:
    found = [Target(quantity=case.quantity, value=value).crossing(curve) for value in case.targets]
    return tuple(math.inf if one is None else max(0.5, one.step) for one in found)  # type: ignore[return-value]


class Runner:
    """Makes the runs of a task, each once, and keeps them."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.case, self.path = name, case_of(name), path
        self.task = task_of(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        whole = text[: text.rfind("\n") + 1]  # a line that was cut short is a run that had not finished
        path.write_text(whole, encoding="utf-8")
        lines = [json.loads(line) for line in whole.splitlines()]
        self.known: dict[tuple[Any, ...], dict[str, Any]] = {tuple(line["key"]): line for line in lines}

    def run(self, size: int, rung: int, seed: int, bound: int, length: int = 0) -> dict[str, Any]:
        key = (size, rung, seed, length)
        found = self.known.get(key)
        if found is not None and (length or found["ended"] or found["spent"] >= bound):
            return found
        began = time.process_time()
        rate = rate_of(self.case.recipe, rung)
        target = None if length else self.task.target
        training = begin(self.name, self.task, size, rate, seed, length or None, target=target)
        ended = training.advance(Budget(steps=length or bound)) is not None
        curve = training.run_state.curve
        line = {
            "key": key,
            "spent": training.run_state.step,
            "ended": ended,
            "cpu": round(time.process_time() - began, 2),
        }
        if length:
            sign = 1 if self.case.quantity is LOSS else -1
            values = [sign * getattr(point, self.case.quantity.value) for point in curve]
            line["value"] = min((value for value in values if math.isfinite(value)), default=1e9)
        else:
            line["steps"] = [None if math.isinf(steps) else steps for steps in crossed(curve, self.case)]
        self.add(key, line)
        return line

    def add(self, key: tuple[Any, ...], line: dict[str, Any]) -> None:
        self.known[key] = line
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def constant(self, size: int, rung: int, seed: int, bound: float) -> Made:
        line = self.run(size, rung, seed, math.ceil(bound))
        loose, tight = (math.inf if steps is None or steps > bound else steps for steps in line["steps"])
        return Made(size, rung, seed, min(line["spent"], math.ceil(bound)), (loose, tight))

    def planned(self, size: int, rung: int, seed: int, bound: float) -> Made:
        """The shortest planned lengths, up to `bound`."""
        sign = 1 if self.case.quantity is LOSS else -1
        values: dict[int, float] = {}
        spent = 0

        def value(step: int) -> float:
            nonlocal spent
            if _length(step) * size / self.case.examples <= self.case.options.get("warmup_epochs", 0.0):
                values[step] = math.inf  # as long as its warm-up
            if step not in values:
                line = self.run(size, rung, seed, 0, _length(step))
                spent += line["spent"]
                values[step] = line["value"]
            return values[step]

        top = math.floor(2 * math.log2(max(bound, SHORTEST) / SHORTEST))
        place, found = top, list[float]()
        for goal in (sign * self.case.targets[1], sign * self.case.targets[0]):
            place = max(0, min(place, top))
            # From the middle of what is possible: the bound is generous.
            place = max(0, place - 2) if not values else place
            while place < top and value(place) > goal:
                place += 1
            while place > 0 and value(place - 1) <= goal:
                place -= 1
            if value(place) > goal:
                found.append(math.inf)
            elif place == 0:
                found.append(float(_length(0)))
            else:
                low, high = values[place - 1], values[place]
                share = (low - goal) / (low - high) if low < 1e9 else 1.0
                found.append(_length(place - 1) * (_length(place) / _length(place - 1)) ** share)
        return Made(size, rung, seed, spent, (found[1], found[0]))


def _length(place: int) -> int:
    return round(SHORTEST * 2 ** (place / 2))


def sweep(runner: Runner) -> list[Made]:
    """All the runs of a task, from the middle size outwards: each size begins where the one beside it ended."""
    case = runner.case
    make = runner.planned if case.decays else runner.constant
    found: dict[int, list[Made]] = {}
    middle = min(FIRST_SIZE, case.sizes[-1])
    small = [size for size in reversed(case.sizes) if size < middle]
    for size in (middle, *small, *(size for size in case.sizes if size > middle)):
        beside = size * 2 if size < middle else size // 2
        if size == middle:
            start, bound = 0, float(FIRST_STEPS)
        else:
            # Where nearly no run comes to the tighter target there, as with a very large batch, the looser one tells.
            target = 1 if math.isfinite(least(found[beside], 1)) else 0
            start = best_rung(found[beside], target)
            bound = PATIENCE * (2 if size < middle else 1) * (2 - target) * least(found[beside], target)
        found[size] = one_size(make, size, start, min(bound, float(MOST_STEPS)))
        print(f"{runner.name} {size}: {len(found[size])} runs", flush=True)
    return [made for size in case.sizes for made in found[size]]


def one_size(make: Callable[[int, int, int, float], Made], size: int, start: int, bound: float) -> list[Made]:
    runs: dict[tuple[int, int], Made] = {}

    def limit() -> float:
        steps = [made.steps[1] for made in runs.values() if math.isfinite(made.steps[1])]
        return min([bound, *(PATIENCE * one for one in steps)])

    def add(rung: int, seed: int) -> None:
        if (rung, seed) not in runs:
            runs[rung, seed] = make(size, rung, seed, limit())

    def widen(seeds: Sequence[int]) -> None:
        """Until the best rungs of the runs so far have neighbours with all these seeds."""
        while True:
            told = [target for target in (0, 1) if math.isfinite(least(runs.values(), target))]
            bests = {best_rung(runs.values(), target) for target in told}
            wanted = sorted({rung for best in bests for rung in (best, best - 1, best + 1)})
            missing = [(rung, seed) for rung in wanted for seed in seeds if (rung, seed) not in runs]
            if not missing:
                return
            for rung, seed in missing:
                add(rung, seed)

    add(start, SEEDS[0])
    while math.isinf(min(made.steps[1] for made in runs.values())) and len(runs) < 12:
        # The rate where most of the way was made is not known: both sides in turn.
        tried = [rung for rung, _ in runs]
        add(min(tried) - 1 if len(tried) % 2 else max(tried) + 1, SEEDS[0])
    widen(SEEDS[:1])
    widen(SEEDS)
    return list(runs.values())


def best_rung(runs: Iterable[Made], target: int) -> int:
    """By the share that came to the target with most seeds, then the median steps; of equals the smaller rate."""
    by_rung: dict[int, list[float]] = {}
    for made in runs:
        by_rung.setdefault(made.rung, []).append(made.steps[target])
    most = max(map(len, by_rung.values()))
    ranks = {rung: (median(steps), -len(steps), rung) for rung, steps in by_rung.items() if most == 1 or len(steps) > 1}
    return min(ranks, key=ranks.__getitem__)


def least(runs: Iterable[Made], target: int) -> float:
    kept = list(runs)
    best = best_rung(kept, target)
    return median(made.steps[target] for made in kept if made.rung == best)


def record(name: str, runs: Sequence[Made]) -> dict[str, Any]:
    case = case_of(name)
    return {
        "task": name,
        "recipe": case.recipe,
        "options": case.options,
        "examples": case.examples,
        "sizes": case.sizes,
        "quantity": case.quantity.value,
        "targets": case.targets,
        "seeds": SEEDS,
        "rate_of_rung_0": BASE[case.recipe],
        "columns": ["batch size", "rung", "seed", "steps made", "to the looser target", "to the tighter"],
        "runs": [made.row for made in runs],
    }


def written(record: dict[str, Any]) -> str:
    """A run a line."""
    head = json.dumps({key: value for key, value in record.items() if key != "runs"}, indent=1)[:-2]
    rows = ",\n".join(f"  {json.dumps(row)}" for row in record["runs"])
    return f'{head},\n "runs": [\n{rows}\n ]\n}}\n'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(ALL))
    parser.add_argument("--out", type=Path, required=True, help="a folder for the finished runs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="a folder for the records")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for name in asked.names:
        path = asked.results / f"advisor-truth-{name}.json"
        began = time.process_time()
        runs = sweep(Runner(name, asked.out / f"{name}.jsonl"))
        path.write_text(written(record(name, runs)), encoding="utf-8")
        print(f"{path}: {len(runs)} runs, {time.process_time() - began:.0f} s of processor time", flush=True)


if __name__ == "__main__":
    main()
