"""Seconds of a step on many devices: its passes, the sum of the gradients, and the wait for the latest device.

    t(n) = (s - 1) p + (p^gamma + t_sync(n)^gamma)^(1 / gamma) + t_join + theta W(n, s),   p = t_1 (1 + L rho)

A step is s forward and backward passes, whose gradients are added up on the device, and one sum over the devices. What
grows with the passes and what is paid once a step is kept apart:

- p, in every pass: t_1 is a pass over a device's share of the batch as timed on one device. Beside others it takes
  longer by the share rho (heat, memory, input), once for the devices of a node and once more for several nodes: L is 0,
  1 or 2.
- once a step: t_sync, the all-reduce of `all_reduce.py`, of which gamma says how much is hidden behind the last
  backward pass (Qiao et al. 2021, "Pollux", arXiv:2008.12260, section 3.2), and t_join, whatever else several devices
  add: gradients copied into buckets, hooks called.
- the wait for the latest of n devices. If each is late in every pass by a random time with mean theta and exponential
  tail, its lateness in a step is the sum of s such times, a gamma distribution, and W(n, s) is how much the largest of
  n exceeds the mean, in units of theta. With one pass that is 1/2 + 1/3 + ... + 1/n (Rényi 1953, "On the theory of
  order statistics"); with many it grows like sqrt(2 s ln n): delays of one device even out over its passes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc

from critbatch.errors import UserError
from critbatch.law.allreduce import nodes_of, sync_seconds_at
from critbatch.law.step_time import step_seconds_at
from critbatch.records.core import Speed
from critbatch.records.scaling import Constants

Array = NDArray[np.float64]

GRID = 4001
"""Points of the integral over the latest device's delay: the sixth digit holds."""


@dataclass(frozen=True, kw_only=True)
class Compute:
    """A step on each device as timed on one, its gradients not summed yet."""

    micro_batch_size: int
    passes: int
    seconds: float

    @property
    def pass_seconds(self) -> float:
        return self.seconds / self.passes


@dataclass(frozen=True, kw_only=True)
class Draws:
    """Constants as they may be, shape (draws,) each, and by what factor a pass on one device may differ."""

    overlap: Array
    joining_seconds: Array
    delay_seconds: Array
    pass_slowdown: Array
    link_efficiency: Array
    pass_factor: Array

    @classmethod
    def of(cls, constants: Constants) -> Draws:
        """One draw: these constants."""
        return cls(
            overlap=np.array([constants.overlap]),
            joining_seconds=np.array([constants.joining_seconds]),
            delay_seconds=np.array([constants.delay_seconds]),
            pass_slowdown=np.array([constants.pass_slowdown]),
            link_efficiency=np.array([constants.link_efficiency]),
            pass_factor=np.ones(1),
        )


def compute_of(speed: Speed, batch_size: int, devices: int, micro_batch_size: int | None = None) -> Compute:
    """What a device does with its share of a batch, timed on one: ``ceil(batch_size / devices)`` examples.

    Between sizes that were timed the seconds are a straight line in log-log. A share below the smallest of them takes
    as long as that one; one above `micro_batch_size` is cut into equal passes, each as long as a whole step, which
    counts the optimizer once too often for each pass after the first.

    Args:
        speed: of one device.
        batch_size: over all devices.
        devices: that share it.
        micro_batch_size: most examples in one pass; the largest size that was timed unless given.

    Raises:
        UserError: if there are more devices than examples in the batch, or nothing was timed.
    """
    if not 1 <= devices <= batch_size:
        raise UserError(f"batch_size={batch_size} cannot be shared by {devices} devices: each needs an example.")
    timed = [point.batch_size for point in speed.fitting if point.step_seconds is not None]
    if not timed:
        raise UserError(f"No step of {speed.task!r} was timed: run `critbatch speed {speed.task}` first.")
    if micro_batch_size is not None and not 1 <= micro_batch_size <= max(timed):
        raise UserError(
            f"micro_batch_size={micro_batch_size} is not possible: use 1 to {max(timed)}, the largest that was timed."
        )
    share = math.ceil(batch_size / devices)
    passes = math.ceil(share / (micro_batch_size or max(timed)))
    micro = math.ceil(share / passes)
    each = step_seconds_at(speed, max(micro, min(timed))).value
    return Compute(micro_batch_size=micro, passes=passes, seconds=passes * each)


