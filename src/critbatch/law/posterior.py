"""Fit the law of steps to a target, with four numbers, to all runs, including those that missed the target."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from scipy.optimize import brentq
from scipy.special import chdtrc, ndtr

from critbatch.errors import UserError
from critbatch.law.model import Array, failure_probability, log_saturation, log_slowdown
from critbatch.law.prior import WIDE_PRIOR, LawPrior, measured_noise, with_measured_noise
from critbatch.records.core import Estimate, Law, Outcome, Run

# Sequential Monte Carlo for a posterior with a standard normal prior, vectorized over the draws.

MOVES = 6


def sample_posterior(
    log_likelihood: Callable[[Array], Array], *, dimensions: int, draws: int, generator: Generator
) -> Array:
    """Draws of z with density proportional to `normal(z) * exp(log_likelihood(z))`, shape (draws, dimensions).

    The first draws come from the prior. The power of the likelihood then rises from 0 to 1, at each stage by as much as
    leaves half of the draws effective; the draws are then resampled by weight and moved by Metropolis steps with their
    own covariance. A chain from one start would miss the second of two modes, and with a few runs there are two: all
    rates tried may lie below the best one or above it. Del Moral, Doucet and Jasra 2006, "Sequential Monte Carlo
    samplers", section 3; the choice of the stages is Jasra et al. 2011, "Inference for Lévy-driven stochastic
    volatility models", section 3.2.

    Args:
        log_likelihood: maps z of shape (draws, dimensions) to finite values of shape (draws,).
        dimensions: of z.
        draws: number of draws.
        generator: the only source of random numbers.
    """
    z = generator.standard_normal((draws, dimensions))
    fit = log_likelihood(z)
    power = 0.0
    while power < 1.0:
        step = _stage(fit, 1.0 - power)
        power = min(1.0, power + step)
        chosen = _resample(_weights(step * fit), generator)
        z, fit = z[chosen], fit[chosen]
        covariance = np.cov(z, rowvar=False) + 1e-9 * np.eye(dimensions)
        spread = np.asarray(np.linalg.cholesky(covariance), dtype=np.float64)
        for _ in range(MOVES if power < 1.0 else 3 * MOVES):
            z, fit = _move(z, fit, power, spread, log_likelihood, generator)
    return z


def _weights(log_weights: Array) -> Array:
    weights = np.exp(log_weights - log_weights.max())
    return np.asarray(weights / weights.sum())


def _stage(fit: Array, left: float) -> float:
    """How much the power may rise if half of the draws are to stay effective."""

    def spare(step: float) -> float:
        return float(1 / np.square(_weights(step * fit)).sum() - len(fit) / 2)

    return left if spare(left) >= 0 else float(brentq(spare, 0.0, left, rtol=1e-3))


def _resample(weights: Array, generator: Generator) -> Array:
    """Indices in proportion to their weights. Resampling is systematic: equal weights select every draw once."""
    count = len(weights)
    places = (generator.random() + np.arange(count)) / count
    return np.minimum(np.searchsorted(np.cumsum(weights), places), count - 1)


def _move(
    z: Array, fit: Array, power: float, spread: Array, log_likelihood: Callable[[Array], Array], generator: Generator
) -> tuple[Array, Array]:
    """One Metropolis step of every draw."""
    count, dimensions = z.shape
    # The best step for a normal density, or a shorter one for curved densities.
    length = 2.38 / np.sqrt(dimensions) * generator.choice((1.0, 0.4), size=(count, 1))
    proposed = z + length * (generator.standard_normal((count, dimensions)) @ spread.T)
    fit_proposed = log_likelihood(proposed)
    gain = power * (fit_proposed - fit) + (np.square(z).sum(1) - np.square(proposed).sum(1)) / 2
    accept = np.log(generator.random(count)) < gain
    return np.where(accept[:, None], proposed, z), np.where(accept, fit_proposed, fit)


LEVEL = 0.8
"""Level of all predicted intervals."""

FAR = 0.25
"""Error of the law, in log(steps), for each factor of e in steps beyond 1.25. It was checked up to there, which is the
cost of twice or half the best rate."""

SLOW_SIDE = 1.5
"""Scatter of runs that take longer than the law predicts, relative to those that take less. Chosen on the development
tasks of `docs/advisor-study.md`, without looking at its final tasks."""

DROPPED = 0.5
"""Error of the order of two runs, in log(steps), if one was dropped before the other reached the target."""

DOUBT = 0.05
"""The law does not hold if scatter alone would give such a misfit with less than this probability."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Posterior:
    """The posterior of the law given the runs, as draws. All arrays have shape (draws,).

    Args:
        log_min_steps, log_noise, log_rate, exponent: the law's four numbers.
        scatter: standard deviation of log(measured / predicted steps) of one run.
        luck: one standard normal number for each draw: the position of the next run in its scatter.
        reached: number of runs that reached the target.
        noise: the noise scale measured along them, in examples; None if none was measured.
        misfit: as in `Law`.
        reason: why the law does not hold, or cannot be shown to hold; empty if it holds.
    """

    log_min_steps: Array
    log_noise: Array
    log_rate: Array
    exponent: Array
    scatter: Array
    luck: Array
    reached: int
    noise: float | None
    misfit: float
    reason: str

    def best_rate(self, batch_size: float) -> Array:
        """The learning rate that needs the fewest steps."""
        return np.asarray(np.exp(self.log_best_rate(batch_size)))

    def log_best_rate(self, batch_size: float) -> Array:
        saturation = log_saturation(self.log_noise, math.log(batch_size))
        return np.asarray(self.log_rate - self.exponent * saturation)

    def steps(self, batch_size: float, learning_rate: float | None = None) -> Array:
        """Average steps to the target at a learning rate, or at the best one. Single runs scatter around it."""
        log_steps = self.log_min_steps + log_saturation(self.log_noise, math.log(batch_size))
        if learning_rate is not None:
            log_steps = log_steps + log_slowdown(math.log(learning_rate) - self.log_best_rate(batch_size))
        return np.asarray(np.exp(log_steps))

    def next_run(self, batch_size: float, learning_rate: float) -> Array:
        """Steps that one more run would need, as the search uses them: `steps` with the scatter of one run."""
        return np.asarray(self.steps(batch_size, learning_rate) * np.exp(self.scatter * self.luck))

    def stated_run(self, batch_size: float, learning_rate: float) -> Array:
        """Like `next_run`, as an answer states it: slow runs scatter `SLOW_SIDE` times as far."""
        luck = np.where(self.luck > 0, SLOW_SIDE * self.luck, self.luck)
        return np.asarray(self.steps(batch_size, learning_rate) * np.exp(self.scatter * luck))

    def failure(self, batch_size: float, learning_rate: float) -> Array:
        """The probability that a run never reaches the target."""
        return np.asarray(failure_probability(math.log(learning_rate) - self.log_best_rate(batch_size)))

    def estimate(self, draws: Array) -> Estimate:
        """Median and 80 % interval of some draws; `n` counts the runs that reached the target."""
        low, value, high = np.quantile(draws, [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2])
        return Estimate(value=float(value), n=self.reached, low=float(low), high=float(high), level=LEVEL)

    def record(self) -> Law:
        return Law(
            min_steps=self.estimate(np.exp(self.log_min_steps)),
            noise_examples=self.estimate(np.exp(self.log_noise)),
            rate=self.estimate(np.exp(self.log_rate)),
            exponent=self.estimate(self.exponent),
            misfit=self.misfit,
            holds=not self.reason,
            reason=self.reason,
        )


