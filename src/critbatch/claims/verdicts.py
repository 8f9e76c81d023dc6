"""The tests of each claim: a record goes in, statements with an effect, an interval and a verdict come out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from critbatch.claims.effects import difference, judge_effect, judge_equality, judge_fact, mean_ratio, ratio
from critbatch.records.claims import ClaimTest, ClaimVerdict, Measure, NetworkPair, Partition, Paths, RecipeRow
from critbatch.records.core import Advice, Estimate, Run, Speed, SpeedPoint
from critbatch.records.loss_surface import Box, Escape, PointType, Sharpness, Shift, SolutionSharpness
from critbatch.records.study import BudgetReading, BudgetUnit, Study

# Claims 1 to 3: what batches are, how much updates vary, and how long they take.

RESHUFFLE = "reshuffle"
RATIO_MARGIN = 1.1
SPREAD_MARGIN = 0.05
ABOUT_THE_SAME = 1.5
CONSTANT_TIME_BATCH = 1000  # claimed to take about as long as one example


def on_batches(partitions: Sequence[Partition], orders: Study | None) -> list[ClaimTest]:
    """Whether reshuffling uses every example once an epoch, in new batches each time, and what other orders cost."""
    tests = []
    shuffled = next((each for each in partitions if each.order == RESHUFFLE), None)
    if shuffled is not None:
        whole = list(range(len(shuffled.epochs[0])))
        tests.append(judge_fact("every_example_once", all(sorted(epoch) == whole for epoch in shuffled.epochs)))
        tests.append(judge_fact("new_partition", all(one != other for one, other in pairwise(_batches(shuffled)))))
    if orders is not None:
        steps = _steps_by_order(orders.runs)
        usual = steps.pop(RESHUFFLE, {})
        for order, by_seed in steps.items():
            pairs = [(by_seed[seed], usual[seed]) for seed in by_seed.keys() & usual.keys()]
            effect = mean_ratio(pairs)
            reason = "" if effect is not None else "lecture_not_reached"
            tests.append(
                judge_effect(
                    "order_costs",
                    effect,
                    measure=Measure.RATIO,
                    margin=RATIO_MARGIN,
                    main=False,
                    subject=order,
                    reason=reason,
                )
            )
    return tests


def _batches(partition: Partition) -> Iterable[frozenset[frozenset[int]]]:
    """The batches of each epoch, without the order within and among them."""
    size = partition.batch_size
    for epoch in partition.epochs:
        yield frozenset(frozenset(epoch[i : i + size]) for i in range(0, len(epoch), size))


def _steps_by_order(runs: Sequence[Run]) -> dict[str, dict[int, float]]:
    """Steps to the target by order and seed, of the runs that reached it."""
    values: dict[str, dict[int, float]] = {}
    for run in runs:
        by_seed = values.setdefault(str(run.options.get("order", RESHUFFLE)), {})
        if run.crossing is not None:
            by_seed[run.seed] = run.crossing.step
    return values


def on_paths(paths: Paths) -> list[ClaimTest]:
    """Batch size 1 against the full batch: how much updates vary, and how far an epoch gets."""
    spreads = sorted(paths.spreads, key=lambda spread: spread.batch_size)
    one, full = spreads[0], spreads[-1]
    sizes = {"small_batch_size": one.batch_size, "large_batch_size": full.batch_size}
    unsteady = difference(one.spread, full.spread)
    return [
        judge_effect("unsteady", unsteady, measure=Measure.DIFFERENCE, margin=SPREAD_MARGIN, **sizes),
        judge_effect("many_updates", one.full_over, measure=Measure.RATIO, margin=RATIO_MARGIN, main=False, **sizes),
    ]


def on_time(speeds: Sequence[Speed]) -> list[ClaimTest]:
    """Time of an update and of an epoch. The first of `speeds` has the least parallel hardware, the last the most."""
    speed = speeds[-1]
    points = _timed(speed)
    if len(points) < 2:
        return []
    first, last = points[0], points[-1]
    within = [point for point in points if point.batch_size <= CONSTANT_TIME_BATCH]
    constant, shortest = within[-1], min(points, key=speed.epoch_seconds)
    tests = [
        _ratio("parallel_update", scaled(first, constant.batch_size / first.batch_size), seconds(constant), constant),
        judge_equality(
            "about_the_same",
            ratio(seconds(constant), seconds(first)),
            measure=Measure.RATIO,
            margin=ABOUT_THE_SAME,
            main=False,
            small_batch_size=first.batch_size,
            large_batch_size=constant.batch_size,
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
            tests.append(
                _ratio(
                    "parallel_hardware",
                    seconds(alone[widest.batch_size]),
                    seconds(widest),
                    widest,
                    main=False,
                    subject=subject,
                )
            )
    return tests


def _timed(speed: Speed) -> list[SpeedPoint]:
    return sorted((p for p in speed.fitting if p.step_seconds is not None), key=lambda point: point.batch_size)


def seconds(point: SpeedPoint) -> Estimate:
    """Seconds of an update."""
    assert point.step_seconds is not None
    return point.step_seconds


def scaled(point: SpeedPoint, factor: float) -> Estimate:
    """Seconds of an update, times a factor."""
    one = seconds(point)
    low, high = (None if bound is None else bound * factor for bound in (one.low, one.high))
    return Estimate(value=one.value * factor, n=one.n, low=low, high=high, level=one.level, reason=one.reason)


def epoch(speed: Speed, point: SpeedPoint) -> Estimate:
    """Seconds of an epoch."""
    return scaled(point, speed.examples / point.batch_size)


def _ratio(key: str, first: Estimate, second: Estimate, point: SpeedPoint, **others: object) -> ClaimTest:
    effect = ratio(first, second)
    size = point.batch_size
    return judge_effect(key, effect, measure=Measure.RATIO, margin=RATIO_MARGIN, large_batch_size=size, **others)


# A difference below this share of the metric counts as none.
METRIC_SHARE = 0.001
# A recipe that loses less than this share of the metric counts as accurate as the small batch.
LOST_SHARE = 0.005
SHARE_MARGIN = 0.1


def on_optimization(study: Study) -> list[ClaimTest]:
    """Training metric at the smallest batch size minus the largest, at equal epochs, steps and seconds."""
    readings = study.analysis.budgets if study.analysis is not None else ()
    readings_wanted = (
        ("train_worse_fixed", BudgetUnit.EPOCHS, False, "train_metric"),
        ("train_worse_tuned", BudgetUnit.EPOCHS, True, "train_metric"),
        ("train_worse_steps", BudgetUnit.STEPS, True, "train_metric"),
        ("train_worse_seconds", BudgetUnit.SECONDS, True, "train_metric"),
        ("validation_worse", BudgetUnit.EPOCHS, True, "validation_metric"),
    )
    tests = []
    for key, spent, tuned, quantity in readings_wanted:
        reading = next((each for each in readings if (each.spent, each.tuned) == (spent, tuned)), None)
        if reading is None or len(reading.points) < 2:
            continue
        main = key in ("train_worse_fixed", "train_worse_tuned")
        tests.append(_worse(key, reading, quantity, main=main))
    return tests


def _worse(key: str, reading: BudgetReading, quantity: str, *, main: bool) -> ClaimTest:
    points = sorted(reading.points, key=lambda point: point.batch_size)
    small, large = getattr(points[0], quantity), getattr(points[-1], quantity)
    sizes = {"small_batch_size": points[0].batch_size, "large_batch_size": points[-1].batch_size}
    effect = difference(small, large)
    return judge_effect(
        key, effect, measure=Measure.DIFFERENCE, margin=METRIC_SHARE * abs(small.value), main=main, **sizes
    )


def on_noise(escapes: Sequence[Escape], task: str) -> list[ClaimTest]:
    """Share of starts that escape with the smallest batch, minus that with the full batch."""
    tests = []
    for escape in escapes:
        counts = sorted(escape.counts, key=lambda count: count.batch_size)
        if len(counts) < 2:
            continue
        # The start is no stuck point: full-batch descent continues there, or escapes in most cases.
        moving = escape.standings.get(PointType.DESCENDING, 0) > escape.starts / 2 or counts[-1].share.value > 0.5
        effect = difference(counts[0].share, counts[-1].share)
        if moving:
            effect = replace(effect, low=None, high=None, reason="lecture_not_stuck")
        statement = judge_effect(
            "escapes_more",
            effect,
            measure=Measure.DIFFERENCE,
            margin=SHARE_MARGIN,
            main=escape.task == task,
            subject=escape.task,
            small_batch_size=counts[0].batch_size,
            large_batch_size=counts[-1].batch_size,
            reason="lecture_not_stuck" if moving else "",
        )
        tests.append(statement)
    return tests


def on_choice(advice: Advice) -> list[ClaimTest]:
    """Time to target at the slower end of the batch sizes, relative to the best size."""
    points = sorted(advice.points, key=lambda point: point.batch_size)
    if not advice.answered or advice.best is None or len(points) < 2:
        return [
            judge_effect("size_matters", None, measure=Measure.RATIO, margin=RATIO_MARGIN, reason="lecture_not_reached")
        ]
    ends = (points[0], points[-1])
    worst = max(ends, key=lambda point: point.seconds.value)
    inside = all(end.seconds.value > advice.best.seconds.value for end in ends)
    return [
        judge_effect(
            "size_matters",
            ratio(worst.seconds, advice.best.seconds),
            measure=Measure.RATIO,
            margin=RATIO_MARGIN,
            small_batch_size=advice.best.batch_size if worst is points[-1] else worst.batch_size,
            large_batch_size=worst.batch_size if worst is points[-1] else advice.best.batch_size,
        ),
        judge_fact("best_inside", inside, main=False),
    ]


def on_both(rows: Sequence[RecipeRow], small: int) -> list[ClaimTest]:
    """Each recipe with large batches against plain training with small batches, both tuned."""
    base = next((row for row in rows if row.batch_size == small and row.tuned), None)
    tried = [row for row in rows if row.batch_size != small and row.tuned]
    if base is None or not tried:
        return []
    tests, both = [], []
    for row in tried:
        place = {"subject": row.recipe, "small_batch_size": small, "large_batch_size": row.batch_size, "main": False}
        # If some runs missed the target, those that reached it are a biased sample.
        whole = base.reached == base.seeds > 0 and row.reached == row.seeds > 0
        fewer = _over("fewer_steps", base.steps, row.steps if whole else None, place)
        accurate = _as_accurate(base, row, place)
        tests += [fewer, _over("sooner", base.seconds, row.seconds if whole else None, place), accurate]
        both.append((fewer, accurate))
    return [_nearest(both, small), *tests]


def _over(key: str, base: Estimate | None, other: Estimate | None, place: dict[str, object]) -> ClaimTest:
    effect = ratio(base, other) if base is not None and other is not None else None
    reason = "" if effect is not None else "lecture_not_reached"
    return judge_effect(key, effect, measure=Measure.RATIO, margin=RATIO_MARGIN, reason=reason, **place)


def _as_accurate(base: RecipeRow, row: RecipeRow, place: dict[str, object]) -> ClaimTest:
    if base.validation_metric is None or row.validation_metric is None:
        return judge_effect(
            "as_accurate", None, measure=Measure.DIFFERENCE, margin=0.0, reason="lecture_not_reached", **place
        )
    effect = difference(row.validation_metric, base.validation_metric)
    margin = -LOST_SHARE * abs(base.validation_metric.value)
    holds, reason = ClaimVerdict.UNDECIDED, "lecture_one_seed" if effect.n < 2 else "lecture_wide"
    if effect.low is not None and effect.high is not None and (effect.low > margin or effect.high < margin):
        holds, reason = (ClaimVerdict.HELD if effect.low > margin else ClaimVerdict.NOT_HELD), ""
    return ClaimTest(
        key="as_accurate",
        holds=holds,
        measure=Measure.DIFFERENCE,
        effect=effect,
        margin=margin,
        reason=reason,
        **place,  # type: ignore[arg-type]
    )


def _nearest(both: Sequence[tuple[ClaimTest, ClaimTest]], small: int) -> ClaimTest:
    """Whether one recipe takes fewer steps and is as accurate. Of several, the one with the fewest steps counts."""

    def rank(pair: tuple[ClaimTest, ClaimTest]) -> tuple[int, float]:
        fewer, accurate = pair
        order = [ClaimVerdict.NOT_HELD, ClaimVerdict.UNDECIDED, ClaimVerdict.HELD]
        worse = min(order.index(fewer.holds), order.index(accurate.holds))
        return worse, fewer.effect.value if fewer.effect is not None else 0.0

    fewer, accurate = best = max(both, key=rank)
    holds = [ClaimVerdict.NOT_HELD, ClaimVerdict.UNDECIDED, ClaimVerdict.HELD][rank(best)[0]]
    return ClaimTest(
        key="one_has_both",
        holds=holds,
        measure=Measure.RATIO,
        effect=fewer.effect,
        margin=fewer.margin,
        subject=fewer.subject,
        small_batch_size=small,
        large_batch_size=fewer.large_batch_size,
        reason=(fewer.reason or accurate.reason) if holds is ClaimVerdict.UNDECIDED else "",
    )


# Claims on generalization: small batches do better on new data, and end in flatter minima.

CORRELATION_MARGIN = 0.3


def on_generalization(networks: Sequence[NetworkPair]) -> list[ClaimTest]:
    """Validation metric of small batches minus large ones, at equal training metric."""
    return [
        judge_effect(
            "generalizes",
            pair.difference,
            measure=Measure.DIFFERENCE,
            margin=METRIC_SHARE * abs(pair.small_validation.value),
            subject=pair.task,
            small_batch_size=pair.small_batch_size,
            large_batch_size=pair.large_batch_size,
        )
        for pair in networks
    ]


def on_minima(sharpness: Sequence[Sharpness], shifts: Sequence[Shift]) -> list[ClaimTest]:
    """How much sharper the minima of large batches are, by several measures, and how data shifts affect them."""
    tests = []
    for record in sharpness:
        readings: dict[str, Callable[[SolutionSharpness], float | None]] = {
            "sharper": lambda each: _value(each, Box.FULL),
            "sharper_eigenvalue": lambda each: each.largest.value if each.largest is not None else None,
            "sharper_adaptive": lambda each: _value(each, Box.ADAPTIVE),
        }
        for key, read in readings.items():
            values = {each.solution.label: read(each) for each in record.solutions}
            if key != "sharper" and all(value is None for value in values.values()):
                continue
            tests.append(_larger(key, record.solutions, values, main=key == "sharper", subject=record.setup.task))
    for shift in shifts:
        for key, name in (("suffers_validation", "validation"), ("suffers_noise", "noise")):
            rises = [rise for rise in shift.rises if rise.shift == name]
            strongest = max((rise.strength for rise in rises), default=0.0)
            values = {rise.label: rise.rise.value for rise in rises if rise.strength == strongest}
            main = key == "suffers_validation"
            tests.append(_larger(key, shift.sharpness, values, main=main, subject=shift.setup.task))
        ranks = [each for each in shift.predictions if each.shift == "validation" and each.measure.startswith(Box.FULL)]
        tests += [
            judge_effect(
                "sharpness_ranks",
                each.correlation,
                measure=Measure.CORRELATION,
                margin=CORRELATION_MARGIN,
                main=False,
                subject=shift.setup.task,
            )
            for each in ranks
        ]
    return tests


def _value(solution: SolutionSharpness, box: Box) -> float | None:
    """Sharpness in the widest box of this kind."""
    values = [each for each in solution.values if each.box is box]
    return max(values, key=lambda each: each.epsilon).value.value if values else None


def _larger(
    key: str,
    solutions: Sequence[SolutionSharpness],
    values: Mapping[str, float | None],
    *,
    main: bool,
    subject: str,
) -> ClaimTest:
    """The ratio of the values with large and small batches, in pairs of one seed."""
    sizes = sorted({each.solution.batch_size for each in solutions if each.solution.batch_size is not None})
    small, large = (sizes[0], sizes[-1]) if len(sizes) > 1 else (None, None)
    by_place = {(each.solution.batch_size, each.solution.seed): values.get(each.solution.label) for each in solutions}
    pairs = []
    for (size, seed), value in by_place.items():
        other = by_place.get((small, seed))
        if size == large != small and value is not None and other is not None:
            pairs.append((value, other))
    effect = mean_ratio(pairs)
    return judge_effect(
        key,
        effect,
        measure=Measure.RATIO,
        margin=RATIO_MARGIN,
        main=main,
        subject=subject,
        small_batch_size=small,
        large_batch_size=large,
        reason="" if effect is not None else "lecture_no_small",
    )
