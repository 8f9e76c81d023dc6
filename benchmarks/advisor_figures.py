"""The tables of `docs/advisor-study.md`, from `benchmarks/results/advisor-SET.json`.

python benchmarks/advisor_figures.py [SET]
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"
MEASURED = "measured"
LIMITS = (1.1, 1.25)
Scenario = dict[str, Any]


def infinite(value: float | None) -> float:
    """Records have None where the target was missed."""
    return math.inf if value is None else value


class Regrets:
    """Time at what a policy chose over the best of the sweep, infinite where the target was missed."""

    def __init__(self, values: Iterable[float | None]) -> None:
        self.values = sorted(infinite(value) for value in values)

    def within(self, limit: float) -> float:
        return sum(value <= limit for value in self.values) / len(self.values)

    @property
    def median(self) -> float:
        return float(np.median(self.values))

    @property
    def ninetieth(self) -> float:
        return self.values[math.ceil(0.9 * len(self.values)) - 1]

    @property
    def failed(self) -> float:
        return sum(map(math.isinf, self.values)) / len(self.values)

    def row(self, policy: str, cost: str) -> str:
        shares = " | ".join(f"{self.within(limit):.0%}" for limit in LIMITS)
        return f"| {policy} | {self.median:.2f} | {shares} | {number(self.ninetieth)} | {self.failed:.0%} | {cost} |"


def number(value: float) -> str:
    return "missed" if math.isinf(value) else f"{value:.2f}"


def searches(scenarios: list[Scenario], label: str) -> list[dict[str, Any]]:
    return [one["searches"][label] for one in scenarios]


def cost(scenarios: list[Scenario], label: str) -> tuple[float, float]:
    """Medians: of the sweep, and in best runs."""
    found = searches(scenarios, label)
    shares = [one["cost"] / scenario["sweep_cost"] for one, scenario in zip(found, scenarios, strict=True)]
    return float(np.median(shares)), float(np.median([one["cost"] for one in found]))


def costs(scenarios: list[Scenario], label: str) -> str:
    part, best_runs = cost(scenarios, label)
    return f"{part:.1%} of the sweep, {best_runs:.1f} best runs"


def search_regrets(scenarios: list[Scenario], label: str) -> Regrets:
    return Regrets(one["regret"] for one in searches(scenarios, label))


def policy_table(scenarios: list[Scenario]) -> str:
    rows = [
        "| policy | median regret | <= 1.1 | <= 1.25 | 90th percentile | missed | cost |",
        "|---|---|---|---|---|---|---|",
        search_regrets(scenarios, MEASURED).row("**the advisor**", costs(scenarios, MEASURED)),
    ]
    for label in scenarios[0]["searches"]:
        if label != MEASURED:
            told = f"the same search, B_noise = {int(label):,}"
            rows.append(search_regrets(scenarios, label).row(told, costs(scenarios, label)))
    for policy in dict.fromkeys(policy for one in scenarios for policy, *_ in one["policies"]):
        regrets = Regrets(r for one in scenarios for name, _, _, r in one["policies"] if name == policy)
        rows.append(regrets.row(policy, "-"))
    return "\n".join(rows)


def by(scenarios: list[Scenario], key: str) -> dict[str, list[Scenario]]:
    groups: dict[str, list[Scenario]] = {}
    for one in scenarios:
        groups.setdefault(str(one[key]), []).append(one)
    return groups


def group_table(scenarios: list[Scenario], key: str) -> str:
    fixed = [label for label in scenarios[0]["searches"] if label != MEASURED]
    heads = [f"{key} (cases)", "median regret", "regret of the batch size alone", "worst", "cost in best runs"]
    heads += [f"B_noise = {int(label):,}" for label in fixed]
    rows = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name, group in by(scenarios, key).items():
        regrets = search_regrets(group, MEASURED)
        size = Regrets(one.get("size_regret") for one in searches(group, MEASURED))
        cells = [f"`{name}` ({len(group)})", number(regrets.median), number(size.median), number(regrets.values[-1])]
        cells += [f"{cost(group, MEASURED)[1]:.1f}"]
        cells += [number(search_regrets(group, label).median) for label in fixed]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def coverage(scenarios: list[Scenario]) -> tuple[float, int]:
    """The share of fresh runs at the recommendation that fall into the stated 80 % interval, and how many there are."""
    told = []
    for one in searches(scenarios, MEASURED):
        if one.get("fresh"):
            _, low, high = one["seconds"]
            told += [low <= infinite(seconds) <= high for seconds in one["fresh"]]
    return float(np.mean(told)) if told else math.nan, len(told)


def fresh_regrets(scenarios: list[Scenario]) -> Regrets:
    """By the median of fresh runs at the recommendation, where there are some."""
    return Regrets(
        float(np.median([infinite(seconds) for seconds in one["searches"][MEASURED]["fresh"]])) / one["best_seconds"]
        for one in scenarios
        if one["searches"][MEASURED].get("fresh")
    )


def goal_table(scenarios: list[Scenario]) -> str:
    regrets, (part, best_runs), (held, runs) = (
        search_regrets(scenarios, MEASURED),
        cost(scenarios, MEASURED),
        coverage(scenarios),
    )
    rows = [
        ("median regret", "at most 1.05", "1.08", f"{regrets.median:.2f}", regrets.median <= 1.05),
        ("within 1.25", "90 % of cases", "83 %", f"{regrets.within(1.25):.0%}", regrets.within(1.25) >= 0.9),
        ("90th percentile", "at most 1.35", "1.45", number(regrets.ninetieth), regrets.ninetieth <= 1.35),
        ("missed the target", "under 1 %", "2 %", f"{regrets.failed:.1%}", regrets.failed < 0.01),
        ("cost, of the sweep", "at most 5 %", "3.4 %", f"{part:.1%}", part <= 0.05),
        ("cost, best runs", "at most 10", "13.7", f"{best_runs:.1f}", best_runs <= 10),
        (f"80 % intervals hold ({runs} fresh runs)", "70 to 90 %", "-", f"{held:.0%}", 0.7 <= held <= 0.9),
    ]
    told = ["| | goal | prototype | result | |", "|---|---|---|---|---|"]
    return "\n".join(told + [f"| {' | '.join(row)} | {'met' if met else 'missed'} |" for *row, met in rows])


def paired_line(scenarios: list[Scenario], label: str) -> tuple[float, float, float]:
    """Mean log ratio of regrets, measured over fixed B_noise, and its 95 % interval by resampling tasks."""
    groups = by(scenarios, "task")
    means = []
    for group in groups.values():
        pairs = zip(search_regrets_in_order(group, MEASURED), search_regrets_in_order(group, label), strict=True)
        told = [math.log(a / b) for a, b in pairs if math.isfinite(a) and math.isfinite(b)]
        if told:
            means.append(float(np.mean(told)))
    drawn = np.random.default_rng(0).choice(means, size=(4000, len(means))).mean(1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return math.exp(float(np.mean(means))), math.exp(float(low)), math.exp(float(high))


def search_regrets_in_order(scenarios: list[Scenario], label: str) -> list[float]:
    return [infinite(one["regret"]) for one in searches(scenarios, label)]


def noise_table(scenarios: list[Scenario]) -> str:
    rows = [
        "| B_noise fixed to | time with the measured noise scale over time with the fixed one, "
        "mean (95 %, tasks resampled) |",
        "|---|---|",
    ]
    for label in scenarios[0]["searches"]:
        if label != MEASURED:
            ratio, low, high = paired_line(scenarios, label)
            rows.append(f"| {int(label):,} | {ratio:.3f} ({low:.3f} to {high:.3f}) |")
    return "\n".join(rows)


def tables(of_set: str = "final", folder: Path = RESULTS) -> dict[str, str]:
    """All of them, by their names."""
    scenarios = json.loads((folder / f"advisor-{of_set}.json").read_text(encoding="utf-8"))["scenarios"]
    return {
        "goals": goal_table(scenarios),
        "policies": policy_table(scenarios),
        "is the noise scale worth having": noise_table(scenarios),
        "clocks": group_table(scenarios, "clock"),
        "tasks": group_table(scenarios, "task"),
    }


if __name__ == "__main__":
    for name, table in tables(*sys.argv[1:2]).items():
        print(f"{name}\n\n{table}\n")
