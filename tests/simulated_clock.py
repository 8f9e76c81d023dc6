"""Steps whose seconds are known, on a clock of their own, with other work that disturbs them: no real time passes."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from critbatch.law.clock_check import with_check
from critbatch.measure.memory import StepMemory
from critbatch.measure.step_time import Rounds, settled
from critbatch.measure.timed_steps import Parts, Visit
from critbatch.records.core import Speed
from sample_records import PROVENANCE
from tiny import tiny_task

TASK = tiny_task()

# Now, batch size, step of the visit: by which factor a step takes longer.
Disturbance = Callable[[float, int, int], float]


def quiet(now: float, size: int, step: int) -> float:
    return 1.0


@dataclass
class SimulatedSteps:
    """Stands in for `TimedSteps`: a step takes `seconds(batch_size)`, jitters, and is disturbed.

    A quiet machine jitters by 5 % from visit to visit and by 10 % from step to step, and one step in a hundred takes
    3 ms longer.
    """

    seconds: Callable[[int], float]
    disturbance: Disturbance = quiet
    seed: int = 0
    waited: float | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    model_bytes: int = 0
    now: float = 0.0

    def __post_init__(self) -> None:
        self.task = TASK
        self.model = nn.Linear(1, 1)
        self.chance = np.random.default_rng(self.seed)
        self.order: list[int] = []

    def clock(self) -> float:
        return self.now

    def piece(self, batch_size: int) -> int:
        return batch_size

    def memory(self, batch_size: int) -> StepMemory:
        self.now += 2 * self.seconds(batch_size)
        return StepMemory(batch_size, forward_bytes=0)

    def visit(self, batch_size: int, seconds: float) -> Visit:
        self.order.append(batch_size)
        mood = self.seconds(batch_size) * np.exp(0.05 * self.chance.standard_normal())
        steps: list[float] = []
        began = self.now
        while not steps or self.now - began + steps[-1] <= seconds:
            hiccup = 0.003 if self.chance.random() < 0.01 else 0.0
            jitter = float(np.exp(0.1 * self.chance.standard_normal()))
            steps.append((mood * jitter + hiccup) * self.disturbance(self.now, batch_size, len(steps)))
            self.now += steps[-1]
        return Visit(tuple(steps), tuple(Parts(0.0, one, 0.0) for one in steps), self.waited)


def timed(
    steps: SimulatedSteps, sizes: list[int], *, seconds_per_point: float = 0.5, budget: float = math.inf
) -> Speed:
    """What `critbatch.measure.step_time.speed` makes of these steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("critbatch.measure.step_time.time", SimpleNamespace(perf_counter=steps.clock))
        rounds = Rounds(
            steps,  # type: ignore[arg-type]
            sizes,
            seconds_per_point=seconds_per_point,
            deadline=budget,
        )
        points = settled(rounds, random.Random(steps.seed))
    return with_check(
        Speed(task="simulated", unit="example", examples=sizes[-1], points=points, recipe="sgd", provenance=PROVENANCE)
    )
