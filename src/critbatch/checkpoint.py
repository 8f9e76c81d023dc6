"""Checkpoints that are written whole or not at all."""

from __future__ import annotations

import os
import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from critbatch.errors import UserError


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` to `path`. A process killed in the middle leaves the file that was there before.

    Raises:
        UserError: if the folder cannot be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except (OSError, RuntimeError) as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        # torch has an error of its own for a file that takes no more.
        reason = error.__context__ if isinstance(error, RuntimeError) else error
        if not isinstance(reason, OSError):
            raise
        raise UserError(
            f"The checkpoint {path} cannot be written ({reason.strerror}): make room there, or give another folder."
        ) from error


def load_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote. Only tensors and plain values are loaded, no code.

    Raises:
        UserError: if the file is no checkpoint.
    """
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise UserError(
            f"{path} is not a checkpoint of critbatch ({type(error).__name__}): remove it to start afresh."
        ) from error
    if not isinstance(state, dict):
        raise UserError(f"{path} is not a checkpoint of critbatch: remove it to start afresh.")
    return state
