"""Steps to the target at the best learning rate of a batch size: an interval that knows that the rate was chosen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from critbatch.predict.goal_points import USABLE, Tried, best_of, work_of
from critbatch.predict.law import Array
from critbatch.predict.law_fit import bounded_exp
from critbatch.records.core import Estimate

LEVEL = 0.95
DRAWS = 400

MOST_DRAWN = 1000
"""Runs of one rate that a draw makes anew: with more, their median scatters like one over the square root of them."""


class SeedScatter:
    """How runs scatter that differ by their seed alone, in log(steps): pooled over batch sizes and usable rates.

    Few seeds at a size tell little of the scatter there; that of all sizes together is known well. Deviations from the
    mean of k runs are enlarged by sqrt(k / (k - 1)), Davison and Hinkley 1997, "Bootstrap methods and their
    application", section 3.2.
    """

    def __init__(self, by_size: Iterable[Sequence[Tried]]) -> None:
        found: list[Array] = [np.zeros(0)]
        self.freedom = 0
        for tried in by_size:
            for one in _contenders(tried):
                logs = np.sort(np.log([work_of(point) for point in one.reached]))
                if len(logs) > 1:
                    found.append((logs - logs.mean()) * math.sqrt(len(logs) / (len(logs) - 1)))
                    self.freedom += len(logs) - 1
        self.deviations = np.concatenate(found)

    def draw(self, generator: np.random.Generator, draws: int, runs: int) -> Array:
        """Deviations of runs that might have been, shape (draws, runs). The scatter's own uncertainty is in them."""
        share = np.sqrt(self.freedom / generator.chisquare(self.freedom, (draws, 1)))
        return np.asarray(share * generator.choice(self.deviations, (draws, runs)))


def tuned_factor(tried: Sequence[Tried], scatter: SeedScatter, generator: np.random.Generator) -> tuple[float, float]:
    """The interval of the steps at the best rate, as multiples of their median, by the bootstrap over seeds.

    Each draw makes every run at every usable rate anew, within the scatter of seeds and as often short of the target as
    was seen, and chooses the best rate anew.

    Args:
        tried: at one batch size; one rate at least came to the target.
        scatter: of seeds, with a freedom of one at least.
    """
    best = best_of(tried)
    assert best is not None
    medians, missed = [], []
    for one in _contenders(tried):
        came = len(one.reached)
        drawn = min(came, MOST_DRAWN)
        moved = np.median(scatter.draw(generator, DRAWS, drawn), axis=1) * math.sqrt(drawn / came)
        medians.append(math.log(one.median_work / best.median_work) + moved)
        share = 1 - generator.binomial(one.runs, came / one.runs, DRAWS) / one.runs
        missed.append(np.where(share == 1, 1e3, share))
    # The share of misses decides, the steps only among equals.
    rank = np.round(np.array(missed), 9) * 1e6 + np.array(medians)
    chosen = rank.argmin(0)
    logs = np.array(medians)[chosen, np.arange(DRAWS)]
    low, high = np.quantile(logs, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return min(1.0, bounded_exp(low)), max(1.0, bounded_exp(high))


def with_factor(value: float, n: int, factor: tuple[float, float] | None) -> Estimate:
    """A median and its interval, or the reason why there is none: no setting was run with two seeds."""
    if factor is None:
        return Estimate(value=value, n=n, level=LEVEL, reason="one_seed")
    return Estimate(value=value, n=n, low=value * factor[0], high=value * factor[1], level=LEVEL)


def _contenders(tried: Sequence[Tried]) -> list[Tried]:
    best = best_of(tried)
    if best is None:
        return []
    return [one for one in tried if one.reached and one.median_work <= USABLE * best.median_work]
