"""What is read off runs is read once for the whole page: both languages and several sections ask for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, TypeVar

from critbatch.records.core import Run

T = TypeVar("T")

_memory: ContextVar[dict[tuple[str, int], tuple[Any, Any]] | None] = ContextVar("memory", default=None)


@contextmanager
def remembering() -> Iterator[None]:
    """Within, what is `once` keeps its results; they go when it ends."""
    token = _memory.set({})
    try:
        yield
    finally:
        _memory.reset(token)


def once(read: Callable[[Sequence[Run]], T]) -> Callable[[Sequence[Run]], T]:
    """A reading of runs that does not change while a page is written."""

    @wraps(read)
    def remembered(runs: Sequence[Run]) -> T:
        memory = _memory.get()
        if memory is None:
            return read(runs)
        key = (read.__name__, id(runs))
        if key not in memory:
            # The runs are kept beside the result: another object must not come to have their id.
            memory[key] = (runs, read(runs))
        held: T = memory[key][1]
        return held

    return remembered
