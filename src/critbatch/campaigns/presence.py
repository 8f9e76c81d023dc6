"""Who is at work: a name for each process, and whether the one behind a name still lives."""

from __future__ import annotations

import fcntl
import socket
import time
import uuid
from pathlib import Path
from typing import Self

# A process of another machine that has shown no sign of life for so long is dead; it shows one so often.
SECONDS_UNTIL_DEAD = 60.0
SECONDS_BETWEEN_BEATS = 5.0

# POSIX locks do not tell a process of its own ones.
_of_this_process: set[str] = set()


class Presence:
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
        _of_this_process.add(self.name)
        self._seen: dict[str, tuple[int, float]] = {}
        self.leaves_runs = False

    def is_dead(self, name: str, beat: int) -> bool:
        """Whether the process called `name`, whose last beat is `beat`, has ended."""
        if name in _of_this_process:
            return False
        if _host_of(name) == host():
            file = self.folder / name
            if file.is_file():
                return _is_free(file)
        before, since = self._seen.get(name, (None, 0.0))
        if before != beat:
            self._seen[name] = (beat, time.monotonic())
            return False
        return time.monotonic() - since > SECONDS_UNTIL_DEAD

    def bury(self, name: str) -> None:
        """Take away what a dead process left."""
        (self.folder / name).unlink(missing_ok=True)
        self._seen.pop(name, None)

    def end(self) -> None:
        """Where it `leaves_runs` its file stays, which nobody holds then: others see that it has ended."""
        _of_this_process.discard(self.name)
        if not self.leaves_runs:
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
