"""Fit the constants of a cluster to a few measured steps, with priors from other clusters.

Two measured steps cannot determine five constants. A step that took longer than its passes may owe this to each pass,
or to the sum at its end, and on many more devices these differ: 4 % of each of 32 passes is more than one whole pass.
So all constants have a prior, and all combinations that agree with the measured steps count, weighted by prior and
misfit. The answer is the median of their predictions, given as one set of constants that predicts it. The interval
covers their predictions, so it is wide if the cause is unclear.

The priors' medians and widths are round numbers, chosen with published tables in view (`published_clusters.py`).
docs/scale.md shows how well they predict, and that a factor of two in any of them changes little.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from scipy.optimize import OptimizeResult, least_squares
from scipy.special import ndtr, ndtri
from scipy.stats.qmc import Sobol

from critbatch.errors import UserError
from critbatch.law.cluster import Array, Compute, Draws, step_seconds_on, step_seconds_over
from critbatch.records.core import Estimate
from critbatch.records.scaling import Constants, StepMeasurement

MOST_OVERLAP = 10.0
"""Of gamma, as in Pollux: from there on the longer of both parts is the sum, to 7 %. 1 / gamma is uniform."""


@dataclass(frozen=True)
class Prior:
    """A lognormal prior."""

    median: float
    deviation: float  # of the logarithm

    def value(self, place: Array) -> Array:
        return np.asarray(self.median * np.exp(self.deviation * place))


EFFICIENCY = Prior(0.5, 0.7)
JOINING = Prior(0.01, 1.5)  # of a pass and 30 ms: 0.3 ms for the smallest models
DELAY = Prior(0.025, 1.2)  # of a pass
SLOWDOWN = Prior(0.01, 1.5)
PASS_DEVIATION = 0.3
"""Of the logarithm of a pass's seconds around the shortest that a measured step has: hardly a prior at all."""
SMALL_PASS = 0.03
"""Seconds. However short a pass is, several processes take a part of a millisecond to join."""

SCATTER = 0.01
"""Standard deviation of the logarithm of a step's seconds from run to run, beside its own interval."""

MODEL_ERROR, MODEL_ERROR_PER_E = 0.018, 0.012
"""Standard deviations of log(published / predicted) that the constants do not explain: next to the measured steps, and
for each factor of e in devices beyond."""

DRAWS, SEED = 2048, 0
MOVES, LAST_MOVES = 5, 25
"""Of each draw, at a weight of the misfit."""
STRIDES = (2.4, 1.0, 0.3)
"""Along the difference of two draws, over the root of twice the number of places."""

TELLING = 0.7
"""A constant counts as measured if its deviation is below this share of the prior's deviation."""

LEVEL = 0.8
FURTHER, CLOSE = 6, 0.002
"""Doublings beyond the measured devices at which the constants predict the median, and how closely."""

STRIDE = 1e-5
"""Of numerical derivatives."""


@dataclass(frozen=True, kw_only=True)
class StepFit:
    """Constants fitted to measured steps, their misfit, and other constants that agree with the steps.

    Args:
        constants: with those that were fitted.
        compute_seconds: of a pass on one device, where that was fitted too.
        predicted: seconds of each measured step.
        worst_miss: largest ``|predicted / measured - 1|``.
        draws: constants that agree with the measured steps, all equally likely.
        devices: the largest number of them that was measured.
    """

    constants: Constants
    compute_seconds: float | None
    predicted: tuple[float, ...]
    worst_miss: float
    draws: Draws
    devices: int

    def step(self, compute: Compute, devices: int, level: float = LEVEL) -> Estimate:
        """Seconds of a step on any number of devices, with the interval of one more published or measured step."""
        value = step_seconds_on(self.constants, compute, devices)
        seconds = np.log(step_seconds_over(self.draws, self.constants, compute, devices))
        error = math.hypot(MODEL_ERROR, MODEL_ERROR_PER_E * max(0.0, math.log(devices / self.devices)))
        # Quantiles of a normal distribution in a fixed random order: the same answer each time.
        places = np.random.default_rng(SEED).permutation((np.arange(len(seconds)) + 0.5) / len(seconds))
        ends = np.exp(np.quantile(seconds + error * ndtri(places), [(1 - level) / 2, (1 + level) / 2]))
        return Estimate(
            value=value,
            n=len(self.predicted),
            low=min(float(ends[0]), value),
            high=max(float(ends[1]), value),
            level=level,
        )

    def with_given(self, given: dict[str, float]) -> StepFit:
        """The fit with some constants replaced by those of the user."""
        fixed = {name: np.full_like(getattr(self.draws, name), value) for name, value in given.items()}
        return replace(
            self,
            constants=replace(self.constants, **given),  # type: ignore[arg-type]
            draws=replace(self.draws, **fixed),
        )


