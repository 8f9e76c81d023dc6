"""The description of a built-in task."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from critbatch.errors import UserError
from critbatch.tasks.task import Task


@dataclass(frozen=True)
class TaskEntry:
    """A built-in task, described without building it."""

    build: Callable[[], Task]
    description: str
    # A name in `zoo.sets`; "digits" for scikit-learn's; "none" where it is made; "own" where only the user can have it.
    data: str
    model: str


# Libraries that only some tasks need: imported when they do.


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
