"""The studies in a folder or database as they are by now, read without their tasks and without taking part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from critbatch.campaigns.conclusion import concluded
from critbatch.campaigns.database import explained, open_to_read
from critbatch.campaigns.shelf import Shelf
from critbatch.campaigns.store import FILE
from critbatch.campaigns.terms import Terms
from critbatch.campaigns.trials import TERMS
from critbatch.records.study import Study


def store_of(place: Path | str) -> Path | str | None:
    """Where the store of a study is: the SQLite file of a folder, or a URL as it is. None where there is none.

    >>> store_of("postgresql+psycopg://user@host/name")
    'postgresql+psycopg://user@host/name'
    """
    if is_url(place):
        return str(place)
    path = Path(place)
    path = path / FILE if path.is_dir() else path
    return path if path.name == FILE and path.is_file() else None


def is_url(place: Path | str) -> bool:
    return isinstance(place, str) and "://" in place


@contextmanager
def shelves(store: Path | str) -> Iterator[list[Shelf]]:
    """Within, the runs of each set of terms, those that were begun last first.

    Args:
        store: as `store_of` gives it.

    Raises:
        UserError: if the database cannot be read.
    """
    database = open_to_read(store)
    try:
        with explained(database.where):
            found = database.storage.get_all_studies()
            shelves = [
                Shelf(database, study._study_id, Terms.from_json(study.user_attrs[TERMS]))
                for study in sorted(found, key=lambda study: -study._study_id)
                if TERMS in study.user_attrs
            ]
        yield shelves
    finally:
        database.close()


def stored_studies(store: Path | str) -> list[Study]:
    """Each sweep of the store that has runs, with all that it says by now, finished or not.

    Raises:
        UserError: if the database cannot be read.
    """
    with shelves(store) as found:
        told = [concluded(_timed(study, shelf), shelf) for shelf in found if (study := shelf.told()) is not None]
    return [study for study in told if study.runs]


def _timed(study: Study, shelf: Shelf) -> Study:
    """Of a sweep that did not come to its end, as many seconds as its runs took."""
    if study.provenance.wall_seconds > 0:
        return study
    seconds = sum(brief.wall_seconds for brief in shelf.look().finished.values())
    return replace(study, provenance=replace(study.provenance, wall_seconds=seconds))
