"""What is in the store, looked at without reading a curve: thousands of trials in a moment."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from critbatch.records.core import Run
from critbatch.studies.run_key import Brief, Key, Terms

# Attributes of a trial. The record of the run is in others, `run 1`, `run 2` ...
KEY, OWNER, BEAT, BRIEF = "key", "owner", "beat", "brief"
FINISHED = ("COMPLETE", "PRUNED")
MOST_IDS = 500  # in one statement


@dataclass
class Row:
    """A trial: its number in the database, its state in Optuna's words, and its light attributes."""

    trial: int
    state: str
    key: Key
    owner: str
    beat: int
    brief: Brief | None


@dataclass
class Stock:
    """The runs of a study by how far they are.

    Args:
        finished: at their end, each with what it came to.
        running: being made by a process that lives.
        broken: begun and broken off; a checkpoint may be there.
    """

    finished: dict[Key, Brief] = field(default_factory=dict)
    running: set[Key] = field(default_factory=set)
    broken: set[Key] = field(default_factory=set)


class Rows:
    """The trials of an Optuna study, read again only where they can have changed."""

    def __init__(self, storage: Any, study: int) -> None:
        self.storage, self.study = storage, study
        self.known: dict[int, Row] = {}
        self.of_key: dict[Key, Row] = {}

    def look(self) -> dict[int, Row]:
        """By their number in the database, in the order in which they were begun."""
        for row in self._by_sql() if hasattr(self.storage, "engine") else self._by_optuna():
            self.known[row.trial] = row
            self.of_key[row.key] = row
        return self.known

    def _by_sql(self) -> list[Row]:
        from sqlalchemy import bindparam, text

        last = max(self.known, default=-1)
        open_ones = [row.trial for row in self.known.values() if row.state not in FINISHED]
        chunks = [open_ones[start : start + MOST_IDS] for start in range(0, len(open_ones), MOST_IDS)]
        words = (
            "SELECT t.trial_id, t.state, a.key, a.value_json FROM trials t LEFT JOIN trial_user_attributes a "
            "ON a.trial_id = t.trial_id AND a.key IN :keys WHERE t.study_id = :study AND {} ORDER BY t.trial_id"
        )
        keys = {"keys": [KEY, OWNER, BEAT, BRIEF], "study": self.study}
        newer = text(words.format("t.trial_id > :last")).bindparams(bindparam("keys", expanding=True))
        again = text(words.format("t.trial_id IN :ids")).bindparams(
            bindparam("keys", expanding=True), bindparam("ids", expanding=True)
        )
        found: dict[int, tuple[str, dict[str, str]]] = {}
        with self.storage.engine.connect() as connection:
            answers = [connection.execute(again, {**keys, "ids": chunk}) for chunk in chunks]
            answers.append(connection.execute(newer, {**keys, "last": last}))
            for answer in answers:
                for trial, state, name, value in answer:
                    attributes = found.setdefault(trial, (str(getattr(state, "name", state)), {}))[1]
                    if name is not None:
                        attributes[name] = value
        return [row for trial, (state, told) in found.items() if (row := _row_of_json(trial, state, told)) is not None]

    def _by_optuna(self) -> list[Row]:
        trials = self.storage.get_all_trials(self.study, deepcopy=False)
        before = self.known
        return [
            row
            for trial in trials
            if trial._trial_id not in before or before[trial._trial_id].state not in FINISHED
            if (row := _row_of(trial._trial_id, trial.state.name, trial.user_attrs)) is not None
        ]


def _row_of_json(trial: int, state: str, attributes: dict[str, str]) -> Row | None:
    return _row_of(trial, state, {name: json.loads(value) for name, value in attributes.items()})


def _row_of(trial: int, state: str, attributes: dict[str, Any]) -> Row | None:
    """None for a trial that is no run of ours."""
    if KEY not in attributes:
        return None
    brief = attributes.get(BRIEF)
    return Row(
        trial=trial,
        state=state,
        key=Key.from_json(attributes[KEY]),
        owner=cast(str, attributes.get(OWNER, "")),
        beat=cast(int, attributes.get(BEAT, 0)),
        brief=Brief.from_json(brief) if brief is not None and state in FINISHED else None,
    )


# Runs as Optuna's trials: made, written in pieces that every database takes, and read by the thousand.

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
