"""Reads the studies of a folder or database in their present state, without loading tasks or making runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from critbatch.law.study_analysis import analyse
from critbatch.records.study import BudgetUnit, Study, StudySpec
from critbatch.studies import run_table
from critbatch.studies.database import explained
from critbatch.studies.migration import OLD_FILE, open_store_to_read
from critbatch.studies.search import choose
from critbatch.studies.store import FILE, RunReader


def study_from_store(study: Study, reader: RunReader) -> Study:
    """The study with the runs that have ended so far, and their analysis.

    Args:
        study: The study without runs.
        reader: Reader of its runs.
    """
    question = study.question
    reader.target = question.target
    choice = choose(question, reader.state())
    finished = reader.find_all(choice.keys)
    return replace(
        study,
        runs=tuple(finished),
        runs_left=len(choice.keys) - len(finished) + choice.later,
        analysis=analyse(finished, target=question.target, examples=study.examples, amounts=_amounts(question)),
    )


def _amounts(question: StudySpec) -> dict[BudgetUnit, float]:
    """The budgets at which batch sizes are compared, if the specification gives several."""
    amounts = {
        BudgetUnit.EPOCHS: question.epochs,
        BudgetUnit.STEPS: question.steps,
        BudgetUnit.SECONDS: question.seconds,
    }
    several = sum(amount is not None for amount in amounts.values()) > 1
    return {unit: float(amount) for unit, amount in amounts.items() if amount is not None and several}


def store_of(location: Path | str) -> Path | str | None:
    """The store of a study: the SQLite file in a folder, or the URL unchanged. None if there is none.

    >>> store_of("postgresql+psycopg://user@host/name")
    'postgresql+psycopg://user@host/name'
    """
    if is_url(location):
        return str(location)
    path = Path(location)
    files = [path / FILE, path / OLD_FILE] if path.is_dir() else [path]
    return next((file for file in files if file.name in (FILE, OLD_FILE) and file.is_file()), None)


def is_url(location: Path | str) -> bool:
    return isinstance(location, str) and "://" in location


@contextmanager
def open_readers(store: Path | str) -> Iterator[list[RunReader]]:
    """Open readers of all studies of a store, newest first.

    Args:
        store: As returned by `store_of`.

    Raises:
        UserError: if the database cannot be read.
    """
    database = open_store_to_read(store)
    try:
        with explained(database.location), database.read() as connection:
            studies = run_table.studies(connection)
        yield [RunReader(database, study, terms) for study, terms in reversed(studies)]
    finally:
        database.close()


def stored_studies(store: Path | str) -> list[Study]:
    """All studies of the store that have runs, finished or not.

    Raises:
        UserError: if the database cannot be read.
    """
    with open_readers(store) as readers:
        results = [
            study_from_store(_timed(study, reader), reader)
            for reader in readers
            if (study := reader.saved_study()) is not None
        ]
    return [study for study in results if study.runs]


def _timed(study: Study, reader: RunReader) -> Study:
    """The study; if its sweep did not end, its duration is the sum over its runs."""
    if study.provenance.wall_seconds > 0:
        return study
    seconds = sum(summary.wall_seconds for summary in reader.state().finished.values())
    return replace(study, provenance=replace(study.provenance, wall_seconds=seconds))
