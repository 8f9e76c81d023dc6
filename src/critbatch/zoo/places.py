"""Where data sets are found: `$CRITBATCH_DATA`, then the cache, then their public address."""

from __future__ import annotations

import os
from pathlib import Path

from critbatch.errors import DataMissing, UserError
from critbatch.zoo.fetch import download_set, unpack_set
from critbatch.zoo.sets import SETS, DataSet


def cache_folder() -> Path:
    """`critbatch` under `$XDG_CACHE_HOME`, or under `~/.cache` where that is not set to an absolute path."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "critbatch"


def given_folder() -> Path | None:
    """What `$CRITBATCH_DATA` names, or None."""
    given = os.environ.get("CRITBATCH_DATA", "")
    return Path(given).expanduser() if given else None


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
    """The folder with the files of the set called `name`. They are downloaded into the cache where they must be.

    Files that are there already are taken as they are: the readers see whether they are whole.

    Raises:
        DataMissing: if the set is in none of the places and cannot be downloaded. The sentence names the places and
            what to do.
        UserError: if an archive that was found is broken.
    """
    data = SETS[name]
    given, cache = given_folder(), cache_folder()
    roots = [cache] if given is None else [given, cache]
    for root in roots:
        if (found := find_in(root, data)) is not None:
            return found
    target = cache / data.folders[0]
    for root in roots:
        if (packed := find_archive(root, data)) is not None:
            unpack_set(packed, data, target)
            return target
    try:
        download_set(data, target)
    except (UserError, OSError) as error:
        raise DataMissing(_missing(data, given, str(error).rstrip("."))) from error
    return target


def _missing(data: DataSet, given: Path | None, why: str) -> str:
    files = ", ".join(file.name for file in data.files)
    if given is None:
        place = "$CRITBATCH_DATA is not set"
    elif given.is_dir():
        place = f"it is not in {given} ($CRITBATCH_DATA)"
    else:
        place = f"{given} ($CRITBATCH_DATA) is no folder"
    return (
        f"Data set {data.name!r} was not found: {place}, it is not in {cache_folder()}, and the download failed "
        f"({why}); set CRITBATCH_DATA to a folder that has {files} in {data.folders[0]}/, or copy them into the cache "
        "(in a clone, `make data FROM=folder` fills ./data for CRITBATCH_DATA), or allow the network, or use "
        "digits-mlp, which needs no files."
    )


def is_at_hand(name: str) -> bool:
    """Whether the set called `name` can be read without a download."""
    data = SETS[name]
    given, cache = given_folder(), cache_folder()
    roots = [cache] if given is None else [given, cache]
    return any(find_in(root, data) is not None or find_archive(root, data) is not None for root in roots)
