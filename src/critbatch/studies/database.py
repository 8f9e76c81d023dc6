"""The database of a store: SQLite, PostgreSQL or MySQL, through SQLAlchemy Core.

Each change is one transaction, so a killed process leaves nothing half written. Operations that must not overlap, such
as leasing the next run, hold a lock of the database until their transaction ends: on the file with SQLite, on the row
of the study with a server. A lock ends with its process.

SQLite relies on the file locks of the system. On a network file system whose locks do not reach other machines (NFS
without a lock daemon, many FUSE mounts), two machines can damage the file: use a server there.
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

# Another process may hold the lock this long, such as a sampler that fits a model before it chooses.
SECONDS_TO_WAIT = 60.0
# Two processes may create the tables of a server at the same time: the one that fails tries again.
TRIES_TO_CREATE, SECONDS_BETWEEN_TRIES = 5, 0.2
JOURNAL = "journal://"
LONGEST_REASON = 80
# Modules that parse the texts of rows.
READERS = ("run_key.py", "run_table.py", "store.py", "migration.py")
FORMS = "postgresql+psycopg://user@host/name, mysql+pymysql://user@host/name, or sqlite:///path/file.sqlite"


@dataclass(frozen=True)
class Database:
    """An open database.

    Args:
        engine: The engine of SQLAlchemy.
        location: Its name in messages.
    """

    engine: Engine
    location: str

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A read transaction: it sees the database at one moment."""
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self, study: int | None = None) -> Iterator[Connection]:
        """A transaction that excludes other writers of the same study, or of the whole database without a study.

        It is committed at the end as a whole, or, after an error or a kill, not at all.
        """
        with self.engine.execution_options(writes=True).begin() as connection:
            run_table.lock(connection, study)
            yield connection

    @contextmanager
    def change(self) -> Iterator[Connection]:
        """A transaction of a single statement that needs no further lock."""
        with self.engine.execution_options(writes=True).begin() as connection:
            yield connection

    def close(self) -> None:
        self.engine.dispose()


def open_database(folder: Path, file: str, url: str | None) -> Database:
    """Open the database at `url`, or by default the SQLite file in the folder; create it if missing.

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
    """Open the database in the SQLite file `place`, or at a URL. It is not created.

    Raises:
        UserError: if it is not there.
    """
    path, location = location_of(place)
    if path is not None and not path.is_file():
        raise UserError(f"There is no store at {location}: give the --storage of a sweep.")
    with explained(location):
        # Opening the file rolls back what a killed process left half written, if the file is writable.
        mode = None if path is None else "rw" if os.access(path, os.W_OK) else "ro"
        return Database(_sqlite(path, mode) if path is not None else _server(str(place)), location)


def in_memory(location: str) -> Database:
    """A database in memory, with the tables of a store."""
    from sqlalchemy import StaticPool, create_engine

    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    _begin_explicitly(engine)
    _create_tables(engine, location)
    return Database(engine, location)


def location_of(place: Path | str) -> tuple[Path | None, str]:
    """The file of an SQLite database, or None for a server; and the name of the database in messages.

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
    """The SQLite file that continues a journal file: journals are read, but no longer written."""
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
    _begin_explicitly(engine)
    return engine


def _begin_explicitly(engine: Engine) -> None:
    """Begin SQLite transactions when SQLAlchemy does; Python's sqlite3 would begin them too late for a lock."""
    from sqlalchemy import event

    @event.listens_for(engine, "connect")
    def disable_implicit_transactions(connection: sqlite3.Connection, record: Any) -> None:
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
    """Let Optuna log only warnings within `with`; restore its verbosity afterwards."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


@contextmanager
def explained(location: str) -> Iterator[None]:
    """Turn errors of the database within `with` into one-sentence UserErrors."""
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
    """Whether the error arose where content of the database is parsed."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and (
        any(f"/{package}/" in frames[-1].filename for package in ("sqlalchemy", "optuna", "json"))
        or Path(frames[-1].filename).name in READERS
    )