def fit(
    runs: Sequence[Run],
    *,
    prior: LawPrior = WIDE_PRIOR,
    use_measured_noise: bool = True,
    draws: int = 1024,
    seed: int = 0,
) -> Posterior:
    """Fit the law of steps to target to all runs of one task, recipe and target.

    A run that reached the target gives its number of steps, with log-normal scatter. A run that stopped before it shows
    that it needs more steps, or that its rate fails. A run that was dropped while another at its batch size went on to
    the target shows, weakly, that it was slower. A run that diverged shows that its rate is too large: half the best
    rate almost never fails, twice the best fails in a third of the cases. Runs out of memory do not count.

    The result does not depend on the order of the runs, and is the same each time. A repeated record counts once.

    Args:
        runs: at least one.
        prior: the prior of the recipe; wide by default.
        use_measured_noise: whether a noise scale measured along the runs replaces that of the prior.
        draws: number of draws.
        seed: of the draws.

    Raises:
        UserError: if there is no run, or they are not of one task, recipe and target.
    """
    _check_alike(runs)
    different = {_place(run): run for run in runs}
    ordered = [different[place] for place in sorted(different)]
    noise = measured_noise(ordered)
    if use_measured_noise:
        prior = with_measured_noise(prior, noise)
    generator = np.random.default_rng(seed)
    data = _RunData(ordered)
    z = sample_posterior(lambda z: data.log_likelihood(prior.theta(z)), dimensions=5, draws=draws, generator=generator)
    theta = prior.theta(z)
    fresh_scatter = np.exp(prior.theta(generator.standard_normal(z.shape))[:, 4])
    misfit, chance = data.check(theta, fresh_scatter)
    return Posterior(
        log_min_steps=theta[:, 0],
        log_noise=theta[:, 1],
        log_rate=theta[:, 2],
        exponent=theta[:, 3],
        scatter=np.exp(theta[:, 4]),
        luck=generator.standard_normal(draws),
        reached=data.reached_count,
        noise=noise,
        misfit=misfit,
        reason="law_misfit" if chance < DOUBT else "few_points" if data.few else "",
    )


