"""A folder in which one process works at a time."""

from __future__ import annotations

import fcntl
import uuid
from pathlib import Path

from critbatch.errors import UserError


class FolderLock:
    """Holds `folder`, which is made if it is not there, until `release` or the end of the process, however it ends.

    The lock is one of the process (POSIX), so that a child that outlives a killed parent does not hold it.

    Attributes:
        owner: a random name of the folder, the same at each opening. It moves with the folder.

    Raises:
        UserError: if the folder cannot be written, or another process holds it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / "store.lock").open("a+")
        except OSError as error:
            raise UserError(
                f"The folder {folder} cannot be written ({error.strerror}): give another --out, or the right to write "
                "there."
            ) from error
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise UserError(
                f"Another command is at work in {folder}: wait until it has ended, or give another --out."
            ) from error
        self._file.seek(0)
        self.owner = self._file.read().strip()
        if not self.owner:
            self.owner = uuid.uuid4().hex
            self._file.write(self.owner)
            self._file.flush()

    def release(self) -> None:
        self._file.close()
