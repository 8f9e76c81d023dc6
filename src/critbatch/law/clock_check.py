"""Whether seconds per step, measured at several batch sizes, can be compared: signs of other work on the machine.

A time that other work stretched is wrong for one batch size and not for the next, so that it changes which of them is
the best. Times that should agree are therefore held against each other:

- times of one size that were taken at different moments, and steps of one moment;
- a size against its neighbours. More examples do not take much less time. On a doubling axis the logarithm of
  `a + c B` is convex, so a size does not lie far above the line between its neighbours, and its time does not grow much
  faster than its examples;
- the part of a step in which the process was ready to run and another one ran, where the system counts it;
- steps of training against those that were timed.

The limits are wide, since caches, threads and kernels make steps of a factor 1.5 on a quiet machine too.
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
"""Factor between times of one size that is a sign: the second one where there are three of them or fewer."""

STEPS = 1.5
"""Of the steps of one visit, the median over the quickest tenth: so much of the median may be other work."""

SIZES, GROWS = 1.75, 2.5
"""Between a size's time and what its neighbours allow; the second one over growth in proportion to the examples, since
what falls out of a cache takes up to four times as long. The factor 2 of a size that was slowed down steadily leaves
1.88 of it on the bend of `a + c B`, where the line between the neighbours lies highest above the curve."""

FEWEST_IN_VISIT = 8
"""Steps of a visit, for its tenth to be told from its median."""

WAITED, MOST_BY_WAITING = 0.15, 3.0
"""Of a step: the share in which another process had the processor. By itself it says that a time may be wrong, not that
it is: the second one is the largest swing that follows from it."""

RUNS = 2.0
"""Between a step of training and one that was timed."""

UNUSABLE = 4.0
"""From this swing on batch sizes are not ranked: it is as large as the differences that a ranking rests on."""

FEWEST_STEPS, FEWEST_SECONDS = 20, 0.02
"""Of a run, to be held against the clock."""


def quiet_visits(visits: Sequence[Sequence[float]]) -> list[int]:
    """Positions of the quickest quarter of the visits, at least one: what other work stretched is among the others."""
    order = sorted(range(len(visits)), key=lambda i: median(visits[i]))
    return order[: math.ceil(len(visits) / 4)]


def disagreement(visits: Sequence[Sequence[float]]) -> tuple[float, tuple[str, ...]]:
    """By which factor times of one size differ that should agree, and the signs that this is.

    Of four to six visits the second slowest is held against the quickest: one slow visit may be an accident, while
    nothing makes steps quicker than they are. Of more, a bare majority must agree with the quickest: then the machine
    has calmed down.

    Args:
        visits: seconds of steps, for each visit in turn.

    Returns:
        1 and no sign where they agree.
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
    """The median over the lowest decile of the steps of the quiet visits; 1 where those are too few to tell."""
    ratios = [
        median(visits[i]) / quantiles(visits[i], n=10, method="inclusive")[0]
        for i in quiet_visits(visits)
        if len(visits[i]) >= FEWEST_IN_VISIT
    ]
    return median(ratios) if ratios else 1.0


def misfits(points: Sequence[tuple[int, float]]) -> dict[int, float]:
    """By batch size, the factor by which its time misses what its neighbours allow; 1 where it does not.

    Args:
        points: batch size and seconds, in ascending order of size.
    """
    sizes = [math.log(size) for size, _ in points]
    times = [math.log(seconds) for _, seconds in points]
    # In logarithms: how far a time is above what later, larger sizes allow.
    misses = [max(0.0, time - min(times[i:])) for i, time in enumerate(times)]
    for i in range(1, len(times)):
        left = times[i - 1]
        # Little more than in proportion to the examples.
        misses[i] = max(misses[i], times[i] - left - (sizes[i] - sizes[i - 1]) - math.log(GROWS / SIZES))
        if i + 1 < len(times):
            share = (sizes[i] - sizes[i - 1]) / (sizes[i + 1] - sizes[i - 1])
            misses[i] = max(misses[i], times[i] - ((1 - share) * left + share * times[i + 1]))
    return {size: math.exp(miss) for (size, _), miss in zip(points, misses, strict=True)}


