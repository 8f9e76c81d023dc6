"""The database that a store lies in: SQLite, PostgreSQL or MySQL, through SQLAlchemy Core.

A change is one transaction, so that a process that is killed leaves nothing half written. What must not happen twice
at a time, such as the choice of the next run, holds a lock of the database until its transaction ends: SQLite's on the
file, a server's on the row of the study. The locks end with the process that holds them.

SQLite relies on the file locks of the system. On a network file system whose locks do not reach the other machines
(NFS without a lock daemon, many FUSE mounts) two of them can damage the file: use a server there.
"""

from __future__ import annotations

import os
import sqlite3
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from critbatch.errors import UserError
from critbatch.studies import run_table

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

# Another process may hold the file for so long, such as a sampler that fits a model before it chooses.
SECONDS_TO_WAIT = 60.0
# Two processes may create the tables of a server at the same time: the one that fails tries again.
TRIES_TO_CREATE, SECONDS_BETWEEN_TRIES = 5, 0.2
JOURNAL = "journal://"
LONGEST_REASON = 80
# Where the texts of rows are read.
READERS = ("run_key.py", "run_table.py", "store.py", "migration.py")
FORMS = "postgresql+psycopg://user@host/name, mysql+pymysql://user@host/name, or sqlite:///path/file.sqlite"


