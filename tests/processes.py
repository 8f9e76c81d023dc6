"""Several real processes on gloo, each of which runs the same lines."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import socket
import sys
import traceback
from pathlib import Path
from tempfile import mkstemp

# Importing torch takes seconds. A server does it once, and each process is a fork of it that has run nothing yet.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "torch.distributed",
        "critbatch.training.trainer",
        "critbatch.training.data_parallel",
        "critbatch.gradient_noise.monitor",
    ]
)


class Worker:
    """A process that has been started, with what `subprocess.Popen` has of it."""

    def __init__(self, lines: str, out: Path, settings: dict[str, str]) -> None:
        handle, name = mkstemp(dir=out, suffix=".stderr")
        os.close(handle)
        self._stderr = Path(name)
        self._process = CONTEXT.Process(target=_main, args=(lines, str(out), settings, name))
        self._process.start()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def stderr(self, *, timeout: float) -> str:
        """What it wrote to standard error, when it has ended."""
        self._process.join(timeout)
        assert self._process.exitcode is not None, f"still running after {timeout} s: {self._stderr.read_text()}"
        return self._stderr.read_text()


def _main(lines: str, out: str, settings: dict[str, str], stderr: str) -> None:
    os.environ.clear()
    os.environ.update(settings)
    os.dup2(os.open(stderr, os.O_WRONLY | os.O_APPEND), 2)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    try:
        import torch

        torch.set_num_threads(1)
        torch.distributed.init_process_group("gloo")
        ranks = {"rank": int(settings["RANK"]), "world": int(settings["WORLD_SIZE"])}
        names = {"__name__": "lines", "os": os, "sys": sys, "Path": Path, "torch": torch, "out": Path(out), **ranks}
        exec(compile(lines, "<lines>", "exec"), names)
        names.clear()
        gc.collect()
        torch.distributed.destroy_process_group()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    # Leaves at once: threads of gloo that are alive still may abort a process on its way out.
    os._exit(0)


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def start(lines: str, out: Path, *, count: int = 2) -> list[Worker]:
    """Start `count` processes with `rank`, `world` and the folder `out` at hand."""
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "WORLD_SIZE": str(count)}
    settings = {**os.environ, "OMP_NUM_THREADS": "1", **meeting}
    return [Worker(lines, out, {**settings, "RANK": str(rank)}) for rank in range(count)]


def ends(workers: list[Worker]) -> list[str]:
    """What each said on standard error, when all have ended."""
    return [worker.stderr(timeout=300) for worker in workers]


def run(lines: str, out: Path, *, count: int = 2) -> None:
    """Start them, and hold that all end well."""
    workers = start(lines, out, count=count)
    said = ends(workers)
    assert [worker.returncode for worker in workers] == [0] * count, "\n".join(said)
