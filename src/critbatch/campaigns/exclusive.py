"""Sections of code that one process at a time is in, on all machines that share a database.

The lock is the system's or the database server's, so that a killed process does not hold it.
"""

from __future__ import annotations

import fcntl
import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

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
