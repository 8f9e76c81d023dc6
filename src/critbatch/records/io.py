"""Records as files of a folder: `advice.json`, `speed.json`, `run-….json`."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from critbatch.errors import UserError
from critbatch.records.claims import ClaimsReport
from critbatch.records.core import Advice, Noise, Record, Run, Speed
from critbatch.records.loss_surface import CriticalPoint, Curvature, Escape, Landscape, Matrix, Sharpness, Shift
from critbatch.records.scaling import Scale
from critbatch.records.study import Fit, Study

# Files that are written whole or not at all.
#
# The content goes to a file of its own in the same folder, is synced to the disk, and then takes the place of the old
# file. A killed process or a power cut leaves the old file or the new one, never a part of one. Text is UTF-8 whatever
# the locale.

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


def remove_parts(path: Path) -> None:
    """Remove the temporary files that killed processes left beside `path`. No process may be writing it now."""
    _remove_stale(path.parent, f".{_short(path.name)}.", older_than=-1.0)


def _remove_stale(folder: Path, prefix: str, *, older_than: float = STALE_SECONDS) -> None:
    with suppress(OSError):
        for path in folder.iterdir():
            if path.name.startswith(prefix) and path.name.endswith(SUFFIX):
                with suppress(OSError):
                    status = path.lstat()
                    if stat.S_ISREG(status.st_mode) and time.time() - status.st_mtime > older_than:
                        path.unlink()


# By what their files' names begin with; the answer first, runs last.
KINDS: dict[str, type[Record]] = {
    "claims": ClaimsReport,
    "advice": Advice,
    "study": Study,
    "fit": Fit,
    "scale": Scale,
    "speed": Speed,
    "noise": Noise,
    "curvature": Curvature,
    "sharpness": Sharpness,
    "landscape": Landscape,
    "shift": Shift,
    "critical-point": CriticalPoint,
    "escape": Escape,
    "run": Run,
}
# What the names of files began with in version 0.1.
FORMER_KINDS = {"claims": "lecture"}
NAMES = {kind: name for name, kind in KINDS.items()}
LONGEST_LABEL = 60

R = TypeVar("R", bound=Record)


def save_record(record: Record, folder: Path) -> Path:
    """Write the record, whole or not at all, and return its file. One of the same kind and settings is replaced.

    Raises:
        UserError: if the folder cannot be written.
    """
    path = writable(folder) / f"{file_stem(record)}.json"
    return write_file(path, record.to_json(indent=None if isinstance(record, Study) else 1))


def file_stem(record: Record) -> str:
    """The name of the record's file, without its suffix."""
    name = NAMES[type(record)]
    if isinstance(record, Run):
        name += f"-{file_part(record.recipe)}-b{record.batch_size}-lr{record.learning_rate:g}-seed{record.seed}"
    elif isinstance(record, (Curvature, CriticalPoint)):
        name += f"-{file_part(record.solution.label)}"
        if isinstance(record, Curvature) and record.matrix is not Matrix.HESSIAN:
            name += f"-{record.matrix}"
    elif isinstance(record, Landscape):
        name += f"-{file_part(record.kind)}"
    elif isinstance(record, Study):
        name += f"-{file_part(record.question.recipe)}"
    return name


def file_part(label: str) -> str:
    """A label with nothing in it that a file's name cannot have; another one for another label.

    >>> file_part("sgd, B=64, lr=0.025, seed 0")
    'sgd-B-64-lr-0.025-seed-0'
    """
    clean = re.sub(r"[^\w.]+", "-", label).strip("-.")[:LONGEST_LABEL]
    if re.fullmatch(r"[\w.]([\w.,= -]{0,58}[\w.])?", label) and clean:
        return clean
    return f"{clean or 'weights'}-{hashlib.sha256(label.encode(errors='replace')).hexdigest()[:8]}"


def read_record(file: Path, kind: type[R]) -> R:
    """The record of a file.

    Raises:
        UserError: if the file cannot be read, or is no such record. The sentence names it.
    """
    try:
        raw = file.read_bytes()
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read ({reason_of(error)}): give a record that critbatch wrote.") from error
    try:
        return kind.from_json(raw)
    except UserError as error:
        raise UserError(f"{file}: {error}") from None


def load_records(place: Path, *, instead: Sequence[Study] = ()) -> list[Record]:
    """The records of a folder, or of one file, the answer first.

    Args:
        place: the folder or file.
        instead: of the studies in the files, where there are any.

    Raises:
        UserError: if there is none, or one cannot be read.
    """
    if not place.exists():
        raise UserError(f"There is no {place}: give a folder that a command of critbatch wrote, or one of its records.")
    files = sorted(place.glob("*.json")) if place.is_dir() else [place]
    records: list[Record] = []
    for kind_name, kind in KINDS.items():
        if kind is Study and instead:
            records += instead
            continue
        stems = {kind_name, FORMER_KINDS.get(kind_name, kind_name)}
        if any(file.stem == kind_name for file in files):
            stems = {kind_name}  # it was written anew since
        records += [
            read_record(file, kind) for file in files if file.stem in stems or file.stem.startswith(f"{kind_name}-")
        ]
    if not records:
        raise UserError(
            f"{place} holds no record: make one, for example with `critbatch advise digits-mlp --out {place}`."
        )
    return records


@contextmanager
def blamed_on_records(place: str | Path) -> Iterator[None]:
    """Within, an error is that of the records that were read from `place`: one sentence says so.

    JSON of the right types can still hold what no measurement gives: two lists of unlike lengths, a batch size below 0.

    Raises:
        UserError: instead of any other error, but those of the system.
    """
    try:
        yield
    except (UserError, OSError, MemoryError):
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:LONGEST_LABEL]
        raise UserError(
            f"The records of {place} do not hold together ({type(error).__name__}: {said}): write them again with this "
            "version of critbatch."
        ) from error


def writable(folder: Path) -> Path:
    """The folder, made if it was not there.

    Raises:
        UserError: if nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The folder {folder} cannot be made ({error.strerror}): give another --out.") from error
    if not os.access(folder, os.W_OK):
        raise UserError(f"The folder {folder} cannot be written: give another --out.")
    return folder
