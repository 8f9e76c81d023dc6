"""Libraries that only some tasks need: imported when they do."""

from __future__ import annotations

import importlib
from typing import Any

from critbatch.errors import UserError


def need(module: str, *, package: str, purpose: str) -> Any:
    """The module.

    Args:
        module: its name.
        package: how pip calls what brings it.
        purpose: what needs it, as the beginning of a sentence.

    Raises:
        UserError: if it cannot be imported. The sentence has the pip command.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"{purpose} needs {package}, which cannot be imported ({error}): run `pip install {package}`."
        ) from error
