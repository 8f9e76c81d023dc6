"""The lecture's first three claims: what batches are, how steady an update is, and how long it takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from critbatch.predict.effects import difference, judged, judged_even, judged_exactly, mean_ratio, ratio
from critbatch.records.claims import Measure, Partition, Paths, Statement
from critbatch.records.core import Estimate, Run, Speed, SpeedPoint
from critbatch.records.study import Study

RESHUFFLE = "reshuffle"
RATIO_MARGIN = 1.1
SPREAD_MARGIN = 0.05
ABOUT_THE_SAME = 1.5
LECTURES_BATCH = 1000  # which the lecture says takes about as long as one example


def on_batches(partitions: Sequence[Partition], orders: Study | None) -> list[Statement]:
    """Whether reshuffling makes an epoch of every example, another one each time; what other orders cost."""
    told = []
    shuffled = next((each for each in partitions if each.order == RESHUFFLE), None)
    if shuffled is not None:
        whole = list(range(len(shuffled.epochs[0])))
        told.append(judged_exactly("every_example_once", all(sorted(epoch) == whole for epoch in shuffled.epochs)))
        told.append(judged_exactly("new_partition", all(one != other for one, other in pairwise(_batches(shuffled)))))
    if orders is not None:
        steps = _steps_by_order(orders.runs)
        usual = steps.pop(RESHUFFLE, {})
        for order, by_seed in steps.items():
            pairs = [(by_seed[seed], usual[seed]) for seed in by_seed.keys() & usual.keys()]
            effect = mean_ratio(pairs)
            lost = "" if effect is not None else "lecture_not_reached"
            told.append(
                judged(
                    "order_costs",
                    effect,
                    measure=Measure.RATIO,
                    margin=RATIO_MARGIN,
                    main=False,
                    subject=order,
                    reason=lost,
                )
            )
    return told


def _batches(partition: Partition) -> Iterable[frozenset[frozenset[int]]]:
    """Of each epoch, whatever the order in and among them."""
    size = partition.batch_size
    for epoch in partition.epochs:
        yield frozenset(frozenset(epoch[i : i + size]) for i in range(0, len(epoch), size))


def _steps_by_order(runs: Sequence[Run]) -> dict[str, dict[int, float]]:
    """Steps to the target, of the runs that came to it, by order and seed."""
    found: dict[str, dict[int, float]] = {}
    for run in runs:
        by_seed = found.setdefault(str(run.options.get("order", RESHUFFLE)), {})
        if run.crossing is not None:
            by_seed[run.seed] = run.crossing.step
    return found


def on_paths(paths: Paths) -> list[Statement]:
    """One example at a time against all at once: how unsteady, and how far an epoch leads."""
    spreads = sorted(paths.spreads, key=lambda spread: spread.batch_size)
    one, full = spreads[0], spreads[-1]
    sizes = {"small_batch_size": one.batch_size, "large_batch_size": full.batch_size}
    unsteady = difference(one.spread, full.spread)
    return [
        judged("unsteady", unsteady, measure=Measure.DIFFERENCE, margin=SPREAD_MARGIN, **sizes),
        judged("many_updates", one.full_over, measure=Measure.RATIO, margin=RATIO_MARGIN, main=False, **sizes),
    ]


def on_time(speeds: Sequence[Speed]) -> list[Statement]:
    """Of an update and of an epoch. The last of `speeds` has the most parallel hardware, the first the least."""
    speed = speeds[-1]
    points = _timed(speed)
    if len(points) < 2:
        return []
    first, last = points[0], points[-1]
    known = [point for point in points if point.batch_size <= LECTURES_BATCH]
    lectures, shortest = known[-1], min(points, key=speed.epoch_seconds)
    told = [
        _ratio("parallel_update", scaled(first, lectures.batch_size / first.batch_size), seconds(lectures), lectures),
        judged_even(
            "about_the_same",
            ratio(seconds(lectures), seconds(first)),
            measure=Measure.RATIO,
            margin=ABOUT_THE_SAME,
            main=False,
            small_batch_size=first.batch_size,
            large_batch_size=lectures.batch_size,
        ),
        _ratio("grows", seconds(last), seconds(first), last),
        _ratio("shorter_epoch", epoch(speed, first), epoch(speed, shortest), shortest),
    ]
    if len(speeds) > 1:
        alone = {point.batch_size: point for point in _timed(speeds[0])}
        shared = [point for point in points if point.batch_size in alone]
        if shared:
            widest = shared[-1]
            subject = "accelerator" if speed.provenance.machine.accelerator else ""
            told.append(
                _ratio(
                    "parallel_hardware",
                    seconds(alone[widest.batch_size]),
                    seconds(widest),
                    widest,
                    main=False,
                    subject=subject,
                )
            )
    return told


def _timed(speed: Speed) -> list[SpeedPoint]:
    return sorted((p for p in speed.fitting if p.step_seconds is not None), key=lambda point: point.batch_size)


def seconds(point: SpeedPoint) -> Estimate:
    """Of an update."""
    assert point.step_seconds is not None
    return point.step_seconds


def scaled(point: SpeedPoint, factor: float) -> Estimate:
    """The seconds of an update, times a number."""
    one = seconds(point)
    low, high = (None if bound is None else bound * factor for bound in (one.low, one.high))
    return Estimate(value=one.value * factor, n=one.n, low=low, high=high, level=one.level, reason=one.reason)


def epoch(speed: Speed, point: SpeedPoint) -> Estimate:
    """The seconds of an epoch."""
    return scaled(point, speed.examples / point.batch_size)


def _ratio(key: str, first: Estimate, second: Estimate, point: SpeedPoint, **others: object) -> Statement:
    effect = ratio(first, second)
    size = point.batch_size
    return judged(key, effect, measure=Measure.RATIO, margin=RATIO_MARGIN, large_batch_size=size, **others)
