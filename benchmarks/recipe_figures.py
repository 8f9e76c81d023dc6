"""The tables of `docs/recipe-study.md`, from the records in `results/`.

python benchmarks/recipe_figures.py        # prints them
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from scipy.special import stdtrit

RESULTS = Path(__file__).parent / "results"
TASKS = ("mnist-mlp", "fashion-mlp")
MARGIN = 0.2  # percentage points below the small-batch result that still count as reaching it
REFERENCE, LARGE, SWAPS = "sgd-small", "nesterov-large", ("swap2020", "swap2020-second-rate")
Arm = dict[str, Any]


@cache
def record(task: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((RESULTS / f"recipes-{task}.json").read_text(encoding="utf-8"))
    return record


def measured() -> tuple[str, ...]:
    return tuple(task for task in TASKS if (RESULTS / f"recipes-{task}.json").is_file())


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % Student interval over `n` seeds."""

    value: float
    half: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Interval | None:
        n = len(values)
        if n < 2:
            return None
        return cls(mean(values), float(stdtrit(n - 1, 0.975)) * stdev(values) / math.sqrt(n), n)

    @property
    def low(self) -> float:
        return self.value - self.half

    @property
    def high(self) -> float:
        return self.value + self.half

    def lies(self, bar: float) -> str:
        """Whether the interval lies "above" or "below" the bar, or neither ("")."""
        return "above" if self.low > bar else "below" if self.high < bar else ""


def finished(arm: Arm) -> dict[int, Arm]:
    return {run["seed"]: run for run in arm["runs"] if run["outcome"] == "finished"}


def percent(arm: Arm, key: str) -> str:
    interval = Interval.of([100 * run[key] for run in finished(arm).values()])
    return "–" if interval is None else f"{interval.value:.2f} ± {interval.half:.2f}"


def paired(arm: Arm, other: Arm, key: str = "test_accuracy") -> Interval | None:
    """The difference between runs of the same seeds, in percentage points."""
    mine, theirs = finished(arm), finished(other)
    return Interval.of([100 * (mine[seed][key] - theirs[seed][key]) for seed in sorted(mine.keys() & theirs.keys())])


def ratio(arm: Arm, other: Arm, key: str) -> Interval | None:
    """The ratio of seconds between runs of the same seed, which took turns."""
    mine, theirs = finished(arm), finished(other)
    both = [seed for seed in sorted(mine.keys() & theirs.keys()) if mine[seed][key] is not None]
    return Interval.of(
        [mine[seed][key] / mine[seed].get("reference_seconds", theirs[seed]["seconds"]) for seed in both]
    )


def verdict(arm: Arm, difference: Interval | None) -> str:
    diverged = len(arm["runs"]) - len(finished(arm))
    divergence = f"{diverged} of {len(arm['runs'])} diverged"
    if difference is None:
        return divergence
    words = {"above": "reaches it", "below": "falls short", "": "undecided"}[difference.lies(-MARGIN)]
    return f"{words}; {divergence}" if diverged else words


def signed(interval: Interval | None) -> str:
    return "–" if interval is None else f"{interval.value:+.2f} ({interval.low:+.2f} to {interval.high:+.2f})"


def spread(values: Sequence[float], form: str) -> str:
    """One number if all are the same, otherwise the smallest and the largest."""
    low, high = min(values), max(values)
    return format(low, form) if low == high else f"{format(low, form)} to {format(high, form)}"


def times(arm: Arm, other: Arm) -> str:
    alone, parallel = ratio(arm, other, "seconds"), ratio(arm, other, "parallel_seconds")
    if alone is None:
        return "–"
    words = f"{alone.value:.2f} ± {alone.half:.2f}"
    return words if parallel is None else f"{words}; copies in parallel {parallel.value:.2f} ± {parallel.half:.2f}"


def batch(arm: Arm) -> str:
    last = max((run["last_batch_size"] for run in arm["runs"]), default=arm["batch_size"])
    growing = arm["recipe"] in ("smith2017", "adaptive") and last != arm["batch_size"]
    return f"{arm['batch_size']:,} to {last:,}" if growing else f"{arm['batch_size']:,}"


