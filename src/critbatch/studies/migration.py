"""Migrates stores of version 0.1, which kept runs as trials of Optuna: `store.sqlite`, servers, journal files.

The content of an old file is copied into the new store, and the file is not changed. It may be removed once nobody uses
the earlier version any more; until then, what that version adds is copied when the store is opened next. On a server,
Optuna's tables stay beside the new ones.
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from critbatch.errors import UserError
from critbatch.studies import run_table
from critbatch.studies.database import (
    JOURNAL,
    SECONDS_TO_WAIT,
    Database,
    explained,
    in_memory,
    journal_of,
    open_to_read,
    quiet,
    sqlite_beside,
    warn_of_journal,
)
from critbatch.studies.liveness import is_held
from critbatch.studies.run_key import RunKey, RunSummary, StudyKey
from critbatch.studies.run_table import AT_THEIR_END, FINISHED, PRUNED, RUNNING, WAITING

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from sqlalchemy import Connection

OLD_FILE = "store.sqlite"
# Attributes of studies and trials in Optuna's tables. The record of a run is in others, `run 1`, `run 2` ...
TERMS, KEY, OWNER, HEARTBEAT, SUMMARY, PIECE = "terms", "key", "owner", "beat", "brief", "run"
# By Optuna's names of states. critbatch never stored failed trials.
STATES = {"COMPLETE": FINISHED, "PRUNED": PRUNED, "RUNNING": RUNNING, "WAITING": WAITING}


@dataclass(frozen=True)
class OldStudy:
    """A study of version 0.1: its key, shared values, and runs as rows of the present table."""

    terms: StudyKey
    agreements: dict[str, str]
    rows: list[dict[str, Any]]


def migrate(database: Database, folder: Path, url: str | None) -> None:
    """Copy what an earlier version stored there, unless it has been copied.

    Several processes may call this at the same time: one of them copies.

    Raises:
        UserError: if the old store cannot be read, or a command of an earlier version is at work with it.
    """
    if url is not None and url.startswith(JOURNAL):
        warn_of_journal(url)
    with explained(database.location):
        source = _source_of(database, folder, url)
        if source is None:
            return
        name, state = source
        with database.read() as connection:
            if run_table.read_note(connection, name) == state:
                return
        with database.write() as connection:
            if run_table.read_note(connection, name) == state:
                return
            with _old_storage(folder, url) as storage:
                studies = _read(storage)
            _refuse_live_owners(studies, folder)
            for study in studies:
                _copy(connection, study)
            run_table.write_note(connection, name, state)


def open_store_to_read(place: Path | str) -> Database:
    """Open the store in an SQLite file or at a URL for reading. One of version 0.1 is copied into memory.

    Raises:
        UserError: if it is not there, or cannot be read.
    """
    is_journal = isinstance(place, str) and place.startswith(JOURNAL)
    if isinstance(place, Path) and place.name == OLD_FILE:
        return _copy_in_memory(place.parent, None, str(place))
    if is_journal and not sqlite_beside(journal_of(str(place))).is_file() and journal_of(str(place)).is_file():
        return _copy_in_memory(Path(), str(place), str(place))
    database = open_to_read(place)
    with ExitStack() as closing, explained(database.location):
        closing.callback(database.close)
        with database.read() as connection:
            if run_table.is_there(connection):
                run_table.check_version(connection, database.location)
                closing.pop_all()
                return database
            is_old = _has_tables_of_optuna(connection)
    if is_old and isinstance(place, str):
        return _copy_in_memory(Path(), place, database.location)
    raise UserError(f"The store {database.location} cannot be used: it holds no runs of critbatch.")


def _copy_in_memory(folder: Path, url: str | None, location: str) -> Database:
    with explained(location):
        database = in_memory(location)
        with _old_storage(folder, url) as storage, database.write() as connection:
            for study in _read(storage):
                _copy(connection, study)
    return database


def _has_tables_of_optuna(connection: Connection) -> bool:
    from sqlalchemy import inspect

    tables = inspect(connection)
    return tables.has_table("trial_user_attributes") and tables.has_table("study_user_attributes")


def _source_of(database: Database, folder: Path, url: str | None) -> tuple[str, str] | None:
    """A name for the old store and a text that changes with its content; None if there is no old store."""
    if url is None or url.startswith(JOURNAL):
        file = folder / OLD_FILE if url is None else journal_of(url)
        if not file.is_file():
            return None
        status = file.stat()
        return f"copied from {file.name}", f"{status.st_size} bytes, {status.st_mtime_ns}"
    with database.read() as connection:
        return ("copied from Optuna's tables", "once") if _has_tables_of_optuna(connection) else None


@contextmanager
def _old_storage(folder: Path, url: str | None) -> Iterator[BaseStorage]:
    """Optuna's view of the old store. Nothing is written there."""
    import optuna
    from optuna.exceptions import StorageInternalError

    try:
        with quiet():
            if url is not None and url.startswith(JOURNAL):
                yield _journal(journal_of(url))
                return
            if url is None:
                address, settings = "sqlite:///store.sqlite", {"creator": _to_read(folder / OLD_FILE)}
            else:
                # Optuna fills in a template: a brace of the URL must stand for itself.
                address, settings = url.replace("{", "{{").replace("}", "}}"), {}
            storage = optuna.storages.RDBStorage(address, engine_kwargs=settings, skip_table_creation=True)
            try:
                yield storage
            finally:
                storage.engine.dispose()
    except StorageInternalError as error:  # it hides what the database said
        raise (error.__cause__ or error) from error
    except RuntimeError as error:  # its tables are those of another version of Optuna, and it says what to do
        raise UserError(str(error)) from error


