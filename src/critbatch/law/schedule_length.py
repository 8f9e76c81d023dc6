"""Steps to a target if the learning rate decays over the run: find the shortest planned length that reaches it.

With warm-up and decay, the law of steps holds as at a constant rate, but with other numbers: on the tasks that this
project measured, B_noise was 1.4 to 3.1 times smaller and the best peak rate 1 to 4 times higher. So a search at a
constant rate gives a prior for the runs of planned length. The steps of these are the shortest length that reached the
target; a length that was too short is a bound.
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
"""Change of B_noise, and the standard deviation of its logarithm."""

RATE_FACTOR, RATE_SPREAD = math.sqrt(2), 0.4
"""Change of the best peak rate of very large batches. The smaller B_noise doubles that factor for small batches."""

STEPS_SPREAD = 0.5
"""Standard deviation of log(S_min), whose change was not measured."""

RUNG = math.sqrt(2)
"""Factor between one planned length and the next."""

Place = tuple[int, float, int]
"""Batch size, learning rate and seed."""


def with_decay(posterior: Posterior, *, seed: int = 0) -> Posterior:
    """Convert the posterior of a search at a constant rate to a decaying schedule. The result is reproducible."""
    generator = np.random.default_rng(seed)

    def changed(draws: Array, factor: float, spread: float) -> Array:
        return np.asarray(draws + math.log(factor) + spread * generator.standard_normal(draws.shape))

    return replace(
        posterior,
        log_min_steps=changed(posterior.log_min_steps, 1.0, STEPS_SPREAD),
        log_noise=changed(posterior.log_noise, NOISE_FACTOR, NOISE_SPREAD),
        log_rate=changed(posterior.log_rate, RATE_FACTOR, RATE_SPREAD),
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
    """The power of `RUNG` nearest to this number of steps, so that planned lengths repeat.

    >>> [rung_near(steps) for steps in (1, 100, 120)]
    [1, 91, 128]
    """
    return max(1, round(RUNG ** round(math.log(max(1.0, steps), RUNG))))


def shortest(runs: Mapping[int, Run]) -> int | None:
    """The shortest planned length, in steps, that reached the target; None if none did."""
    return min((steps for steps, run in runs.items() if run.crossing is not None), default=None)


def observations(runs: Mapping[Place, Mapping[int, Run]]) -> list[Run]:
    """One run for each place, for the fit of the law: the shortest that reached the target, or else the longest.

    Args:
        runs: by place and planned length in steps.
    """
    chosen = []
    for lengths in runs.values():
        least = shortest(lengths)
        if least is not None:
            chosen.append(lengths[least])
        else:
            longest = lengths[max(lengths)]
            ended = longest.outcome is Outcome.FINISHED
            # It was too short, independent of other runs: it is a bound, not a run dropped from a race.
            chosen.append(replace(longest, outcome=Outcome.INTERRUPTED) if ended else longest)
    return chosen
