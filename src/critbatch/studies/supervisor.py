"""Supervises several workers: starts them, replaces those that are killed, and stops them together."""

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

# The counter of the control group if there is one, else that of the machine.
COUNTERS = (Path("/sys/fs/cgroup/memory.events"), Path("/proc/vmstat"))


def memory_kills() -> int:
    """How many processes the system has killed because memory ran out; 0 if there is no counter."""
    for counter in COUNTERS:
        if counter.is_file():
            for line in counter.read_text(encoding="utf-8").splitlines():
                name, _, number = line.partition(" ")
                if name == "oom_kill":
                    return int(number)
    return 0


def oom_run(job: WorkerJob, key: RunKey) -> Run:
    """The record of a run whose process was killed because memory ran out."""
    question = job.question
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


@dataclass(frozen=True)
class WorkerExit:
    """How a worker ended.

    Args:
        name: Its name in the store; empty if it never started.
        code: Exit code of the process; negative for a signal.
        message: What went wrong, in one sentence or line.
        log: Where its output is.
        out_of_memory: The system killed a process meanwhile because memory ran out.
        lost: Its machine is gone, so its exit code is unknown.
    """

    name: str
    code: int = 0
    message: str = ""
    log: str = ""
    out_of_memory: bool = False
    lost: bool = False


