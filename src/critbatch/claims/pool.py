"""A pool of processes for jobs of several kinds, and a cache of measurements in files."""

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

# The cache: each measurement is a file, named after the settings that it depends on.

R = TypeVar("R", bound=Record)


def cached_record(
    folder: Path,
    kind: type[R],
    key_data: dict[str, Any],
    make: Callable[[], R],
    *,
    extend: Callable[[R], R] | None = None,
) -> R:
    """Return the record with this key from the folder, or make and save it.

    Args:
        folder: Folder of the cache.
        kind: Type of the record.
        key_data: All that the record depends on, as JSON data. A file that this version cannot read is replaced.
        make: Makes the record.
        extend: Completes a record from the folder, and returns the same one if it is complete. For records that depend
            on the time available, which the key does not name.

    Raises:
        UserError: if the folder cannot be written.
    """
    name = hashlib.sha256(json.dumps(key_data, sort_keys=True, default=str).encode()).hexdigest()[:12]
    path = writable(folder) / f"{kind.__name__.lower()}-{name}.json"
    if path.is_file():
        record = None
        with suppress(UserError):
            record = kind.from_json(path.read_bytes())
        if record is not None:
            complete = record if extend is None else extend(record)
            if complete != record:
                write_file(path, complete.to_json())
            return complete
    record = make()
    write_file(path, record.to_json())
    return record


SECONDS_TO_STOP = 20.0


@dataclass(frozen=True)
class Job:
    """A call that another process makes.

    Args:
        name: Name in the progress display.
        call: Function to call.
        settings: Its keyword arguments.
        may_fail: A UserError is then the job's result, and does not stop the other jobs.
    """

    name: str
    call: Callable[..., Any]
    settings: dict[str, Any] = field(default_factory=dict)
    may_fail: bool = False


class Pool:
    """A pool of processes. They exit when this process does. At Ctrl-C each one stops where its job can be resumed.

    Args:
        workers: Number of processes.
        threads: Torch threads in each process.
        show: Progress display.
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
        return ProcessPoolExecutor(self._workers, initializer=_start_process, initargs=(self._threads, os.getpid()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is KeyboardInterrupt:
            self._stop.touch()
            until = time.monotonic() + SECONDS_TO_STOP
            while any(not future.done() for future in self._futures) and time.monotonic() < until:
                time.sleep(0.1)
        self._executor.shutdown(wait=True, kill_workers=kind is not None)
        self._folder.cleanup()

    def do(self, jobs: Sequence[Job], *, stage: str, until: float | None = None, grace: float = 0.0) -> list[Any]:
        """Run all jobs, and return their results in order. For a job that may fail, this can be its UserError.

        Args:
            jobs: Jobs to run.
            stage: Name of the stage in the progress display.
            until: Value of `time.monotonic()` after which no job starts. None: no limit. The result of a job that has
                not started or not finished in time is None.
            grace: Seconds after `until` in which running jobs may finish. Then their processes are killed.

        Raises:
            UserError: from a job that may not fail, or if something else killed a process.
        """
        end = math.inf if until is None else until
        self.show.update(stage=stage, done=0, total=len(jobs))
        if time.monotonic() >= end:
            return [None] * len(jobs)
        futures = self._futures = {self._submit(job, end): job for job in jobs}
        # The executor calls a future "running" while it still waits in the processes' queue. Jobs mark their start.
        marks = dict(zip(futures, self._marks(len(jobs)), strict=True))
        pending = set(futures)
        while pending and time.monotonic() < end + grace:
            done, pending = wait(
                pending, timeout=max(0.0, min(1.0, end + grace - time.monotonic())), return_when=FIRST_COMPLETED
            )
            running = [futures[future].name for future in futures if future in pending and marks[future].exists()]
            self.show.update(done=len(futures) - len(pending), running=len(running), trying=", ".join(running[:2]))
            for future in done:
                _raise_failure(future, futures[future])
        if pending:
            self._end_processes(pending)
        return [None if future in pending else future.result() for future in futures]

    def _end_processes(self, pending: set[Future[Any]]) -> None:
        """Kill the processes with their children. The executor is broken after that, so a new one replaces it."""
        for process in list(self._executor._processes.values()):
            kill_process_tree(process)
        wait(pending)
        self._executor.shutdown(wait=True)
        self._executor = self._processes()

    def _submit(self, job: Job, end: float) -> Future[Any]:
        self._submitted += 1
        future: Future[Any] = self._executor.submit(_run_job, job, self._stop, self._mark(self._submitted), end)
        return future

    def _marks(self, count: int) -> list[Path]:
        """Marker files of the last `count` jobs."""
        return [self._mark(number) for number in range(self._submitted - count + 1, self._submitted + 1)]

    def _mark(self, number: int) -> Path:
        return Path(self._folder.name) / f"begun-{number}"


def _raise_failure(future: Future[Any], job: Job) -> None:
    error = future.exception()
    if error is None:
        return
    if isinstance(error, (UserError, KeyboardInterrupt)):
        raise error
    message = f"{type(error).__name__}: {error}".partition("\n")[0].rstrip(".")
    raise UserError(f"{job.name} failed ({message}): start the same command again.") from error


def _start_process(threads: int, parent: int) -> None:
    from critbatch.runtime.device import use_threads

    use_threads(threads)
    threading.Thread(target=_exit_with_parent, args=(parent,), daemon=True).start()


def _exit_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _run_job(job: Job, stop: Path, mark: Path, end: float) -> Any:
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
