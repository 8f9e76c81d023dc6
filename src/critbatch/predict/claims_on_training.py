"""The lecture's claims on training: larger batches train worse, noise helps, batch size matters, one can have both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from critbatch.predict.claims_on_updates import RATIO_MARGIN
from critbatch.predict.effects import difference, judged, judged_exactly, ratio
from critbatch.records.claims import Holds, Measure, RecipeRow, Statement
from critbatch.records.core import Advice, Estimate
from critbatch.records.loss_surface import Escape, Standing
from critbatch.records.study import BudgetReading, Spent, Study

# Of a metric, a difference of less than this share of it is as none.
METRIC_SHARE = 0.001
# What a recipe may lose of the metric and still count as accurate as the small batch.
LOST_SHARE = 0.005
SHARE_MARGIN = 0.1


def on_optimization(study: Study) -> list[Statement]:
    """The training metric of the smallest batch size less that of the largest, at equal epochs, steps and seconds."""
    readings = study.analysis.budgets if study.analysis is not None else ()
    asked = (
        ("train_worse_fixed", Spent.EPOCHS, False, "train_metric"),
        ("train_worse_tuned", Spent.EPOCHS, True, "train_metric"),
        ("train_worse_steps", Spent.STEPS, True, "train_metric"),
        ("train_worse_seconds", Spent.SECONDS, True, "train_metric"),
        ("validation_worse", Spent.EPOCHS, True, "validation_metric"),
    )
    told = []
    for key, spent, tuned, quantity in asked:
        reading = next((each for each in readings if (each.spent, each.tuned) == (spent, tuned)), None)
        if reading is None or len(reading.points) < 2:
            continue
        main = key in ("train_worse_fixed", "train_worse_tuned")
        told.append(_worse(key, reading, quantity, main=main))
    return told


def _worse(key: str, reading: BudgetReading, quantity: str, *, main: bool) -> Statement:
    points = sorted(reading.points, key=lambda point: point.batch_size)
    small, large = getattr(points[0], quantity), getattr(points[-1], quantity)
    sizes = {"small_batch_size": points[0].batch_size, "large_batch_size": points[-1].batch_size}
    effect = difference(small, large)
    return judged(key, effect, measure=Measure.DIFFERENCE, margin=METRIC_SHARE * abs(small.value), main=main, **sizes)


def on_noise(escapes: Sequence[Escape], task: str) -> list[Statement]:
    """The share of starts that got on with the smallest batch less that of the full batch."""
    told = []
    for escape in escapes:
        counts = sorted(escape.counts, key=lambda count: count.batch_size)
        if len(counts) < 2:
            continue
        # The full batch still descends from where it seemed to have stopped, or gets on as often as not.
        moving = escape.standings.get(Standing.DESCENDING, 0) > escape.starts / 2 or counts[-1].share.value > 0.5
        effect = difference(counts[0].share, counts[-1].share)
        if moving:
            effect = replace(effect, low=None, high=None, reason="lecture_not_stuck")
        statement = judged(
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
        told.append(statement)
    return told


def on_choice(advice: Advice) -> list[Statement]:
    """What the worse end of the batch sizes costs in time to the target, over the best size."""
    points = sorted(advice.points, key=lambda point: point.batch_size)
    if not advice.answered or advice.best is None or len(points) < 2:
        return [judged("size_matters", None, measure=Measure.RATIO, margin=RATIO_MARGIN, reason="lecture_not_reached")]
    ends = (points[0], points[-1])
    worst = max(ends, key=lambda point: point.seconds.value)
    inside = all(end.seconds.value > advice.best.seconds.value for end in ends)
    return [
        judged(
            "size_matters",
            ratio(worst.seconds, advice.best.seconds),
            measure=Measure.RATIO,
            margin=RATIO_MARGIN,
            small_batch_size=advice.best.batch_size if worst is points[-1] else worst.batch_size,
            large_batch_size=worst.batch_size if worst is points[-1] else advice.best.batch_size,
        ),
        judged_exactly("best_inside", inside, main=False),
    ]


def on_both(rows: Sequence[RecipeRow], small: int) -> list[Statement]:
    """Each recipe at the large batch against plain training with small batches, both tuned."""
    base = next((row for row in rows if row.batch_size == small and row.tuned), None)
    tried = [row for row in rows if row.batch_size != small and row.tuned]
    if base is None or not tried:
        return []
    told, both = [], []
    for row in tried:
        place = {"subject": row.recipe, "small_batch_size": small, "large_batch_size": row.batch_size, "main": False}
        # Of runs that did not all come to the target, those that did are the lucky ones.
        whole = base.reached == base.seeds > 0 and row.reached == row.seeds > 0
        fewer = _over("fewer_steps", base.steps, row.steps if whole else None, place)
        accurate = _as_accurate(base, row, place)
        told += [fewer, _over("sooner", base.seconds, row.seconds if whole else None, place), accurate]
        both.append((fewer, accurate))
    return [_nearest(both, small), *told]


def _over(key: str, base: Estimate | None, other: Estimate | None, place: dict[str, object]) -> Statement:
    effect = ratio(base, other) if base is not None and other is not None else None
    reason = "" if effect is not None else "lecture_not_reached"
    return judged(key, effect, measure=Measure.RATIO, margin=RATIO_MARGIN, reason=reason, **place)


def _as_accurate(base: RecipeRow, row: RecipeRow, place: dict[str, object]) -> Statement:
    if base.validation_metric is None or row.validation_metric is None:
        return judged(
            "as_accurate", None, measure=Measure.DIFFERENCE, margin=0.0, reason="lecture_not_reached", **place
        )
    effect = difference(row.validation_metric, base.validation_metric)
    margin = -LOST_SHARE * abs(base.validation_metric.value)
    holds, reason = Holds.UNDECIDED, "lecture_one_seed" if effect.n < 2 else "lecture_wide"
    if effect.low is not None and effect.high is not None and (effect.low > margin or effect.high < margin):
        holds, reason = (Holds.HELD if effect.low > margin else Holds.NOT_HELD), ""
    return Statement(
        key="as_accurate",
        holds=holds,
        measure=Measure.DIFFERENCE,
        effect=effect,
        margin=margin,
        reason=reason,
        **place,  # type: ignore[arg-type]
    )


def _nearest(both: Sequence[tuple[Statement, Statement]], small: int) -> Statement:
    """Whether one recipe takes fewer steps and is as accurate: of several the one with the fewest."""

    def rank(pair: tuple[Statement, Statement]) -> tuple[int, float]:
        fewer, accurate = pair
        order = [Holds.NOT_HELD, Holds.UNDECIDED, Holds.HELD]
        worse = min(order.index(fewer.holds), order.index(accurate.holds))
        return worse, fewer.effect.value if fewer.effect is not None else 0.0

    fewer, accurate = best = max(both, key=rank)
    holds = [Holds.NOT_HELD, Holds.UNDECIDED, Holds.HELD][rank(best)[0]]
    return Statement(
        key="one_has_both",
        holds=holds,
        measure=Measure.RATIO,
        effect=fewer.effect,
        margin=fewer.margin,
        subject=fewer.subject,
        small_batch_size=small,
        large_batch_size=fewer.large_batch_size,
        reason=(fewer.reason or accurate.reason) if holds is Holds.UNDECIDED else "",
    )
