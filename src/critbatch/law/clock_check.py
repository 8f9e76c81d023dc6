"""Check whether step times at several batch sizes can be compared, by looking for signs of other work on the machine.

Other work may lengthen the time of one batch size and not of the next, which changes the best size. So times that
should agree are compared with each other:

- times of one size taken at different moments, and steps of one moment;
- a size with its neighbours. More examples do not take much less time. On a doubling axis the logarithm of
  `a + c B` is convex, so a size does not lie far above the line between its neighbours, and its time does not grow much
  faster than its examples;
- the part of a step in which the process was ready to run but another one ran, if the system counts it;
- steps of training with those that were timed.

The limits are wide, because caches, threads and kernels cause jumps by a factor of 1.5 on an idle machine, too.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import median, quantiles

from critbatch.law.step_time import step_seconds_at, with_fit
from critbatch.records.core import ClockCheck, Estimate, Run, Speed, SpeedPoint

VISITS, FEW_VISITS = 1.5, 2.0
"""Times of one size that differ by more than this factor are a sign. The second limit is for three times or fewer."""

STEPS = 1.5
"""Limit of the median over the fastest tenth of the steps of one visit."""

SIZES, GROWS = 1.75, 2.5
"""Limits of a size's time over what its neighbours allow. GROWS is the limit over growth in proportion to examples:
data that no longer fit into a cache take up to four times as long. If other work doubles the time of a size, a factor
of at least 1.88 remains visible, even at the bend of `a + c B`, where the line between the neighbours is highest."""

FEWEST_IN_VISIT = 8
"""Fewest steps of a visit whose fastest tenth is compared with its median."""

WAITED, MOST_BY_WAITING = 0.15, 3.0
"""Limit of the share of a step in which another process had the processor. This alone shows that a time may be wrong,
not that it is, so the swing that follows from it is at most MOST_BY_WAITING."""

RUNS = 2.0
"""Limit of the factor between a step of training and a timed step."""

UNUSABLE = 4.0
"""With at least this swing, batch sizes are not ranked: it is as large as the differences between them."""

FEWEST_STEPS, FEWEST_SECONDS = 20, 0.02
"""Fewest steps and seconds of a run whose steps are compared with the timed ones."""


def quiet_visits(visits: Sequence[Sequence[float]]) -> list[int]:
    """Indices of the fastest quarter of the visits, at least one. Visits that other work slowed are not among them."""
    order = sorted(range(len(visits)), key=lambda i: median(visits[i]))
    return order[: math.ceil(len(visits) / 4)]


def disagreement(visits: Sequence[Sequence[float]]) -> tuple[float, tuple[str, ...]]:
    """The factor by which times of one size differ, and the signs of it.

    With four to six visits, the second slowest is compared with the fastest: one slow visit may be an accident, while
    nothing makes steps faster than they are. With more visits, a majority must agree with the fastest: then the
    disturbance is over.

    Args:
        visits: seconds of steps, for each visit in turn.

    Returns:
        1 and no signs if they agree.
    """
    middles = sorted(median(steps) for steps in visits)
    n = len(middles)
    high = n // 2 if n > 6 else n - 2 if n >= 4 else n - 1
    between = middles[high] / middles[0]
    within = _within(visits)
    signs = []
    if between > (VISITS if n > 3 else FEW_VISITS):
        signs.append("clock_visits")
    if within > STEPS:
        signs.append("clock_steps")
    swing = max(between if "clock_visits" in signs else 1.0, within if "clock_steps" in signs else 1.0)
    return swing, tuple(signs)


def _within(visits: Sequence[Sequence[float]]) -> float:
    """The median over the lowest decile of the steps of the fastest visits; 1 if there are too few steps."""
    ratios = [
        median(visits[i]) / quantiles(visits[i], n=10, method="inclusive")[0]
        for i in quiet_visits(visits)
        if len(visits[i]) >= FEWEST_IN_VISIT
    ]
    return median(ratios) if ratios else 1.0


def misfits(points: Sequence[tuple[int, float]]) -> dict[int, float]:
    """For each batch size, the factor by which its time exceeds what its neighbours allow; 1 if it does not.

    Args:
        points: batch size and seconds, in ascending order of size.
    """
    sizes = [math.log(size) for size, _ in points]
    times = [math.log(seconds) for _, seconds in points]
    # In logarithms: how far a time is above the times of larger sizes.
    misses = [max(0.0, time - min(times[i:])) for i, time in enumerate(times)]
    for i in range(1, len(times)):
        left = times[i - 1]
        # A time may grow only slightly faster than the number of examples.
        misses[i] = max(misses[i], times[i] - left - (sizes[i] - sizes[i - 1]) - math.log(GROWS / SIZES))
        if i + 1 < len(times):
            share = (sizes[i] - sizes[i - 1]) / (sizes[i + 1] - sizes[i - 1])
            misses[i] = max(misses[i], times[i] - ((1 - share) * left + share * times[i + 1]))
    return {size: math.exp(miss) for (size, _), miss in zip(points, misses, strict=True)}


def check_clock(points: Iterable[SpeedPoint]) -> ClockCheck:
    """Check the times of all points together."""
    timed = sorted((point for point in points if point.step_seconds is not None), key=lambda point: point.batch_size)
    signs = [sign for point in timed for sign in point.signs]
    swing = max((point.swing for point in timed), default=1.0)
    worst = max(misfits([(point.batch_size, _value(point)) for point in timed]).values(), default=1.0)
    if worst > SIZES:
        signs.append("clock_sizes")
        swing = max(swing, worst)
    known = sorted(point.waited for point in timed if point.waited is not None)
    waited = known[3 * len(known) // 4] if known else None
    if waited is not None and waited > WAITED:
        signs.append("clock_waited")
        swing = max(swing, min(1 / (1 - min(waited, 0.99)), MOST_BY_WAITING))
    return ClockCheck(signs=tuple(dict.fromkeys(signs)), swing=swing, waited=waited)


def is_usable(speed: Speed) -> bool:
    """Whether batch sizes can be ranked by these times."""
    return speed.check is None or speed.check.swing < UNUSABLE


def leeway(speed: Speed, fraction: float = 0.10) -> float:
    """The extra time, as a fraction, with which a size may still be within `fraction` of the best, given the swing."""
    swing = speed.check.swing if speed.check is not None and speed.check.is_busy else 1.0
    return (1 + fraction) * swing - 1


def suspects(points: Sequence[SpeedPoint]) -> list[int]:
    """Batch sizes worth timing again, and the neighbours they are compared with; none if there are no signs."""
    check = check_clock(points)
    timed = sorted((point for point in points if point.step_seconds is not None), key=lambda point: point.batch_size)
    if not check.is_busy:
        return []
    if "clock_waited" in check.signs:
        return [point.batch_size for point in timed]
    factors = misfits([(point.batch_size, _value(point)) for point in timed])
    odd = [i for i, point in enumerate(timed) if point.signs or factors[point.batch_size] > SIZES]
    near = sorted({j for i in odd for j in (i - 1, i, i + 1) if 0 <= j < len(timed)})
    return [timed[j].batch_size for j in near]


def with_check(speed: Speed, runs: Sequence[Run] = ()) -> Speed:
    """The same record with `check` and `fit` filled in, and with its intervals widened by the swing.

    Args:
        runs: of this machine, from about the same time; their steps are compared with the timed ones.
    """
    check = check_clock(speed.points)
    factor = runs_factor(speed, runs)
    if factor != 1.0:
        apart = max(factor, 1 / factor)
        check = replace(check, signs=(*check.signs, "clock_runs"), swing=max(check.swing, apart), runs_factor=factor)
    points = tuple(_widened(point, check.swing) for point in speed.points)
    return with_fit(replace(speed, points=points, check=check, fit=None))


def merged(old: Speed, new: Speed) -> Speed:
    """Both records in one. A size in both is taken from the new record, unless it was timed less well there.

    A size was timed less well if it has no interval but the old one has one, and its time is not shorter.
    """
    points = {point.batch_size: point for point in old.points}
    for point in new.points:
        points[point.batch_size] = _better(points.get(point.batch_size), point)
    lost = min((size for size, point in points.items() if not point.fits), default=math.inf)
    merged_points = tuple(point for size, point in sorted(points.items()) if size < lost or size == lost)
    return with_check(replace(old, points=merged_points))


def untimed(speed: Speed, sizes: Iterable[int]) -> list[int]:
    """The sizes that were not timed and are not known to exceed the memory."""
    timed = {point.batch_size for point in speed.fitting}
    lost = min((point.batch_size for point in speed.points if not point.fits), default=math.inf)
    return sorted(size for size in set(sizes) if size < lost and size not in timed)


def runs_factor(speed: Speed, runs: Iterable[Run]) -> float:
    """The ratio of training step times to timed ones, if they differ by more than a factor of `RUNS`; else 1.

    This is the ratio of the batch size that differs most. The fastest quarter of a run between evaluations counts. Runs
    that measured the noise scale are left out, because their steps take longer.
    """
    sizes = [point.batch_size for point in speed.fitting]
    factors: dict[int, list[float]] = {}
    for run in runs:
        seconds = _step_seconds(run)
        if seconds is not None and sizes and sizes[0] <= run.batch_size <= sizes[-1]:
            factors.setdefault(run.batch_size, []).append(seconds / step_seconds_at(speed, run.batch_size).value)
    if not factors:
        return 1.0
    # The fastest of several runs of a size was disturbed least.
    logs = [math.log(min(each)) for each in factors.values()]
    worst = max(logs, key=abs)
    return math.exp(worst) if abs(worst) > math.log(RUNS) else 1.0


def _step_seconds(run: Run) -> float | None:
    """Seconds of a training step, by the fastest quarter of the intervals between evaluations; None if too few."""
    if run.noise_every or run.compiled_steps or run.steps < FEWEST_STEPS or run.seconds < FEWEST_SECONDS:
        return None
    pieces = [
        ((after.seconds - before.seconds) / (after.step - before.step), after.step - before.step)
        for before, after in zip(run.curve, run.curve[1:], strict=False)
        if after.step > before.step
    ]
    pieces.sort()
    if not pieces or any(point.batch_size is not None for point in run.curve):
        return None
    steps = [sum(count for _, count in pieces[: i + 1]) for i in range(len(pieces))]
    return pieces[bisect_left(steps, steps[-1] / 4)][0]


def _better(old: SpeedPoint | None, new: SpeedPoint) -> SpeedPoint:
    if old is None or old.step_seconds is None or new.step_seconds is None:
        return new
    thinner = new.step_seconds.low is None and old.step_seconds.low is not None
    return old if thinner and _value(new) >= _value(old) else new


def _value(point: SpeedPoint) -> float:
    assert point.step_seconds is not None
    return point.step_seconds.value


def _widened(point: SpeedPoint, factor: float) -> SpeedPoint:
    """The point with its interval widened by `factor` instead of any earlier factor."""
    seconds = point.step_seconds
    if seconds is None or seconds.low is None or seconds.high is None:
        return replace(point, widened=factor)
    low, high = seconds.low * point.widened / factor, seconds.high / point.widened * factor
    return replace(point, step_seconds=_between(seconds, low, high), widened=factor)


def _between(seconds: Estimate, low: float, high: float) -> Estimate:
    return replace(seconds, low=min(low, seconds.value), high=max(high, seconds.value))
