"""What to keep in mind with the records around the loss."""

from __future__ import annotations

import math
from collections.abc import Iterable

from critbatch.records.core import Estimate
from critbatch.records.loss_surface import (
    CriticalPoint,
    Curvature,
    Eigenvalue,
    Escape,
    Landscape,
    Sharpness,
    Shift,
    SolutionSharpness,
    Standing,
)
from critbatch.reporting.subjects import LossRecord
from critbatch.reports.translator import SURE


def loss_cautions(record: LossRecord) -> list[str]:
    """Keys of `words.py`: those of the record's own numbers first, then what holds of such a measurement."""
    if isinstance(record, Curvature):
        found = [*_open((*record.largest, *record.smallest)), *_reasons([record.trace]), "scale_of_weights"]
    elif isinstance(record, Sharpness):
        found = [*_of_solutions(record.solutions), "found_by_climbing", "scale_of_weights"]
    elif isinstance(record, Landscape):
        losses = [loss for point in record.points for loss in (point.train_loss, point.validation_loss)]
        found = ["not_finite"] if not all(map(math.isfinite, losses)) else []
        found.append("one_direction")
    elif isinstance(record, Shift):
        found = [*_of_solutions(record.sharpness), *_reasons(each.rise for each in record.rises)]
        found += _reasons(each.correlation for each in record.predictions)
        found += ["many_intervals"] if len(record.predictions) > 1 else []
    elif isinstance(record, CriticalPoint):
        found = [record.reason, *_open((record.largest, record.smallest)), record.noise.reason, "two_ends"]
    else:
        found = _of_escape(record)
    return [*found, "one_task"]


def _of_solutions(solutions: Iterable[SolutionSharpness]) -> list[str]:
    told = list(solutions)
    values = [value.value for each in told for value in each.values]
    found = ["not_finite"] if not all(math.isfinite(value.value) for value in values) else []
    found += _reasons(values) + _reasons(each.trace for each in told)
    return found + _open(each.largest for each in told if each.largest is not None)


def _of_escape(escape: Escape) -> list[str]:
    found = ["starts_descending"] if escape.standings.get(Standing.DESCENDING, 0) else []
    if not all(math.isfinite(loss) for loss in escape.start_losses):
        found.append("not_finite")
    return found + _reasons(e for count in escape.counts for e in (count.share, count.steps, count.loss))


def _open(eigenvalues: Iterable[Eigenvalue]) -> list[str]:
    failed = [each for each in eigenvalues if not each.converged]
    reasons = ["not_converged"] if any(each.placed for each in failed) else []
    return [*reasons, "place_unknown"] if not all(each.placed for each in failed) else reasons


def _reasons(estimates: Iterable[Estimate | None]) -> list[str]:
    return [each.reason for each in estimates if each is not None and each.reason and each.reason not in SURE]
