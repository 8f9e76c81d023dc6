"""Records as files of a folder: `advice.json`, `speed.json`, `run-….json`."""

from __future__ import annotations

import os
from pathlib import Path

from critbatch.errors import UserError
from critbatch.records import Advice, Noise, Record, Run, Speed, Study

KINDS: dict[str, type[Record]] = {kind.__name__.lower(): kind for kind in (Advice, Speed, Noise, Study, Run)}


def save_record(record: Record, folder: Path) -> Path:
    """Write the record, whole or not at all, and return its file. One of the same kind and settings is replaced.

    Raises:
        UserError: if the folder cannot be written.
    """
    path = writable(folder) / f"{file_stem(record)}.json"
    part = path.with_suffix(".part")
    try:
        part.write_text(record.to_json(indent=1))
        part.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}): give another --out.") from error
    return path


def file_stem(record: Record) -> str:
    """The name of the record's file, without its suffix."""
    name = type(record).__name__.lower()
    if isinstance(record, Run):
        name += f"-{record.recipe}-b{record.batch_size}-lr{record.learning_rate:g}-seed{record.seed}"
    return name


def load_records(place: Path) -> list[Record]:
    """The records of a folder, or of one file, the answer first.

    Raises:
        UserError: if there is none, or one cannot be read.
    """
    if not place.exists():
        raise UserError(f"There is no {place}: give a folder that a command of critbatch wrote, or one of its records.")
    files = sorted(place.glob("*.json")) if place.is_dir() else [place]
    records = []
    for kind_name, kind in KINDS.items():
        records += [kind.from_json(file.read_bytes()) for file in files if file.stem.split("-")[0] == kind_name]
    if not records:
        raise UserError(
            f"{place} holds no record: make one, for example with `critbatch advise digits-mlp --out {place}`."
        )
    return records


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
