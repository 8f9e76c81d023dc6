"""Results that the chapters of a study and of a fit share: the analysis, and the single runs behind it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import groupby

from critbatch.records.core import Estimate, OptionValue, Run
from critbatch.records.study import (
    Analysis,
    BudgetReading,
    BudgetUnit,
    Fit,
    GoalPoint,
    Prediction,
    Regime,
    SizeResult,
    Study,
    TradeOff,
)
from critbatch.reports.derived.runs import MOST_MARKS, MOST_ROWS, metric_name

# Comparisons of batch sizes at equal epochs, steps and seconds.


class Trend(StrEnum):
    """The result of the largest batch size compared with the smallest."""

    FALLS = "falls"
    RISES = "rises"
    EVEN = "even"  # the intervals overlap
    OPEN = "open"  # there is no interval


def comparisons(budgets: Sequence[BudgetReading]) -> list[BudgetReading]:
    """The readings with at least two batch sizes, in the order epochs, steps, seconds; tuned ones first."""
    order = list(BudgetUnit)
    readings = [reading for reading in budgets if len(reading.points) > 1]
    return sorted(readings, key=lambda reading: (order.index(reading.spent), not reading.tuned))


def ends(reading: BudgetReading, quantity: str) -> tuple[Estimate, Estimate]:
    """The quantity at the smallest and at the largest batch size."""
    points = sorted(reading.points, key=lambda point: point.batch_size)
    return getattr(points[0], quantity), getattr(points[-1], quantity)


def trend(reading: BudgetReading | None, quantity: str) -> Trend:
    if reading is None:
        return Trend.OPEN
    first, last = ends(reading, quantity)
    bounds = [bound for each in (first, last) for bound in (each.low, each.high)]
    if any(bound is None or math.isnan(bound) for bound in bounds):
        return Trend.OPEN
    low, high, last_low, last_high = (bound for bound in bounds if bound is not None)
    return Trend.FALLS if last_high < low else Trend.RISES if last_low > high else Trend.EVEN


def claim(budgets: Sequence[BudgetReading]) -> str:
    """The message key, without its prefix, for what the training metric says about "larger batches train worse"."""

    def says(unit: BudgetUnit, *, tuned: bool) -> Trend:
        return trend(_find(budgets, unit, tuned=tuned), "train_metric")

    epochs, untuned_epochs = says(BudgetUnit.EPOCHS, tuned=True), says(BudgetUnit.EPOCHS, tuned=False)
    steps = says(BudgetUnit.STEPS, tuned=True)
    if epochs is Trend.OPEN:
        return "open"
    if epochs is Trend.FALLS:
        return {Trend.FALLS: "everywhere", Trend.OPEN: "epochs"}.get(steps, "epochs_only")
    return {Trend.FALLS: "untuned", Trend.OPEN: "tuned_never"}.get(untuned_epochs, "never")


def lag(budgets: Sequence[BudgetReading]) -> str | None:
    """The message key if validation is worse at equal epochs: it is overfitting unless training is worse, too."""
    reading = _find(budgets, BudgetUnit.EPOCHS, tuned=True)
    if trend(reading, "validation_metric") is not Trend.FALLS:
        return None
    training = trend(reading, "train_metric")
    return {Trend.FALLS: "budgets_not_overfitting", Trend.OPEN: None}.get(training, "budgets_generalization")


def _find(budgets: Sequence[BudgetReading], unit: BudgetUnit, *, tuned: bool) -> BudgetReading | None:
    return next((each for each in comparisons(budgets) if (each.spent, each.tuned) == (unit, tuned)), None)


# The reason of a law that only shows a constant budget, not the steps that were needed.
UNREADABLE = "constant_budget"


@dataclass(frozen=True, kw_only=True)
class StudyResults:
    """An analysis in the unit of its points: steps, or epochs if steps are missing."""

    analysis: Analysis
    unit: str  # name of an example, such as "image"
    metric_name: str = "metric"
    dots: tuple[GoalPoint, ...] = ()  # single runs at the best rate of their batch size
    predictions: tuple[Prediction, ...] = ()
    law_holds: bool
    law_reason: str = ""
    left_out: int = 0  # batch sizes that are not shown for lack of room
    left_out_reached: int = 0  # those of them that reached the target

    @property
    def in_epochs(self) -> bool:
        sizes = self.analysis.sizes
        return not any(size.steps for size in sizes) and any(size.epochs for size in sizes)

    def amount(self, size: SizeResult) -> Estimate | None:
        """Steps or epochs to the target. None if it was not reached."""
        estimate = size.epochs if self.in_epochs else size.steps
        return estimate if estimate is not None and math.isfinite(estimate.value) and estimate.value > 0 else None

    @property
    def reached(self) -> list[tuple[SizeResult, Estimate]]:
        """The sizes that reached the target, the smallest first."""
        pairs = [(size, amount) for size in self.sizes if (amount := self.amount(size)) is not None]
        return sorted(pairs, key=lambda pair: pair[0].batch_size)

    @property
    def missed(self) -> list[tuple[SizeResult, float]]:
        """The sizes that missed the target, with the largest number of steps that were not enough."""
        if self.in_epochs:
            return []
        return [(size, size.bound) for size in self.sizes if size.bound and self.amount(size) is None]

    @property
    def sizes(self) -> tuple[SizeResult, ...]:
        return self.analysis.sizes

    @property
    def soonest(self) -> SizeResult | None:
        """The size that reached the target first. None if no time is known."""
        size_seconds = [(size.seconds.value, size) for size in self.sizes if size.seconds is not None]
        return min(size_seconds, key=lambda pair: pair[0])[1] if size_seconds else None

    @property
    def trade_off(self) -> TradeOff | None:
        """The fitted law. None if it says nothing about the batch size."""
        return self.analysis.trade_off if self.law_reason != UNREADABLE else None

    @property
    def law_state(self) -> str:
        """'holds', 'nearly', 'fails', 'open', 'untested', or 'missing'. 'open': the test is undecided."""
        law = self.trade_off
        if law is None:
            return "missing"
        if self.law_holds:
            return "nearly" if self.law_reason else "holds"
        return "untested" if law.p_value is None else "open" if law.undecided else "fails"

    @property
    def critical(self) -> Estimate | None:
        """The critical batch size. Its value is 0 or infinite if only a bound is known."""
        return self.trade_off.critical_batch_size if self.trade_off is not None else None

    @property
    def critical_size(self) -> float | None:
        """The critical batch size, if it is a finite number."""
        value = self.critical.value if self.critical is not None else 0.0
        return value if math.isfinite(value) and value > 0 else None

    def law(self, batch_size: float) -> float | None:
        """Steps or epochs by the fitted law."""
        law = self.trade_off
        if law is None:
            return None
        if not self.in_epochs:
            steps, examples = law.min_steps, law.min_examples
            amount = steps.value + examples.value / batch_size if steps is not None and examples is not None else 0.0
        elif law.min_epochs is not None and law.critical_batch_size.value > 0:
            amount = law.min_epochs.value * (1 + batch_size / law.critical_batch_size.value)
        else:
            return None
        return amount if math.isfinite(amount) and amount > 0 else None

    @property
    def bands(self) -> list[tuple[Regime, tuple[SizeResult, ...]]]:
        """The regimes, each with its neighbouring sizes."""
        sizes = [size for size, _ in self.reached if size.regime is not None]
        groups = groupby(sizes, key=lambda size: size.regime)
        return [(regime, tuple(group)) for regime, group in groups if regime is not None]

    @property
    def still_falling(self) -> bool:
        """Whether steps still fell at the largest size that was tried."""
        bands = self.bands
        return bool(bands) and bands[-1][0] is not Regime.MAXIMAL_PARALLELISM


def findings(record: Study | Fit) -> StudyResults | None:
    """The results of a study or a fit. None if a study has not been analysed."""
    whole = record.analysis
    if whole is None:
        return None
    analysis = _with_fewer_sizes(whole)
    left_out = len(whole.sizes) - len(analysis.sizes)
    left_out_reached = sum(size.reached > 0 for size in whole.sizes) - sum(size.reached > 0 for size in analysis.sizes)
    if isinstance(record, Fit):
        return StudyResults(
            left_out=left_out,
            left_out_reached=left_out_reached,
            analysis=analysis,
            unit="example",
            dots=_spread(record.points),
            predictions=record.predictions,
            law_holds=record.law_holds,
            law_reason=record.reason,
        )
    law = analysis.trade_off
    return StudyResults(
        left_out=left_out,
        left_out_reached=left_out_reached,
        analysis=analysis,
        unit=record.unit,
        metric_name=metric_name(record.runs),
        dots=_spread(_at_best(record.runs, analysis)),
        law_holds=law is not None and law.is_consistent,
        law_reason=law.reason if law is not None else "",
    )


def _with_fewer_sizes(analysis: Analysis) -> Analysis:
    """About MOST_ROWS batch sizes, evenly spread, including the smallest, the largest and the fastest."""
    sizes = analysis.sizes
    if len(sizes) <= MOST_ROWS:
        return analysis
    soonest = min(range(len(sizes)), key=lambda i: math.inf if (seconds := sizes[i].seconds) is None else seconds.value)
    indices = {*range(0, len(sizes), math.ceil(len(sizes) / MOST_ROWS)), len(sizes) - 1, soonest}
    return replace(analysis, sizes=tuple(sizes[i] for i in sorted(indices)))


def _at_best(runs: Sequence[Run], analysis: Analysis) -> list[GoalPoint]:
    best = {
        size.batch_size: (size.learning_rate, size.options) for size in analysis.sizes if size.learning_rate is not None
    }
    return [
        GoalPoint(
            batch_size=run.batch_size,
            steps=run.crossing.step if run.crossing else run.steps,
            epochs=run.crossing.epoch if run.crossing else run.epochs,
            censored=run.crossing is None,
            seed=run.seed,
            learning_rate=run.learning_rate,
        )
        for run in runs
        if run.steps > 0 and run.diverged_at is None and _has_best_setting(run, best.get(run.batch_size))
    ]


def _has_best_setting(run: Run, best: tuple[float | None, dict[str, OptionValue]] | None) -> bool:
    """Whether the run has the best setting of its size. The run may have more options than those that were varied."""
    if best is None or run.learning_rate != best[0]:
        return False
    return all(run.options.get(name, value) == value for name, value in best[1].items())


def _spread(points: Sequence[GoalPoint]) -> tuple[GoalPoint, ...]:
    """At most as many points as there is room for, evenly spread."""
    every = math.ceil(len(points) / MOST_MARKS) if points else 1
    return tuple(points[::every])
