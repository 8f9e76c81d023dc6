"""How often a clock is said to be disturbed, on machines that are quiet and on such that are not: the table of
`docs/speed.md`. Clocks are simulated (`tests/simulated_clock.py`): it takes minutes whatever else the machine does.

    python benchmarks/busy_clock.py [SEEDS]
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "fixtures"))

from simulated_clock import Disturbance, SimulatedSteps, quiet, timed

SIZES = [2**k for k in range(12)]
Seconds = Callable[[int], float]


def affine(fixed: float, knee: float) -> Seconds:
    return lambda size: fixed * (1 + size / knee)


def some_machine(seed: int) -> Seconds:
    """From 1 to 30 ms for a single example, and a knee from 3 to 10,000."""
    chance = np.random.default_rng([7, seed])
    return affine(10 ** chance.uniform(-3, -1.5), 10 ** chance.uniform(0.5, 4))


def bursts(seed: int, share: float) -> Disturbance:
    """In so many of all pieces of 0.3 s a step takes 100 times as long."""
    chance = np.random.default_rng([9, seed])
    slow: dict[int, float] = {}
    return lambda now, size, step: slow.setdefault(int(now / 0.3), 100.0 if chance.random() < share else 1.0)


def one_size(slow: int) -> Disturbance:
    return lambda now, size, step: 2.0 if size == slow else 1.0


def between(first: float, last: float) -> Disturbance:
    return lambda now, size, step: 4.0 if first < now < last else 1.0


def worlds(seeds: int) -> Iterator[tuple[str, int, Callable[[int], SimulatedSteps], float]]:
    """Name, seeds, the steps of a seed, and the budget in seconds."""
    some = affine(0.002, 100)
    yield "quiet", seeds, lambda seed: SimulatedSteps(some_machine(seed), seed=seed), math.inf
    yield "quiet, 2 s", seeds, lambda seed: SimulatedSteps(some_machine(seed), seed=seed), 2.0
    yield "quiet, slow steps", seeds, lambda seed: SimulatedSteps(affine(0.3, 100), quiet, seed), math.inf
    for share, budget in ((0.1, math.inf), (0.5, math.inf), (0.3, 3.0)):
        name = f"bursts, {share:.0%} of the time, budget {budget:g} s"
        yield name, seeds // 2, lambda seed, share=share: SimulatedSteps(some, bursts(seed, share), seed), budget
    for size in (1, 2, 16, 128, 1024, 2048):
        yield f"2 x at {size}", seeds // 2, lambda seed, at=size: SimulatedSteps(some, one_size(at), seed), math.inf
    for first, last in ((1.0, math.inf), (3.0, math.inf), (5.0, math.inf), (1.0, 7.0)):
        name = f"4 x from {first:g} to {last:g} s"
        disturbance = between(first, last)
        yield name, seeds // 4, lambda seed, by=disturbance: SimulatedSteps(some, by, seed), math.inf


def main() -> None:
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print(f"{'world':40s} {'n':>5s} {'warned':>7s}  errors against each other without a warning, at most")
    for name, count, make, budget in worlds(seeds):
        warned, apart = 0, [1.0]
        for seed in range(count):
            steps = make(seed)
            speed = timed(steps, SIZES, budget=budget)
            assert speed.check is not None
            off = [
                point.step_seconds.value / steps.seconds(point.batch_size)
                for point in speed.fitting
                if point.step_seconds is not None
            ]
            warned += speed.check.is_busy
            if not speed.check.is_busy:
                apart.append(max(off) / min(off))
        print(f"{name:40s} {count:5d} {warned / max(1, count):7.3f}  {max(apart):.2f}", flush=True)


if __name__ == "__main__":
    main()
