"""Records as files of a folder: `advice.json`, `speed.json`, `run-….json`."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from critbatch.atomic_files import reason_of, write_file
from critbatch.errors import UserError
from critbatch.lecture_records import Lecture
from critbatch.loss_records import CriticalPoint, Curvature, Escape, Landscape, Matrix, Sharpness, Shift
from critbatch.records import Advice, Noise, Record, Run, Speed
from critbatch.scale_records import Scale
from critbatch.study_records import Fit, Study

# By what their files' names begin with; the answer first, runs last.
KINDS: dict[str, type[Record]] = {
    **{kind.__name__.lower(): kind for kind in (Lecture, Advice, Study, Fit, Scale, Speed, Noise)},
    "curvature": Curvature,
    "sharpness": Sharpness,
    "landscape": Landscape,
    "shift": Shift,
    "critical-point": CriticalPoint,
    "escape": Escape,
    "run": Run,
}
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
        records += [
            read_record(file, kind) for file in files if file.stem == kind_name or file.stem.startswith(f"{kind_name}-")
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
