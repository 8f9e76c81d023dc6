"""The table of `advisor_fresh.py`: what the advice and the sweep's best are worth to runs that neither has seen.

python benchmarks/advisor_fresh_figures.py [SET]
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

from advisor_figures import RESULTS, Regrets, infinite, number

Case = dict[str, Any]


def middle(place: dict[str, Any] | None) -> float:
    """The median over the seeds; infinite where most of them missed the target, or nothing was recommended."""
    return math.inf if place is None else float(np.median([infinite(seconds) for seconds in place["seconds"]]))


def regret(case: Case) -> float:
    """Time at the recommendation over time at the best of the sweep, by the new seeds; infinite where it missed."""
    own = middle(case.get("advice"))
    return own if math.isinf(own) else own / middle(case["best"])


def missed(cases: list[Case], place: str) -> float:
    """The share of the new runs that did not come to the target."""
    told = [math.isinf(infinite(seconds)) for case in cases if place in case for seconds in case[place]["seconds"]]
    return float(np.mean(told))


def interval_of_median(cases: list[Case], values: list[float]) -> tuple[float, float]:
    """95 %, by resampling tasks."""
    by_task: dict[str, list[float]] = {}
    for case, value in zip(cases, values, strict=True):
        by_task.setdefault(case["task"], []).append(value)
    groups = list(by_task.values())
    generator = np.random.default_rng(0)
    drawn = [
        np.median([value for place in generator.integers(0, len(groups), len(groups)) for value in groups[place]])
        for _ in range(2000)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def table(of_set: str = "final", folder: Path = RESULTS) -> str:
    cases = json.loads((folder / f"advisor-fresh-{of_set}.json").read_text(encoding="utf-8"))["cases"]
    judged = {
        (s["task"], s["target"], s["clock"]): s
        for s in json.loads((folder / f"advisor-{of_set}.json").read_text(encoding="utf-8"))["scenarios"]
    }
    own = [
        infinite(judged[case["task"], case["target"], case["clock"]]["searches"]["measured"]["regret"])
        for case in cases
    ]
    fresh = [regret(case) for case in cases]
    rows = [
        f"| judged by ({len(cases)} cases) | median regret (95 %) | <= 1.1 | <= 1.25 | 90th percentile | missed |",
        "|---|---|---|---|---|---|",
    ]
    for name, values in (("the medians that chose the sweep's best", own), ("ten new seeds at both", fresh)):
        told = Regrets(values)
        low, high = interval_of_median(cases, values)
        shares = f"{told.within(1.1):.0%} | {told.within(1.25):.0%}"
        rows.append(
            f"| {name} | {told.median:.2f} ({low:.2f} to {high:.2f}) | {shares} | {number(told.ninetieth)} "
            f"| {told.failed:.1%} |"
        )
    of_runs = f"{missed(cases, 'advice'):.1%} at the recommendation, {missed(cases, 'best'):.1%} at the sweep's best"
    return "\n".join([*rows, "", f"Of the new runs {of_runs} missed the target."])


if __name__ == "__main__":
    print(table(*sys.argv[1:2]))