def _check_alike(runs: Sequence[Run]) -> None:
    if not runs:
        raise UserError("There is no run to learn from: make at least one.")
    kinds = {(run.task, run.recipe, run.target) for run in runs}
    if len(kinds) > 1 or runs[0].target is None:
        names = "; ".join(sorted(f"{task}, {recipe}, {target}" for task, recipe, target in kinds))
        raise UserError(f"The law is of one task, recipe and target, but the runs have: {names}. Fit them apart.")


def _place(run: Run) -> tuple[float, ...]:
    """The fields of a run that the fit uses, except its noise."""
    return (run.batch_size, run.learning_rate, run.seed, run.steps, run.crossing.step if run.crossing else math.inf)


class _RunData:
    """The runs as arrays of shape (runs,), first those that reached the target, and their likelihood by the law."""

    def __init__(self, runs: Iterable[Run]) -> None:
        usable = [run for run in runs if run.outcome is not Outcome.OUT_OF_MEMORY and run.steps > 0]
        reached = [run for run in usable if run.crossing is not None]
        diverged = [run for run in usable if run.outcome is Outcome.DIVERGED]
        short = [run for run in usable if run.crossing is None and run.outcome is not Outcome.DIVERGED]
        best = _fewest_steps(reached)
        dropped = [run.outcome is Outcome.FINISHED and run.steps < best.get(run.batch_size, 0.0) for run in short]
        steps = [run.crossing.step for run in reached if run.crossing is not None]
        bounds = [
            best[run.batch_size] if was_dropped else run.steps for run, was_dropped in zip(short, dropped, strict=True)
        ]
        usable = reached + short + diverged
        self.reached_count, self.short = len(reached), len(short)
        self.log_batch = np.log([float(run.batch_size) for run in usable])
        self.log_rate = np.log([run.learning_rate for run in usable])
        self.log_reached_steps = np.log(np.maximum(0.5, steps))
        self.log_bounds = np.log(np.maximum(0.5, bounds))
        beyond = [step / best[run.batch_size] / 1.25 for run, step in zip(reached, steps, strict=True)]
        self.far = FAR * np.log(np.maximum(1.0, beyond))
        self.dropped = np.where(dropped, DROPPED, 0.0)
        self.few = len(reached) < 5 or len({run.batch_size for run in reached}) < 3

    def predict(self, theta: Array) -> tuple[Array, Array]:
        """log(steps) and log(rho), each of shape (draws, runs)."""
        log_min_steps, log_noise, log_rate, exponent = (theta[:, [i]] for i in range(4))
        saturation = log_saturation(log_noise, self.log_batch)
        log_rho = self.log_rate - log_rate + exponent * saturation
        return np.asarray(log_min_steps + saturation + log_slowdown(log_rho)), np.asarray(log_rho)

    def log_likelihood(self, theta: Array) -> Array:
        log_steps, log_rho = self.predict(theta)
        fails = failure_probability(log_rho)
        variance = np.exp(2 * theta[:, [4]])
        reached, short = slice(0, self.reached_count), slice(self.reached_count, self.reached_count + self.short)
        around = variance + np.square(self.far)
        misses = np.square(self.log_reached_steps - log_steps[:, reached]) / around
        reached_likelihood = np.log(1 - fails[:, reached]) - (misses + np.log(around)) / 2
        above = (log_steps[:, short] - self.log_bounds) / np.sqrt(variance + np.square(self.dropped))
        short_likelihood = np.log(fails[:, short] + (1 - fails[:, short]) * ndtr(above))
        diverged_likelihood = np.log(fails[:, self.reached_count + self.short :])
        return np.asarray(reached_likelihood.sum(1) + short_likelihood.sum(1) + diverged_likelihood.sum(1))

    def check(self, theta: Array, fresh_scatter: Array) -> tuple[float, float]:
        """The misfit, and the probability that scatter alone gives a misfit at least as large.

        The scatter is drawn again from the prior, because the fitted scatter grows until it explains any misfit.
        """
        if not self.reached_count:
            return math.nan, 1.0
        misses = self.log_reached_steps - self.predict(theta)[0][:, : self.reached_count]
        misfit = math.sqrt(np.square(np.median(misses, axis=0)).mean())
        around = np.square(fresh_scatter[:, None]) + np.square(self.far)
        return misfit, float(chdtrc(self.reached_count, (np.square(misses) / around).sum(1)).mean())


def _fewest_steps(reached: Iterable[Run]) -> dict[int, float]:
    """The fewest steps to the target at each batch size."""
    best: dict[int, float] = {}
    for run in reached:
        assert run.crossing is not None
        best[run.batch_size] = min(best.get(run.batch_size, math.inf), run.crossing.step)
    return best
