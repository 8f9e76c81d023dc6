"""Training and hardware that never were: runs and step times drawn from a law that is not quite the one we fit.

A world keeps its truth to itself: the policy sees `Run` and `Speed` records, as of real training. What differs from the
fitted law is what was measured on real tasks. At each batch size the best rate and the steps are off by some per cent.
Rates above the best cost more than those below. Whether a rate fails is a threshold of the task. Early in training the
noise is smaller, so larger rates lead. The measured noise scale is off by a factor of the task's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from critbatch.law.model import Array
from critbatch.records.core import (
    Crossing,
    CurvePoint,
    Estimate,
    Machine,
    NoisePoint,
    NoiseScale,
    Outcome,
    Provenance,
    Quantity,
    Run,
    Speed,
    SpeedPoint,
    Target,
)

TARGET = Target(quantity=Quantity.VALIDATION_LOSS, value=0.2)
FIRST_LOSS = 2.3
LEVELS = np.linspace(0.02, 1.0, 50)
MACHINE = Machine(
    processor="", cores=1, threads=1, memory_bytes=0, device="cpu", accelerator="", system="", python="", torch="",
    critbatch="",
)  # fmt: skip
PROVENANCE = Provenance(command="", started="2026-11-01T00:00:00Z", wall_seconds=0.0, seed=0, machine=MACHINE)

Clock = Callable[[float], float]


def affine(fixed: float, knee: float) -> Clock:
    return lambda size: fixed * (1 + size / knee)


def hinge(fixed: float, knee: float) -> Clock:
    """Flat, then in proportion to the batch."""
    return lambda size: fixed * max(1.0, size / knee)


def cache(fixed: float, knee: float) -> Clock:
    """Affine, with a jump by a factor of 4 between 1,024 and 4,096 examples."""
    return lambda size: fixed * (1 + size / knee) * 2 ** min(2.0, max(0.0, math.log2(size / 1024)))


@dataclass
class World:
    recipe: str = "sgd"
    min_steps: float = 300.0
    noise: float = 200.0
    rate: float = 0.5
    exponent: float = 1.1
    scatter: float = 0.1  # of log(steps), from run to run
    wrong: float = 0.07  # of log(steps) and log(best rate), from batch size to batch size
    lopsided: float = 0.1  # what twice the best rate costs in log(steps) more than half of it
    failing: float = math.log(2.8)  # log(rho) above which runs fail
    noise_seen: float = 1 / 1.7  # the noise scale that is measured, over the law's
    seconds: Clock = field(default_factory=lambda: affine(1e-3, 100))  # of a step
    examples: int = 60_000
    largest: int = 4096
    seed: int = 0

    def chance(self, *names: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *names])

    # What the policy may see.

    def speed(self) -> Speed:
        """Step times at powers of two, each measured to 3 %."""
        points = []
        for size in self.sizes:
            value = self.seconds(size) * math.exp(0.03 * self.chance(1, size).standard_normal())
            seconds = Estimate(value=value, n=20, low=value * 0.94, high=value * 1.06)
            points.append(SpeedPoint(batch_size=size, step_seconds=seconds))
        return Speed(
            task="simulated", unit="example", examples=self.examples, points=tuple(points), provenance=PROVENANCE
        )

    def run(self, size: int, rate: float, *, steps: int, seed: int = 0) -> Run:
        """Train for so many steps, or until the target is reached."""
        chance = self.chance(2, size, round(1e7 * rate), seed)
        luck, threshold = self.scatter * chance.standard_normal(), self.failing + 0.15 * chance.standard_normal()
        at = np.maximum.accumulate(np.exp(self.log_steps(size, rate, LEVELS) + luck))
        fails = math.log(rate) - float(self.log_best_rate(size)) > threshold
        ends_at = chance.uniform(0.5, 0.95) if fails else 1.0
        explodes = fails and chance.random() < 0.5
        last = float(np.interp(ends_at, LEVELS, at))
        outcome, done = Outcome.FINISHED, steps
        if last <= steps and (explodes or not fails):
            outcome, done = (Outcome.DIVERGED if explodes else Outcome.REACHED), math.ceil(last)
        came = Crossing(step=last, epoch=last * size / self.examples, seconds=last * self.seconds(size))
        levels = {
            int(step): min(ends_at, float(np.interp(step, at, LEVELS)))
            for step in np.unique(np.ceil(np.linspace(0, done, 21)))
        }
        return Run(
            task="simulated",
            recipe=self.recipe,
            batch_size=size,
            micro_batch_size=size,
            learning_rate=rate,
            seed=seed,
            target=TARGET,
            outcome=outcome,
            crossing=came if outcome is Outcome.REACHED else None,
            steps=done,
            examples=done * size,
            epochs=done * size / self.examples,
            seconds=done * self.seconds(size),
            evaluation_seconds=0.0,
            curve=tuple(self._point(size, rate, step, level, chance) for step, level in levels.items()),
            noise=tuple(self._noise(size, step, level) for step, level in levels.items() if step),
        )

    def _point(self, size: int, rate: float, step: int, level: float, chance: np.random.Generator) -> CurvePoint:
        loss = FIRST_LOSS * (TARGET.value / FIRST_LOSS) ** level * math.exp(0.02 * chance.standard_normal())
        return CurvePoint(
            step=step,
            examples=step * size,
            epoch=step * size / self.examples,
            seconds=step * self.seconds(size),
            learning_rate=rate,
            train_loss=loss,
            train_metric=0.0,
            validation_loss=loss,
            validation_metric=0.0,
        )

    def _noise(self, size: int, step: int, level: float) -> NoisePoint:
        """In proportion to the progress, so that the mean over progress is `noise_seen * noise`."""
        scale = NoiseScale(gradient_norm2=1.0, covariance_trace=2 * self.noise_seen * self.noise * level)
        return NoisePoint(step=step, epoch=step * size / self.examples, scale=scale)

    # The truth.

    @property
    def sizes(self) -> list[int]:
        return [2**k for k in range(self.largest.bit_length())]

    def log_best_rate(self, size: int, level: float | Array = 1.0) -> float | Array:
        """`level` is how far a run has come, 1 at the target."""
        off = self.wrong * self.chance(3, size).standard_normal()
        return np.asarray(math.log(self.rate) - self.exponent * np.log1p(self.noise * level / size) + off)

    def log_steps(self, size: int, rate: float, level: float | Array = 1.0) -> float | Array:
        """Of runs that do not fail, luck left out."""
        x = math.log(rate) - self.log_best_rate(size, level)
        slow = np.log(np.cosh(x)) + self.lopsided * np.maximum(0.0, x) / math.log(2)
        off = self.wrong * self.chance(4, size).standard_normal()
        return np.asarray(np.log(self.min_steps * level) + np.log1p(self.noise * level / size) + slow + off)

    def time(self, size: int, rate: float) -> float:
        """Seconds to the target: infinite where the rate fails."""
        if math.log(rate) - float(self.log_best_rate(size)) > self.failing:
            return math.inf
        return math.exp(float(self.log_steps(size, rate))) * self.seconds(size)

    def best_rate(self, size: int) -> float:
        return math.exp(float(self.log_best_rate(size)) + min(0.0, self.failing - 1e-9))

    def best_time(self) -> float:
        return min(self.time(size, self.best_rate(size)) for size in self.sizes)


def any_world(seed: int) -> World:
    """One of a wide family: both optimizers, three clocks, noise from 16 to 4,096 examples.

    Rates fail at twice the best in 30 % of the worlds and at half in 1.5 %, as was measured.
    """
    chance = np.random.default_rng([77, seed])
    recipe = ("sgd", "adam")[seed % 2]
    clock = (affine, hinge, cache)[seed % 3]
    rate, exponent = (0.5, chance.uniform(0.98, 1.29)) if recipe == "sgd" else (0.005, chance.uniform(0.29, 0.57))
    return World(
        recipe=recipe,
        min_steps=10 ** chance.uniform(1.7, 3.7),
        noise=2 ** chance.uniform(4, 12),
        rate=rate * math.exp(0.8 * chance.standard_normal()),
        exponent=exponent,
        scatter=chance.uniform(0.08, 0.16),
        failing=1.045 + 0.415 * chance.logistic(),
        noise_seen=math.exp(0.47 * chance.standard_normal()) / 1.7,
        seconds=clock(10 ** chance.uniform(-4, -2), 2 ** chance.uniform(3, 10)),
        examples=int(10 ** chance.uniform(3.2, 4.8)),
        largest=2 ** int(chance.integers(10, 14)),
        seed=seed,
    )


def made(
    size: int, rate: float, *, took: float | None = None, ran: int = 1000, diverged: bool = False, seed: int = 0
) -> Run:
    """By hand: a run that took so many steps to the target, or ran so long without coming to it, or diverged."""
    outcome = Outcome.DIVERGED if diverged else Outcome.FINISHED if took is None else Outcome.REACHED
    steps = ran if took is None else math.ceil(took)
    return Run(
        task="simulated",
        recipe="sgd",
        batch_size=size,
        micro_batch_size=size,
        learning_rate=rate,
        seed=seed,
        target=TARGET,
        outcome=outcome,
        crossing=None if took is None else Crossing(step=took, epoch=1.0, seconds=1.0),
        steps=steps,
        examples=steps * size,
        epochs=1.0,
        seconds=1.0,
        evaluation_seconds=0.0,
        curve=(),
    )
