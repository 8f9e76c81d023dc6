"""A log file on a disk that machines share, as Optuna keeps it, made safe against processes killed while they write."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from optuna.storages import JournalStorage

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
