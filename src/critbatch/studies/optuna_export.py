"""Runs as studies of Optuna's in an SQLite file, for `optuna-dashboard` and other programs that read its tables.

Each study is one of Optuna's and each run a trial. What Optuna minimizes is the number of steps to the target or,
without a target, the lowest validation loss. A run that reached its target is COMPLETE. One that missed it, or that was
pruned, is PRUNED. One that diverged or ran out of memory is a FAIL. So no value is infinite. The validation loss or
metric at each evaluation is there as an intermediate value, by step.
"""

from __future__ import annotations

import math
import sqlite3
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from critbatch.errors import UserError
from critbatch.records.core import OptionValue, Outcome, Quantity, Run, Target
from critbatch.records.io import atomic_replacement, reason_of
from critbatch.studies.database import quiet
from critbatch.studies.run_key import RunSummary, summary_of

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

NAMES = {Quantity.VALIDATION_LOSS: "validation loss", Quantity.VALIDATION_METRIC: "validation metric"}


@dataclass(frozen=True)
class ExportedRun:
    """A run, and what its record does not say.

    Args:
        study: tells the runs of one length, evaluation and device from others of the same task.
        stage: what it was made for.
        target: what the study judges it by, which need not have ended it.
        started, ended: seconds since 1970, where they are known.
    """

    run: Run
    study: str = ""
    stage: str = ""
    target: Target | None = None
    started: float | None = None
    ended: float | None = None


def write_optuna(runs: Iterable[ExportedRun], path: Path) -> None:
    """Write the file, whole or not at all.

    Raises:
        UserError: if it cannot be written.
    """
    studies: defaultdict[tuple[str, str, str], list[ExportedRun]] = defaultdict(list)
    for each in runs:
        studies[each.run.task, each.run.recipe, each.study].append(each)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_replacement(path) as part:
            _write_studies(studies, part)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({reason_of(error)}): give another --out.") from error


def _write_studies(studies: Mapping[tuple[str, str, str], list[ExportedRun]], path: Path) -> None:
    import optuna
    from optuna.storages import RDBStorage

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(path, check_same_thread=False)
        connection.execute("PRAGMA synchronous = OFF")  # the file is synced once, when it is whole
        return connection

    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names of metrics are experimental
        storage = RDBStorage("sqlite:///optuna.sqlite", engine_kwargs={"creator": connect})
        try:
            for name, runs in studies.items():
                study = optuna.create_study(storage=storage, study_name=" ".join(filter(None, name)))
                targets = {each.target for each in runs}
                target = targets.pop() if len(targets) == 1 else None
                study.set_metric_names([_metric_name(target, several=bool(targets))])
                distributions = _distributions(runs)
                for each in runs:
                    storage.create_new_trial(study._study_id, _trial(each, distributions))
        finally:
            storage.engine.dispose()


def _metric_name(target: Target | None, *, several: bool) -> str:
    if target is not None:
        return f"optimizer steps to {NAMES[target.quantity]} {target.value:g}"
    return "optimizer steps to the target" if several else "lowest validation loss"


def _distributions(runs: Sequence[ExportedRun]) -> dict[str, BaseDistribution]:
    """Of each parameter, the range of all the runs: the axes of the dashboard."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    sizes = [each.run.batch_size for each in runs]
    rates = [float(each.run.learning_rate) for each in runs]
    seeds = [each.run.seed for each in runs]
    distributions: dict[str, BaseDistribution] = {
        "batch_size": IntDistribution(min(sizes), max(sizes), log=True),
        "learning_rate": FloatDistribution(min(rates), max(rates), log=min(rates) > 0),
        "seed": IntDistribution(min(seeds), max(seeds)),
    }
    for name in sorted({name for each in runs for name in each.run.options}):
        values = [each.run.options[name] for each in runs if name in each.run.options]
        if all(_is_number(value) for value in values):
            numbers = [float(str(value)) for value in values]
            distributions[name] = FloatDistribution(min(numbers), max(numbers))
        else:
            distributions[name] = CategoricalDistribution(list(dict.fromkeys(map(_choice, values))))
    return distributions


def _trial(each: ExportedRun, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    from optuna.distributions import CategoricalDistribution
    from optuna.trial import TrialState, create_trial

    run, summary = each.run, summary_of(each.run, target=each.target)
    params: dict[str, Any] = {
        "batch_size": run.batch_size,
        "learning_rate": float(run.learning_rate),
        "seed": run.seed,
    }
    for name, value in run.options.items():
        is_choice = isinstance(distributions[name], CategoricalDistribution)
        params[name] = _choice(value) if is_choice else float(str(value))
    value = summary.loss if each.target is None else summary.steps_to_target
    state = TrialState.COMPLETE
    if run.outcome in (Outcome.DIVERGED, Outcome.OUT_OF_MEMORY) or (each.target is None and not math.isfinite(value)):
        state = TrialState.FAIL
    elif run.pruned or not math.isfinite(value):
        state = TrialState.PRUNED
    trial = create_trial(
        state=state,
        value=value if state is TrialState.COMPLETE else None,
        params=params,
        distributions={name: distributions[name] for name in params},
        user_attrs=_attributes(each, summary),
        intermediate_values=_curve(run, each.target),
    )
    ended = datetime.fromtimestamp(each.ended) if each.ended is not None else datetime.now()
    started = datetime.fromtimestamp(each.started) if each.started is not None else None
    trial.datetime_start = started or ended - timedelta(seconds=summary.wall_seconds)
    trial.datetime_complete = ended
    return trial


def _curve(run: Run, target: Target | None) -> dict[int, float]:
    """The validation loss or metric by step. What is not finite has no place on an axis."""
    quantity = Quantity.VALIDATION_LOSS if target is None else target.quantity
    values = {point.step: float(getattr(point, quantity.value)) for point in run.curve}
    return {step: value for step, value in values.items() if math.isfinite(value)}


def _attributes(each: ExportedRun, summary: RunSummary) -> dict[str, Any]:
    """What else the dashboard shows of a trial, with units. Numbers that are not finite are left out."""
    run = each.run
    attributes: dict[str, Any] = {
        "outcome": str(run.outcome),
        "stage": each.stage,
        "steps": run.steps,
        "examples": run.examples,
        "epochs": run.epochs,
        "training (seconds)": run.seconds,
        "training and evaluation (seconds)": summary.wall_seconds,
        "training to the target (seconds)": summary.crossing_seconds,
        "lowest validation loss": summary.loss,
        f"highest validation {run.metric_name}": summary.metric,
    }
    return {
        name: value
        for name, value in attributes.items()
        if value not in (None, "") and not (isinstance(value, float) and not math.isfinite(value))
    }


def _is_number(value: OptionValue) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _choice(value: OptionValue) -> str | int | float | bool:
    """A list and None, which Optuna's tables have no place for, as text."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else "None" if value is None else value
