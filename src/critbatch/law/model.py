"""The law of steps to target against batch size and learning rate, as arithmetic on arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

# `S(B, lr) = S_min (1 + B_noise / B) (rho + 1/rho) / 2` with `rho = lr / best_rate(B)` and `best_rate(B) = rate / (1 +
# B_noise / B)^exponent`. The first two factors are McCandlish et al. 2018, arXiv:1812.06162, section 2.3 and equation
# 5.1; the exponent is 1 there (equation 2.7) and about 1/2 for Adam. This project measured the last factor and the
# failure rates on 17 pairs of small tasks and optimizers.
#
# All computations use logarithms: `(rho + 1/rho) / 2` is `cosh(log rho)`.

Array = NDArray[np.float64]

FAILS_AT_TWICE = 0.30
"""Share of runs at twice the best rate that miss the target: 26 to 35 % were measured."""

FAILS_AT_HALF = 0.015
"""Share of runs at half the best rate that miss the target: 0 to 3 % were measured."""

FAILS_ANYHOW = 0.005
"""Share of runs that fail at any rate, so that one unusual run cannot outweigh all others."""

_FAILURE_SLOPE = (logit(FAILS_AT_TWICE) - logit(FAILS_AT_HALF)) / math.log(4)
_FAILURE_AT_BEST = (logit(FAILS_AT_TWICE) + logit(FAILS_AT_HALF)) / 2


def log_saturation(log_noise: Any, log_batch: Any) -> Any:
    """`log(1 + B_noise / B)`, given the logarithms of both."""
    return np.log(1 + np.exp(log_noise - log_batch))


def log_slowdown(log_rho: Any) -> Any:
    """`log((rho + 1/rho) / 2)`: the cost of a rate that is `rho` times the best. 0 at the best rate.

    >>> round(float(np.exp(log_slowdown(np.log(2.0)))), 3)
    1.25
    """
    rho = np.exp(log_rho)
    return np.log((rho + 1 / rho) / 2)


def failure_probability(log_rho: Any) -> Any:
    """The probability that a run at `rho` times the best rate never reaches the target: it diverges or stalls.

    A logistic curve in log(rho) through the two measured shares. Rates that are too large fail more often.

    >>> failure_probability(np.log([0.5, 1.0, 2.0, 4.0])).round(2)
    array([0.02, 0.08, 0.3 , 0.69])
    """
    return FAILS_ANYHOW + (1 - 2 * FAILS_ANYHOW) / (1 + np.exp(-_FAILURE_AT_BEST - _FAILURE_SLOPE * log_rho))
