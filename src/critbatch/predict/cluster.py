"""Seconds of a step on many devices: those on one, the sum of the gradients, and the wait for the latest device.

    t(n) = (s - 1) t_1 + (t_1^gamma + t_sync(n)^gamma)^(1 / gamma) + t_join + theta (H_n - 1)

with t_1 a pass over a device's share of the batch, s such passes, t_sync the all-reduce of `all_reduce.py`, and gamma
how much of it is hidden behind the backward pass: Qiao et al. 2021, "Pollux", arXiv:2008.12260, section 3.2. The last
two parts are not theirs. t_join is what several devices take longer however many they are: gradients copied into
buckets, hooks called. And a step ends when the latest device does: if each is late by a random time with mean theta and
exponential tail, the latest of n is so by theta H_n on average, H_n = 1 + 1/2 + ... + 1/n (Rényi 1953, "On the theory
of order statistics"), and that of one is in t_1 already. It grows like log n, whatever the network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from critbatch.errors import UserError
from critbatch.predict.all_reduce import sync_seconds
from critbatch.predict.knee import step_seconds_at
from critbatch.records import Speed
from critbatch.scale_records import Constants, StepMeasurement

MOST_OVERLAP = 10.0
"""Of gamma, as in Pollux: from there on the longer of both parts is the sum, to 7 %."""

STARTS = (
    {"compute": -0.01, "overlap": 0.99, "joining": 0.01, "delay": 0.01},
    {"compute": -0.1, "overlap": 0.5, "joining": 0.1, "delay": 0.05},
)
"""Of the search, in its own coordinates: little and much of all."""

MOST_TIMES = 100.0
"""Of theta and t_join, in units of the shortest measured step."""


@dataclass(frozen=True, kw_only=True)
class Compute:
    """A step on each device, its gradients not summed yet."""

    micro_batch_size: int
    passes: int
    seconds: float

    @property
    def pass_seconds(self) -> float:
        return self.seconds / self.passes


@dataclass(frozen=True, kw_only=True)
class StepFit:
    """Constants fitted to measured steps, and how well they tell them.

    Args:
        constants: with what was found.
        compute_seconds: of a step on one device, where that was fitted too.
        predicted: seconds of each measured step.
        worst_miss: largest ``|predicted / measured - 1|``.
    """

    constants: Constants
    compute_seconds: float | None
    predicted: tuple[float, ...]
    worst_miss: float


def compute_of(speed: Speed, batch_size: int, devices: int) -> Compute:
    """What a device does with its share of a batch, timed on one: ``ceil(batch_size / devices)`` examples.

    Between sizes that were timed the seconds are a straight line in log-log. A share below the smallest of them takes
    as long as that one; one above the largest is cut into equal passes, each as long as a whole step, which counts the
    optimizer once too often for each pass after the first.

    Raises:
        UserError: if there are more devices than examples in the batch, or nothing was timed.
    """
    if not 1 <= devices <= batch_size:
        raise UserError(f"batch_size={batch_size} cannot be shared by {devices} devices: each needs an example.")
    timed = [point.batch_size for point in speed.fitting if point.step_seconds is not None]
    if not timed:
        raise UserError(f"No step of {speed.task!r} was timed: run `critbatch speed {speed.task}` first.")
    share = math.ceil(batch_size / devices)
    passes = math.ceil(share / max(timed))
    micro = math.ceil(share / passes)
    each = step_seconds_at(speed, max(micro, min(timed))).value
    return Compute(micro_batch_size=micro, passes=passes, seconds=passes * each)


def combined(compute_seconds: float, sync: float, overlap: float) -> float:
    """``(a^gamma + b^gamma)^(1 / gamma)``: the sum of both at gamma = 1, near the longer of both where it is large.

    >>> combined(3.0, 4.0, 1.0), combined(3.0, 4.0, 2.0)
    (7.0, 5.0)
    """
    longer, shorter = max(compute_seconds, sync), min(compute_seconds, sync)
    if longer == 0:
        return 0.0
    return float(longer * (1 + (shorter / longer) ** overlap) ** (1 / overlap))


def waiting_seconds(delay_seconds: float, devices: int) -> float:
    """``theta (H_n - 1)``: how much later the latest of n devices is than a device alone, on average.

    >>> waiting_seconds(6.0, 3)
    5.0
    """
    return delay_seconds * math.fsum(1 / rank for rank in range(2, devices + 1))


def step_seconds_on(constants: Constants, compute: Compute, devices: int) -> float:
    """Seconds of a step, the gradients summed in the last of its passes."""
    sync = sync_seconds(constants, devices)
    last = combined(compute.pass_seconds, sync, constants.overlap)
    joining = constants.joining_seconds if devices > 1 else 0.0
    waiting = waiting_seconds(constants.delay_seconds, devices)
    return compute.seconds - compute.pass_seconds + last + joining + waiting


def fit_constants(
    measured: Sequence[StepMeasurement],
    constants: Constants,
    compute: Callable[[StepMeasurement], Compute] | None = None,
) -> StepFit:
    """Find overlap, t_join and theta from measured steps, by least squares of log(predicted / measured).

    With `compute` unknown the seconds on one device are found too: then each device must have the same share in all.
    A number of devices tells one number at the most, so not all are found, but those of these that come closest:

    - one number of devices above 1: overlap, or t_join. Overlap, where the link alone would take longer than the steps
      show: a part of it is hidden then. t_join, where they grow by more than the link explains.
    - two: theta, and one of both. More: all of them.
    - where nothing is known of one device, t_join is in its seconds, and theta takes its place.

    Args:
        measured: steps on some numbers of devices.
        constants: all else.
        compute: a step on each device, from what was timed on one; None where that is not known.

    Raises:
        UserError: if there are too few numbers of devices to tell anything, or shares differ where they must not.
    """
    numbers = sorted({each.devices for each in measured})
    several = len([number for number in numbers if number > 1])
    alone = compute is not None or 1 in numbers
    if several + alone < 2:
        raise UserError("Steps on one number of devices tell nothing of the others: measure on two at least.")
    if compute is None and len({math.ceil(each.batch_size / each.devices) for each in measured}) > 1:
        raise UserError("Without a timed step on one device, all steps must have the same batch size on each device.")
    search = _Search(measured, constants, compute)
    found = min((search.fit(free) for free in _free_ones(several, alone=alone)), key=search.misfit)
    sources = dict(constants.sources)
    for name, value, least in (
        ("overlap", found.overlap, 1.0),
        ("joining_seconds", found.joining, 0.0),
        ("delay_seconds", found.delay, 0.0),
    ):
        sources[name] = "source_fitted" if value > least else "source_not_seen"
    predicted = search.predict(found)
    return StepFit(
        constants=replace(search.with_free(found), sources=sources),
        compute_seconds=found.compute if compute is None else None,
        predicted=tuple(float(value) for value in predicted),
        worst_miss=float(np.abs(predicted / search.seconds - 1).max()),
    )


def _free_ones(several: int, *, alone: bool) -> tuple[tuple[str, ...], ...]:
    """The sets of constants that so many numbers of devices can tell."""
    if not alone:
        return (("delay",), ("overlap",)) if several == 2 else (("overlap", "delay"),)
    if several == 1:
        return ("joining",), ("overlap",)
    if several == 2:
        return ("joining", "delay"), ("overlap", "delay"), ("overlap", "joining")
    return (("overlap", "joining", "delay"),)


@dataclass(frozen=True, kw_only=True)
class _Free:
    compute: float = 1.0
    overlap: float = 1.0
    joining: float = 0.0
    delay: float = 0.0


class _Search:
    """Least squares over some of `_Free`, the seconds on one device among them where they are not known."""

    def __init__(
        self,
        measured: Sequence[StepMeasurement],
        constants: Constants,
        compute: Callable[[StepMeasurement], Compute] | None,
    ) -> None:
        self.measured, self.constants, self.compute = measured, constants, compute
        self.seconds: NDArray[np.float64] = np.array([each.step_seconds.value for each in measured])
        self.least = float(self.seconds.min())

    def with_free(self, free: _Free) -> Constants:
        return replace(self.constants, overlap=free.overlap, joining_seconds=free.joining, delay_seconds=free.delay)

    def predict(self, free: _Free) -> NDArray[np.float64]:
        constants = self.with_free(free)
        alone = Compute(micro_batch_size=1, passes=1, seconds=free.compute)
        steps = [
            step_seconds_on(constants, alone if self.compute is None else self.compute(each), each.devices)
            for each in self.measured
        ]
        return np.array(steps)

    def misfit(self, free: _Free) -> float:
        return float(np.square(np.log(self.predict(free) / self.seconds)).sum())

    def fit(self, names: Sequence[str]) -> _Free:
        # In these coordinates all are of the order of one: log of a time, 1 / gamma, times over the shortest step.
        bounds = {
            "compute": (-7.0, 0.0),
            "overlap": (1 / MOST_OVERLAP, 1.0),
            "joining": (0.0, MOST_TIMES),
            "delay": (0.0, MOST_TIMES),
        }
        chosen = [*(["compute"] if self.compute is None else []), *names]
        low, high = (np.array(ends) for ends in zip(*(bounds[name] for name in chosen), strict=True))

        def free(place: NDArray[np.float64]) -> _Free:
            at = dict(zip(chosen, place.tolist(), strict=True))
            return _Free(
                compute=self.least * math.exp(at.get("compute", 0.0)),
                overlap=1 / at.get("overlap", 1.0),
                joining=self.least * at.get("joining", 0.0),
                delay=self.least * at.get("delay", 0.0),
            )

        def misses(place: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.log(self.predict(free(place)) / self.seconds)

        starts = (np.array([first[name] for name in chosen]) for first in STARTS)
        answers = [
            least_squares(misses, start, bounds=(low, high), xtol=1e-14, ftol=1e-14, gtol=1e-14) for start in starts
        ]
        answer = min(answers, key=lambda each: each.cost)
        # At a bound the search ends a hair's breadth inside.
        return free(np.where(answer.active_mask < 0, low, np.where(answer.active_mask > 0, high, answer.x)))
