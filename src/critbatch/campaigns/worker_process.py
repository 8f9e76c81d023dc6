"""A worker seen from who started it on the same machine: a sweep, or a Ray actor. It needs no torch."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from critbatch.campaigns.memory_kills import memory_kills
from critbatch.campaigns.presence import host, new_name
from critbatch.errors import UserError


@dataclass(frozen=True)
class End:
    """How a worker ended.

    Args:
        name: by which the store knows it; empty where it never began.
        code: of the process; negative for a signal.
        said: what went wrong, in one sentence or line.
        log: where all that it printed is.
        for_memory: the system killed a process for want of memory meanwhile.
        lost: nobody knows its code: it ended with its machine.
    """

    name: str
    code: int = 0
    said: str = ""
    log: str = ""
    for_memory: bool = False
    lost: bool = False


class WorkerProcess:
    """A process that makes runs until nothing is left, `stop`, or the end of the process that holds this object.

    Args:
        order: as `Order.packed` gives it.
        seconds: until it stops by itself, to go on another time; None for never.
        folder: of the study.
        number: which of the workers it is, from 0.
        threads: of torch.
        place: the working directory of who gave the order, and `path` where it finds modules: used where they are on
            this machine too.

    Raises:
        UserError: if its log cannot be written.
    """

    def __init__(
        self,
        order: bytes,
        *,
        seconds: float | None,
        folder: Path,
        number: int,
        threads: int | None,
        place: Path,
        path: list[str],
    ) -> None:
        self.name, self.number = new_name(), number
        self.log = folder / "workers" / f"worker-{number + 1}.log"
        self._kills = memory_kills()
        self._end: End | None = None
        few = {"OMP_NUM_THREADS": str(threads), "TORCHINDUCTOR_COMPILE_THREADS": "1"} if threads else {}
        with self._opened_log() as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "critbatch.campaigns.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **few},
                cwd=place if place.is_dir() else None,
                start_new_session=True,  # Ctrl-C comes from here, once
            )
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended already: `ended` says how
            self.process.stdin.write(pickle.dumps((self.name, seconds, path, order)))
            self.process.stdin.flush()

    def ended(self) -> End | None:
        """None while it is at work."""
        code = self.process.poll()
        if self._end is None and code is not None:
            said, log = self._said() or f"exit code {code}", f"{self.log} on {host()}"
            self._close()
            if code == 0:
                self.log.unlink(missing_ok=True)
            killed_for_memory = -code == signal.SIGKILL and memory_kills() > self._kills
            self._end = End(self.name, code=code, said=said, log=log, for_memory=killed_for_memory)
        return self._end

    def _opened_log(self) -> BinaryIO:
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            return self.log.open("ab")
        except OSError as error:
            raise UserError(
                f"{self.log} cannot be written ({error.strerror}): make room there, or give another --out."
            ) from error

    def _said(self) -> str:
        assert self.process.stdout is not None
        # A process of the worker's own may have outlived it, and hold the other end.
        os.set_blocking(self.process.stdout.fileno(), False)
        return (self.process.stdout.read() or b"").decode(errors="replace").strip()

    def waits(self) -> bool:
        """Whether it has not begun for want of room."""
        return False

    def stop(self) -> None:
        """Let it write its checkpoint and end."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """End it, whatever it is at."""
        self.process.kill()
        self.process.wait()
        self._close()

    def _close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
