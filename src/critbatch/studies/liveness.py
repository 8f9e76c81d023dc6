"""Who is at work: a name for each process, and whether the one behind a name still lives."""

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

# A process of another machine that has shown no sign of life for so long is dead; it shows one so often.
SECONDS_UNTIL_DEAD = 60.0
SECONDS_BETWEEN_HEARTBEATS = 5.0

# POSIX locks do not tell a process of its own ones.
_own_names: set[str] = set()


class WorkerIdentity:
    """A process at work in a folder, from here to `end` or the end of the process, however it ends.

    On one machine a lock tells whether another lives, and the system takes it back from the dead. Of other machines
    the beats tell, which each leaves in the database: no clocks are compared, only whether a beat changes while one
    looks.

    Args:
        folder: with the lock files in it, made if it is not there.
        name: another process has thought of it, to find this one's runs if it dies; one of its own unless given.
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
        """Whether the process called `name`, whose last beat is `beat`, has ended."""
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
        """Take away what a dead process left."""
        (self.folder / name).unlink(missing_ok=True)
        self._heartbeats.pop(name, None)

    def end(self) -> None:
        """Where it `leaves_runs` its file stays, which nobody holds then: others see that it has ended."""
        _own_names.discard(self.name)
        if not self.keep_file:
            (self.folder / self.name).unlink(missing_ok=True)
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.end()


def new_name() -> str:
    """Of a process of this machine."""
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


# Signs of life of a process while it makes a run, for those on other machines.


class Heartbeat:
    """Calls `beat` with a number that grows, now and then, within `with`."""

    def __init__(self, send: Callable[[int], None]) -> None:
        self.send = send
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        number = 0
        while not self._stopped.wait(SECONDS_BETWEEN_HEARTBEATS):
            number += 1
            # One that is missed costs nothing; a database that stays away is said when the run is kept.
            with suppress(UserError):
                self.send(number)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        self._thread.join()


# Whether another process holds a lock on a file, asked without taking it.

# `struct flock`, by which fcntl(2) is asked: the kind of lock first on Linux, last on macOS.
LAYOUT = "@qqihh" if sys.platform == "darwin" else "@hhqqi4x"


def is_held(file: Path) -> bool:
    """Whether another process than this one holds a POSIX lock on the file; False where it is not there.

    A process that asks of a file that it has locked itself loses its own lock, as POSIX has it.
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


# Who may work in a folder: many commands that share its runs, or one that does not.


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
