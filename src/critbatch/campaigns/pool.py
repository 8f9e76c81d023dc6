"""Processes that do jobs of several kinds, one thread each, and end with the process that started them."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from joblib.externals.loky import ProcessPoolExecutor

from critbatch.errors import UserError
from critbatch.progress import Display

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
        self.show = show
        self._futures: dict[Future[Any], Job] = {}
        self._executor = ProcessPoolExecutor(workers, initializer=_begin, initargs=(threads, os.getpid()))
        self._folder = tempfile.TemporaryDirectory()
        self._stop = Path(self._folder.name) / "stop"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is KeyboardInterrupt:
            self._stop.touch()
            until = time.monotonic() + SECONDS_TO_END
            while any(future.running() for future in self._futures) and time.monotonic() < until:
                time.sleep(0.1)
        self._executor.shutdown(wait=True, kill_workers=kind is not None)
        self._folder.cleanup()

    def do(self, jobs: Sequence[Job], *, stage: str) -> list[Any]:
        """The results of all jobs, in their order; where one may fail, its UserError.

        Raises:
            UserError: of a job that may not fail, or if a process was killed.
        """
        futures = self._futures = {self._executor.submit(_call, job, self._stop): job for job in jobs}
        self.show.update(stage=stage, done=0, total=len(jobs))
        left = set(futures)
        while left:
            done, left = wait(left, timeout=1.0, return_when=FIRST_COMPLETED)
            waiting = [futures[future].name for future in futures if future in left and future.running()]
            self.show.update(done=len(futures) - len(left), running=len(waiting), trying=", ".join(waiting[:2]))
            for future in done:
                _refuse(future, futures[future])
        return [future.result() for future in futures]


def _refuse(future: Future[Any], job: Job) -> None:
    error = future.exception()
    if error is None:
        return
    if isinstance(error, (UserError, KeyboardInterrupt)):
        raise error
    said = f"{type(error).__name__}: {error}".partition("\n")[0].rstrip(".")
    raise UserError(f"{job.name} failed ({said}): start the same command again.") from error


def _begin(threads: int, parent: int) -> None:
    from critbatch.device import use_threads

    use_threads(threads)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _call(job: Job, stop: Path) -> Any:
    if stop.exists():
        raise KeyboardInterrupt
    try:
        return job.call(**job.settings)
    except UserError as error:
        if job.may_fail:
            return error
        raise
