"""Whether larger batches train worse: what the comparisons at equal epochs, steps and seconds say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum

from critbatch.records.core import Estimate
from critbatch.records.study import BudgetReading, Spent


class Trend(StrEnum):
    """The largest batch size against the smallest."""

    FALLS = "falls"
    RISES = "rises"
    EVEN = "even"  # the intervals overlap
    OPEN = "open"  # there is none


def compared(budgets: Sequence[BudgetReading]) -> list[BudgetReading]:
    """Those that hold at least two batch sizes: epochs before steps before seconds, tuned first."""
    order = list(Spent)
    told = [reading for reading in budgets if len(reading.points) > 1]
    return sorted(told, key=lambda reading: (order.index(reading.spent), not reading.tuned))


def ends(reading: BudgetReading, quantity: str) -> tuple[Estimate, Estimate]:
    """The quantity at the smallest and at the largest batch size."""
    points = sorted(reading.points, key=lambda point: point.batch_size)
    return getattr(points[0], quantity), getattr(points[-1], quantity)


def trend(reading: BudgetReading | None, quantity: str) -> Trend:
    if reading is None:
        return Trend.OPEN
    first, last = ends(reading, quantity)
    held = [bound for each in (first, last) for bound in (each.low, each.high)]
    if any(bound is None or math.isnan(bound) for bound in held):
        return Trend.OPEN
    low, high, last_low, last_high = (bound for bound in held if bound is not None)
    return Trend.FALLS if last_high < low else Trend.RISES if last_low > high else Trend.EVEN


def claim(budgets: Sequence[BudgetReading]) -> str:
    """The key, without its prefix, of what the training metric says of "larger batches train worse"."""

    def says(spent: Spent, *, tuned: bool) -> Trend:
        return trend(_find(budgets, spent, tuned=tuned), "train_metric")

    epochs, fixed = says(Spent.EPOCHS, tuned=True), says(Spent.EPOCHS, tuned=False)
    steps = says(Spent.STEPS, tuned=True)
    if epochs is Trend.OPEN:
        return "open"
    if epochs is Trend.FALLS:
        return {Trend.FALLS: "everywhere", Trend.OPEN: "epochs"}.get(steps, "epochs_only")
    return {Trend.FALLS: "untuned", Trend.OPEN: "tuned_never"}.get(fixed, "never")


def lag(budgets: Sequence[BudgetReading]) -> str | None:
    """In equal epochs: a worse validation with worse training is no overfitting, one with as good training is."""
    reading = _find(budgets, Spent.EPOCHS, tuned=True)
    if trend(reading, "validation_metric") is not Trend.FALLS:
        return None
    training = trend(reading, "train_metric")
    return {Trend.FALLS: "budgets_not_overfitting", Trend.OPEN: None}.get(training, "budgets_generalization")


def _find(budgets: Sequence[BudgetReading], spent: Spent, *, tuned: bool) -> BudgetReading | None:
    return next((each for each in compared(budgets) if (each.spent, each.tuned) == (spent, tuned)), None)
