"""Frames of speech for F2 of Keskar et al. 2016: the user's own from TIMIT, which is licensed, or a stand-in."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from critbatch.errors import DataMissing, UserError
from critbatch.tasks.data import Examples
from critbatch.tasks.datasets import given_folder

INPUTS = 360
CLASSES = 1973
LARGEST_BYTES = 1 << 33  # unpacked; TIMIT in float64 has 3 GB
# What numpy and zipfile raise for broken files.
_FAULTS = (
    *(ValueError, EOFError, AttributeError, TypeError, KeyError, IndexError, OverflowError, MemoryError),
    *(NotImplementedError, RuntimeError, SyntaxError, struct.error, zlib.error, zipfile.BadZipFile),
)


def find_frames() -> Path:
    """`$CRITBATCH_DATA/timit/timit.npz`.

    Raises:
        DataMissing: if it is not there.
    """
    user_folder = given_folder()
    path = user_folder / "timit" / "timit.npz" if user_folder is not None else None
    if path is not None and path.is_file():
        return path
    place = f"{path} is not there" if path is not None else "$CRITBATCH_DATA is not set"
    raise DataMissing(
        f"The frames of TIMIT were not found ({place}): TIMIT is licensed, so write your own frames to "
        f"timit/timit.npz under $CRITBATCH_DATA as arrays train_inputs (n, {INPUTS}), train_labels (n,), "
        "validation_inputs and validation_labels, or use keskar-f2-stand-in."
    )


def timit_is_at_hand() -> bool:
    """Whether `find_frames` finds the frames."""
    try:
        find_frames()
    except DataMissing:
        return False
    return True


def read_frames(path: Path) -> tuple[Examples, Examples]:
    """Training and validation frames from an .npz file.

    It has `train_inputs`, numbers of shape (n, 360), `train_labels`, whole numbers from 0 to 1972 of shape (n,), and
    `validation_inputs` and `validation_labels` likewise. Inputs are used as they are: standardize them yourself.

    Raises:
        UserError: if it is no such file. The sentence says what was found.
    """
    try:
        # Opened here, since np.load leaves a broken archive open.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            unpacked = sum(member.file_size for member in file.zip.infolist())
            if unpacked > LARGEST_BYTES:
                raise UserError(f"{path} unpacks to {unpacked:,} bytes: give one of up to {LARGEST_BYTES:,}.")
            return _part(path, file, "train"), _part(path, file, "validation")
    except UserError:
        raise
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror or error}): give an .npz file of numpy.savez."
        ) from error
    except _FAULTS as error:
        raise UserError(f"{path} is no .npz file of plain arrays ({error}): write it with numpy.savez.") from error


def _part(path: Path, file: Any, part: str) -> Examples:
    arrays = []
    for name in (f"{part}_inputs", f"{part}_labels"):
        if name not in file:
            raise UserError(f"{path} has no array {name} but {', '.join(file) or 'nothing'}: save it under this name.")
        arrays.append(file[name])
    inputs, labels = arrays
    if inputs.ndim != 2 or inputs.shape[1] != INPUTS or inputs.dtype.kind not in "fiu":
        raise UserError(
            f"{part}_inputs in {path} is {inputs.dtype} of shape {inputs.shape}: give numbers of shape (n, {INPUTS})."
        )
    if labels.shape != (len(inputs),) or labels.dtype.kind not in "iu":
        raise UserError(
            f"{part}_labels in {path} is {labels.dtype} of shape {labels.shape}: give {len(inputs):,} whole numbers, "
            "one for each frame."
        )
    if len(labels) and (labels.min() < 0 or labels.max() >= CLASSES):
        raise UserError(
            f"{part}_labels in {path} run from {labels.min()} to {labels.max()}: give labels from 0 to {CLASSES - 1}."
        )
    return _examples(inputs, labels)


def _examples(inputs: NDArray[Any], labels: NDArray[Any]) -> Examples:
    # A copy: the loader's array may lie in the byte order of another machine.
    return Examples(torch.from_numpy(inputs.astype(np.float32)), torch.from_numpy(labels.astype(np.int64)))


def stand_in_frames(
    *, examples: int = 40_000, validation: int = 8_000, spread: float = 0.6, seed: int = 0
) -> tuple[Examples, Examples]:
    """A synthetic set with the shape of TIMIT's frames, which says nothing about speech.

    Each class has a centre, normal with standard deviation `spread` in each of the 360 coordinates. An example is the
    centre of a class drawn evenly plus normal noise of standard deviation 1.

    Args:
        examples: to train on; TIMIT has 721,329.
        validation: to validate on; TIMIT has 310,621.
        spread: of the centres; the smaller, the harder.
        seed: of the draws. The same seed gives the same set, with NumPy's frozen RandomState (NEP 19).
    """
    random = np.random.RandomState(seed)
    centres = spread * random.standard_normal((CLASSES, INPUTS))
    parts = []
    for count in (examples, validation):
        labels = random.randint(CLASSES, size=count)
        parts.append(_examples(centres[labels] + random.standard_normal((count, INPUTS)), labels))
    train, held_out = parts
    return train, held_out