def fit_constants(
    measured: Sequence[StepMeasurement],
    constants: Constants,
    compute: Callable[[StepMeasurement], Compute] | None = None,
    *,
    scatter: float = SCATTER,
) -> StepFit:
    """Find the constants that agree with measured steps: link efficiency, overlap, t_join, theta and rho.

    With `compute` unknown the seconds of a pass on one device are found too; then the passes of all steps must be of
    one size, which is `micro_batch_size`, or else each device's whole share.

    Args:
        measured: steps on some numbers of devices.
        constants: all else.
        compute: a step on each device, from what was timed on one; None where that is not known.
        scatter: standard deviation of the logarithm of a step's seconds from run to run, beside its own interval.

    Raises:
        UserError: if there are too few numbers of devices to tell anything, or passes differ where they must not.
    """
    numbers = sorted({each.devices for each in measured})
    if len([number for number in numbers if number > 1]) + (compute is not None or 1 in numbers) < 2:
        raise UserError("Steps on one number of devices tell nothing of the others: measure on two at least.")
    search = _Search(measured, constants, compute or _equal_passes(measured), compute is None, scatter)
    draws = search.posterior()
    typical = search.draws_at(search.typical(draws)[None])
    fitted = {each.name: float(getattr(typical, each.name)[0]) for each in fields(Draws)}
    factor = fitted.pop("pass_factor")
    telling = np.std(draws, axis=0)[: len(_NAMES)] < TELLING
    sources = dict(constants.sources)
    sources |= {name: "source_fitted" if here else "source_typical" for name, here in zip(_NAMES, telling, strict=True)}
    predicted = [float(search.predict(typical, step)[0]) for step in range(len(measured))]
    return StepFit(
        constants=replace(constants, **fitted, sources=sources),  # type: ignore[arg-type]
        compute_seconds=search.pass_seconds * factor if compute is None else None,
        predicted=tuple(predicted),
        worst_miss=max(abs(step / took - 1) for step, took in zip(predicted, search.seconds, strict=True)),
        # The draws of a pass are in relation to `compute_seconds`.
        draws=replace(search.draws_at(draws), pass_factor=search.draws_at(draws).pass_factor / factor),
        devices=max(numbers),
    )


def _equal_passes(measured: Sequence[StepMeasurement]) -> Callable[[StepMeasurement], Compute]:
    """Steps in passes of one second each, where no device was timed."""
    shares = [math.ceil(each.batch_size / each.devices) for each in measured]
    sizes = {each.micro_batch_size or share for each, share in zip(measured, shares, strict=True)}
    if len(sizes) > 1:
        raise UserError(
            "Without a timed step on one device, all steps must have the same batch size on each device, or go in "
            f"passes of the same micro_batch_size: these have {', '.join(map(str, sorted(sizes)))}."
        )
    (micro,) = sizes

    def compute(each: StepMeasurement) -> Compute:
        passes = math.ceil(math.ceil(each.batch_size / each.devices) / micro)
        return Compute(micro_batch_size=micro, passes=passes, seconds=float(passes))

    return compute


