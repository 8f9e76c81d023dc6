"""Steps to a target where the learning rate decays over the run: a length must be planned, and is what is looked for.

With warm-up and decay the law of steps holds as it does at a constant rate, but with other numbers: B_noise was 1.4 to
3.1 times smaller and the best peak rate 1 to 4 times higher, on the tasks that this project measured. So a search at a
constant rate is a prior for the runs whose length is planned. Of those the steps are the shortest length that came to
the target; one that was too short is a bound.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from critbatch.law.model import Array
from critbatch.law.posterior import Posterior
from critbatch.law.prior import LawPrior
from critbatch.records.core import Outcome, Run

NOISE_FACTOR, NOISE_SPREAD = 0.5, 0.4
"""Of B_noise, and the standard deviation of its logarithm."""

RATE_FACTOR, RATE_SPREAD = math.sqrt(2), 0.4
"""Of the best peak rate of very large batches. With the smaller B_noise that of small ones grows by twice as much."""

STEPS_SPREAD = 0.5
"""Of log(S_min), whose change was not measured."""

RUNG = math.sqrt(2)
"""From one planned length to the next."""

Place = tuple[int, float, int]
"""Batch size, learning rate and seed."""


def with_decay(posterior: Posterior, *, seed: int = 0) -> Posterior:
    """What a search at a constant rate says of a schedule that decays. The answer is the same each time."""
    chance = np.random.default_rng(seed)

    def moved(draws: Array, factor: float, spread: float) -> Array:
        return np.asarray(draws + math.log(factor) + spread * chance.standard_normal(draws.shape))

    return replace(
        posterior,
        log_min_steps=moved(posterior.log_min_steps, 1.0, STEPS_SPREAD),
        log_noise=moved(posterior.log_noise, NOISE_FACTOR, NOISE_SPREAD),
        log_rate=moved(posterior.log_rate, RATE_FACTOR, RATE_SPREAD),
    )


def prior_from(posterior: Posterior) -> LawPrior:
    """Independent normal distributions with the posterior's means and standard deviations."""

    def normal(draws: Array) -> tuple[float, float]:
        return float(draws.mean()), float(draws.std())

    return LawPrior(
        log_min_steps=normal(posterior.log_min_steps),
        log_noise=normal(posterior.log_noise),
        log_rate=normal(posterior.log_rate),
        exponent=normal(posterior.exponent),
    )


def rung_near(steps: float) -> int:
    """The planned length, a power of `RUNG` in steps, nearest to this one: so that lengths are met again.

    >>> [rung_near(steps) for steps in (1, 100, 120)]
    [1, 91, 128]
    """
    return max(1, round(RUNG ** round(math.log(max(1.0, steps), RUNG))))


def shortest(runs: Mapping[int, Run]) -> int | None:
    """The shortest planned length, in steps, that came to the target; None where none did."""
    return min((steps for steps, run in runs.items() if run.crossing is not None), default=None)


def observations(runs: Mapping[Place, Mapping[int, Run]]) -> list[Run]:
    """One run for each place, as the law is fitted to: the shortest that came to the target, else the longest.

    Args:
        runs: by place and planned length in steps.
    """
    told = []
    for lengths in runs.values():
        least = shortest(lengths)
        if least is not None:
            told.append(lengths[least])
        else:
            longest = lengths[max(lengths)]
            ended = longest.outcome is Outcome.FINISHED
            # It is too short, whatever others did: a bound, not the loser of a race.
            told.append(replace(longest, outcome=Outcome.INTERRUPTED) if ended else longest)
    return told