@dataclass(frozen=True)
class Database:
    """An open database.

    Args:
        engine: of SQLAlchemy.
        location: how sentences call it.
    """

    engine: Engine
    location: str

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Within, what the database holds at one moment."""
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self, study: int | None = None) -> Iterator[Connection]:
        """Within, a transaction that no other process is in for the same study; without one, for the whole database.

        It is written at the end, all of it or, after an error or a kill, nothing.
        """
        with self.engine.execution_options(writes=True).begin() as connection:
            run_table.lock(connection, study)
            yield connection

    @contextmanager
    def change(self) -> Iterator[Connection]:
        """Within, a transaction of a single statement that needs no lock beyond its own."""
        with self.engine.execution_options(writes=True).begin() as connection:
            yield connection

    def close(self) -> None:
        self.engine.dispose()


def open_database(folder: Path, file: str, url: str | None) -> Database:
    """The database at `url`, or without one the SQLite file in the folder. It is made if it is not there.

    Raises:
        UserError: if it is no such database, is one of a later version, does not answer, or its driver is not
            installed.
    """
    path, location = location_of(folder / file if url is None else str(url))
    with explained(location):
        engine = _sqlite(path) if path is not None else _server(str(url))
        try:
            _create_tables(engine, location)
        except BaseException:
            engine.dispose()
            raise
    return Database(engine, location)


def open_to_read(place: Path | str) -> Database:
    """The database in the SQLite file `place`, or at a URL, whatever it holds. It is not made.

    Raises:
        UserError: if it is not there.
    """
    path, location = location_of(place)
    if path is not None and not path.is_file():
        raise UserError(f"There is no store at {location}: give the --storage of a sweep.")
    with explained(location):
        # What a killed process has left half written is undone by whoever opens the file, if he may write.
        mode = None if path is None else "rw" if os.access(path, os.W_OK) else "ro"
        return Database(_sqlite(path, mode) if path is not None else _server(str(place)), location)


def in_memory(location: str) -> Database:
    """A database that is gone with this process, with the tables of a store in it."""
    from sqlalchemy import StaticPool, create_engine

    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    _begin_as_asked(engine)
    _create_tables(engine, location)
    return Database(engine, location)


def location_of(place: Path | str) -> tuple[Path | None, str]:
    """The file of an SQLite database, or None for a server; and how sentences call the database.

    Raises:
        UserError: if it is no address of a database.
    """
    if isinstance(place, Path):
        return place, str(place)
    if place.startswith(JOURNAL):
        path = sqlite_beside(journal_of(place))
        return path, str(path)
    location = shown(place)
    from sqlalchemy.engine import make_url

    parts = make_url(place)
    if parts.get_backend_name() != "sqlite":
        return None, location
    if not parts.database or parts.database == ":memory:":
        raise UserError(f"{location!r} names no file: use a form such as {FORMS}.")
    return Path(parts.database), location


def journal_of(url: str) -> Path:
    return Path(url.removeprefix(JOURNAL))


def sqlite_beside(journal: Path) -> Path:
    """Where the runs of a journal file go on: journals are read, but no longer written."""
    return journal.with_name(f"{journal.name}.sqlite")


def warn_of_journal(url: str) -> None:
    path = sqlite_beside(journal_of(url))
    warnings.warn(
        f"Journal files are no longer written: the runs of {journal_of(url)} are now in {path}. Use --storage "
        f"sqlite:///{path} from now on.",
        stacklevel=3,
    )


def _sqlite(path: Path, mode: str | None = None) -> Engine:
    from sqlalchemy import NullPool, create_engine

    # Given as a function, since not every path can be written as a URL.
    name = f"{path.absolute().as_uri()}?mode={mode}" if mode else path
    connect = partial(sqlite3.connect, name, uri=mode is not None, timeout=SECONDS_TO_WAIT, check_same_thread=False)
    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)
    _begin_as_asked(engine)
    return engine


def _begin_as_asked(engine: Engine) -> None:
    """Python's sqlite3 begins a transaction too late for a lock: here it begins when SQLAlchemy says so."""
    from sqlalchemy import event

    @event.listens_for(engine, "connect")
    def no_transactions_of_its_own(connection: sqlite3.Connection, record: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _server(url: str) -> Engine:
    from sqlalchemy import create_engine
    from sqlalchemy.engine import make_url

    settings: dict[str, Any] = {"pool_pre_ping": True}
    if make_url(url).get_backend_name() in ("mysql", "mariadb"):
        settings["isolation_level"] = "READ COMMITTED"  # so that claims do not lock the gaps between rows
    try:
        return create_engine(url, **settings)
    except ImportError as error:
        raise UserError(
            f"The driver of {shown(url)} is not installed ({error}): install it, such as psycopg for "
            "postgresql+psycopg://."
        ) from error


def _create_tables(engine: Engine, location: str) -> None:
    from sqlalchemy.exc import DBAPIError

    for number in range(TRIES_TO_CREATE):
        try:
            with engine.connect() as connection:
                if run_table.is_there(connection):
                    run_table.check_version(connection, location)
                    return
            with engine.execution_options(writes=True).begin() as connection:
                run_table.create(connection)
            return
        except DBAPIError:
            if engine.dialect.name == "sqlite" or number == TRIES_TO_CREATE - 1:
                raise
            time.sleep(SECONDS_BETWEEN_TRIES)


def shown(url: str) -> str:
    """The URL without its password.

    >>> shown("postgresql+psycopg://me:secret@host/studies")
    'postgresql+psycopg://me:***@host/studies'
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

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
def explained(location: str) -> Iterator[None]:
    """Within, what the database refuses is said in one sentence."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(f"The driver of {location} is not installed ({error}): install it.") from error
    except (SQLAlchemyError, OSError) as error:
        reason = getattr(error, "orig", None) or getattr(error, "strerror", None) or error
        raise UserError(
            f"The store {location} cannot be used ({str(reason).splitlines()[0]}): put that right, or give another "
            "--out. The runs that it held are still in it."
        ) from error
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, UserError) or not _is_of_content(error):
            raise
        reason = " ".join(str(error).split())[:LONGEST_REASON]
        raise UserError(
            f"The store {location} holds what critbatch does not write ({type(error).__name__}: {reason}): it was "
            "damaged or changed, give another --out."
        ) from error


def _is_of_content(error: BaseException) -> bool:
    """Whether what was read from the database could not be understood: the error arose where it is read."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and (
        any(f"/{package}/" in frames[-1].filename for package in ("sqlalchemy", "optuna", "json"))
        or Path(frames[-1].filename).name in READERS
    )
