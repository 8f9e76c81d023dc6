"""The database that a store lies in: opening it, and what to say when it cannot be used."""

from __future__ import annotations

import fcntl
import hashlib
import os
import sqlite3
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from critbatch.errors import UserError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage, JournalStorage, RDBStorage


# Sections of code that one process at a time is in, on all machines that share a database.
#
# The lock is the system's or the database server's, so that a killed process does not hold it.

Exclusive = Callable[[], AbstractContextManager[None]]

NAME = "critbatch"
LOCK_TIMEOUT_SECONDS = 600
_NUMBER = int.from_bytes(hashlib.sha256(NAME.encode()).digest()[:7], "big")

# POSIX locks are those of a process: threads of one are kept apart by this.
_threads: dict[Path, threading.Lock] = {}


def by_file(path: Path) -> Exclusive:
    """Sections kept apart by a lock on the file `path`, which is made if it is not there."""
    held = _threads.setdefault(path.resolve(), threading.Lock())

    @contextmanager
    def section() -> Iterator[None]:
        with held, path.open("ab") as file:
            fcntl.lockf(file, fcntl.LOCK_EX)
            yield

    return section


def by_server(url: str) -> Exclusive | None:
    """Sections kept apart by an advisory lock of a PostgreSQL, MySQL or MariaDB server; None for any other.

    The server gives the lock back when the connection ends.
    """
    from sqlalchemy import NullPool, create_engine, text
    from sqlalchemy.engine import make_url

    words: dict[str, tuple[str, str, dict[str, Any]]] = {
        "postgresql": ("SELECT pg_advisory_lock(:n)", "SELECT pg_advisory_unlock(:n)", {"n": _NUMBER}),
        "mysql": (f"SELECT GET_LOCK(:n, {LOCK_TIMEOUT_SECONDS})", "SELECT RELEASE_LOCK(:n)", {"n": NAME}),
    }
    words["mariadb"] = words["mysql"]
    kind = make_url(url).get_backend_name()
    if kind not in words:
        return None
    take, give_back, values = words[kind]
    engine = create_engine(url, poolclass=NullPool)

    @contextmanager
    def section() -> Iterator[None]:
        with engine.connect() as connection:
            connection.execute(text(take), values)
            try:
                yield
            finally:
                connection.execute(text(give_back), values)

    return section


# A log file on a disk that machines share, as Optuna keeps it, made safe against processes killed while they write.

BLOCK = 1 << 16


def open_journal(path: Path) -> JournalStorage:
    """The journal at `path`, made if there is none."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    class Lock(JournalFileOpenLock):
        """The system's lock, which ends with the process; what a killed one wrote of a line is taken off first."""

        def __init__(self) -> None:
            super().__init__(str(path))
            self.file: BinaryIO | None = None

        def acquire(self) -> bool:
            file = path.open("rb+")
            fcntl.lockf(file, fcntl.LOCK_EX)
            whole = length_of_whole_lines(file)
            if whole < file.seek(0, os.SEEK_END):
                file.truncate(whole)
            self.file = file
            return True

        def release(self) -> None:
            if self.file is not None:
                self.file.close()
                self.file = None

    path.parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(str(path), lock_obj=Lock()))


def length_of_whole_lines(file: BinaryIO) -> int:
    """Bytes up to and with the last line feed.

    >>> import io
    >>> length_of_whole_lines(io.BytesIO(b"one\\ntwo\\nthr"))
    8
    """
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - BLOCK)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


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