_NAMES = ("overlap", "joining_seconds", "delay_seconds", "pass_slowdown", "link_efficiency")


class _Search:
    """The posterior over places, standard normal beforehand: of `_NAMES`, and of a pass's seconds where not known."""

    def __init__(
        self,
        measured: Sequence[StepMeasurement],
        constants: Constants,
        compute: Callable[[StepMeasurement], Compute],
        free_pass: bool,
        scatter: float,
    ) -> None:
        self.measured, self.constants, self.free_pass = measured, constants, free_pass
        self.seconds = [each.step_seconds.value for each in measured]
        self.deviations = [math.hypot(scatter, _log_deviation(each.step_seconds)) for each in measured]
        steps = [compute(each) for each in measured]
        self.pass_seconds = float(np.median([step.pass_seconds for step in steps]))
        if free_pass:
            # A first guess: no step is shorter than its passes.
            self.pass_seconds = min(took / step.passes for took, step in zip(self.seconds, steps, strict=True))
            steps = [replace(step, seconds=step.passes * self.pass_seconds) for step in steps]
        self.steps = steps
        self.size = len(_NAMES) + free_pass

    def draws_at(self, places: Array) -> Draws:
        """Constants at places, shape (draws, size)."""
        factor = np.exp(PASS_DEVIATION * places[:, -1]) if self.free_pass else np.ones(len(places))
        each = self.pass_seconds * factor
        inverse = 1 / MOST_OVERLAP + (1 - 1 / MOST_OVERLAP) * ndtr(places[:, 0])
        return Draws(
            overlap=1 / inverse,
            joining_seconds=(each + SMALL_PASS) * JOINING.value(places[:, 1]),
            delay_seconds=each * DELAY.value(places[:, 2]),
            pass_slowdown=SLOWDOWN.value(places[:, 3]),
            link_efficiency=EFFICIENCY.value(places[:, 4]),
            pass_factor=factor,
        )

    def predict(self, draws: Draws, step: int) -> Array:
        return self._over(draws, self.steps[step], self.measured[step].devices)

    def misfits(self, places: Array) -> Array:
        """Half the sum of squared misses of the measured steps, in standard deviations. Shape (draws,)."""
        draws = self.draws_at(places)
        misses = [
            np.log(self.predict(draws, step) / self.seconds[step]) / self.deviations[step]
            for step in range(len(self.seconds))
        ]
        return np.asarray(0.5 * np.square(misses).sum(0))

    def posterior(self) -> Array:
        """Draws of the places, all equally likely, shape (draws, size).

        Sequential Monte Carlo: draws of the prior are moved to the posterior while the misfit of the measured steps
        gains weight from 0 to 1: Del Moral, Doucet and Jasra 2006, "Sequential Monte Carlo samplers", J. R. Statist.
        Soc. B 68(3). Moves are along the difference of two other draws (ter Braak 2006, "A Markov chain Monte Carlo
        version of the genetic algorithm differential evolution", Stat. Comput. 16): what agrees with a few steps is a
        thin, bent sheet, one cost more and another one less, and such moves stay on it.
        """
        generator = np.random.default_rng(SEED)
        places: Array = ndtri(Sobol(self.size, seed=SEED).random(DRAWS))
        misfits = self.misfits(places)
        weight = 0.0
        while weight < 1:
            grown = _next_weight(weight, misfits)
            shares = np.exp((weight - grown) * (misfits - misfits.min()))
            order = np.searchsorted(np.cumsum(shares / shares.sum()), (np.arange(DRAWS) + 0.5) / DRAWS)
            order = np.minimum(order, DRAWS - 1)
            places, misfits, weight = places[order], misfits[order], grown
            for _ in range(MOVES if weight < 1 else LAST_MOVES):
                places, misfits = self._moved(places, misfits, weight, generator)
        return places

    def _moved(
        self, places: Array, misfits: Array, weight: float, generator: np.random.Generator
    ) -> tuple[Array, Array]:
        """One step of Metropolis for each draw."""
        first, second = (generator.permutation(DRAWS) for _ in range(2))
        strides = generator.choice(STRIDES, (DRAWS, 1)) / math.sqrt(2 * self.size)
        tried = places + strides * (places[first] - places[second])
        tried += 1e-4 * strides * generator.standard_normal(places.shape)
        tried_misfits = self.misfits(tried)
        gain = 0.5 * (np.square(places).sum(1) - np.square(tried).sum(1)) + weight * (misfits - tried_misfits)
        accepted = np.log(generator.random(DRAWS)) < gain
        return np.where(accepted[:, None], tried, places), np.where(accepted, tried_misfits, misfits)

    def typical(self, places: Array) -> Array:
        """One place that predicts what half of the draws exceed: the measured steps, and those on more devices.

        The mean of the draws would not do: where one of two causes must be there, it has half of each.
        """
        draws = self.draws_at(places)
        at = self._steps_on_more()
        steps = [np.log(self._over(draws, *each)) for each in at]
        medians = [float(np.median(each)) for each in steps]
        middle = np.median(places, axis=0)
        nearest = np.square([each - median for each, median in zip(steps, medians, strict=True)]).sum(0).argmin()

        def misses(places: Array) -> Array:
            here = self.draws_at(places)
            steps = [
                (np.log(self._over(here, *each)) - median) / CLOSE for each, median in zip(at, medians, strict=True)
            ]
            return np.column_stack([*steps, places - middle])

        return np.asarray(_least_squares(misses, places[nearest]).x)

    def _over(self, draws: Draws, compute: Compute, devices: int) -> Array:
        return step_seconds_over(draws, self.constants, compute, devices)

    def _steps_on_more(self) -> list[tuple[Compute, int]]:
        """The measured steps; doublings beyond, with the batch size of the most devices, and with their share."""
        steps = [(step, each.devices) for step, each in zip(self.steps, self.measured, strict=True)]
        most, devices = max(steps, key=lambda each: each[1])
        for times in (1 << power for power in range(1, FURTHER + 1)):
            passes = math.ceil(most.passes / times)
            fewer = replace(most, passes=passes, seconds=passes * most.pass_seconds)
            steps += [(fewer, times * devices), (most, times * devices)]
        return steps


