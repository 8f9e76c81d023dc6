"""What the chapter of a study and that of a fit have in common: an analysis, and the single runs behind it."""

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

# Whether larger batches train worse: what the comparisons at equal epochs, steps and seconds say.


class Trend(StrEnum):
    """The largest batch size against the smallest."""

    FALLS = "falls"
    RISES = "rises"
    EVEN = "even"  # the intervals overlap
    OPEN = "open"  # there is none


def compared(budgets: Sequence[BudgetReading]) -> list[BudgetReading]:
    """Those that hold at least two batch sizes: epochs before steps before seconds, tuned first."""
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
    """The key, without its prefix, of what the training metric says of "larger batches train worse"."""

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
    """In equal epochs: a worse validation with worse training is no overfitting, one with as good training is."""
    reading = _find(budgets, BudgetUnit.EPOCHS, tuned=True)
    if trend(reading, "validation_metric") is not Trend.FALLS:
        return None
    training = trend(reading, "train_metric")
    return {Trend.FALLS: "budgets_not_overfitting", Trend.OPEN: None}.get(training, "budgets_generalization")


def _find(budgets: Sequence[BudgetReading], unit: BudgetUnit, *, tuned: bool) -> BudgetReading | None:
    return next((each for each in compared(budgets) if (each.spent, each.tuned) == (unit, tuned)), None)


# The reason of a law that says what was spent, and not what was needed.
UNREADABLE = "constant_budget"


@dataclass(frozen=True, kw_only=True)
class StudyResults:
    """An analysis, in the unit that its points are known in: steps, or where those are missing epochs."""

    analysis: Analysis
    unit: str  # what an example is
    metric_name: str = "metric"
    dots: tuple[GoalPoint, ...] = ()  # single runs at the best rate of their batch size
    predictions: tuple[Prediction, ...] = ()
    law_holds: bool
    law_reason: str = ""
    left_out: int = 0  # batch sizes that there is no room for, and of these
    left_out_reached: int = 0  # those that came to the target

    @property
    def in_epochs(self) -> bool:
        sizes = self.analysis.sizes
        return not any(size.steps for size in sizes) and any(size.epochs for size in sizes)

    def amount(self, size: SizeResult) -> Estimate | None:
        """Steps, or epochs, to the target; None where it was not reached."""
        estimate = size.epochs if self.in_epochs else size.steps
        return estimate if estimate is not None and math.isfinite(estimate.value) and estimate.value > 0 else None

    @property
    def reached(self) -> list[tuple[SizeResult, Estimate]]:
        """The sizes at the target, the smallest first."""
        pairs = [(size, amount) for size in self.sizes if (amount := self.amount(size)) is not None]
        return sorted(pairs, key=lambda pair: pair[0].batch_size)

    @property
    def missed(self) -> list[tuple[SizeResult, float]]:
        """The sizes that missed it, with the most steps that were not enough."""
        if self.in_epochs:
            return []
        return [(size, size.bound) for size in self.sizes if size.bound and self.amount(size) is None]

    @property
    def sizes(self) -> tuple[SizeResult, ...]:
        return self.analysis.sizes

    @property
    def soonest(self) -> SizeResult | None:
        """The size that came to the target in the least time; None where no time is known."""
        size_seconds = [(size.seconds.value, size) for size in self.sizes if size.seconds is not None]
        return min(size_seconds, key=lambda pair: pair[0])[1] if size_seconds else None

    @property
    def trade_off(self) -> TradeOff | None:
        """The fitted law; None where nothing can be read from it."""
        return self.analysis.trade_off if self.law_reason != UNREADABLE else None

    @property
    def law_state(self) -> str:
        """'holds', 'nearly', 'fails', 'open', 'untested', or 'missing'. Open: nothing speaks against it, nor for it."""
        law = self.trade_off
        if law is None:
            return "missing"
        if self.law_holds:
            return "nearly" if self.law_reason else "holds"
        return "untested" if law.p_value is None else "open" if law.undecided else "fails"

    @property
    def critical(self) -> Estimate | None:
        """The critical batch size; its value may be 0 or infinite, where only a bound is known."""
        return self.trade_off.critical_batch_size if self.trade_off is not None else None

    @property
    def critical_size(self) -> float | None:
        """The critical batch size where it is a number."""
        value = self.critical.value if self.critical is not None else 0.0
        return value if math.isfinite(value) and value > 0 else None

    def law(self, batch_size: float) -> float | None:
        """Steps, or epochs, by the fitted law."""
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
        """Neighbouring sizes of one regime."""
        sizes = [size for size, _ in self.reached if size.regime is not None]
        groups = groupby(sizes, key=lambda size: size.regime)
        return [(regime, tuple(group)) for regime, group in groups if regime is not None]

    @property
    def still_falling(self) -> bool:
        """Steps still fell at the largest size that was tried."""
        bands = self.bands
        return bool(bands) and bands[-1][0] is not Regime.MAXIMAL_PARALLELISM


def findings(record: Study | Fit) -> StudyResults | None:
    """None where a study has not been analysed."""
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
    """At most about MOST_ROWS batch sizes, evenly spread, with the ends and the soonest among them."""
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
        if run.steps > 0 and run.diverged_at is None and _is(run, best.get(run.batch_size))
    ]


def _is(run: Run, best: tuple[float | None, dict[str, OptionValue]] | None) -> bool:
    """Whether the run is one of the best setting of its size: its options may be more than those that were varied."""
    if best is None or run.learning_rate != best[0]:
        return False
    return all(run.options.get(name, value) == value for name, value in best[1].items())


def _spread(points: Sequence[GoalPoint]) -> tuple[GoalPoint, ...]:
    """At most so many points as there is room for, evenly spread."""
    every = math.ceil(len(points) / MOST_MARKS) if points else 1
    return tuple(points[::every])
