"""Readers of IDX, of the binary form of CIFAR-10 and CIFAR-100, and of plain text.

Each file is whole, or refused in one sentence. No pickle is ever loaded: it would run code of whoever wrote the file.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from critbatch.errors import DataMissing, UserError
from critbatch.records.io import reason_of
from critbatch.tasks.download import download_set, unpack_set
from critbatch.tasks.published_sets import LARGEST_BYTES, SETS, DataSet

# --- search order for data sets: `$CRITBATCH_DATA`, then the cache, then the public address -------------------------


def cache_folder() -> Path:
    """`critbatch` under `$XDG_CACHE_HOME`, or under `~/.cache` where that is not set to an absolute path."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "critbatch"


def given_folder() -> Path | None:
    """The folder that `$CRITBATCH_DATA` names, or None."""
    user_folder = os.environ.get("CRITBATCH_DATA", "")
    return Path(user_folder).expanduser() if user_folder else None


def find_file(folder: Path, name: str) -> Path:
    """A file of a set, as published or unpacked."""
    path = folder / name
    return path if path.is_file() else folder / name.removesuffix(".gz")


def find_in(root: Path, data: DataSet) -> Path | None:
    """The folder under `root` that has every file of the set, or None."""
    for folder in (root / name for name in data.folders):
        if all(any((folder / name).is_file() for name in file.names) for file in data.files):
            return folder
    return None


def find_archive(root: Path, data: DataSet) -> Path | None:
    """The set's archive under `root`, or None."""
    if data.archive is None:
        return None
    packed = (root / folder / data.archive.name for folder in (".", *data.folders))
    return next((path for path in packed if path.is_file()), None)


def data_folder(name: str) -> Path:
    """The folder with the files of the set called `name`. Missing sets are downloaded into the cache.

    Files that are there already are taken as they are: the readers see whether they are whole.

    Raises:
        DataMissing: if the set is in none of the places and cannot be downloaded. The sentence names the places and
            what to do.
        UserError: if an archive that was found is broken.
    """
    data = SETS[name]
    user_folder, cache = given_folder(), cache_folder()
    roots = [cache] if user_folder is None else [user_folder, cache]
    for root in roots:
        if (folder := find_in(root, data)) is not None:
            return folder
    target = cache / data.folders[0]
    for root in roots:
        if (packed := find_archive(root, data)) is not None:
            unpack_set(packed, data, target)
            return target
    try:
        download_set(data, target)
    except (UserError, OSError) as error:
        raise DataMissing(_missing(data, user_folder, str(error).rstrip("."))) from error
    return target


def _missing(data: DataSet, user_folder: Path | None, why: str) -> str:
    files = ", ".join(file.name for file in data.files)
    if user_folder is None:
        place = "$CRITBATCH_DATA is not set"
    elif user_folder.is_dir():
        place = f"it is not in {user_folder} ($CRITBATCH_DATA)"
    else:
        place = f"{user_folder} ($CRITBATCH_DATA) is no folder"
    return (
        f"Data set {data.name!r} was not found: {place}, it is not in {cache_folder()}, and the download failed "
        f"({why}); set CRITBATCH_DATA to a folder that has {files} in {data.folders[0]}/, or copy them into the cache "
        "(in a clone, `make data FROM=folder` fills ./data for CRITBATCH_DATA), or allow the network, or use "
        "digits-mlp, which needs no files."
    )


def is_at_hand(name: str) -> bool:
    """Whether the set called `name` can be read without a download."""
    data = SETS[name]
    user_folder, cache = given_folder(), cache_folder()
    roots = [cache] if user_folder is None else [user_folder, cache]
    return any(find_in(root, data) is not None or find_archive(root, data) is not None for root in roots)


Bytes = NDArray[np.uint8]

CIFAR_SHAPE = (3, 32, 32)
_CIFAR_IMAGE = math.prod(CIFAR_SHAPE)
_IDX_TYPES = {0x08: "uint8", 0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}
_PIECE = 1 << 20
MOST_DIMENSIONS = 32  # of an array of numpy 1; images have three
LARGEST_TEXT_BYTES = 1 << 30


