"""Runs as a store holds them, made up."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from critbatch.records.core import CurvePoint, Outcome, Quantity, Run, Target
from critbatch.studies.run_key import Key

TARGET = Target(quantity=Quantity.VALIDATION_LOSS, value=0.5)


def point(step: int, loss: float) -> CurvePoint:
    return CurvePoint(
        step=step,
        examples=64 * step,
        epoch=step / 7,
        seconds=step / 1000,
        learning_rate=0.1,
        train_loss=loss,
        train_metric=0.25,
        validation_loss=loss,
        validation_metric=0.5,
    )


def run_of(key: Key, outcome: Outcome = Outcome.REACHED, target: Target | None = TARGET, points: int = 3) -> Run:
    curve = tuple(point(step, 1.5 / (step + 1)) for step in range(points))
    return Run(
        task="tiny",
        recipe="sgd",
        batch_size=key.batch_size,
        micro_batch_size=key.batch_size,
        learning_rate=key.learning_rate,
        seed=key.seed,
        target=target,
        outcome=outcome,
        crossing=target.crossing(curve) if target and outcome is Outcome.REACHED else None,
        steps=points - 1,
        examples=64 * (points - 1),
        epochs=2.0,
        seconds=0.1 + key.learning_rate,
        evaluation_seconds=0.1,
        curve=curve,
        metric_name="accuracy",
    )


def states_in(folder: Path) -> list[str]:
    """The state of each trial in the folder's database, as Optuna calls it."""
    with closing(sqlite3.connect(folder / "store.sqlite")) as database:
        return [state for (state,) in database.execute("SELECT state FROM trials ORDER BY trial_id")]
