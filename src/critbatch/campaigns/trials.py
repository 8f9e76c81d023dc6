"""Runs as Optuna's trials: made, written in pieces that every database takes, and read by the thousand."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from critbatch.campaigns.stock import MOST_IDS, Row
from critbatch.campaigns.terms import Key, Terms
from critbatch.records.core import Run

# MySQL holds 65,535 bytes in an attribute, and JSON doubles a quotation mark.
PIECE = 30_000
TERMS = "terms"


def trial_states() -> Any:
    from optuna.trial import TrialState

    return TrialState


def study_of(storage: Any, terms: Terms) -> int:
    """The Optuna study of these terms, made if there is none."""
    from optuna.exceptions import DuplicatedStudyError
    from optuna.study import StudyDirection

    name = f"{terms.task} {terms.recipe} {terms.digest}"
    try:
        study: int = storage.create_new_study([StudyDirection.MINIMIZE], name)
    except DuplicatedStudyError:
        study = int(storage.get_study_id_from_name(name))
    if TERMS not in storage.get_study_user_attrs(study):  # also where the one who made it was killed before this
        storage.set_study_user_attr(study, TERMS, terms.to_json())
    return study


def new_trial(key: Key, attributes: dict[str, Any]) -> Any:
    """A trial that is RUNNING from the moment it is there."""
    from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
    from optuna.trial import create_trial

    # The same for all trials of a study, as Optuna's samplers want it.
    distributions: dict[str, BaseDistribution] = {
        "batch_size": IntDistribution(1, 2**40, log=True),
        "learning_rate": FloatDistribution(1e-12, 1e6, log=True),
        "seed": IntDistribution(0, 2**32 - 1),
    }
    params: dict[str, Any] = {
        "batch_size": key.batch_size,
        "learning_rate": float(key.learning_rate),
        "seed": key.seed,
    }
    for name, value in key.options:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            params[name], distributions[name] = float(value), FloatDistribution(-1e12, 1e12)
    told = {"stage": key.stage, **{name: value for name, value in key.options if name not in params}}
    return create_trial(
        state=trial_states().RUNNING, params=params, distributions=distributions, user_attrs={**told, **attributes}
    )


def write_record(storage: Any, trial: int, run: Run) -> int:
    """Keep the whole record with the trial. Returns in how many pieces."""
    text = run.to_json()
    pieces = [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
    for number, piece in enumerate(pieces):
        storage.set_trial_user_attr(trial, _piece_name(number), piece)
    return len(pieces)


def read_records(storage: Any, rows: Sequence[Row]) -> dict[Key, Run]:
    """The records of trials that are at their end."""
    if hasattr(storage, "engine"):
        texts = _texts_by_sql(storage, [row.trial for row in rows])
    else:
        texts = {row.trial: storage.get_trial(row.trial).user_attrs for row in rows}
    found = {}
    for row in rows:
        assert row.brief is not None
        names = map(_piece_name, range(row.brief.pieces))
        found[row.key] = Run.from_json("".join(texts[row.trial][name] for name in names))
    return found


def _texts_by_sql(storage: Any, trials: list[int]) -> dict[int, dict[str, str]]:
    from sqlalchemy import bindparam, text

    words = text(
        "SELECT trial_id, key, value_json FROM trial_user_attributes WHERE trial_id IN :ids AND key LIKE 'run %'"
    ).bindparams(bindparam("ids", expanding=True))
    texts: defaultdict[int, dict[str, str]] = defaultdict(dict)
    with storage.engine.connect() as connection:
        for start in range(0, len(trials), MOST_IDS):
            for trial, name, value in connection.execute(words, {"ids": trials[start : start + MOST_IDS]}):
                texts[trial][name] = json.loads(value)
    return texts


def _piece_name(number: int) -> str:
    return f"run {number + 1}"
