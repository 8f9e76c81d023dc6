"""What a training loop costs beside the arithmetic: an epoch of a small perceptron in several loops, and their memory.

    python benchmarks/overhead.py --peers path/to/environment/bin/python

The loops take turns, a slice of an epoch each, and ratios are those of slices of one round: what slows the machine for
a minute slows all of them. Prints a table, and writes `benchmarks/results/overhead.json`.
"""

from __future__ import annotations

import argparse
import json
import resource
import shlex
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from critbatch.runtime.provenance import RunTimer
from loops import BareLoop, LightningLoop, Loop, OurLoop, indexed, loaded, make_data

EXAMPLES = 60_000
# Steps of a slice: a part of an epoch for small batches, whose epochs take up to a minute, else one epoch.
SLICES = {1: 1000, 10: 1000, 32: 600, 1000: 60, 10_000: 6}
OURS, COMPILED, LOADER, INDEXED, LIGHTNING = "critbatch", "torch.compile", "DataLoader", "indexed", "Lightning"
ROUNDS = 15


@dataclass(frozen=True)
class Spread:
    """Of `n` slices."""

    median: float
    lower_quartile: float
    upper_quartile: float
    n: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        found = np.array(list(values))
        lower, median, upper = np.quantile(found, [0.25, 0.5, 0.75])
        return cls(float(median), float(lower), float(upper), len(found))

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.lower_quartile:.3g} to {self.upper_quartile:.3g})"


@dataclass(frozen=True)
class Point:
    """One batch size."""

    batch_size: int
    slice_steps: int
    epoch_steps: int
    seconds: dict[str, list[float]]  # of each slice
    compile_seconds: float

    def ratio(self, slow: str, fast: str) -> Spread:
        return Spread.of(a / b for a, b in zip(self.seconds[slow], self.seconds[fast], strict=True))

    def epoch(self, name: str) -> Spread:
        scale = self.epoch_steps / self.slice_steps
        return Spread.of(scale * seconds for seconds in self.seconds[name])


def measure(batch_size: int, *, rounds: int, peers: str | None) -> Point:
    inputs, labels = make_data(EXAMPLES)
    compiled = OurLoop(inputs, labels, batch_size, compile=True)
    loops: dict[str, Loop] = {
        OURS: OurLoop(inputs, labels, batch_size, compile=False),
        COMPILED: compiled,
        LOADER: BareLoop(loaded(inputs, labels, batch_size)),
        INDEXED: BareLoop(indexed(inputs, labels, batch_size)),
    }
    if peers is not None:
        loops[LIGHTNING] = LightningLoop(peers, batch_size)
    steps = SLICES[batch_size]
    for loop in loops.values():
        loop.advance(steps)
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for turn in range(rounds):
        names = list(loops)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            seconds[name].append(loops[name].advance(steps))
    if isinstance(peer := loops.get(LIGHTNING), LightningLoop):
        peer.close()
    record = compiled.training.record()
    if not record.compiled_steps:
        raise SystemExit("The model could not be compiled here, so there is nothing to compare.")
    return Point(batch_size, steps, -(-EXAMPLES // batch_size), seconds, record.compile_seconds)


def measure_memory() -> None:
    """Print the growth of this process's peak memory over an epoch, and the bytes of the data it trains on."""

    def peak() -> int:
        # Kilobytes on Linux, bytes on macOS.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

    small = make_data(1000)
    OurLoop(*small, 100, compile=False).advance(10)
    inputs, labels = make_data(EXAMPLES)
    before = peak()
    OurLoop(inputs, labels, 1000, compile=False).advance(60)
    data = inputs.nbytes + labels.nbytes
    print(json.dumps({"data_bytes": data, "growth_bytes": peak() - before, "batch_size": 1000}))


def goals(points: list[Point], memory: dict[str, int]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def add(goal: str, ratio: Spread, met: bool) -> None:
        found.append({"goal": goal, "found": asdict(ratio), "met": met})

    for point in points:
        size = point.batch_size
        ratio = point.ratio(OURS, INDEXED)
        add(f"B = {size}: at most 1.1 times the time of the indexing loop", ratio, ratio.median <= 1.1)
        for at, least in ((1000, 1.8), (10_000, 2.5)):
            if size == at:
                ratio = point.ratio(LOADER, OURS)
                add(f"B = {size}: at least {least} times as fast as DataLoader", ratio, ratio.median >= least)
    share = memory["growth_bytes"] / memory["data_bytes"]
    add("memory: no second copy of the data (growth over an epoch / data, below 0.5)", Spread.of([share]), share < 0.5)
    return found


def table(points: list[Point]) -> str:
    """Markdown: seconds of an epoch, median and quartiles."""
    names = list(points[0].seconds)
    lines = [
        f"| B | {' | '.join(names)} | compiling, s |",
        "|---" * (len(names) + 2) + "|",
    ]
    for point in points:
        cells = " | ".join(str(point.epoch(name)) for name in names)
        lines.append(f"| {point.batch_size:,} | {cells} | {point.compile_seconds:.0f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help="the Python of an environment with requirements-peers.txt; else no Lightning")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default: 1)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"slices of each loop (default: {ROUNDS})")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=list(SLICES), choices=list(SLICES))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "overhead.json")
    parser.add_argument("--memory", action="store_true", help="measure memory only, in this process")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.memory:
        return measure_memory()
    watch = RunTimer()
    print(f"784-100-10, {EXAMPLES:,} examples, threads: {given.threads}, slices of each loop: {given.rounds}")
    if given.peers is None:
        print("Lightning is left out: --peers names a Python that has it (benchmarks/README.md).")
    memory_command = [sys.executable, __file__, "--memory", "--threads", str(given.threads)]
    memory = json.loads(subprocess.run(memory_command, check=True, capture_output=True, text=True).stdout)
    points = []
    for size in given.batch_sizes:
        points.append(measure(size, rounds=given.rounds, peers=given.peers))
        share = min(1.0, points[-1].slice_steps / points[-1].epoch_steps)
        print(f"B = {size:,}: slices of {points[-1].slice_steps} steps, {share:.1%} of an epoch", flush=True)
    results = goals(points, memory)
    print("\nSeconds an epoch: median (quartiles), scaled up from slices. Compilation is not in them.\n")
    print(table(points) + "\n")
    for result in results:
        print(f"{'met   ' if result['met'] else 'MISSED'} {result['goal']}: {Spread(**result['found'])}")
    provenance = watch.provenance(command=shlex.join(["python", *sys.argv]), seed=0, device=torch.device("cpu"))
    record = {"provenance": asdict(provenance), "threads": given.threads, "memory": memory, "goals": results}
    record["points"] = [asdict(point) for point in points]
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return None


if __name__ == "__main__":
    main()
