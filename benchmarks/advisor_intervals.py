"""How much further late runs fall than early ones: what the stated 80 % intervals hold of fresh runs.

    python benchmarks/advisor_intervals.py --set development --out advisor-runs

By the factor on the slow side of a run's scatter (`critbatch.law.posterior.SLOW_SIDE`). It was chosen on the
development set alone. The searches are those of `advisor.py`, whose `--out` this needs; no decision depends on the
factor, so they are the same for all.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from advisor import CLOCKS, MEASURED, SEEDS, clock_of, fresh_seconds
from advisor_runs import Trajectories, advise
from advisor_scores import Sweep
from advisor_sets import SETS
from advisor_tasks import case_of
from advisor_truth import Runner
from critbatch.law import acquisition as recommend
from critbatch.law import objective as choice
from critbatch.law import posterior as time_to_target
from critbatch.law.posterior import Posterior
from critbatch.records.core import Run, Speed, TimePoint

FACTORS = (1.0, 1.5, 2.0, 2.5, 3.0)


@dataclass
class Seen:
    """What the last advice was made from."""

    posterior: Posterior | None = None
    speed: Speed | None = None

    def time_points(
        self, posterior: Posterior, speed: Speed, batch_sizes: Iterable[int], *, runs: Sequence[Run]
    ) -> tuple[TimePoint, ...]:
        self.posterior, self.speed = posterior, speed
        return choice.time_points(posterior, speed, batch_sizes, runs=runs)


def of_task(name: str, folder: Path) -> dict[float, list[tuple[bool, bool]]]:
    """For each factor: of every fresh run, whether it fell below its interval, and whether above."""
    trajectories, runner = Trajectories(name, folder), Runner(name, folder / f"{name}.fresh.jsonl")
    found: dict[float, list[tuple[bool, bool]]] = {factor: [] for factor in FACTORS}
    for target in (0, 1):
        for clock, seed in zip((MEASURED, *CLOCKS), SEEDS, strict=True):
            speed, seen = clock_of(name, clock, folder), Seen()
            with patch.object(recommend, "time_points", seen.time_points):
                advice, _ = advise(trajectories, name, target=target, speed=speed, seed=seed)
            fresh = fresh_seconds(runner, target, advice, Sweep(name, target))
            if advice.best is None or not fresh or seen.posterior is None or seen.speed is None:
                continue
            for factor in FACTORS:
                with patch.object(time_to_target, "SLOW_SIDE", factor):
                    (point,) = choice.time_points(seen.posterior, seen.speed, [advice.best.batch_size], runs=())
                low, high = point.seconds.low or 0.0, point.seconds.high or math.inf
                found[factor] += [(seconds < low, seconds > high) for seconds in fresh]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=list(SETS), required=True)
    parser.add_argument("--out", type=Path, required=True, help="the folder that `advisor.py` was run with")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    names = [name for name in SETS[asked.set] if not case_of(name).decays]
    told: dict[str, Any] = {name: of_task(name, asked.out) for name in names}
    print("| factor | held | below | above | fresh runs |\n|---|---|---|---|---|")
    for factor in FACTORS:
        runs = [one for found in told.values() for one in found[factor]]
        below, above = (sum(side) / len(runs) for side in zip(*runs, strict=True))
        print(f"| {factor:g} | {1 - below - above:.0%} | {below:.0%} | {above:.0%} | {len(runs)} |")


if __name__ == "__main__":
    main()
