"""What a batch size and a rate are worth by the sweep of their task, and what simpler policies would have chosen."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np
import torch

from advisor_tasks import task_of
from advisor_truth import BASE, PATIENCE, RESULTS
from critbatch.law.step_time import step_seconds_at, throughput_knee
from critbatch.recipes import usual_rate
from critbatch.records.core import Speed
from critbatch.tasks.data import Examples

NEVER = math.inf
GRID_SIZES, GRID_RUNGS = 4, (-4, -2, 0, 2, 4)


class Sweep:
    """The tuned sweep of a task, to one of its targets.

    Args:
        name: of the task.
        target: 0 for the looser one, 1 for the tighter.
    """

    def __init__(self, name: str, target: int, folder: Path = RESULTS) -> None:
        record = json.loads((folder / f"advisor-truth-{name}.json").read_text(encoding="utf-8"))
        self.name, self.recipe, self.examples = name, record["recipe"], record["examples"]
        self.sizes: list[int] = record["sizes"]
        self.seeds: list[int] = record["seeds"]
        self.runs: dict[tuple[int, int, int], float] = {}
        self.spent: dict[tuple[int, int, int], int] = {}
        for size, rung, seed, spent, *steps in record["runs"]:
            self.runs[size, rung, seed] = NEVER if steps[target] is None else steps[target]
            self.spent[size, rung, seed] = spent
        self.planned = bool(record["options"])

    def rungs(self, size: int) -> list[int]:
        return sorted({rung for other, rung, _ in self.runs if other == size})

    def steps_at_rung(self, size: int, rung: int) -> float:
        """The median over the seeds; infinite where most of them missed the target, or the rung was not tried."""
        return median([s for (b, r, _), s in self.runs.items() if (b, r) == (size, rung)] or [NEVER])

    def steps(self, size: int, rate: float) -> float:
        """At any rate: between two rungs a straight line of log(steps) in log(rate).

        Where one of the two fails it is the nearer one that counts.
        """
        place = math.log2(rate / BASE[self.recipe])
        low, high = math.floor(place), math.ceil(place)
        left, right = self.steps_at_rung(size, low), self.steps_at_rung(size, high)
        if math.isinf(left) or math.isinf(right):
            return left if place - low < 0.5 else right
        return left * (right / left) ** (place - low)

    def seconds(self, size: int, rate: float, speed: Speed) -> float:
        return self.steps(size, rate) * step_seconds_at(speed, size).value

    def best_rung(self, size: int) -> int:
        """As the sweep itself has it: of the rungs with all seeds."""
        whole = [rung for rung in self.rungs(size) if all((size, rung, seed) in self.runs for seed in self.seeds)]
        return min(whole, key=lambda rung: (self.steps_at_rung(size, rung), rung))

    def best_seconds(self, size: int, speed: Speed) -> float:
        return self.steps_at_rung(size, self.best_rung(size)) * step_seconds_at(speed, size).value

    def best(self, speed: Speed) -> tuple[int, float]:
        """The batch size that is best, and its seconds."""
        return min(((size, self.best_seconds(size, speed)) for size in self.sizes), key=lambda found: found[1])

    def cost(self, speed: Speed) -> float:
        """Seconds of all its runs to this target; one that missed it was given up at so many times the best steps."""
        total = 0.0
        for (size, rung, seed), steps in self.runs.items():
            spent = self.spent[size, rung, seed]
            if not self.planned:
                spent = min(spent, steps, PATIENCE * self.steps_at_rung(size, self.best_rung(size)))
            total += spent * step_seconds_at(speed, size).value
        return total

    # What other policies choose: a batch size and a rung.

    def one_seed(self, seed: int, speed: Speed) -> tuple[int, int]:
        """The best of the sweep's runs with one seed."""
        seconds = {
            (size, rung): steps * step_seconds_at(speed, size).value
            for (size, rung, other), steps in self.runs.items()
            if other == seed
        }
        return min(seconds, key=seconds.__getitem__)

    def grid(self, speed: Speed) -> tuple[int, int]:
        """Four sizes, five rates a factor 4 apart around the usual one, one seed."""
        places = np.linspace(0, len(self.sizes) - 1, GRID_SIZES).round().astype(int)
        found = []
        for size in (self.sizes[place] for place in places):
            middle = round(math.log2(usual_rate(self.recipe, size) / BASE[self.recipe]))
            for rung in (middle + far for far in GRID_RUNGS):
                steps = self.runs.get((size, rung, self.seeds[0]), NEVER)
                found.append((steps * step_seconds_at(speed, size).value, size, rung))
        return min(found)[1:]

    def oracle_rate(self, size: float) -> tuple[int, int]:
        """The best rate at a given size: of the sizes of the sweep, the nearest."""
        near = min(self.sizes, key=lambda other: abs(math.log(other / size)))
        return near, self.best_rung(near)

    def policies(self, speed: Speed, simple_noise: float) -> Iterator[tuple[str, int, int, float]]:
        """What each is called, its batch size and rung, and the steps that it then takes."""
        for seed in self.seeds:
            size, rung = self.one_seed(seed, speed)
            others = [self.runs.get((size, rung, other), NEVER) for other in self.seeds if other != seed]
            yield "the full sweep at one seed", size, rung, self.steps_at_rung(size, rung)
            yield "the same, judged by the other seeds", size, rung, sum(others) / len(others)
        chosen = {
            "4 sizes x 5 rates, one seed": self.grid(speed),
            "B = 32, oracle rate": self.oracle_rate(32),
            "the largest that fits, oracle rate": self.oracle_rate(self.sizes[-1]),
            "throughput knee, oracle rate": self.oracle_rate(throughput_knee(speed)),
            "B_simple at the start, oracle rate": self.oracle_rate(max(1.0, simple_noise)),
        }
        for policy, (size, rung) in chosen.items():
            yield policy, size, rung, self.steps_at_rung(size, rung)


def simple_noise_at_start(name: str, *, batch_size: int = 16, batches: int = 64, seed: int = 0) -> float:
    """tr(Sigma) / |G|^2 of the untrained model: the gradient of all examples, and those of some batches."""
    task = task_of(name)
    model, data = task.new_model(seed), task.train
    assert isinstance(data, Examples)

    def gradient(rows: torch.Tensor) -> torch.Tensor:
        inputs, targets = data.take(rows)
        loss = task.loss(task.forward(model, inputs), targets).mean()
        return torch.cat([one.flatten() for one in torch.autograd.grad(loss, list(model.parameters()))])

    whole = float(gradient(torch.arange(task.examples)).square().sum())
    order = torch.randperm(task.examples, generator=torch.Generator().manual_seed(seed))
    parts = order[: batch_size * batches].split(batch_size)
    small = sum(float(gradient(rows).square().sum()) for rows in parts) / len(parts)
    return max(0.0, small - whole) * batch_size / whole