def _to_read(path: Path) -> Callable[[], sqlite3.Connection]:
    # Opening the file rolls back what a killed process left half written, if the file is writable.
    mode = "rw" if os.access(path, os.W_OK) else "ro"
    name = f"{path.absolute().as_uri()}?mode={mode}"
    return partial(sqlite3.connect, name, uri=True, timeout=SECONDS_TO_WAIT, check_same_thread=False)


def _journal(path: Path) -> BaseStorage:
    """A journal storage of the complete lines of the file; a killed process may have left an incomplete one."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import BaseJournalBackend

    class Lines(BaseJournalBackend):
        def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
            lines = path.read_bytes().split(b"\n")[:-1]
            return [json.loads(line) for line in lines[log_number_from:]]

        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            raise UserError(f"{path} is read only.")

    return JournalStorage(Lines())


def _read(storage: BaseStorage) -> list[OldStudy]:
    studies = []
    for study in sorted(storage.get_all_studies(), key=lambda study: study._study_id):
        if TERMS in study.user_attrs:
            trials = storage.get_all_trials(study._study_id, deepcopy=False)
            rows = [row for trial in trials if (row := _row_of(trial)) is not None]
            agreements = {name: value for name, value in study.user_attrs.items() if name != TERMS}
            studies.append(OldStudy(StudyKey.from_json(study.user_attrs[TERMS]), agreements, rows))
    return studies


def _row_of(trial: Any) -> dict[str, Any] | None:
    """A trial as a row of the present table; None if it is no run of critbatch."""
    attributes = trial.user_attrs
    if KEY not in attributes or trial.state.name not in STATES:
        return None
    state, summary, record = STATES[trial.state.name], None, None
    if state in AT_THEIR_END:
        pieces = range(json.loads(attributes[SUMMARY])["pieces"])
        summary = replace(RunSummary.from_json(attributes[SUMMARY])).to_json()  # without the number of pieces
        record = "".join(attributes[f"{PIECE} {number + 1}"] for number in pieces)
    key = RunKey.from_json(attributes[KEY])
    return {
        "run_key": key.digest,
        "state": state,
        "owner": attributes.get(OWNER, ""),
        "heartbeat": attributes.get(HEARTBEAT, 0),
        "schema_version": 0,
        "started": trial.datetime_start.timestamp() if trial.datetime_start is not None else None,
        "ended": trial.datetime_complete.timestamp() if trial.datetime_complete is not None else None,
        "key": key.to_json(),
        "intermediate": json.dumps(
            {part: value for part, value in trial.intermediate_values.items() if not math.isnan(value)}
        ),
        "summary": summary,
        "record": record,
    }


def _refuse_live_owners(studies: list[OldStudy], folder: Path) -> None:
    """Raise a UserError if a command of an earlier version is running: its new runs would be missed."""
    owners = {row["owner"] for study in studies for row in study.rows if row["state"] == RUNNING}
    if any(is_held(folder / "workers" / owner) for owner in owners if owner):
        raise UserError(
            f"A command of an earlier version of critbatch is at work in {folder}: wait until it has ended, or stop it."
        )


def _copy(connection: Connection, study: OldStudy) -> None:
    """Copy shared values and runs that are missing, and results of runs that have not ended here."""
    number = run_table.study_of(connection, study.terms)
    for name, value in study.agreements.items():
        if run_table.read_agreement(connection, number, name) is None:
            run_table.write_agreement(connection, number, name, value)
    run_table.merge_runs(connection, number, study.rows)


def take_over_folder(old: Path, new: Path) -> None:
    """Rename a folder of version 0.1. If both folders exist, move what is missing into the new one.

    Raises:
        UserError: if it cannot be moved.
    """
    try:
        if old.is_dir() and not new.exists():
            old.rename(new)
        elif old.is_dir():
            for path in old.iterdir():
                if not (new / path.name).exists():
                    path.rename(new / path.name)
            with suppress(OSError):  # it is not empty
                old.rmdir()
    except OSError as error:
        raise UserError(f"The folder {old} cannot be renamed to {new.name} ({error.strerror}): rename it.") from error
