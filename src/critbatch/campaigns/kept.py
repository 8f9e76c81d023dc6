"""Measurements that are made once: each in a file named by what was asked, read again by the next call."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from critbatch.errors import UserError
from critbatch.records.core import Record
from critbatch.records.io import writable, write_file

R = TypeVar("R", bound=Record)


def kept(
    folder: Path,
    kind: type[R],
    asked: dict[str, Any],
    make: Callable[[], R],
    *,
    extend: Callable[[R], R] | None = None,
) -> R:
    """The record in the folder that answers what is asked, or the one that `make` makes now, which is kept.

    Args:
        asked: all that the record depends on, as JSON takes it. A file of another version of critbatch is made anew.
        extend: given the record of the folder, returns one that has all that is asked for: the same where it has that
            already. For records that depend on the time that there was, which `asked` does not name.

    Raises:
        UserError: if the folder cannot be written.
    """
    name = hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()[:12]
    path = writable(folder) / f"{kind.__name__.lower()}-{name}.json"
    if path.is_file():
        record = None
        with suppress(UserError):
            record = kind.from_json(path.read_bytes())
        if record is not None:
            more = record if extend is None else extend(record)
            if more != record:
                write_file(path, more.to_json())
            return more
    record = make()
    write_file(path, record.to_json())
    return record
