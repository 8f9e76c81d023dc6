"""Runs as rows of a table: one a run, or one an evaluation, for other programs to read."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from critbatch.campaigns.terms import brief_of
from critbatch.records.core import CurvePoint, Run

Row = dict[str, Any]
OPTION = "option_"
LAST = ("train_loss", "train_metric", "validation_loss", "validation_metric")
# Of a run: whole records that a row has no place for, or has in other columns.
LEFT_OUT = ("target", "crossing", "curve", "noise", "members", "options")
OF_CURVES = ("run", "study", "task", "recipe", "batch_size", "learning_rate", "seed")
POINT = tuple(field.name for field in fields(CurvePoint))
# Columns of a point whose names a run has too, as its own.
CLASHES = {"learning_rate": "learning_rate_now", "batch_size": "batch_size_now"}
# What columns hold that may be empty from top to bottom; others that are hold numbers.
KINDS: dict[str, type[Any]] = {"diverged_at": int, "batch_size_now": int, "target_quantity": str}


@dataclass(frozen=True)
class Source:
    """A run, and what its record does not say.

    Args:
        study: tells the runs of one length, evaluation and device from others of the same task.
        stage: what it was made for.
    """

    run: Run
    study: str = ""
    stage: str = ""


def run_rows(sources: Iterable[Source]) -> list[Row]:
    """One row a run. All have the same columns."""
    rows = [_run_row(source) for source in sources]
    options = sorted({name for row in rows for name in row if name.startswith(OPTION)})
    return [{**{k: v for k, v in row.items() if k not in options}, **{k: row.get(k) for k in options}} for row in rows]


def curve_rows(sources: Iterable[Source]) -> Iterator[Row]:
    """One row an evaluation, with the `run` of the other table."""
    for source in sources:
        row = _run_row(source)
        own = {name: row[name] for name in OF_CURVES}
        for point in source.run.curve:
            yield {**own, **{CLASHES.get(name, name): getattr(point, name) for name in POINT}}


def _run_row(source: Source) -> Row:
    run, brief = source.run, brief_of(source.run, target=source.run.target)
    row: Row = {"study": source.study, "stage": source.stage}
    row |= {field.name: _plain(getattr(run, field.name)) for field in fields(run) if field.name not in LEFT_OUT}
    target, crossing = run.target, run.crossing
    row |= {
        "target_quantity": str(target.quantity) if target is not None else None,
        "target_value": target.value if target is not None else None,
        "crossing_step": crossing.step if crossing is not None else None,
        "crossing_epoch": crossing.epoch if crossing is not None else None,
        "crossing_seconds": crossing.seconds if crossing is not None else None,
        "score": brief.score,
        "lowest_validation_loss": brief.loss,
        "highest_validation_metric": brief.metric,
        "wall_seconds": brief.wall_seconds,
        "evaluations": len(run.curve),
    }
    row |= {f"last_{name}": getattr(run.curve[-1], name) if run.curve else None for name in LAST}
    row |= {f"{OPTION}{name}": _plain(value) for name, value in run.options.items()}
    # Of what is in it, so that it is the same wherever the run was read from.
    told = repr([item for item in sorted(row.items()) if item[0] not in ("study", "stage")])
    return {"run": hashlib.sha256(told.encode()).hexdigest()[:16], **row}


def _plain(value: Any) -> Any:
    """A list, which a cell has no place for, as text."""
    if isinstance(value, StrEnum):
        return str(value)
    return " ".join(map(str, value)) if isinstance(value, tuple) else value


def finite(row: Mapping[str, Any]) -> Row:
    """As JSON knows it, which has no infinity: null stands for a number that is not finite."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()
    }