def results_table(task: str) -> str:
    """The results of each recipe over all seeds."""
    arms = record(task)["arms"]
    rows = [
        "| recipe | B | learning rate | steps | epochs | time, small batch = 1 | training, % | test, % "
        "| test minus small batch, points | small-batch result |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, arm in arms.items():
        difference = None if name == REFERENCE else paired(arm, arms[REFERENCE])
        ends = list(finished(arm).values()) if len(finished(arm)) > 1 else arm["runs"]
        cells = [
            arm["told"],
            batch(arm),
            f"{arm['learning_rate']:.3g}",
            spread([run["steps"] for run in ends], ",d"),
            spread([round(run["epochs"], 1) for run in ends], "g"),
            "1" if name == REFERENCE else times(arm, arms[REFERENCE]),
            percent(arm, "train_accuracy"),
            percent(arm, "test_accuracy"),
            "" if name == REFERENCE else signed(difference),
            "reference" if name == REFERENCE else verdict(arm, difference),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def tuning_table(task: str) -> str:
    """The tuning runs of each tuned arm, with the one seed for tuning."""
    rows = [
        "| recipe | rates tried | best | validation, % | diverged | at the grid's edge | still at the edge |",
        "|---|---|---|---|---|---|---|",
    ]
    for arm in record(task)["arms"].values():
        tried = arm["tuning"]
        if not tried:
            continue
        best = next(run for run in tried if run["learning_rate"] == arm["learning_rate"])
        cells = [
            arm["told"],
            f"{len(tried)}: {tried[0]['learning_rate']:.3g} to {tried[-1]['learning_rate']:.3g}",
            f"{arm['learning_rate']:.3g}",
            f"{100 * best['validation_accuracy']:.2f}",
            str(sum(run["outcome"] != "finished" for run in tried)),
            *(("yes" if arm[key] else "no") if key in arm else "" for key in ("window_moved", "best_at_edge")),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def held(interval: Interval | None, bar: float, wanted: str) -> str:
    if interval is None or not interval.lies(bar):
        return "undecided"
    return "held" if interval.lies(bar) == wanted else "not held"


def over_members(arm: Arm) -> tuple[Interval | None, Interval | None]:
    """Test accuracy of the average minus the mean of its members, and minus the best of them, in points."""
    ends = [run for run in finished(arm).values() if run.get("members_test_accuracy")]
    average = [100 * (run["test_accuracy"] - mean(run["members_test_accuracy"])) for run in ends]
    best = [100 * (run["test_accuracy"] - max(run["members_test_accuracy"])) for run in ends]
    return Interval.of(average), Interval.of(best)


def swap_table() -> str:
    """The three claims of Gupta et al. 2020."""
    rows = ["| claim | task | copies' rate | result | |", "|---|---|---|---|---|"]
    claims: dict[str, list[str]] = {
        "the average beats its members": [],
        "it beats the large-batch run": [],
        "it is faster than the small-batch run": [],
    }
    for task in measured():
        arms = record(task)["arms"]
        for name in SWAPS:
            arm = arms[name]
            small = arm["options"].get("small_learning_rate")
            rate = "in proportion" if small is None else f"{small:.3g}"
            average, best = over_members(arm)
            large, seconds = paired(arm, arms[LARGE]), ratio(arm, arms[REFERENCE], "parallel_seconds")
            small_run = paired(arm, arms[REFERENCE])
            sooner = held(seconds, 1, "below")
            if sooner == "held" and small_run is not None and small_run.lies(-MARGIN) != "above":
                sooner = "faster, but not to its result" if small_run.lies(-MARGIN) else "faster; its result undecided"
            cells = [
                (f"{signed(average)} points over their mean, {signed(best)} over the best", held(average, 0, "above")),
                (f"{signed(large)} points over Nesterov SGD", held(large, 0, "above")),
                (
                    "–" if seconds is None else f"{seconds.value:.2f} ({seconds.low:.2f} to {seconds.high:.2f}) of its "
                    f"time, at {signed(small_run)} points",
                    sooner,
                ),
            ]  # fmt: skip
            for claim, (words, came_out) in zip(claims, cells, strict=True):
                claims[claim].append(f"| {claim} | `{task}` | {rate} | {words} | {came_out} |")
    return "\n".join([*rows, *(row for own in claims.values() for row in own)])


def peers_table() -> str:
    """LARS and LAMB minus Nesterov SGD and Adam, at the same batch size."""
    others = {"nesterov-large": "Nesterov", "nesterov-large-search": "Nesterov, 36 trials"}
    others |= {"adam-large": "Adam", "adam-large-search": "Adam, 36 trials"}
    rows = [f"| test, points above | {' | '.join(others.values())} |", "|---" * (len(others) + 1) + "|"]
    for task in measured():
        arms = record(task)["arms"]
        for name in ("lars2017", "lamb2020"):
            cells = [signed(paired(arms[name], arms[other])) for other in others]
            rows.append(f"| `{name}`, `{task}` | {' | '.join(cells)} |")
    return "\n".join(rows)


def tables() -> dict[str, str]:
    """All tables by name."""
    tables_by_name = {f"results, {task}": results_table(task) for task in measured()}
    tables_by_name["SWAP"] = swap_table()
    tables_by_name["LARS and LAMB"] = peers_table()
    return tables_by_name | {f"tuning, {task}": tuning_table(task) for task in measured()}


if __name__ == "__main__":
    for name, table in tables().items():
        print(f"{name}\n\n{table}\n")