def _next_weight(weight: float, misfits: Array) -> float:
    """As much more weight for the misfits as leaves half of the draws in effect, 1 at most."""

    def in_effect(grown: float) -> float:
        shares = np.exp((weight - grown) * (misfits - misfits.min()))
        return float(shares.sum() ** 2 / np.square(shares).sum())

    if in_effect(1.0) >= DRAWS / 2:
        return 1.0
    low, high = 0.0, 1.0 - weight
    for _ in range(60):
        middle = math.sqrt(low * high) if low > 0 else high / 16
        low, high = (middle, high) if in_effect(weight + middle) >= DRAWS / 2 else (low, middle)
        if low > 0 and high / low < 1.01:
            break
    return weight + max(low, 1e-300)


def _least_squares(misses: Callable[[Array], Array], start: Array) -> OptimizeResult:
    """Of misses at many places at once, shape (places, misses), so that a derivative takes one call."""

    def slopes(place: Array) -> Array:
        moved = place + STRIDE * np.concatenate([np.eye(len(place)), -np.eye(len(place))])
        ahead, behind = np.split(misses(moved), 2)
        return np.asarray((ahead - behind).T / (2 * STRIDE))

    return least_squares(lambda place: misses(place[None])[0], start, jac=slopes, xtol=1e-12, ftol=1e-12, gtol=1e-12)


def _log_deviation(seconds: Estimate) -> float:
    """Standard deviation of the logarithm of a measured time, as if its interval were that of a normal distribution."""
    if seconds.low is None or seconds.high is None or seconds.low <= 0:
        return 0.0
    return math.log(seconds.high / seconds.low) / (2 * float(ndtri((1 + seconds.level) / 2)))
