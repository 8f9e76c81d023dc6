"""Several workers: started, watched, started again when they are killed, stopped together."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Protocol

import torch

from critbatch.arguments import check_count, process_limit
from critbatch.errors import UserError
from critbatch.records.core import Outcome, Run
from critbatch.runtime.process import Interruption
from critbatch.studies.liveness import host, new_name
from critbatch.studies.run_key import RunKey
from critbatch.studies.store import Store
from critbatch.studies.worker import WorkerJob
from critbatch.studies.worker_process import USER_ERROR

# Whether the system has killed a process for want of memory, and the record of a run that ended so.

# The control group's own count where there is one, else the whole machine's.
COUNTERS = (Path("/sys/fs/cgroup/memory.events"), Path("/proc/vmstat"))


def memory_kills() -> int:
    """How many processes the system has killed for want of memory by now; 0 where it does not say."""
    for counter in COUNTERS:
        if counter.is_file():
            for line in counter.read_text(encoding="utf-8").splitlines():
                name, _, number = line.partition(" ")
                if name == "oom_kill":
                    return int(number)
    return 0


def oom_run(order: WorkerJob, key: RunKey) -> Run:
    """The record of a run whose process was killed for want of memory: no more is known of it."""
    question = order.question
    return Run(
        task=question.task,
        recipe=question.recipe,
        batch_size=key.batch_size,
        micro_batch_size=key.batch_size,
        learning_rate=key.learning_rate,
        seed=key.seed,
        target=question.target if question.stops_at_target else None,
        outcome=Outcome.OUT_OF_MEMORY,
        crossing=None,
        steps=0,
        examples=0,
        epochs=0.0,
        seconds=0.0,
        evaluation_seconds=0.0,
        curve=(),
        options={**question.fixed_options, **dict(key.options)},
    )


# A worker seen from who started it on the same machine: a sweep, or a Ray actor. It needs no torch.


@dataclass(frozen=True)
class WorkerExit:
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
        self._end: WorkerExit | None = None
        few = {"OMP_NUM_THREADS": str(threads), "TORCHINDUCTOR_COMPILE_THREADS": "1"} if threads else {}
        with self._opened_log() as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "critbatch.studies.worker_process"],
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

    def ended(self) -> WorkerExit | None:
        """None while it is at work."""
        code = self.process.poll()
        if self._end is None and code is not None:
            said, log = self._said() or f"exit code {code}", f"{self.log} on {host()}"
            self._close()
            if code == 0:
                self.log.unlink(missing_ok=True)
            killed_for_memory = -code == signal.SIGKILL and memory_kills() > self._kills
            self._end = WorkerExit(self.name, code=code, said=said, log=log, for_memory=killed_for_memory)
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


SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_TO_STOP = 60.0
# Where there is a budget: of what is left of it when the workers start.
SHARE_TO_STOP = 0.05
# A run that ends its worker so often would do it for ever.
MOST_DEATHS = 10


class WorkerHandle(Protocol):
    """A worker, wherever it is. `WorkerProcess` says what its methods do."""

    number: int

    def ended(self) -> WorkerExit | None: ...

    def waits(self) -> bool: ...

    def stop(self) -> None: ...

    def kill(self) -> None: ...


class WorkerSupervisor:
    """So many workers of this machine for one order.

    Args:
        store: open in this process, to see how far they are.
        pause_at: a value of `time.monotonic()` at which they stop, to go on another time.
        tell: called now and then, shows how far they are and returns how many runs are left.
    """

    def __init__(
        self, order: WorkerJob, count: int, store: Store, *, pause_at: float | None, tell: Callable[[], int]
    ) -> None:
        check_count(f"workers={count}", count, process_limit())
        self.order, self.count, self.store = order, count, store
        self.pause_at, self.tell = pause_at, tell
        self.deaths: Counter[RunKey] = Counter()
        # Workers have the same deadline, so they are at their ends when it comes, but for one that is evaluating.
        self.seconds_to_stop = SECONDS_TO_STOP
        if pause_at is not None:
            self.seconds_to_stop = min(SECONDS_TO_STOP, max(2.0, SHARE_TO_STOP * (pause_at - time.monotonic())))

    def work(self) -> None:
        """Until nothing is left, Ctrl-C, or `pause_at`. A worker that is killed is replaced.

        Raises:
            UserError: if a worker fails; its sentence says where what it printed is.
        """
        members: list[WorkerHandle] = []
        with Interruption(self.pause_at) as stop:
            try:
                members += [self.start(number) for number in range(self.count)]
                while members and not stop.asked:
                    time.sleep(SECONDS_BETWEEN_LOOKS)
                    left = self.tell()
                    members[:] = [new for member in members if (new := self._look_after(member, left)) is not None]
            finally:
                _stop(members, self.seconds_to_stop)
                self.tell()

    def start(self, number: int) -> WorkerHandle:
        """A new worker, the one of this number."""
        order = replace(self.order, device=_device_of(self.order.device, number))
        return WorkerProcess(
            order.packed(),
            seconds=self.seconds_left(),
            folder=order.folder,
            number=number,
            threads=order.threads,
            place=Path.cwd(),
            path=sys.path,
        )

    def seconds_left(self) -> float | None:
        return None if self.pause_at is None else max(0.0, self.pause_at - time.monotonic())

    def _look_after(self, member: WorkerHandle, left: int) -> WorkerHandle | None:
        """The worker itself, the one in its place, or None if it has done its part."""
        end = member.ended()
        if end is None:
            if left or not member.waits():
                return member
            member.kill()
            return None
        if not end.lost and end.code == 0:
            return None
        if end.code > 0:
            raise UserError(_failure(end))
        claim = self.store.making(end.name)
        if claim is not None and end.for_memory:
            taken = self.store.claim(lambda stock: [claim.key])
            if taken is not None:
                self.store.keep(taken, oom_run(self.order, claim.key))
        elif claim is not None and not end.lost:
            self._count_death(claim.key, -end.code)
        return self.start(member.number) if left else None

    def _count_death(self, key: RunKey, number: int) -> None:
        self.deaths[key] += 1
        if self.deaths[key] >= MOST_DEATHS:
            raise UserError(
                f"The run of {key} has ended its worker {MOST_DEATHS} times by {signal.Signals(number).name}: leave "
                "it out, or run `critbatch train` with its settings to see why."
            )


def _failure(end: WorkerExit) -> str:
    if end.code == USER_ERROR:
        return end.said
    return f"A worker has failed ({end.said}): mend that and give the command again. All it said is in {end.log}."


def _stop(members: list[WorkerHandle], seconds: float) -> None:
    """Let all write their checkpoints and end; kill one that does not."""
    for member in members:
        member.stop()
    limit = time.monotonic() + seconds
    try:
        while time.monotonic() < limit and any(member.ended() is None and not member.waits() for member in members):
            time.sleep(0.02)
    except KeyboardInterrupt:
        pass
    for member in members:
        member.kill()


def _device_of(name: str, number: int) -> str:
    """Of several accelerators of one kind, each worker takes the next."""
    kind, _, index = name.partition(":")
    if kind == "cpu" or index or not torch.accelerator.is_available():
        return name
    return f"{kind}:{number % torch.accelerator.device_count()}"
