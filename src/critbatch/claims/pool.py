"""Processes that do jobs of several kinds, one thread each, and end with the process that started them."""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from loky import ProcessPoolExecutor
from loky.backend.utils import kill_process_tree

from critbatch.arguments import check_count, process_limit
from critbatch.errors import UserError
from critbatch.records.core import Record
from critbatch.records.io import writable, write_file
from critbatch.runtime.progress import Display

# Measurements that are made once: each in a file named by what was asked, read again by the next call.

R = TypeVar("R", bound=Record)


def kept(
    folder: Path,
    kind: type[R],
    asked: dict[str, Any],
    make: Callable[[], R],
    *,
    extend: Callable[[R], R] | None = None,
) -> R:
    """The record in the folder that answers what is asked, or the one that `make` makes now, which is kept.

    Args:
        asked: all that the record depends on, as JSON takes it. A file of another version of critbatch is made anew.
        extend: given the record of the folder, returns one that has all that is asked for: the same where it has that
            already. For records that depend on the time that there was, which `asked` does not name.

    Raises:
        UserError: if the folder cannot be written.
    """
    name = hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()[:12]
    path = writable(folder) / f"{kind.__name__.lower()}-{name}.json"
    if path.is_file():
        record = None
        with suppress(UserError):
            record = kind.from_json(path.read_bytes())
        if record is not None:
            more = record if extend is None else extend(record)
            if more != record:
                write_file(path, more.to_json())
            return more
    record = make()
    write_file(path, record.to_json())
    return record


SECONDS_TO_END = 20.0


@dataclass(frozen=True)
class Job:
    """A call that another process makes.

    Args:
        name: what the display says of it.
        call: what is called.
        settings: its arguments.
        may_fail: a UserError is its result, and no end of the whole.
    """

    name: str
    call: Callable[..., Any]
    settings: dict[str, Any] = field(default_factory=dict)
    may_fail: bool = False


class Pool:
    """`workers` processes. At Ctrl-C, which comes to them too, they end at their next good place.

    Args:
        workers: how many.
        threads: of torch, in each.
        show: where to show how far it is.
    """

    def __init__(self, workers: int, *, threads: int, show: Display) -> None:
        check_count(f"workers={workers}", workers, process_limit())
        self.show = show
        self._futures: dict[Future[Any], Job] = {}
        self._workers, self._threads = workers, threads
        self._executor = self._processes()
        self._folder = tempfile.TemporaryDirectory()
        self._stop = Path(self._folder.name) / "stop"
        self._submitted = 0

    def _processes(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(self._workers, initializer=_begin, initargs=(self._threads, os.getpid()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is KeyboardInterrupt:
            self._stop.touch()
            until = time.monotonic() + SECONDS_TO_END
            while any(not future.done() for future in self._futures) and time.monotonic() < until:
                time.sleep(0.1)
        self._executor.shutdown(wait=True, kill_workers=kind is not None)
        self._folder.cleanup()

    def do(self, jobs: Sequence[Job], *, stage: str, until: float | None = None, grace: float = 0.0) -> list[Any]:
        """The results of all jobs, in their order; where one may fail, its UserError.

        Args:
            until: a value of `time.monotonic()` from which on no job is begun; None for none. The result of a job that
                was not begun, or not ended by then, is None.
            grace: seconds after `until` in which jobs may come to their end; then their processes are killed.

        Raises:
            UserError: of a job that may not fail, or if a process was killed by others.
        """
        end = math.inf if until is None else until
        self.show.update(stage=stage, done=0, total=len(jobs))
        if time.monotonic() >= end:
            return [None] * len(jobs)
        futures = self._futures = {self._submit(job, end): job for job in jobs}
        # For the executor a future is "running" when it waits in the queue of its processes: they mark what they begin.
        marks = dict(zip(futures, self._marks(len(jobs)), strict=True))
        left = set(futures)
        while left and time.monotonic() < end + grace:
            done, left = wait(
                left, timeout=max(0.0, min(1.0, end + grace - time.monotonic())), return_when=FIRST_COMPLETED
            )
            running = [futures[future].name for future in futures if future in left and marks[future].exists()]
            self.show.update(done=len(futures) - len(left), running=len(running), trying=", ".join(running[:2]))
            for future in done:
                _refuse(future, futures[future])
        if left:
            self._end_processes(left)
        return [None if future in left else future.result() for future in futures]

    def _end_processes(self, left: set[Future[Any]]) -> None:
        """With all that they started. The executor notices that they are gone, and is then of no more use."""
        for process in list(self._executor._processes.values()):
            kill_process_tree(process)
        wait(left)
        self._executor.shutdown(wait=True)
        self._executor = self._processes()

    def _submit(self, job: Job, end: float) -> Future[Any]:
        self._submitted += 1
        future: Future[Any] = self._executor.submit(_call, job, self._stop, self._mark(self._submitted), end)
        return future

    def _marks(self, count: int) -> list[Path]:
        """Those of the last so many jobs."""
        return [self._mark(number) for number in range(self._submitted - count + 1, self._submitted + 1)]

    def _mark(self, number: int) -> Path:
        return Path(self._folder.name) / f"begun-{number}"


def _refuse(future: Future[Any], job: Job) -> None:
    error = future.exception()
    if error is None:
        return
    if isinstance(error, (UserError, KeyboardInterrupt)):
        raise error
    said = f"{type(error).__name__}: {error}".partition("\n")[0].rstrip(".")
    raise UserError(f"{job.name} failed ({said}): start the same command again.") from error


def _begin(threads: int, parent: int) -> None:
    from critbatch.runtime.device import use_threads

    use_threads(threads)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _call(job: Job, stop: Path, mark: Path, end: float) -> Any:
    if stop.exists():
        raise KeyboardInterrupt
    if time.monotonic() >= end:
        return None
    mark.touch()
    try:
        return job.call(**job.settings)
    except UserError as error:
        if job.may_fail:
            return error
        raise
