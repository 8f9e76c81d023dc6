"""Files that are written whole or not at all.

The content goes to a file of its own in the same folder, is synced to the disk, and then takes the place of the old
file. A killed process or a power cut leaves the old file or the new one, never a part of one. Text is UTF-8 whatever
the locale.
"""

from __future__ import annotations

import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from critbatch.errors import UserError

SUFFIX = ".part"
# A killed process leaves its temporary file. The next write of the same file removes it once it is this old.
STALE_SECONDS = 3600.0


@contextmanager
def atomic_replacement(path: Path) -> Iterator[Path]:
    """Give a new, empty file beside `path` to write to; after the block it takes the place of `path`.

    If the block raises, `path` stays as it was and the temporary file is removed. A symbolic link is followed, so that
    the file that it names is replaced. What is no regular file, such as /dev/stdout, is written to directly.

    Raises:
        OSError: if the folder cannot be written.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        if target.is_dir():
            raise IsADirectoryError(21, os.strerror(21), str(path))
        yield target
        return
    prefix = f".{_short(target.name)}."
    _remove_stale(target.parent, prefix)
    part = target.with_name(f"{prefix}{secrets.token_hex(4)}{SUFFIX}")
    # Made by os.open and not by tempfile, whose files are for their owner alone.
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield part
        _sync(part)
        part.replace(target)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    # Without this a power cut may bring the old file back. Some file systems cannot sync a folder.
    with suppress(OSError):
        _sync(target.parent)


def write_file(path: Path, content: str | bytes) -> Path:
    """Write the file, whole or not at all. A character that UTF-8 cannot hold becomes a question mark.

    Raises:
        UserError: if it cannot be written.
    """
    raw = content.encode("utf-8", errors="replace") if isinstance(content, str) else content
    try:
        with atomic_replacement(path) as part:
            part.write_bytes(raw)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be written ({reason_of(error)}): make room there, or give another --out."
        ) from error
    return path


def reason_of(error: OSError | ValueError) -> str:
    """Why a file could not be used, in a few words."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _short(name: str) -> str:
    """The name's beginning: with the rest of a temporary file's name, at most 255 bytes."""
    return os.fsencode(name)[:200].decode(errors="ignore")


def _remove_stale(folder: Path, prefix: str) -> None:
    with suppress(OSError):
        for path in folder.iterdir():
            if path.name.startswith(prefix) and path.name.endswith(SUFFIX):
                with suppress(OSError):
                    status = path.lstat()
                    if stat.S_ISREG(status.st_mode) and time.time() - status.st_mtime > STALE_SECONDS:
                        path.unlink()
