"""The database that a store lies in: opening it, and what to say when it cannot be used."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from critbatch.errors import UserError

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

# A reader such as optuna-dashboard may hold the file for a moment.
SECONDS_TO_WAIT = 60.0


def open_file(path: Path) -> RDBStorage:
    """The SQLite database at `path`, made if there is none.

    Raises:
        UserError: if the file is no such database, or cannot be used.
    """
    with explained(str(path)):
        # Given as a function, since not every path can be written as a URL.
        connect = partial(sqlite3.connect, path, timeout=SECONDS_TO_WAIT, check_same_thread=False)
        return _open("sqlite:///store.sqlite", {"creator": connect})


def open_url(url: str) -> RDBStorage:
    """The database at `url`, in SQLAlchemy's form.

    Raises:
        UserError: if there is none, it does not answer, or its driver is not installed.
    """
    # Optuna fills in a template: a brace of the URL must stand for itself.
    with explained(shown(url)):
        return _open(url.replace("{", "{{").replace("}", "}}"), {})


def _open(url: str, settings: dict[str, object]) -> RDBStorage:
    import optuna

    try:
        return optuna.storages.RDBStorage(url, engine_kwargs=settings)
    except ImportError as error:
        raise UserError(
            f"The driver of {shown(url)} is not installed ({error.__cause__ or error}): install it, such as psycopg "
            "for postgresql+psycopg://."
        ) from error
    except RuntimeError as error:  # its tables are those of another version of Optuna, whose sentence says what to do
        raise UserError(str(error)) from error


def shown(url: str) -> str:
    """The URL without its password.

    >>> shown("postgresql+psycopg://me:secret@host/studies")
    'postgresql+psycopg://me:***@host/studies'
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        raise UserError(
            f"{url!r} is not the address of a database: use a form such as postgresql+psycopg://user@host/name."
        ) from None


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
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) else error
        reason = str(getattr(cause, "orig", None) or cause).splitlines()[0]
        raise UserError(
            f"The store {where} cannot be used ({reason}): put that right, or give another --out. The runs that "
            "it held are still in it."
        ) from error