def combined(compute_seconds: float, sync: float, overlap: float) -> float:
    """``(a^gamma + b^gamma)^(1 / gamma)``: the sum of both at gamma = 1, near the longer of both where it is large.

    >>> combined(3.0, 4.0, 1.0), combined(3.0, 4.0, 2.0)
    (7.0, 5.0)
    """
    return float(_combined(np.array(compute_seconds), np.array(sync), np.array(overlap)))


def waiting_factor(devices: int, passes: int = 1) -> float:
    """``W(n, s)``: how much the latest of n devices exceeds their mean in s passes, in mean delays of one pass.

    >>> waiting_factor(3), waiting_factor(1, 64)
    (0.8333333333333333, 0.0)
    """
    if passes == 1:
        return math.fsum(1 / rank for rank in range(2, devices + 1))
    return _latest_of(devices, passes)


@cache
def _latest_of(devices: int, passes: int) -> float:
    """Mean of the largest of n gamma variables of shape s, less s: the integral of P(largest > x)."""
    if devices == 1:
        return 0.0
    deviation = math.sqrt(passes)
    tail = math.sqrt(2 * math.log(devices)) + 8
    start, end = max(0.0, passes - 8 * deviation), passes + tail * deviation + tail**2 / 2
    places = np.linspace(start, end, GRID)
    above = 1 - gammainc(passes, places) ** devices
    width = (end - start) / (GRID - 1)
    return float(start + width * (above.sum() - (above[0] + above[-1]) / 2) - passes)


def waiting_seconds(delay_seconds: float, devices: int, passes: int = 1) -> float:
    """``theta W(n, s)``: how much later the latest of n devices is than a device alone, on average.

    >>> waiting_seconds(6.0, 3)
    5.0
    """
    return delay_seconds * waiting_factor(devices, passes)


def slowdown_seconds(constants: Constants, compute: Compute, devices: int) -> float:
    """``s t_1 L rho``: how much longer all passes of a step take than on one device alone."""
    return compute.seconds * constants.pass_slowdown * levels(constants, devices)


def levels(constants: Constants, devices: int) -> int:
    """With how many kinds of neighbours a device works: others of its node, other nodes. 0, 1 or 2."""
    return int(min(devices, constants.devices_per_node) > 1) + int(nodes_of(constants, devices) > 1)


def step_seconds_on(constants: Constants, compute: Compute, devices: int) -> float:
    """Return the seconds of a step. The gradients are summed in the last of its passes."""
    return float(step_seconds_over(Draws.of(constants), constants, compute, devices)[0])


def step_seconds_over(draws: Draws, constants: Constants, compute: Compute, devices: int) -> Array:
    """The same for many constants at once, all else as in `constants`. Shape (draws,)."""
    if devices == 1:
        return compute.seconds * draws.pass_factor
    each = draws.pass_factor * compute.pass_seconds * (1 + levels(constants, devices) * draws.pass_slowdown)
    last = _combined(each, sync_seconds_at(constants, devices, draws.link_efficiency), draws.overlap)
    waiting = draws.delay_seconds * waiting_factor(devices, compute.passes)
    return np.asarray((compute.passes - 1) * each + last + draws.joining_seconds + waiting)


def _combined(first: Array, second: Array, overlap: Array) -> Array:
    longer, shorter = np.maximum(first, second), np.minimum(first, second)
    share = np.divide(shorter, longer, out=np.zeros_like(longer + shorter), where=longer > 0)
    return np.asarray(longer * (1 + share**overlap) ** (1 / overlap))
