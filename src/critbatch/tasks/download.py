"""Copies, downloads or unpacks files, checks them, and writes each file whole or not at all."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import tempfile
import urllib.request
import zlib
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import IO, cast
from urllib.error import URLError

from critbatch.errors import UserError
from critbatch.records.io import atomic_replacement
from critbatch.tasks.published_sets import LARGEST_BYTES, DataFile, DataSet

TIMEOUT_SECONDS = 20.0  # without a byte; a slow download may take longer
_PIECE = 1 << 20


def checksum(path: Path, kind: str = "sha256") -> str:
    """The file's checksum, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()


def save(stream: IO[bytes], to: Path, expected: str | None, *, kind: str = "sha256", source: str) -> None:
    """Write the stream to `to` through a temporary file, which is renamed once its content is checked.

    Args:
        stream: what to write.
        to: the file to make; its folder is made too.
        expected: the checksum, in hexadecimal; None where something else vouches for the stream.
        kind: of checksum.
        source: how a message calls the stream.

    Raises:
        UserError: if the checksum is another, or the stream does not end. `to` is then as it was.
        OSError: if the stream cannot be read or the file not be written.
    """
    to.parent.mkdir(parents=True, exist_ok=True)
    with atomic_replacement(to) as part:
        digest, size = hashlib.new(kind, usedforsecurity=False), 0
        with part.open("wb") as file:
            while piece := stream.read(_PIECE):
                digest.update(piece)
                size += file.write(piece)
                if size > LARGEST_BYTES:
                    raise UserError(
                        f"{source} has more than {LARGEST_BYTES:,} bytes, which no file of a set here has: fetch the "
                        "file as published."
                    )
        if expected is not None and digest.hexdigest() != expected:
            raise UserError(
                f"{source} has {size:,} bytes and the {kind.upper()} {digest.hexdigest()[:12]}..., not "
                f"{expected[:12]}...: it was cut short or changed, fetch it again."
            )


def copy(file: DataFile, source: Path, folder: Path) -> None:
    """Copy one file of a set into `folder`.

    Raises:
        UserError: if `source` is not there, or is not as published.
        OSError: if it cannot be read, or the copy not be written.
    """
    if not source.is_file():
        raise UserError(f"{source} is not there, and only a file as published can be checked: give it under this name.")
    with source.open("rb") as stream:
        save(stream, folder / file.name, file.sha256, source=str(source))


def download(urls: Sequence[str], to: Path, expected: str | None, *, kind: str = "sha256") -> None:
    """Download from the first address that serves the right file.

    Raises:
        UserError: if none does; the sentence says what each gave.
    """
    reasons = []
    for url in urls:
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
                save(answer, to, expected, kind=kind, source=url)
            return
        except UserError as error:
            reasons.append(str(error).rstrip("."))
        except (OSError, HTTPException) as error:
            why = error.reason if type(error) is URLError else f"{type(error).__name__}: {error}"
            reasons.append(f"{url} gave {why}")
    raise UserError("; ".join(reasons) + ".")


def unpack(archive: Path, files: Sequence[DataFile], folder: Path) -> None:
    """Write the files of a set from its tar.gz into `folder`. Members are found by their last name; paths are not used.

    Raises:
        UserError: if the archive is broken, or lacks a file.
    """
    missing = {file.name: file for file in files}
    try:
        with gzip.open(archive) as packed, tarfile.open(fileobj=_bounded(packed, archive), mode="r|") as members:
            for member in members:
                file = missing.get(PurePosixPath(member.name).name)
                stream = members.extractfile(member) if file is not None and member.isfile() else None
                if file is not None and stream is not None:
                    save(stream, folder / file.name, file.sha256, source=f"{file.name} in {archive}")
                    del missing[file.name]
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        size = archive.stat().st_size
        raise UserError(f"{archive} ({size:,} bytes) is no whole tar.gz ({error}): fetch it again.") from error
    except OSError as error:
        raise UserError(f"{archive} cannot be unpacked into {folder} ({error}): make both accessible.") from error
    if missing:
        raise UserError(f"{archive} has no {' or '.join(missing)}: use the archive as published.")


def _bounded(stream: gzip.GzipFile, archive: Path) -> IO[bytes]:
    """A stream that gives no more than a published archive holds, and raises UserError then."""
    left = LARGEST_BYTES

    class Bounded(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            nonlocal left
            piece = stream.read(_PIECE if size < 0 else min(size, _PIECE))
            left -= len(piece)
            if left < 0:
                raise UserError(
                    f"{archive} unpacks to more than {LARGEST_BYTES:,} bytes, which no published archive here does: "
                    "fetch it again."
                )
            return piece

    return cast("IO[bytes]", Bounded())


def unpack_set(archive: Path, data: DataSet, folder: Path) -> None:
    """Write the set's files from its archive, found somewhere, into `folder`.

    Raises:
        UserError: if the archive is broken, lacks a file, or is another one than published.
    """
    if data.archive is not None and any(file.sha256 is None for file in data.files):
        try:
            md5 = checksum(archive, "md5")
        except OSError as error:
            raise UserError(f"{archive} cannot be read ({error.strerror or error}): make it accessible.") from error
        if md5 != data.archive.md5:
            raise UserError(
                f"{archive} has {archive.stat().st_size:,} bytes and the MD5 {md5[:12]}..., not "
                f"{data.archive.md5[:12]}...: it was cut short or changed, fetch it again."
            )
    unpack(archive, data.files, folder)


def download_set(data: DataSet, folder: Path) -> None:
    """Download the set's files that are not in `folder` yet. Raises UserError if that does not work."""
    if data.archive is None:
        for file in data.files:
            if not (folder / file.name).is_file():
                download(file.urls, folder / file.name, file.sha256)
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".critbatch-") as scratch:
        packed = Path(scratch) / data.archive.name
        download(data.archive.urls, packed, data.archive.md5, kind="md5")
        unpack(packed, data.files, folder)
