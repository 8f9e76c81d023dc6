"""The advisor against tuned sweeps: regret, cost, and whether its intervals hold.

    python benchmarks/advisor.py --set development --out advisor-runs

The advice is that of the product, with runs that are made live, with other seeds than those of the sweep, for four
clocks: seconds per step as measured here, flat up to 64 and up to 512 examples and then in proportion, and affine.
`advisor_truth.py` must have made the sweeps. Runs that were made are kept in `--out`. Writes
`benchmarks/results/advisor-SET.json`; `advisor_figures.py` prints the tables.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

import critbatch
from advisor_runs import Trajectories, advise
from advisor_scores import Sweep, simple_noise_at_start
from advisor_sets import SETS
from advisor_tasks import CPU, case_of, task_of
from advisor_truth import RESULTS, Runner, begin, crossed
from critbatch.law.step_time import step_seconds_at
from critbatch.measure.step_time import speed as measure_speed
from critbatch.records.core import Advice, Estimate, Speed, SpeedPoint
from critbatch.runtime.device import describe_machine
from critbatch.runtime.provenance import RunTimer
from critbatch.training.state import Budget

FIXED = (64, 256, 1024)
# Of the searches, by clock; the checks of an advice take the two that follow.
SEEDS = (0, 0, 10, 10)
FRESH = (200, 201, 202, 203, 204)
SECONDS = 1e-3
# A fresh run at the recommendation has missed after so many times the steps of the best of the sweep at that size.
PATIENCE = 4.0
CLOCKS: dict[str, Callable[[int], float]] = {
    "flat to 64": lambda size: SECONDS * max(1.0, size / 64),
    "flat to 512": lambda size: SECONDS * max(1.0, size / 512),
    "affine, knee at 128": lambda size: SECONDS * (1 + size / 128),
}
MEASURED = "measured"
POLICY = (
    *(f"predict/{name}.py" for name in ("recommend", "choice", "prior", "law", "time_to_target", "planned")),
    *(f"campaigns/{name}.py" for name in ("race", "rate_search", "planned_search")),
)


def clock_of(name: str, clock: str, folder: Path) -> Speed:
    """Seconds per step at the sizes of the sweep."""
    case, task = case_of(name), task_of(name)
    path = folder / f"{name}.speed.json"
    if clock == MEASURED:
        if not path.is_file():
            measured = measure_speed(task, case.sizes, device=CPU, seconds_per_point=0.3)
            path.write_text(measured.to_json(), encoding="utf-8")
        return Speed.from_json(path.read_bytes())
    points = []
    for size in case.sizes:
        value = CLOCKS[clock](size)
        seconds = Estimate(value=value, n=20, low=0.98 * value, high=1.02 * value)
        points.append(SpeedPoint(batch_size=size, step_seconds=seconds))
    watch = RunTimer()
    return Speed(
        task=name,
        unit=task.unit,
        examples=case.examples,
        points=tuple(points),
        provenance=watch.provenance(command="", seed=0, device=CPU),
    )


def fresh_steps(
    runner: Runner, target: int, sweep: Sweep, batch_size: int, rate: float, seeds: Sequence[int] = FRESH
) -> list[float]:
    """Steps to the target of runs that neither the advice nor the sweep has seen; infinite where it was missed."""
    bound = math.ceil(PATIENCE * sweep.steps_at_rung(batch_size, sweep.best_rung(batch_size)))
    found = []
    for seed in seeds:
        key = ("fresh", batch_size, rate, seed)
        line = runner.known.get(key)
        if line is None or (line["spent"] < bound and not line["ended"]):
            training = begin(runner.name, runner.task, batch_size, rate, seed, None, target=runner.task.target)
            ended = training.advance(Budget(steps=bound)) is not None
            steps = [None if math.isinf(one) else one for one in crossed(training.run_state.curve, runner.case)]
            line = {"key": key, "spent": training.run_state.step, "ended": ended, "steps": steps}
            runner.add(key, line)
        steps = line["steps"][target]
        found.append(math.inf if steps is None or steps > bound else steps)
    return found


def fresh_seconds(runner: Runner, target: int, advice: Advice, sweep: Sweep) -> list[float]:
    """Seconds to the target of such runs at the recommendation.

    Where the rate decays there are none: what a run takes is then a choice of its length.
    """
    best = advice.best
    if best is None or runner.case.decays:
        return []
    step_seconds = step_seconds_at(advice.speed, best.batch_size).value
    steps = fresh_steps(runner, target, sweep, best.batch_size, best.learning_rate.value)
    return [one * step_seconds for one in steps]


def scenario(
    trajectories: Trajectories,
    runner: Runner,
    name: str,
    target: int,
    clock: str,
    seed: int,
    folder: Path,
    fixed: Sequence[int] = FIXED,
) -> dict[str, Any]:
    """One advice beside the sweep, and beside the same search with B_noise fixed."""
    speed, sweep = clock_of(name, clock, folder), Sweep(name, target)
    best_size, best_seconds = sweep.best(speed)
    told: dict[str, Any] = {
        "task": name,
        "target": target,
        "clock": clock,
        "seed": seed,
        "best_size": best_size,
        "best_seconds": best_seconds,
        "sweep_cost": sweep.cost(speed) / best_seconds,
        "searches": {},
    }
    for label, noise in (("measured", None), *((str(one), float(one)) for one in fixed)):
        began = time.process_time()
        advice, spent = advise(trajectories, name, target=target, speed=speed, seed=seed, noise=noise)
        one: dict[str, Any] = {"cost": spent / best_seconds, "runs": len(advice.runs), "regret": math.inf}
        if advice.best is not None:
            size, rate = advice.best.batch_size, advice.best.learning_rate.value
            one |= {"batch_size": size, "learning_rate": rate}
            one |= {"regret": sweep.seconds(size, rate, speed) / best_seconds}
            one |= {"size_regret": sweep.best_seconds(size, speed) / best_seconds}
            one |= {"seconds": [advice.best.seconds.value, advice.best.seconds.low, advice.best.seconds.high]}
            if advice.law is not None:
                one |= {"noise": advice.law.noise_examples.value}
            if noise is None:
                one |= {"fresh": fresh_seconds(runner, target, advice, sweep)}
        one |= {"cpu": round(time.process_time() - began, 2)}
        told["searches"][label] = one
    return told


def others(name: str, target: int, clock: str, folder: Path) -> list[list[Any]]:
    """What simpler policies choose, and their regret."""
    speed, sweep = clock_of(name, clock, folder), Sweep(name, target)
    _, best_seconds = sweep.best(speed)
    return [
        [policy, size, rung, steps * step_seconds_at(speed, size).value / best_seconds]
        for policy, size, rung, steps in sweep.policies(speed, _simple_noise(name))
    ]


_simple_noise = cache(simple_noise_at_start)


def rounded(plain: Any) -> Any:
    """Numbers to five digits; what is infinite as None."""
    if isinstance(plain, dict):
        return {key: rounded(value) for key, value in plain.items()}
    if isinstance(plain, list | tuple):
        return [rounded(value) for value in plain]
    if isinstance(plain, float):
        return float(f"{plain:.5g}") if math.isfinite(plain) else None
    return plain


@cache
def policy() -> dict[str, str]:
    """The files that decide, by git's name of their contents: so that it can be seen which commit was measured."""
    root = Path(critbatch.__file__).parent
    found = {}
    for name in POLICY:
        data = (root / name).read_bytes()
        found[name] = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    return found


