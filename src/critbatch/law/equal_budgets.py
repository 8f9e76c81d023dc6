"""Compare batch sizes at equal epochs, steps or seconds, by their training and validation metrics and losses.

The answer depends on the kind of budget: equal epochs favour small batches, equal steps favour large ones. Shallue et
al. 2018, arXiv:1811.03600, section 4.7.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy.special import stdtrit

from critbatch.law.target_points import AlikeRuns, alike_runs
from critbatch.records.core import CurvePoint, Estimate, Outcome, Quantity, Run, Target
from critbatch.records.study import BudgetPoint, BudgetReading, BudgetUnit

LEVEL = 0.95
FAILURES = (Outcome.DIVERGED, Outcome.OUT_OF_MEMORY)
FIELDS = ("train_metric", "validation_metric", "train_loss", "validation_loss")
Values = tuple[float, float, float, float]
AXES: Mapping[BudgetUnit, str] = {BudgetUnit.EPOCHS: "epoch", BudgetUnit.STEPS: "step", BudgetUnit.SECONDS: "seconds"}


@dataclass(frozen=True, kw_only=True)
class _Read:
    """Alike runs at the end of a budget: one row of FIELDS for each run that was long enough."""

    alike: AlikeRuns
    rows: tuple[Values, ...]
    failed: int

    def rank(self, by_loss: bool) -> tuple[float, float]:
        """A sort key, lowest for the best: fewest failures first, then the best validation result."""
        share = self.failed / (self.failed + len(self.rows))
        return round(share, 9), fmean(row[3] if by_loss else -row[1] for row in self.rows)


def read_budgets(
    runs: Sequence[Run], *, target: Target | None, amounts: Mapping[BudgetUnit, float] | None = None
) -> tuple[BudgetReading, ...]:
    """Read every batch size off its runs' curves at equal epochs, steps and seconds.

    Each kind of budget is read twice. First with the learning rate that is best at each batch size for that budget, by
    the validation metric, or by the validation loss if the target is a loss. Then with one rate for all sizes: among
    the rates tried at the most batch sizes, the one that is best at the smallest size.
    Values between two evaluations are interpolated. A run counts if it is long enough. A run that diverged or ran out
    of memory before counts as failed.

    Args:
        runs: of one task and recipe.
        target: of the study.
        amounts: the budgets. By default, the largest amount that all batch sizes were trained for.
    """
    by_size = alike_runs(runs)
    by_loss = target is not None and target.quantity is Quantity.VALIDATION_LOSS
    readings = []
    for spent, axis in AXES.items():
        reaches = [reach for alike in by_size.values() if (reach := _reach(alike, axis)) > 0]
        amount = (amounts or {}).get(spent, min(reaches, default=0.0))
        if amount <= 0:
            continue
        read = {
            size: [one for each in alike if (one := _read(each, axis, amount)).rows] for size, alike in by_size.items()
        }
        read = {size: rows for size, rows in read.items() if rows}
        if not read:
            continue
        best = {size: min(rows, key=lambda one: one.rank(by_loss)) for size, rows in read.items()}
        readings.append(BudgetReading(spent=spent, amount=amount, points=_points(best)))
        same = _one_rate_for_all(read, by_loss)
        if len(same) > 1:
            readings.append(BudgetReading(spent=spent, amount=amount, tuned=False, points=_points(same)))
    return tuple(readings)


def _one_rate_for_all(read: Mapping[int, Sequence[_Read]], by_loss: bool) -> dict[int, _Read]:
    """Among the settings tried at the most batch sizes, the one that is best at the smallest of these sizes."""

    def everywhere(setting: AlikeRuns) -> dict[int, _Read]:
        return {size: one for size, rows in sorted(read.items()) for one in rows if _same(one.alike, setting)}

    tried = [everywhere(one.alike) for size in sorted(read) for one in read[size]]
    most = max(len(same) for same in tried)
    smallest = min(min(same) for same in tried if len(same) == most)
    fair = [same for same in tried if len(same) == most and min(same) == smallest]
    return min(fair, key=lambda same: same[smallest].rank(by_loss))


def _reach(alike: Sequence[AlikeRuns], axis: str) -> float:
    """The largest amount that all complete runs of some learning rate reached, at one batch size."""
    spent = []
    for one in alike:
        whole = [run for run in one.runs if run.outcome not in FAILURES and not run.pruned and run.curve]
        spent.append(min((getattr(run.curve[-1], axis) for run in whole), default=0.0))
    return float(max(spent, default=0.0))


def _read(alike: AlikeRuns, axis: str, amount: float) -> _Read:
    rows, failed = [], 0
    for run in alike.runs:
        row = _at(run.curve, axis, amount)
        if row is not None and all(map(math.isfinite, row)):
            rows.append(row)
        elif row is not None or run.outcome in FAILURES:
            failed += 1
    return _Read(alike=alike, rows=tuple(rows), failed=failed)


def _at(curve: Sequence[CurvePoint], axis: str, amount: float) -> Values | None:
    """FIELDS after `amount`; None if the run was shorter."""
    after = bisect_left(curve, amount * (1 - 1e-9), key=lambda point: getattr(point, axis))
    if after == len(curve):
        return None
    right = curve[after]
    end = getattr(right, axis)
    if after == 0 or end <= amount:
        return _fields(right)
    left = curve[after - 1]
    share = (amount - getattr(left, axis)) / (end - getattr(left, axis))
    first, second, third, fourth = (
        (1 - share) * before + share * at for before, at in zip(_fields(left), _fields(right), strict=True)
    )
    return first, second, third, fourth


def _fields(point: CurvePoint) -> Values:
    return point.train_metric, point.validation_metric, point.train_loss, point.validation_loss


def _same(one: AlikeRuns, other: AlikeRuns) -> bool:
    return one.options == other.options and math.isclose(one.learning_rate, other.learning_rate, rel_tol=1e-9)


def _points(read: Mapping[int, _Read]) -> tuple[BudgetPoint, ...]:
    points = []
    for size, one in sorted(read.items()):
        train_metric, validation_metric, train_loss, validation_loss = (
            _mean([row[i] for row in one.rows]) for i in range(len(FIELDS))
        )
        points.append(
            BudgetPoint(
                batch_size=size,
                learning_rate=one.alike.learning_rate,
                options=one.alike.options,
                train_metric=train_metric,
                validation_metric=validation_metric,
                train_loss=train_loss,
                validation_loss=validation_loss,
                failed=one.failed,
            )
        )
    return tuple(points)


def _mean(values: Sequence[float]) -> Estimate:
    """The mean over seeds, with Student's interval."""
    n, middle = len(values), fmean(values)
    if n < 2:
        return Estimate(value=middle, n=n, level=LEVEL, reason="one_seed")
    half = float(stdtrit(n - 1, (1 + LEVEL) / 2)) * stdev(values) / math.sqrt(n)
    return Estimate(value=middle, n=n, low=middle - half, high=middle + half, level=LEVEL)
