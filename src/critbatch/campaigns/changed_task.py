"""Refuses runs of another task, or of the task as it was before it changed, and says what has changed."""

from __future__ import annotations

from typing import Any

from critbatch.campaigns.terms import Terms
from critbatch.campaigns.trials import TERMS
from critbatch.errors import UserError


def refuse_other_tasks(storage: Any, terms: Terms, where: str, *, shared: bool) -> None:
    """Raise a UserError for runs of the task as it was before it changed; and in a folder, which is one task's, for
    those of another.

    Args:
        storage: of Optuna.
        shared: the database may hold other tasks too.
    """
    for study in storage.get_all_studies():
        if TERMS not in study.user_attrs:
            continue
        theirs = Terms.from_json(study.user_attrs[TERMS])
        if theirs.task == terms.task and theirs.fingerprint != terms.fingerprint:
            raise UserError(
                f"The runs in {where} are of the task {terms.task!r} as it was before {_what_changed(theirs, terms)} "
                f"changed (fingerprint {theirs.fingerprint} there, {terms.fingerprint} now): give another --out, or "
                "the task as it was."
            )
        if theirs.task != terms.task and not shared:
            raise UserError(
                f"The runs in {where} are of the task {theirs.task!r}, not of {terms.task!r}: give another --out."
            )


def _what_changed(theirs: Terms, ours: Terms) -> str:
    names = [name for name, part in ours.parts.items() if theirs.parts.get(name) != part]
    if not theirs.parts or not names:
        return "its model, data, loss or metric"
    return "its " + " and its ".join(names)
