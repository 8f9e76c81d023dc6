"""Whether another process holds a lock on a file, asked without taking it."""

from __future__ import annotations

import fcntl
import os
import struct
import sys
from pathlib import Path

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
        wanted = (0, 0, 0, fcntl.F_WRLCK, os.SEEK_SET) if sys.platform == "darwin" else (fcntl.F_WRLCK, 0, 0, 0, 0)
        found = struct.unpack(LAYOUT, fcntl.fcntl(handle, fcntl.F_GETLK, struct.pack(LAYOUT, *wanted)))
    finally:
        os.close(handle)
    return bool((found[3] if sys.platform == "darwin" else found[0]) != fcntl.F_UNLCK)