def check_clock(points: Iterable[SpeedPoint]) -> ClockCheck:
    """What all the points together say of the clock that they were taken by."""
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
    """Whether batch sizes can be ranked by these seconds."""
    return speed.check is None or speed.check.swing < UNUSABLE


def leeway(speed: Speed, fraction: float = 0.10) -> float:
    """How much more time a size may take, as a fraction, and yet be within `fraction` of the best by another clock."""
    swing = speed.check.swing if speed.check is not None and speed.check.is_busy else 1.0
    return (1 + fraction) * swing - 1


def suspects(points: Sequence[SpeedPoint]) -> list[int]:
    """Batch sizes that are worth timing again, and those that they are held against; none where the clock is quiet."""
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
    """The same record with `check` and `fit` filled in, its intervals as wide as the clock swings.

    Args:
        runs: of this machine, made about when the steps were timed; their steps are held against the clock.
    """
    check = check_clock(speed.points)
    factor = runs_factor(speed, runs)
    if factor != 1.0:
        apart = max(factor, 1 / factor)
        check = replace(check, signs=(*check.signs, "clock_runs"), swing=max(check.swing, apart), runs_factor=factor)
    points = tuple(_widened(point, check.swing) for point in speed.points)
    return with_fit(replace(speed, points=points, check=check, fit=None))


def merged(old: Speed, new: Speed) -> Speed:
    """Both clocks in one record: a size that both have is as in the new one, unless that has it less well.

    A size has been timed less well if it has no interval where the old one has one, in a time that is no shorter.
    """
    points = {point.batch_size: point for point in old.points}
    for point in new.points:
        points[point.batch_size] = _better(points.get(point.batch_size), point)
    lost = min((size for size, point in points.items() if not point.fits), default=math.inf)
    kept = tuple(point for size, point in sorted(points.items()) if size < lost or size == lost)
    return with_check(replace(old, points=kept))


def untimed(speed: Speed, sizes: Iterable[int]) -> list[int]:
    """Those of these sizes that were not timed, though nothing says that they do not fit."""
    timed = {point.batch_size for point in speed.fitting}
    lost = min((point.batch_size for point in speed.points if not point.fits), default=math.inf)
    return sorted(size for size in set(sizes) if size < lost and size not in timed)


def runs_factor(speed: Speed, runs: Iterable[Run]) -> float:
    """Seconds of a step of training over those that were timed, where they are a factor `RUNS` apart; else 1.

    The median over batch sizes. Of a run the quickest quarter between evaluations counts; steps that measured the noise
    scale take longer, so runs that did are left out.
    """
    sizes = [point.batch_size for point in speed.fitting]
    factors: dict[int, list[float]] = {}
    for run in runs:
        seconds = _step_seconds(run)
        if seconds is not None and sizes and sizes[0] <= run.batch_size <= sizes[-1]:
            factors.setdefault(run.batch_size, []).append(seconds / step_seconds_at(speed, run.batch_size).value)
    if not factors:
        return 1.0
    # Of several runs of a size the quickest was disturbed the least.
    logs = [math.log(min(each)) for each in factors.values()]
    worst = max(logs, key=abs)
    return math.exp(worst) if abs(worst) > math.log(RUNS) else 1.0


def _step_seconds(run: Run) -> float | None:
    """Of training, by the quickest quarter of the pieces between two evaluations; None where there is too little."""
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
    """The interval of a step's seconds as wide as the clock swings, whatever it was widened by before."""
    seconds = point.step_seconds
    if seconds is None or seconds.low is None or seconds.high is None:
        return replace(point, widened=factor)
    low, high = seconds.low * point.widened / factor, seconds.high / point.widened * factor
    return replace(point, step_seconds=_between(seconds, low, high), widened=factor)


def _between(seconds: Estimate, low: float, high: float) -> Estimate:
    return replace(seconds, low=min(low, seconds.value), high=max(high, seconds.value))
