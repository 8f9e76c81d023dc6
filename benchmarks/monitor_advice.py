"""What `Monitor.advice()` costs: a loop that asks every 100 steps beside one that never asks, and an unmonitored one.

    .venv/bin/python benchmarks/monitor_advice.py

Three copies of a model train in rounds that take turns; a slice is 100 steps, at whose end the advice is asked for. A
ratio is that of two slices of a round. Seconds are those of the process on its one core, so that others on the machine
do not count. Writes `results/monitor-advice.json`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import critbatch
from critbatch.runtime.device import describe_machine

RESULTS = Path(__file__).parent / "results" / "monitor-advice.json"
EVERY, GOAL = 100, 1.02


def perceptron() -> tuple[nn.Module, Callable[[int], Tensor]]:
    model = nn.Sequential(nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))
    return model, lambda examples: torch.randn(examples, 784)


def convolutions() -> tuple[nn.Module, Callable[[int], Tensor]]:
    layers = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))
    return model, lambda examples: torch.randn(examples, 3, 16, 16)


MODELS = {"mlp": perceptron, "cnn": convolutions}
CASES = [("mlp", 32), ("mlp", 128), ("cnn", 32)]


class Loop:
    """Steps of two micro-batches with a monitor or without, and advice now and then or never."""

    def __init__(self, model: str, batch_size: int, *, monitored: bool, asks: bool) -> None:
        torch.manual_seed(0)
        self.model, inputs = MODELS[model]()
        self.micro_batches = inputs(batch_size).chunk(2)
        self.labels = torch.randint(10, (batch_size,)).chunk(2)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)
        self.monitor = critbatch.Monitor(self.model, by="micro_batches", timed=True) if monitored else None
        self.asks = asks
        self.asking: list[float] = []  # seconds of each call

    def run(self) -> float:
        """Seconds of a slice."""
        start = time.process_time()
        for _ in range(EVERY):
            self.optimizer.zero_grad()
            for inputs, labels in zip(self.micro_batches, self.labels, strict=True):
                (nn.functional.cross_entropy(self.model(inputs), labels) / 2).backward()
            if self.monitor is not None:
                self.monitor.update()
            self.optimizer.step()
        if self.asks and self.monitor is not None:
            asked = time.process_time()
            str(self.monitor.advice(optimizer=self.optimizer))
            self.asking.append(time.process_time() - asked)
        return time.process_time() - start


def spread(values: list[float]) -> dict[str, Any]:
    lower, middle, upper = np.quantile(values, [0.25, 0.5, 0.75])
    return {"median": float(middle), "quartiles": [float(lower), float(upper)], "n": len(values)}


def measure(model: str, batch_size: int, rounds: int) -> dict[str, Any]:
    loops = {
        "plain": Loop(model, batch_size, monitored=False, asks=False),
        "monitored": Loop(model, batch_size, monitored=True, asks=False),
        "advised": Loop(model, batch_size, monitored=True, asks=True),
    }
    for loop in loops.values():
        loop.run()
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for number in range(rounds):
        names = list(loops)
        for name in names[number % 3 :] + names[: number % 3]:
            seconds[name].append(loops[name].run())
    first, *asking = loops["advised"].asking
    ratios = [advised / monitored for advised, monitored in zip(seconds["advised"], seconds["monitored"], strict=True)]
    shares = [call / (whole - call) for call, whole in zip(asking, seconds["advised"], strict=True)]
    return {
        "model": model,
        "batch_size": batch_size,
        "step_seconds": spread([value / EVERY for value in seconds["monitored"]]),
        "advice_seconds": spread(asking),
        "first_advice_seconds": first,
        "advised_over_monitored": spread(ratios),
        "advice_over_the_rest": spread(shares),
        "monitored_over_plain": spread([a / b for a, b in zip(seconds["monitored"], seconds["plain"], strict=True)]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    points = [measure(model, batch_size, given.rounds) for model, batch_size in CASES]
    for point in points:
        ratio, share = point["advised_over_monitored"], point["advice_over_the_rest"]
        print(
            f"{point['model']} {point['batch_size']:>4}: asking every {EVERY} steps {ratio['median']:.3f} "
            f"({ratio['quartiles'][0]:.3f} to {ratio['quartiles'][1]:.3f}) of never asking, goal {GOAL}; the calls "
            f"themselves {100 * share['median']:.2f} % of the rest, "
            f"{1e3 * point['advice_seconds']['median']:.2f} ms each; "
            f"the monitor {point['monitored_over_plain']['median']:.3f} of a plain loop"
        )
    machine = json.loads(describe_machine(torch.device("cpu")).to_json())
    record = {"every": EVERY, "rounds": given.rounds, "goal": GOAL, "points": points, "machine": machine}
    given.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(given.out.name)


if __name__ == "__main__":
    main()
