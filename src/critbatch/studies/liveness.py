"""Worker names, heartbeats and locks: whether the process behind a name is still alive."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import sys
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from critbatch.errors import UserError

# A process on another machine counts as dead after this time without a new heartbeat.
SECONDS_UNTIL_DEAD = 60.0
SECONDS_BETWEEN_HEARTBEATS = 5.0

# A process cannot see its own POSIX locks.
_own_names: set[str] = set()


class WorkerIdentity:
    """The name of a working process and its lock file, until `end` or until the process ends in any way.

    On the same machine a file lock shows whether another process is alive; the system releases it when the process
    dies. Processes on other machines write heartbeats to the database. No clocks are compared: a process is alive if
    its heartbeat number changes while this process watches.

    Args:
        folder: Folder of the lock files; created if missing.
        name: Name given by a supervisor, which can then find the runs of this process if it dies. Default: a new one.
    """

    def __init__(self, folder: Path, name: str | None = None) -> None:
        self.folder = folder
        self.name = name or new_name()
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / self.name).open("ab")
        fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _own_names.add(self.name)
        self._heartbeats: dict[str, tuple[int, float]] = {}
        self.keep_file = False

    def is_dead(self, name: str, heartbeat: int) -> bool:
        """Whether the process called `name`, whose last heartbeat is number `heartbeat`, has ended."""
        if name in _own_names:
            return False
        if _host_of(name) == host():
            file = self.folder / name
            if file.is_file():
                return _is_free(file)
        last, since = self._heartbeats.get(name, (None, 0.0))
        if last != heartbeat:
            self._heartbeats[name] = (heartbeat, time.monotonic())
            return False
        return time.monotonic() - since > SECONDS_UNTIL_DEAD

    def forget(self, name: str) -> None:
        """Remove the lock file of a dead process."""
        (self.folder / name).unlink(missing_ok=True)
        self._heartbeats.pop(name, None)

    def end(self) -> None:
        """Release the lock. With `keep_file` the file stays, unlocked: others then see that this process ended."""
        _own_names.discard(self.name)
        if not self.keep_file:
            (self.folder / self.name).unlink(missing_ok=True)
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.end()


def new_name() -> str:
    """A new name for a process on this machine."""
    return f"{host()}.{uuid.uuid4().hex[:12]}"


def host() -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in socket.gethostname())[:60]


def _host_of(name: str) -> str:
    return name.rpartition(".")[0]


def _is_free(file: Path) -> bool:
    try:
        with file.open("rb+") as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


class Heartbeat:
    """Calls `send` with a growing number every few seconds while a run is made."""

    def __init__(self, send: Callable[[int], None]) -> None:
        self.send = send
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        number = 0
        while not self._stopped.wait(SECONDS_BETWEEN_HEARTBEATS):
            number += 1
            # One missed heartbeat does no harm. If the database stays away, storing the run reports it.
            with suppress(UserError):
                self.send(number)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        self._thread.join()


# Layout of `struct flock` for fcntl(2): the lock type comes first on Linux, last on macOS.
LAYOUT = "@qqihh" if sys.platform == "darwin" else "@hhqqi4x"


def is_held(file: Path) -> bool:
    """Whether another process than this one holds a POSIX lock on the file; False where it is not there.

    A process must not call this for a file that it has locked itself: POSIX then drops its own lock.
    """
    try:
        handle = os.open(file, os.O_RDONLY)
    except OSError:
        return False
    try:
        request = (0, 0, 0, fcntl.F_WRLCK, os.SEEK_SET) if sys.platform == "darwin" else (fcntl.F_WRLCK, 0, 0, 0, 0)
        answer = struct.unpack(LAYOUT, fcntl.fcntl(handle, fcntl.F_GETLK, struct.pack(LAYOUT, *request)))
    finally:
        os.close(handle)
    return bool((answer[3] if sys.platform == "darwin" else answer[0]) != fcntl.F_UNLCK)


class FolderLock:
    """A lock on `folder` until `release` or the end of the process. The folder is created if missing.

    It is a POSIX lock of the process, so a child that outlives a killed parent does not hold it.

    Args:
        alone: Refuse all other processes. Otherwise processes that share the folder may work there too.

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
