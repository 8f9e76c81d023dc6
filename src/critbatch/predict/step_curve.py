"""Seconds per step against batch size, however they are known: given, measured before, or timed along the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from statistics import median

from critbatch.errors import UserError
from critbatch.predict.knee import step_seconds_at
from critbatch.records.core import Estimate, Speed

StepSeconds = Speed | Mapping[int, float] | Callable[[int], float]
Curve = Callable[[int], Estimate | None]

FEWEST = 8
LEVEL = 0.95


def step_curve(given: StepSeconds | None, timed: Iterable[tuple[int, float]] = ()) -> Curve:
    """Seconds of a step at a batch size, or None where they are not known.

    Args:
        given: a `Speed`, which is also known between its sizes; seconds by batch size; or a function of it.
        timed: batch size and seconds of steps that were made; for sizes that `given` does not tell.

    >>> step_curve({64: 0.01})(64).value, step_curve({64: 0.01})(128)
    (0.01, None)
    """
    seen: dict[int, list[float]] = {}
    for size, seconds in timed:
        seen.setdefault(size, []).append(seconds)

    def curve(batch_size: int) -> Estimate | None:
        told = _told(given, batch_size)
        if told is None and batch_size in seen:
            return middle(seen[batch_size])
        return told

    return curve


def middle(seconds: list[float]) -> Estimate:
    """The median and its 95 % interval, from the k-th smallest to the k-th largest with k = n/2 - 0.98 sqrt(n).

    David and Nagaraja 2003, "Order Statistics", section 7.1.

    >>> middle([1.0, 2.0, 9.0]).value
    2.0
    """
    ordered, n = sorted(seconds), len(seconds)
    if n < FEWEST:
        return Estimate(value=median(ordered), n=n, level=LEVEL, reason="few_timings")
    k = max(1, math.floor(n / 2 - 0.98 * math.sqrt(n)))
    return Estimate(value=median(ordered), n=n, low=ordered[k - 1], high=ordered[n - k], level=LEVEL)


def _told(given: StepSeconds | None, batch_size: int) -> Estimate | None:
    if isinstance(given, Speed):
        sizes = [point.batch_size for point in given.fitting]
        if not sizes or not min(sizes) <= batch_size <= max(sizes):
            return None
        return step_seconds_at(given, batch_size)
    seconds = given.get(batch_size) if isinstance(given, Mapping) else given(batch_size) if given else None
    if seconds is None:
        return None
    if not 0 < seconds < math.inf:
        raise UserError(f"step_seconds of {seconds} at batch size {batch_size} are not possible: use a number above 0.")
    return Estimate(value=seconds, n=1, level=LEVEL, reason="given")