def record(names: list[str], told: dict[str, dict[str, Any]], folder: Path) -> dict[str, Any]:
    clocks = {}
    for name in names:
        measured = clock_of(name, MEASURED, folder).fitting
        clocks[name] = [[point.batch_size, point.step_seconds.value] for point in measured if point.step_seconds]
    policies = {name: told[name]["policy"] for name in names}
    first = policies[names[0]]
    return {
        "machine": json.loads(describe_machine(CPU).to_json()),
        "policy": first,
        "policy_of_others": {name: one for name, one in policies.items() if one != first},
        "measured_clocks": clocks,
        "noise_at_start": {name: _simple_noise(name) for name in names},
        "scenarios": [
            one | {"policies": others(name, one["target"], one["clock"], folder)}
            for name in names
            for one in told[name]["scenarios"]
        ],
    }


def of_task(name: str, folder: Path, fixed: Sequence[int]) -> dict[str, Any]:
    """All its scenarios: from the folder, if they were made with this policy."""
    path, now = folder / f"{name}.scenarios.json", policy()
    if path.is_file():
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if found["policy"] == now and len(found["scenarios"][0]["searches"]) == len(fixed) + 1:
            return found
    trajectories, runner = Trajectories(name, folder), Runner(name, folder / f"{name}.fresh.jsonl")
    scenarios = []
    for target in (0, 1):
        for clock, seed in zip((MEASURED, *CLOCKS), SEEDS, strict=True):
            scenarios.append(scenario(trajectories, runner, name, target, clock, seed, folder, fixed))
            trajectories.save()
    told = {"policy": now, "scenarios": rounded(scenarios)}
    path.write_text(json.dumps(told), encoding="utf-8")
    return told


def written(record: dict[str, Any]) -> str:
    """A scenario a line."""
    head = json.dumps({key: value for key, value in record.items() if key != "scenarios"}, indent=1)[:-2]
    rows = ",\n".join(f"  {json.dumps(one)}" for one in record["scenarios"])
    return f'{head},\n "scenarios": [\n{rows}\n ]\n}}\n'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=list(SETS), required=True)
    parser.add_argument("--tasks", nargs="*", help="some of them")
    parser.add_argument("--out", type=Path, required=True, help="a folder for the runs")
    parser.add_argument("--quick", action="store_true", help="without the searches at a fixed B_noise")
    parser.add_argument("--results", type=Path, help="the file of the record")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    names = asked.tasks or list(SETS[asked.set])
    path = asked.results or RESULTS / f"advisor-{asked.set}.json"
    told: dict[str, dict[str, Any]] = {}
    for name in names:
        while not (RESULTS / f"advisor-truth-{name}.json").is_file():
            time.sleep(5)  # the sweep is being made
        began = time.monotonic()
        told[name] = of_task(name, asked.out, () if asked.quick else FIXED)
        print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
        path.write_text(written(rounded(record(list(told), told, asked.out))), encoding="utf-8")


if __name__ == "__main__":
    main()
