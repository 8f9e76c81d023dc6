"""The database that a store lies in: opening it, and what to say when it cannot be used."""

from __future__ import annotations

import os
import sqlite3
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from critbatch.campaigns.exclusive import Exclusive, by_file, by_server
from critbatch.campaigns.journal import open_journal
from critbatch.errors import UserError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage, RDBStorage

# A reader such as optuna-dashboard may hold the file for a moment.
BUSY_TIMEOUT_SECONDS = 60.0
JOURNAL = "journal://"
LONGEST_SAID = 80
# Where the attributes of studies and trials are read.
READERS = ("terms.py", "stock.py", "trials.py", "rows.py", "shelf.py")
FORMS = "postgresql+psycopg://user@host/name, sqlite:///path/file.sqlite, or journal:///path/file.log on a shared disk"


@dataclass(frozen=True)
class Database:
    """An Optuna storage.

    Args:
        storage: of Optuna.
        where: how sentences call it.
        exclusive: sections that one process at a time is in.
    """

    storage: BaseStorage
    where: str
    exclusive: Exclusive

    def close(self) -> None:
        if (engine := getattr(self.storage, "engine", None)) is not None:
            engine.dispose()


def open_database(folder: Path, file: str, url: str | None) -> Database:
    """The database at `url`, or without one the SQLite file in the folder. It is made if it is not there.

    Raises:
        UserError: if it is no such database, does not answer, or its driver is not installed.
    """
    where = str(folder / file) if url is None else shown(url)
    with explained(where), quiet():
        if url is None:
            path = folder / file
            exclusive = by_file(_beside(path))
            with exclusive():
                # Given as a function, since not every path can be written as a URL.
                connect = partial(sqlite3.connect, path, timeout=BUSY_TIMEOUT_SECONDS, check_same_thread=False)
                return Database(_open("sqlite:///store.sqlite", {"creator": connect}), where, exclusive)
        if url.startswith(JOURNAL):
            path = Path(url.removeprefix(JOURNAL))
            if not path.parent.is_dir():
                raise UserError(f"The folder of {where} is not there: make it, or give another --storage.")
            return Database(open_journal(path), where, by_file(_beside(path)))
        exclusive = by_server(url) or by_file(_beside(_file_of(url) or folder / file))
        with exclusive():
            return Database(_open(_plain(url), {}), where, exclusive)


def open_to_read(place: Path | str) -> Database:
    """The database in the SQLite file `place`, or at a URL. It is not made, nor brought to another version.

    Raises:
        UserError: if it is not there, or cannot be read.
    """
    where = str(place) if isinstance(place, Path) else shown(place)
    with explained(where), quiet():
        if isinstance(place, Path):
            # What a killed process has left half written is undone by whoever opens the file, if he may write.
            mode = "rw" if os.access(place, os.W_OK) else "ro"
            name = f"{place.absolute().as_uri()}?mode={mode}"
            connect = partial(sqlite3.connect, name, uri=True, timeout=BUSY_TIMEOUT_SECONDS, check_same_thread=False)
            return Database(_open("sqlite:///store.sqlite", {"creator": connect}, made=True), where, nullcontext)
        file = Path(place.removeprefix(JOURNAL)) if place.startswith(JOURNAL) else _file_of(place)
        if file is not None and not file.is_file():
            raise UserError(f"There is no store at {where}: give the --storage of a sweep.")
        if place.startswith(JOURNAL):
            assert file is not None
            return Database(open_journal(file), where, nullcontext)
        return Database(_open(_plain(place), {}, made=True), where, nullcontext)


def _plain(url: str) -> str:
    """As Optuna wants it, which fills in a template: a brace of the URL must stand for itself."""
    return url.replace("{", "{{").replace("}", "}}")


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _file_of(url: str) -> Path | None:
    """The file of an SQLite URL, where it lies in a folder that is there."""
    from sqlalchemy.engine import make_url

    parts = make_url(url)
    if parts.get_backend_name() != "sqlite" or not parts.database:
        return None
    path = Path(parts.database)
    return path if path.parent.is_dir() else None


def _open(url: str, settings: dict[str, Any], *, made: bool = False) -> RDBStorage:
    import optuna

    if url.startswith("postgresql"):
        settings = {"pool_pre_ping": True, **settings}
    try:
        return optuna.storages.RDBStorage(url, engine_kwargs=settings, skip_table_creation=made)
    except ImportError as error:
        raise _no_driver(url, error) from error
    except RuntimeError as error:  # its tables are those of another version of Optuna, whose sentence says what to do
        raise UserError(str(error)) from error


def _no_driver(url: str, error: ImportError) -> UserError:
    return UserError(
        f"The driver of {shown(url)} is not installed ({error.__cause__ or error}): install it, such as psycopg "
        "for postgresql+psycopg://."
    )


def shown(url: str) -> str:
    """The URL without its password.

    >>> shown("postgresql+psycopg://me:secret@host/studies")
    'postgresql+psycopg://me:***@host/studies'
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    if url.startswith(JOURNAL):
        return url
    try:
        if "\0" in url:
            raise ArgumentError
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        raise UserError(f"{url!r} is not the address of a database: use a form such as {FORMS}.") from None


@contextmanager
def quiet() -> Iterator[None]:
    """Within, Optuna logs warnings only. What the caller has set comes back."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Within, what the database refuses is said in one sentence."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(f"The driver of {where} is not installed ({error}): install it.") from error
    except (SQLAlchemyError, StorageInternalError, OSError) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) else error
        reason = getattr(cause, "orig", None) or getattr(cause, "strerror", None) or cause
        raise UserError(
            f"The store {where} cannot be used ({str(reason).splitlines()[0]}): put that right, or give another --out. "
            "The runs that it held are still in it."
        ) from error
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, UserError) or not _is_of_content(error):
            raise
        said = " ".join(str(error).split())[:LONGEST_SAID]
        raise UserError(
            f"The store {where} holds what critbatch does not write ({type(error).__name__}: {said}): it was damaged "
            "or changed, give another --out."
        ) from error


def _is_of_content(error: BaseException) -> bool:
    """Whether what was read from the database could not be understood: the error arose where it is read."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and (
        any(f"/{package}/" in frames[-1].filename for package in ("sqlalchemy", "optuna", "json"))
        or Path(frames[-1].filename).name in READERS
    )