def read_idx(path: Path, item_shape: tuple[int, ...] | None = None) -> Bytes:
    """The array of an IDX file, plain or gzipped, whatever its name ends with.

    The format: two zero bytes, the type, the number of dimensions, each dimension as a big-endian uint32, the data.
    LeCun, Cortes and Burges, "The MNIST database of handwritten digits".

    Args:
        path: the file.
        item_shape: of one example, () for labels; None for any.

    Returns:
        uint8, shape (examples, *item_shape).

    Raises:
        UserError: if the file is missing, no IDX of bytes, of another shape, cut short, longer than it says, or larger
            than `LARGEST_BYTES` once unpacked. No more than the header says is unpacked.
    """
    try:
        with _open(path) as stream:
            start = _read(stream, 4)
            if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _IDX_TYPES:
                raise UserError(
                    f"{path} is no IDX file: it begins with {_hex(start)}, where 00 00 08 and the number of dimensions "
                    "belong."
                )
            if _IDX_TYPES[start[2]] != "uint8":
                raise UserError(f"{path} holds {_IDX_TYPES[start[2]]}: only IDX files of uint8 (type 08) can be read.")
            sizes = _read(stream, 4 * start[3])
            shape = tuple(int.from_bytes(sizes[i : i + 4], "big") for i in range(0, len(sizes), 4))
            if len(sizes) < 4 * start[3] or not shape:
                raise UserError(f"{path} ends within its header, after {4 + len(sizes)} bytes: fetch it again.")
            if len(shape) > MOST_DIMENSIONS:
                raise UserError(
                    f"{path} has {len(shape)} dimensions: an IDX file of up to {MOST_DIMENSIONS} can be read."
                )
            if item_shape is not None and shape[1:] != item_shape:
                raise UserError(
                    f"{path} has the shape {_by(shape)}, but {_by(('n', *item_shape))} is wanted: "
                    "is this the file that was meant?"
                )
            expected = math.prod(shape)
            if math.prod(max(size, 1) for size in shape) > LARGEST_BYTES:  # also where one of them is 0
                raise UserError(
                    f"{path} says that it holds {_by(shape)} bytes: up to {LARGEST_BYTES:,} can be read, more than any "
                    "set here has."
                )
            data = _read(stream, expected + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise _unreadable(path, error) from error
    except (EOFError, zlib.error) as error:
        raise UserError(f"{path} ({_size(path)}) is a broken gzip file ({error}): fetch it again.") from error
    if len(data) != expected:
        size_error = "has more" if len(data) > expected else f"ends after {len(data):,}"
        raise UserError(
            f"{path} should hold {_by(shape)} = {expected:,} bytes of data but {size_error}: fetch it again."
        )
    return np.frombuffer(data, np.uint8).reshape(shape)


def read_cifar10(path: Path, examples: int | None = None) -> tuple[Bytes, Bytes]:
    """Images and labels of a file in CIFAR-10's binary form.

    A record is one byte of label and 3072 of image: its red, green and blue planes, row by row. Krizhevsky 2009.

    Args:
        path: the file.
        examples: how many it should have; None for any number.

    Returns:
        images, uint8, shape (examples, 3, 32, 32), and labels, uint8, shape (examples,).

    Raises:
        UserError: if the file is missing, cut short, or not of this form.
    """
    images, labels = _read_cifar(path, examples, "CIFAR-10", {"label": 10})
    return images, labels[:, 0]


def read_cifar100(path: Path, examples: int | None = None) -> tuple[Bytes, Bytes]:
    """Images and fine labels of a file in CIFAR-100's binary form.

    A record is one byte of coarse label, 0 to 19, one of fine label, 0 to 99, and 3072 of image, as in CIFAR-10.

    Args:
        path: the file.
        examples: how many it should have; None for any number.

    Returns:
        images, uint8, shape (examples, 3, 32, 32), and fine labels, uint8, shape (examples,).

    Raises:
        UserError: if the file is missing, cut short, or not of this form.
    """
    images, labels = _read_cifar(path, examples, "CIFAR-100", {"coarse label": 20, "fine label": 100})
    return images, labels[:, 1]


def _read_cifar(path: Path, examples: int | None, name: str, classes: dict[str, int]) -> tuple[Bytes, Bytes]:
    """Images, and the labels that come before each: uint8, shape (examples, kinds of label)."""
    try:
        with _open_file(path) as stream:
            data = _read(stream, LARGEST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if len(data) > LARGEST_BYTES:
        raise UserError(f"{path} has more than {LARGEST_BYTES:,} bytes: use a .bin file of {name}'s binary version.")
    if data[:1] == b"\x80":
        raise UserError(f"{path} seems to be a Python pickle, which is never loaded: use {name}'s binary version.")
    record = len(classes) + _CIFAR_IMAGE
    expected = f"{examples:,} records" if examples is not None else "whole records"
    count, rest = divmod(len(data), record)
    if rest or not count or (examples is not None and count != examples):
        raise UserError(
            f"{path} has {len(data):,} bytes, which are not {expected} of {record:,}: use a .bin file of "
            f"{name}'s binary version, and fetch it again if it is one."
        )
    records = np.frombuffer(data, np.uint8).reshape(count, record)
    labels = records[:, : len(classes)].copy()
    for place, (kind, size) in enumerate(classes.items()):
        if (column := labels[:, place]).max() >= size:
            raise UserError(
                f"{path} has the {kind} {column.max()} in record {int(column.argmax())}, where 0 to {size - 1} belong: "
                f"use a .bin file of {name}'s binary version."
            )
    return records[:, len(classes) :].reshape(count, *CIFAR_SHAPE), labels


def read_characters(path: Path) -> tuple[Bytes, str]:
    """A text as numbers, one for each character.

    Returns:
        uint8, shape (characters,), and the vocabulary: number i stands for its i-th character. It is sorted.

    Raises:
        UserError: if the file is missing, empty, not UTF-8, or has more than 256 different characters.
    """
    text = read_text(path)
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    vocabulary, ids = np.unique(points, return_inverse=True)
    if len(vocabulary) > 256:
        raise UserError(f"{path} has {len(vocabulary):,} different characters: a text with up to 256 can be used.")
    return ids.astype(np.uint8), "".join(chr(point) for point in vocabulary)


def read_text(path: Path) -> str:
    """A text.

    Raises:
        UserError: if the file is missing, empty, or not UTF-8.
    """
    try:
        with _open_file(path) as stream:
            raw = bytes(_read(stream, LARGEST_TEXT_BYTES + 1))
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if len(raw) > LARGEST_TEXT_BYTES:
        raise UserError(f"{path} has more than {LARGEST_TEXT_BYTES:,} bytes: give a shorter text.")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is no UTF-8 text: byte {error.start:,} is {_hex(raw[error.start : error.start + 1])}."
        ) from None
    if not text:
        raise UserError(f"{path} is empty: give a text.")
    return text


def _open(path: Path) -> BufferedIOBase:
    """The file's data, unpacked where it is gzipped: browsers unpack a download and leave its name."""
    with _open_file(path) as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.GzipFile(path) if packed else path.open("rb")


def _open_file(path: Path) -> BufferedIOBase:
    """The file, if it is one: a device such as /dev/zero has no end."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(None, "it is a device or a pipe")
    return path.open("rb")


def _read(stream: BufferedIOBase, size: int) -> bytearray:
    """Up to `size` bytes. In pieces, since a header that lies must not make us allocate what it claims."""
    data = bytearray()
    while len(data) < size and (piece := stream.read(min(_PIECE, size - len(data)))):
        data += piece
    return data


def _unreadable(path: Path, error: OSError | ValueError) -> UserError:
    if isinstance(error, gzip.BadGzipFile):
        return UserError(f"{path} ({_size(path)}) is a broken gzip file ({error}): fetch it again.")
    return UserError(f"{path} cannot be read ({reason_of(error)}): give the path of a file.")


def _size(path: Path) -> str:
    return f"{path.stat().st_size:,} bytes"


def _by(shape: tuple[Any, ...]) -> str:
    return " x ".join(str(size) for size in shape)


def _hex(data: bytes | bytearray) -> str:
    return data.hex(" ") or "nothing"
