"""Runs that were made elsewhere: steps to a target against batch size, analysed from a table alone. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from critbatch.arguments import as_path, checked_call
from critbatch.errors import UserError
from critbatch.predict.analysis import analyse_with_fit
from critbatch.predict.point_units import LARGEST, in_one_unit, numbered, shown, whole_number
from critbatch.predict.points_file import read_points
from critbatch.predict.predictions import predict_runs
from critbatch.records.study import Fit, GoalPoint
from critbatch.runtime.provenance import Stopwatch


@checked_call
def fit(
    points: str | Path | Sequence[GoalPoint],
    *,
    at: Sequence[int] = (),
    examples: int | None = None,
    seed: int = 0,
    command: str = "critbatch.fit",
) -> Fit:
    """Fit `(S / S_min - 1)(E / E_min - 1) = 1` to steps or epochs to a target, and say whether the law holds.

    Args:
        points: a CSV file as `critbatch.predict.points_file.read_points` takes it, or the points themselves. Each is a
            run with the learning rate that is best at its batch size; of several rates at one size the best is chosen.
        at: batch sizes to predict a tuned run at.
        examples: in the training set, where it does not follow from the points.
        seed: of the bootstrap.
        command: for the record.

    Raises:
        UserError: if the points cannot be used.
    """
    watch = Stopwatch()
    if wrong := [size for size in at if whole_number(size) is None]:
        raise UserError(f"A batch size of {shown(wrong[0])} is not possible: use a whole number from 1 to {LARGEST:g}.")
    if isinstance(points, (str, Path)):
        name, told = as_path(points).name, read_points(as_path(points))
    else:
        name, told = "points", numbered(points)
    complete, found = in_one_unit(told, examples=examples)
    analysis, fitted = analyse_with_fit(complete, examples=found, seed=seed)
    law = analysis.trade_off
    return Fit(
        name=name,
        examples=found,
        points=complete,
        analysis=analysis,
        predictions=predict_runs(fitted, at) if fitted is not None else (),
        law_holds=law is not None and law.holds,
        reason=law.reason if law is not None else analysis.cautions[0],
        provenance=watch.provenance(command=command, seed=seed, device=None),
    )
