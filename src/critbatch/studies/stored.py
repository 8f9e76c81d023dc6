"""The studies in a folder or database as they are by now, read without their tasks and without taking part."""

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

# From the runs that there are to the record of the study: those that the question needs, and what they say.


def study_from_store(study: Study, reader: RunReader) -> Study:
    """The study with the runs that it has by now.

    Args:
        study: without runs.
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
    """What the question says of the budgets at which batch sizes are compared."""
    amounts = {
        BudgetUnit.EPOCHS: question.epochs,
        BudgetUnit.STEPS: question.steps,
        BudgetUnit.SECONDS: question.seconds,
    }
    several = sum(amount is not None for amount in amounts.values()) > 1
    return {unit: float(amount) for unit, amount in amounts.items() if amount is not None and several}


def store_of(location: Path | str) -> Path | str | None:
    """Where the store of a study is: the SQLite file of a folder, or a URL as it is. None where there is none.

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
    """Within, the runs of each set of terms, those that were begun last first.

    Args:
        store: as `store_of` gives it.

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
    """Each sweep of the store that has runs, with all that it says by now, finished or not.

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
    """Of a sweep that did not come to its end, as many seconds as its runs took."""
    if study.provenance.wall_seconds > 0:
        return study
    seconds = sum(summary.wall_seconds for summary in reader.state().finished.values())
    return replace(study, provenance=replace(study.provenance, wall_seconds=seconds))
