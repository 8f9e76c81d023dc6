"""What is known of a task before it is run: what its optimizer did elsewhere, and the noise along its own runs."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from critbatch.records.core import Run

# The law of steps to target, as arithmetic on arrays.
#
# `S(B, lr) = S_min (1 + B_noise / B) (rho + 1/rho) / 2` with `rho = lr / best_rate(B)` and `best_rate(B) = rate / (1 +
# B_noise / B)^exponent`. The first two factors are McCandlish et al. 2018, arXiv:1812.06162, section 2.3 and equation
# 5.1; the exponent is 1 there (equation 2.7) and about 1/2 for Adam. The last factor and how often a rate fails are
# what this project measured on 17 pairs of small tasks and optimizers.
#
# All is done in logarithms: `(rho + 1/rho) / 2` is `cosh(log rho)`.

Array = NDArray[np.float64]

FAILS_AT_TWICE = 0.30
"""How often a run at twice the best rate misses the target: 26 to 35 % were measured."""

FAILS_AT_HALF = 0.015
"""How often one at half the best rate does: 0 to 3 % were measured."""

FAILS_ANYHOW = 0.005
"""How often a run fails at any rate, however small: so that one odd run cannot rule out all the rest."""

_FAILURE_SLOPE = (logit(FAILS_AT_TWICE) - logit(FAILS_AT_HALF)) / math.log(4)
_FAILURE_AT_BEST = (logit(FAILS_AT_TWICE) + logit(FAILS_AT_HALF)) / 2


def log_saturation(log_noise: Any, log_batch: Any) -> Any:
    """`log(1 + B_noise / B)`, of the logarithms of both."""
    return np.log(1 + np.exp(log_noise - log_batch))


def log_slowdown(log_rho: Any) -> Any:
    """`log((rho + 1/rho) / 2)`: what a rate costs that is `rho` times the best. 0 at the best rate.

    >>> round(float(np.exp(log_slowdown(np.log(2.0)))), 3)
    1.25
    """
    rho = np.exp(log_rho)
    return np.log((rho + 1 / rho) / 2)


def failure_probability(log_rho: Any) -> Any:
    """How likely a run is to miss the target for good, diverged or stalled, at `rho` times the best rate.

    A logistic curve in log(rho) through the two shares that were measured: mistakes in the rate are lopsided.

    >>> failure_probability(np.log([0.5, 1.0, 2.0, 4.0])).round(2)
    array([0.02, 0.08, 0.3 , 0.69])
    """
    return FAILS_ANYHOW + (1 - 2 * FAILS_ANYHOW) / (1 + np.exp(-_FAILURE_AT_BEST - _FAILURE_SLOPE * log_rho))


NOISE_TO_LAW = 1.7
"""The law's B_noise over the noise scale averaged along a run: 1.2 to 2.5 were measured."""

NOISE_SPREAD = 0.6
"""Standard deviation of the log of that ratio: x/: 1.6 from task to task, and the ratio itself is not sure."""


@dataclass(frozen=True, kw_only=True)
class Prior:
    """Independent normal distributions, each as (mean, standard deviation); all but `exponent` of a logarithm.

    The defaults are wide: they keep the posterior proper and say little. The scatter is the exception: residuals of the
    law were 0.1 to 0.2 on every task.
    """

    log_min_steps: tuple[float, float] = (math.log(1000), 3.0)
    log_noise: tuple[float, float] = (math.log(256), 1.5)
    log_rate: tuple[float, float] = (math.log(0.1), 3.0)
    exponent: tuple[float, float] = (0.8, 0.35)
    log_scatter: tuple[float, float] = (math.log(0.15), 0.35)

    def theta(self, z: Array) -> Array:
        """The parameters, in the order above, of standard normal `z`. Shape (draws, 5) to (draws, 5)."""
        pairs = np.array([self.log_min_steps, self.log_noise, self.log_rate, self.exponent, self.log_scatter])
        return np.asarray(pairs[:, 0] + pairs[:, 1] * z)


PRIORS = {
    # The exponents: 0.98 to 1.29 and 0.29 to 0.57 were measured.
    "sgd": Prior(log_rate=(math.log(0.5), 2.0), exponent=(1.1, 0.12)),
    "adam": Prior(log_rate=(math.log(0.005), 2.0), exponent=(0.46, 0.12)),
}


def average_noise(run: Run) -> float | None:
    """The noise scale of a whole run, in examples; None where none was measured or no signal was found.

    A step at batch size B_0 brings as much progress as 1 / (1 + B_noise / B_0) steps without noise, so each point
    counts by its steps times that: the mean is over progress, as S_min B_noise is the integral of B_noise over it.
    """
    previous, progress, total = 0, 0.0, 0.0
    for point in run.noise:
        steps, previous = point.step - previous, point.step
        signal = max(0.0, point.scale.gradient_norm2) * run.batch_size
        noise = max(0.0, point.scale.covariance_trace)
        if signal + noise > 0:
            progress += steps * signal / (signal + noise)
            total += steps * run.batch_size * noise / (signal + noise)
    return total / progress if progress > 0 and total > 0 else None


def measured_noise(runs: Iterable[Run]) -> float | None:
    """The geometric mean of `average_noise` over the runs that came to the target: early on it is far too low."""
    found = [noise for run in runs if run.crossing is not None and (noise := average_noise(run)) is not None]
    return math.exp(sum(map(math.log, found)) / len(found)) if found else None


def prior_for(recipe: str, noise: float | None) -> Prior:
    """What to expect of a recipe, wide where it is not among PRIORS, given the noise scale along its runs."""
    prior = PRIORS.get(recipe, Prior())
    if noise is None:
        return prior
    return replace(prior, log_noise=(math.log(NOISE_TO_LAW * noise), NOISE_SPREAD))
