"""What is in the store, looked at without reading a curve: thousands of trials in a moment."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, cast

from critbatch.campaigns.terms import Brief, Key

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
