"""How the table of built-in tasks describes one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from critbatch.task import Task


@dataclass(frozen=True)
class TaskEntry:
    """A built-in task, described without building it."""

    build: Callable[[], Task]
    description: str
    # A name in `zoo.sets`; "digits" for scikit-learn's; "none" where it is made; "own" where only the user can have it.
    data: str
    model: str
