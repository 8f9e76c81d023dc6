"""Checkpoints and weights as files: written whole or not at all, with a checksum, loaded without running any code.

A file is what `torch.save` writes, a zip archive, and `torch.load` reads it. The archive's comment holds the SHA-256 of
all bytes before it. Files of earlier versions have no comment: they are loaded unchecked.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import torch

from critbatch.errors import UserError, first_line
from critbatch.records.io import atomic_replacement

_MARK = b"critbatch sha256 "
_COMMENT_BYTES = len(_MARK) + 64
# The end of a zip archive: its signature, 16 bytes, and the length of the comment.
_END, _END_BYTES = b"PK\x05\x06", 22
_BEGIN = b"PK\x03\x04"
_CHUNK = 1 << 20


def save_checkpoint(path: Path, state: dict[str, Any], *, keeps_previous: bool = False) -> None:
    """Write `state` to `path`. A process killed in the middle leaves the file that was there before.

    Args:
        keeps_previous: the file that was there before stays beside it, if it is not damaged, for `load_checkpoint`.

    Raises:
        UserError: if the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_replacement(path) as part:
            with part.open("wb") as file:
                torch.save(state, file)
            _add_checksum(part)
            if keeps_previous and path.is_file() and not fault_of(path):
                _keep(path)
    except (OSError, RuntimeError) as error:
        # torch has an error of its own for a file that takes no more.
        reason = error.__context__ if isinstance(error, RuntimeError) else error
        if not isinstance(reason, OSError):
            raise
        raise UserError(
            f"The checkpoint {path} cannot be written ({reason.strerror}): make room there, or give another folder."
        ) from error


def load_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote; if it is damaged, what was written before, where that was kept.

    Raises:
        UserError: if there is no whole checkpoint.
    """
    try:
        return load_file(path, device, remedy="remove it to start afresh")
    except UserError as error:
        previous = previous_of(path)
        if not previous.is_file():
            raise
        with suppress(UserError):
            state = load_file(previous, device, remedy="")
            warnings.warn(f"{path} is damaged: the run goes on from the one before it, {previous}.", stacklevel=2)
            return state
        raise UserError(
            f"{path} is damaged, and so is the one before it, {previous}: remove both to start afresh."
        ) from error


def load_file(path: Path, device: torch.device, *, remedy: str) -> dict[str, Any]:
    """A dict of tensors and plain values. No code is loaded.

    Args:
        remedy: what the user can do if it cannot be used, for the sentence.

    Raises:
        UserError: if the file is damaged, or is something else.
    """
    if fault := fault_of(path):
        raise UserError(f"{path} {fault}: {remedy}.")
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise UserError(
            f"{path} is not a file that critbatch wrote, or is damaged ({first_line(error)}): {remedy}."
        ) from error
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise UserError(f"{path} is not a file that critbatch wrote: {remedy}.")
    return state


def remove_checkpoint(path: Path) -> None:
    """Remove it, and the one before it."""
    previous_of(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def previous_of(path: Path) -> Path:
    """Where the checkpoint before this one is kept."""
    return path.with_name(f"{path.name}.previous")


def fault_of(path: Path) -> str:
    """What is wrong with the bytes of a file; "" if its checksum is right, or it is an archive without one."""
    try:
        with path.open("rb") as file:
            begin, size = file.read(len(_BEGIN)), file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _COMMENT_BYTES - _END_BYTES))
            tail = file.read()
            if begin != _BEGIN or len(tail) < _COMMENT_BYTES + _END_BYTES:
                return "is not a file that critbatch wrote, or is damaged"
            end, comment = tail[:_END_BYTES], tail[_END_BYTES:]
            if not comment.startswith(_MARK):
                is_older = tail[-_END_BYTES:].startswith(_END) and tail.endswith(b"\0\0")
                return "" if is_older else "is damaged (its checksum is not readable)"
            kept = size - _COMMENT_BYTES - 2
            right = _digest(file, kept) == comment[len(_MARK) :] and end.endswith(_length_of_comment())
            return "" if right else "is damaged (its checksum is another)"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def _add_checksum(path: Path) -> None:
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        digest = _digest(file, size - 2)
        file.seek(size - 2)
        file.write(_length_of_comment() + _MARK + digest)


def _length_of_comment() -> bytes:
    return _COMMENT_BYTES.to_bytes(2, "little")


def _digest(file: BinaryIO, size: int) -> bytes:
    """Of the first `size` bytes, in hexadecimal digits."""
    sha256, left = hashlib.sha256(), size
    file.seek(0)
    while left > 0 and (chunk := file.read(min(left, _CHUNK))):
        sha256.update(chunk)
        left -= len(chunk)
    return sha256.hexdigest().encode()


def _keep(path: Path) -> None:
    """A second name for the file that is about to be replaced; a copy where the file system has no second names."""
    previous = previous_of(path)
    link = previous.with_name(f"{previous.name}.{os.getpid()}")
    try:
        os.link(path, link)
        link.replace(previous)
    except OSError:
        with suppress(OSError):
            link.unlink(missing_ok=True)
        shutil.copyfile(path, previous)