class WorkerProcess:
    """A process that makes runs until none is left, `stop`, or the end of the parent process.

    Args:
        job: The job, from `WorkerJob.serialized`.
        seconds: Time limit; None for none.
        folder: Folder of the study.
        number: Number of the worker, from 0.
        threads: Threads of torch.
        working_folder: Working directory of the caller, used if it exists on this machine.
        module_path: `sys.path` of the caller; its entries are used if they exist on this machine.

    Raises:
        UserError: if its log cannot be written.
    """

    def __init__(
        self,
        job: bytes,
        *,
        seconds: float | None,
        folder: Path,
        number: int,
        threads: int | None,
        working_folder: Path,
        module_path: list[str],
    ) -> None:
        self.name, self.number = new_name(), number
        self.log = folder / "workers" / f"worker-{number + 1}.log"
        self._kills = memory_kills()
        self._exit: WorkerExit | None = None
        thread_limits = {"OMP_NUM_THREADS": str(threads), "TORCHINDUCTOR_COMPILE_THREADS": "1"} if threads else {}
        with self._open_log() as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "critbatch.studies.worker_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **thread_limits},
                cwd=working_folder if working_folder.is_dir() else None,
                start_new_session=True,  # Ctrl-C comes from here, once
            )
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended already: `ended` says how
            self.process.stdin.write(pickle.dumps((self.name, seconds, module_path, job)))
            self.process.stdin.flush()

    def poll_exit(self) -> WorkerExit | None:
        """How the worker ended; None while it runs."""
        code = self.process.poll()
        if self._exit is None and code is not None:
            message, log = self._read_message() or f"exit code {code}", f"{self.log} on {host()}"
            self._close()
            if code == 0:
                self.log.unlink(missing_ok=True)
            killed_for_memory = -code == signal.SIGKILL and memory_kills() > self._kills
            self._exit = WorkerExit(self.name, code=code, message=message, log=log, out_of_memory=killed_for_memory)
        return self._exit

    def _open_log(self) -> BinaryIO:
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            return self.log.open("ab")
        except OSError as error:
            raise UserError(
                f"{self.log} cannot be written ({error.strerror}): make room there, or give another --out."
            ) from error

    def _read_message(self) -> str:
        assert self.process.stdout is not None
        # A process of the worker's own may have outlived it, and hold the other end.
        os.set_blocking(self.process.stdout.fileno(), False)
        return (self.process.stdout.read() or b"").decode(errors="replace").strip()

    def is_waiting(self) -> bool:
        """Whether it waits for resources."""
        return False

    def stop(self) -> None:
        """Let it write its checkpoint and end."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """Kill it at once."""
        self.process.kill()
        self.process.wait()
        self._close()

    def _close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()


SECONDS_BETWEEN_CHECKS = 0.5
SECONDS_TO_STOP = 60.0
# With a budget: the share of the remaining time that is kept for stopping.
SHARE_TO_STOP = 0.05
# A run that has killed its worker this often would kill it again.
MAX_DEATHS = 10


class WorkerHandle(Protocol):
    """A worker on any machine. `WorkerProcess` documents the methods."""

    number: int

    def poll_exit(self) -> WorkerExit | None: ...

    def is_waiting(self) -> bool: ...

    def stop(self) -> None: ...

    def kill(self) -> None: ...


class WorkerSupervisor:
    """Supervises the workers of one study on this machine.

    Args:
        store: The store, open in this process.
        pause_at: Value of `time.monotonic()` at which the workers stop.
        report_progress: Called regularly; shows the progress and returns the number of runs left.
    """

    def __init__(
        self, job: WorkerJob, count: int, store: Store, *, pause_at: float | None, report_progress: Callable[[], int]
    ) -> None:
        check_count(f"workers={count}", count, process_limit())
        self.job, self.count, self.store = job, count, store
        self.pause_at, self.report_progress = pause_at, report_progress
        self.deaths: Counter[RunKey] = Counter()
        # Workers stop at the same deadline by themselves, unless one is evaluating.
        self.seconds_to_stop = SECONDS_TO_STOP
        if pause_at is not None:
            self.seconds_to_stop = min(SECONDS_TO_STOP, max(2.0, SHARE_TO_STOP * (pause_at - time.monotonic())))

    def work(self) -> None:
        """Run until no run is left, Ctrl-C, or `pause_at`. A worker that is killed is replaced.

        Raises:
            UserError: if a worker fails; the message names the file with its output.
        """
        workers: list[WorkerHandle] = []
        with Interruption(self.pause_at) as stop:
            try:
                workers += [self.start(number) for number in range(self.count)]
                while workers and not stop.asked:
                    time.sleep(SECONDS_BETWEEN_CHECKS)
                    runs_left = self.report_progress()
                    workers[:] = [
                        new for worker in workers if (new := self._replace_if_ended(worker, runs_left)) is not None
                    ]
            finally:
                _stop_all(workers, self.seconds_to_stop)
                self.report_progress()

    def start(self, number: int) -> WorkerHandle:
        """Start the worker of this number."""
        job = replace(self.job, device=_device_of(self.job.device, number))
        return WorkerProcess(
            job.serialized(),
            seconds=self.seconds_left(),
            folder=job.folder,
            number=number,
            threads=job.threads,
            working_folder=Path.cwd(),
            module_path=sys.path,
        )

    def seconds_left(self) -> float | None:
        return None if self.pause_at is None else max(0.0, self.pause_at - time.monotonic())

    def _replace_if_ended(self, worker: WorkerHandle, runs_left: int) -> WorkerHandle | None:
        """The worker itself, its replacement, or None if it has finished."""
        worker_exit = worker.poll_exit()
        if worker_exit is None:
            if runs_left or not worker.is_waiting():
                return worker
            worker.kill()
            return None
        if not worker_exit.lost and worker_exit.code == 0:
            return None
        if worker_exit.code > 0:
            raise UserError(_failure(worker_exit))
        lease = self.store.lease_of(worker_exit.name)
        if lease is not None and worker_exit.out_of_memory:
            own_lease = self.store.claim(lambda state: [lease.key])
            if own_lease is not None:
                self.store.keep(own_lease, oom_run(self.job, lease.key))
        elif lease is not None and not worker_exit.lost:
            self._count_death(lease.key, -worker_exit.code)
        return self.start(worker.number) if runs_left else None

    def _count_death(self, key: RunKey, number: int) -> None:
        self.deaths[key] += 1
        if self.deaths[key] >= MAX_DEATHS:
            raise UserError(
                f"The run of {key} has ended its worker {MAX_DEATHS} times by {signal.Signals(number).name}: leave "
                "it out, or run `critbatch train` with its settings to see why."
            )


def _failure(worker_exit: WorkerExit) -> str:
    if worker_exit.code == USER_ERROR:
        return worker_exit.message
    return (
        f"A worker has failed ({worker_exit.message}): fix that and give the command again. Its output is in "
        f"{worker_exit.log}."
    )


def _stop_all(workers: list[WorkerHandle], seconds: float) -> None:
    """Let all workers write their checkpoints and end; kill those that do not."""
    for worker in workers:
        worker.stop()
    limit = time.monotonic() + seconds
    try:
        while time.monotonic() < limit and any(
            worker.poll_exit() is None and not worker.is_waiting() for worker in workers
        ):
            time.sleep(0.02)
    except KeyboardInterrupt:
        pass
    for worker in workers:
        worker.kill()


def _device_of(name: str, number: int) -> str:
    """The device of a worker: with several accelerators of one kind, each worker takes the next."""
    kind, _, index = name.partition(":")
    if kind == "cpu" or index or not torch.accelerator.is_available():
        return name
    return f"{kind}:{number % torch.accelerator.device_count()}"
