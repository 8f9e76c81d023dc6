"""Priors of the law: from the optimizer on other tasks, and from the noise scale measured along the runs."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from critbatch.records.core import Run

NOISE_TO_LAW = 1.7
"""The law's B_noise over the noise scale averaged along a run: 1.2 to 2.5 were measured."""

NOISE_SPREAD = 0.6
"""Standard deviation of the log of that ratio: x/: 1.6 from task to task, and the ratio itself is not sure."""


@dataclass(frozen=True, kw_only=True)
class LawPrior:
    """What is known about a recipe's optimizer before any run: one normal distribution for each number of the law.

    Each is (mean, standard deviation), of the logarithm for all but `exponent`. The defaults are wide: they keep the
    posterior proper and say little. The scatter is the exception: residuals of the law were 0.1 to 0.2 on every task.

    Args:
        log_min_steps: Steps to the target of a very large batch.
        log_noise: The batch size at which noise and signal are equal. A measured noise scale replaces it.
        log_rate: The best learning rate of a very large batch.
        exponent: Exponent of the best learning rate against the batch size: about 1.1 for SGD, 0.46 for Adam.
        log_scatter: Standard deviation of log(measured / predicted steps) of one run.
    """

    log_min_steps: tuple[float, float] = (math.log(1000), 3.0)
    log_noise: tuple[float, float] = (math.log(256), 1.5)
    log_rate: tuple[float, float] = (math.log(0.1), 3.0)
    exponent: tuple[float, float] = (0.8, 0.35)
    log_scatter: tuple[float, float] = (math.log(0.15), 0.35)

    def theta(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """The parameters, in the order above, of standard normal `z`. Shape (draws, 5) to (draws, 5)."""
        pairs = np.array([self.log_min_steps, self.log_noise, self.log_rate, self.exponent, self.log_scatter])
        return np.asarray(pairs[:, 0] + pairs[:, 1] * z)


WIDE_PRIOR = LawPrior()
"""The prior of a recipe about which nothing is known."""

WIDE_RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Learning rates of the first race with `WIDE_PRIOR`: each about a third of the next."""


def average_noise(run: Run) -> float | None:
    """The noise scale of a whole run, in examples; None if it was not measured or there was no signal.

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
    """The geometric mean of `average_noise` over runs that reached the target: early in a run it is far too low."""
    scales = [noise for run in runs if run.crossing is not None and (noise := average_noise(run)) is not None]
    return math.exp(sum(map(math.log, scales)) / len(scales)) if scales else None


def with_measured_noise(prior: LawPrior, noise: float | None) -> LawPrior:
    """The same prior, with the noise scale measured along the runs, if there is one."""
    if noise is None:
        return prior
    return replace(prior, log_noise=(math.log(NOISE_TO_LAW * noise), NOISE_SPREAD))
