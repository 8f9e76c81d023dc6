"""Who may work in a folder: many commands that share its runs, or one that does not."""

from __future__ import annotations

import fcntl
from pathlib import Path

from critbatch.errors import UserError


class FolderLock:
    """Holds `folder`, which is made if it is not there, until `release` or the end of the process, however it ends.

    The lock is one of the process (POSIX), so that a child that outlives a killed parent does not hold it.

    Args:
        alone: no other process may hold the folder; else those that share may.

    Raises:
        UserError: if the folder cannot be written, or another process holds it.
    """

    def __init__(self, folder: Path, *, alone: bool) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / "store.lock").open("ab+")
        except OSError as error:
            raise UserError(
                f"The folder {folder} cannot be written ({error.strerror}): give another --out, or the right to write "
                "there."
            ) from error
        try:
            fcntl.lockf(self._file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise UserError(
                f"Another command is at work in {folder}: wait until it has ended, or give another --out."
            ) from error

    def release(self) -> None:
        self._file.close()
