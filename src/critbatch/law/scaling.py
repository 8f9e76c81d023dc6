"""Time to target on many devices: seconds of a step times the steps that a batch size needs.

Strong scaling keeps the batch, so each device has less to do. Weak scaling keeps each device's share, so the batch
grows and saves fewer and fewer steps. The best choice is neither: for each number of devices, it is the batch size that
reaches the target first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

from critbatch.arguments import MOST_DEVICES
from critbatch.errors import UserError
from critbatch.law.allreduce import nodes_of, sync_seconds
from critbatch.law.cluster import Compute, compute_of, slowdown_seconds, step_seconds_on, waiting_seconds
from critbatch.law.cluster_fit import LEVEL, StepFit
from critbatch.records.core import Advice, Estimate, Speed
from critbatch.records.scaling import Algorithm, Constants, ScalePoint, StepsLaw
from critbatch.records.study import Analysis, Fit, Study

# Steps to a target at any batch size, from an advice, a study, a fit of other points, or two
# numbers. ``S(B) = S_min (1 + B_crit / B)``: McCandlish et al. 2018, arXiv:1812.06162, equation 2.7.


def law_of(record: Advice | Study | Fit) -> StepsLaw | None:
    """The law in a record; None if it has none, because no run or too few batch sizes reached the target."""
    if isinstance(record, Advice):
        if record.law is None:
            return None
        sizes = [run.batch_size for run in record.runs if run.crossing is not None]
        return StepsLaw(
            min_steps=record.law.min_steps,
            critical_batch_size=record.law.noise_examples,
            sizes=_ends(sizes),
            source="advice",
            holds=record.law.holds,
            reason=record.law.reason,
        )
    if isinstance(record, Study):
        return _of_analysis(record.analysis, "study") if record.analysis is not None else None
    return _of_analysis(record.analysis, "fit")


def given_law(min_steps: float, critical_batch_size: float) -> StepsLaw:
    """The law by its two numbers.

    Raises:
        UserError: if they are not above 0.
    """
    if not (0 < min_steps < math.inf and 0 <= critical_batch_size < math.inf):
        raise UserError(
            f"S_min={min_steps:g} steps and B_crit={critical_batch_size:g} examples make no law: "
            "give S_min above 0 and B_crit of 0 or more."
        )
    bare = Estimate(value=min_steps, n=0, reason="given")
    return StepsLaw(
        min_steps=bare, critical_batch_size=replace(bare, value=critical_batch_size), sizes=None, source="given"
    )


def steps_at(law: StepsLaw, batch_size: int) -> Estimate:
    """Steps to the target. The interval, in relation to the value, is that of S_min, at every batch size: for batches
    far below B_crit it is wider than need be.

    >>> steps_at(given_law(100, 300), 150).value
    300.0
    """
    scale = 1 + law.critical_batch_size.value / batch_size
    least = law.min_steps
    return replace(
        least,
        value=least.value * scale,
        low=None if least.low is None else least.low * scale,
        high=None if least.high is None else least.high * scale,
    )


def reaches_beyond(law: StepsLaw, batch_size: int) -> bool:
    """Whether a batch size is outside the range of sizes with runs."""
    return law.sizes is not None and not law.sizes[0] <= batch_size <= law.sizes[1]


def _of_analysis(analysis: Analysis, source: str) -> StepsLaw | None:
    found = analysis.trade_off
    if found is None or found.min_steps is None:
        return None
    return StepsLaw(
        min_steps=found.min_steps,
        critical_batch_size=found.critical_batch_size,
        sizes=_ends([size.batch_size for size in analysis.sizes if size.steps is not None]),
        source=source,
        holds=found.is_consistent,
        reason=found.reason,
    )


def _ends(sizes: list[int]) -> tuple[int, int] | None:
    return (min(sizes), max(sizes)) if sizes else None


WORTH = 0.2
"""Share of the time that a doubling of the devices must save. An ideal doubling saves 0.5 at the same cost; one that
saves 0.2 needs 1.6 times the device-hours."""


class ScalingPredictor:
    """One task on clusters of any size.

    Args:
        speed: of one device.
        constants: of the cluster.
        law: of steps to the target; None where it is not known.
        price: of a device for an hour, in any currency.
        fit: what the constants were fitted with, for the intervals of steps; None where they were not.
        micro_batch_size: most examples in one pass; the largest that was timed unless given.
    """

    def __init__(
        self,
        speed: Speed,
        constants: Constants,
        *,
        law: StepsLaw | None = None,
        price: float | None = None,
        fit: StepFit | None = None,
        micro_batch_size: int | None = None,
    ) -> None:
        if price is not None and not price >= 0:
            raise UserError(f"A price of {price} for an hour is not possible: use 0 or more.")
        self.speed, self.constants, self.law, self.price = speed, constants, law, price
        self.fit, self.micro_batch_size = fit, micro_batch_size

    def point(self, devices: int, batch_size: int) -> ScalePoint:
        """A number of devices at a batch size, without a comparison: its speed-up is 1.

        Raises:
            UserError: if the batch cannot be shared.
        """
        constants = self.constants
        compute = compute_of(self.speed, batch_size, devices, self.micro_batch_size)
        step = step_seconds_on(constants, compute, devices)
        steps = steps_at(self.law, batch_size) if self.law is not None else None
        interval = self._interval(compute, devices, steps)
        seconds = _times(steps, step, interval)
        hours = devices * seconds.value / 3600 if seconds is not None else None
        return ScalePoint(
            devices=devices,
            nodes=nodes_of(constants, devices),
            batch_size=batch_size,
            micro_batch_size=compute.micro_batch_size,
            passes=compute.passes,
            compute_seconds=compute.seconds,
            sync_seconds=sync_seconds(constants, devices),
            ring_seconds=sync_seconds(constants, devices, Algorithm.RING),
            halving_doubling_seconds=sync_seconds(constants, devices, Algorithm.HALVING_DOUBLING),
            waiting_seconds=waiting_seconds(constants.delay_seconds, devices, compute.passes),
            joining_seconds=constants.joining_seconds if devices > 1 else 0.0,
            slowdown_seconds=slowdown_seconds(constants, compute, devices),
            step_seconds=step,
            step_interval=interval,
            steps=steps,
            seconds=seconds,
            device_hours=hours,
            cost=hours * self.price if hours is not None and self.price is not None else None,
            speed_up=1.0,
            efficiency=1 / devices,
        )

    def best(self, devices: Iterable[int]) -> tuple[ScalePoint, ...]:
        """Each number of devices at the batch size that reaches the target soonest, against one device at its best.

        Batch sizes are those that were timed and powers of two, times the number of devices: all shares are equal.
        Numbers of devices above the number of examples are left out. None without a law.
        """
        if self.law is None:
            return ()
        alone = self._soonest(1)
        points = (self._soonest(n) for n in devices if n <= self.speed.examples)
        return tuple(_against(each, _seconds(alone) / _seconds(each)) for each in points)

    def strong(self, devices: Iterable[int], batch_size: int) -> tuple[ScalePoint, ...]:
        """The same batch on all numbers of devices that can share it, against one device in examples per second."""
        alone = self.point(1, batch_size)
        points = (self.point(n, batch_size) for n in devices if n <= batch_size)
        return tuple(_against(each, each.examples_per_second / alone.examples_per_second) for each in points)

    def weak(self, devices: Iterable[int], share: int) -> tuple[ScalePoint, ...]:
        """The same share on each device, as far as the training set goes, against one in examples per second."""
        alone = self.point(1, share)
        points = (self.point(n, n * share) for n in devices if n * share <= self.speed.examples)
        return tuple(_against(each, each.examples_per_second / alone.examples_per_second) for each in points)

    def _interval(self, compute: Compute, devices: int, steps: Estimate | None) -> Estimate | None:
        """Of the seconds of a step, at the level of the steps' interval. One device was timed, so it has none."""
        if self.fit is None or devices == 1:
            return None
        return self.fit.step(compute, devices, steps.level if steps is not None else LEVEL)

    def _soonest(self, devices: int) -> ScalePoint:
        shares = {point.batch_size for point in self.speed.fitting}
        shares |= {1 << power for power in range((self.speed.examples // devices).bit_length())}
        sizes = sorted(devices * share for share in shares if devices * share <= self.speed.examples)
        return min((self.point(devices, size) for size in sizes or [devices]), key=_seconds)


def worth_until(points: Sequence[ScalePoint], worth: float = WORTH) -> int | None:
    """The number of devices up to which each doubling takes at least the part `worth` off the time to target.

    Between numbers that are no doublings the part is that of a doubling at the same rate. None without times.

    Args:
        points: as `Outlook.best` gives them, in any order.
        worth: above 0, below 0.5, which no doubling takes off but for chance.

    Raises:
        UserError: if `worth` is not possible.
    """
    if not 0 < worth < 0.5:
        raise UserError(f"worth={worth} is not possible: a doubling takes off at most half, so use 0.01 to 0.49.")
    ordered = sorted((point for point in points if point.seconds is not None), key=lambda point: point.devices)
    if not ordered:
        return None
    last = ordered[0].devices
    for fewer, more in pairwise(ordered):
        doublings = math.log2(more.devices / fewer.devices)
        if (_seconds(more) / _seconds(fewer)) ** (1 / doublings) > 1 - worth:
            break
        last = more.devices
    return last


def checked_devices(devices: Sequence[int]) -> tuple[int, ...]:
    """The numbers of devices in ascending order, without duplicates.

    Raises:
        UserError: if there is none, or one is not from 1 to 4,096.
    """
    if not devices:
        raise UserError("No number of devices was given: give at least one, or doublings such as 1..1024.")
    for number in devices:
        if not 1 <= number <= MOST_DEVICES:
            raise UserError(f"{number} devices are not possible: use 1 to {MOST_DEVICES}.")
    return tuple(sorted(set(devices)))


def _seconds(point: ScalePoint) -> float:
    assert point.seconds is not None  # there is a law
    return point.seconds.value


def _against(point: ScalePoint, speed_up: float) -> ScalePoint:
    return replace(point, speed_up=speed_up, efficiency=speed_up / point.devices)


def _times(steps: Estimate | None, step_seconds: float, interval: Estimate | None) -> Estimate | None:
    """Steps times seconds per step. The intervals combine as if their logarithms were independent."""
    if steps is None:
        return None
    value = steps.value * step_seconds

    def end(sign: int, of_steps: float | None, of_step: float | None) -> float | None:
        if of_steps is None or of_step is None or not 0 < of_steps < math.inf:
            return None if of_steps is None else of_steps * step_seconds
        reach = math.hypot(math.log(of_steps / steps.value), math.log(of_step / step_seconds))
        return value * math.exp(sign * reach)

    step_low, step_high = (None, None) if interval is None else (interval.low, interval.high)
    return replace(steps, value=value, low=end(-1, steps.low, step_low), high=end(1, steps.high, step_high))
