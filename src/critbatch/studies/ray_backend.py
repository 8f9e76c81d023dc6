"""Workers on a Ray cluster: an actor reserves cores and GPUs for each, and it is replaced if its node dies."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from critbatch.errors import UserError
from critbatch.studies.store import Store
from critbatch.studies.supervisor import WorkerExit, WorkerHandle, WorkerProcess, WorkerSupervisor
from critbatch.studies.worker import WorkerJob

FORMS = "auto, local, host:port, or ray://host:port"
# Ray itself would wait for minutes.
SECONDS_TO_ANSWER = 10.0


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """The module `ray`, connected to the cluster within `with`. An existing connection is used and left open.

    Raises:
        UserError: if Ray is not installed, or the cluster does not answer.
    """
    try:
        import ray
    except ImportError as error:
        raise UserError(f"--ray needs the package ray ({error}): pip install 'critbatch[ray]'.") from error
    if ray.is_initialized():
        yield ray
        return
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        settings["include_dashboard"] = False
    else:
        _check_port(address)
    try:
        ray.init(address=address, **settings)
    except (ValueError, RuntimeError, OSError, ImportError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise UserError(
            f"The Ray cluster {address!r} cannot be used ({first}): start one with `ray start --head`, and give its "
            f"address as {FORMS}."
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def refuse_if_too_small(ray: Any, address: str, *, cores: float, gpus: float) -> None:
    """Raise a UserError if no node of the cluster is large enough for one worker, even when idle."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(node.get("CPU", 0.0) >= cores and node.get("GPU", 0.0) >= gpus for node in nodes):
        sizes = "; ".join(f"{node.get('CPU', 0.0):g} and {node.get('GPU', 0.0):g}" for node in nodes)
        raise UserError(
            f"A worker wants {cores:g} cores and {gpus:g} GPUs of one node of the Ray cluster {address!r}, whose nodes "
            f"have {sizes}: ask for less (--threads, --gpus-per-worker), or start a node."
        )


def _check_port(address: str) -> None:
    """Raise a UserError if nothing listens at `host:port`."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=SECONDS_TO_ANSWER).close()
    except OSError as error:
        raise UserError(
            f"The Ray cluster {address!r} does not answer ({error.strerror or error}): start one with `ray start "
            f"--head`, and give its address as {FORMS}."
        ) from error


class WorkerActor:
    """A Ray actor that reserves the resources of a worker and runs the worker in a separate process."""

    def __init__(self) -> None:
        self.worker: WorkerProcess | None = None

    def start_worker(self, job_bytes: bytes, settings: dict[str, Any]) -> str:
        """Start the worker. Returns its name."""
        self.worker = WorkerProcess(job_bytes, **settings)
        return self.worker.name

    def poll_exit(self) -> WorkerExit | None:
        assert self.worker is not None
        return self.worker.poll_exit()

    def stop(self) -> None:
        if self.worker is not None:
            self.worker.stop()


class RaySupervisor(WorkerSupervisor):
    """Supervises workers on a Ray cluster. Workers for which there is no room wait.

    The folder and the database of the study must have the same path and URL on all nodes.

    Args:
        address: Address of the cluster: "auto", "local", `host:port` or `ray://host:port`.
        gpus: GPUs of each worker, also a fraction. Default: 1 if the device of the job is CUDA, else 0.
        others: As for `WorkerSupervisor`.
    """

    def __init__(
        self,
        job: WorkerJob,
        count: int,
        store: Store,
        *,
        pause_at: float | None,
        report_progress: Callable[[], int],
        address: str,
        gpus: float | None,
    ) -> None:
        job = replace(job, folder=job.folder.absolute())
        super().__init__(job, count, store, pause_at=pause_at, report_progress=report_progress)
        self.address = address
        self.cores = float(job.threads or 1)
        self.gpus = gpus if gpus is not None else float(job.device.startswith("cuda"))
        self._job_ref: Any = None

    def work(self) -> None:
        """As in `WorkerSupervisor`.

        Raises:
            UserError: as in `WorkerSupervisor`; and if Ray is not installed, the cluster does not answer, or no node of
                it is large enough for one worker.
        """
        job_bytes = self.job.serialized()
        with connected(self.address) as ray:
            refuse_if_too_small(ray, self.address, cores=self.cores, gpus=self.gpus)
            self._job_ref = ray.put(job_bytes)
            super().work()

    def start(self, number: int) -> WorkerHandle:
        settings = {
            "seconds": self.seconds_left(),
            "folder": self.job.folder,
            "number": number,
            "threads": self.job.threads,
            "working_folder": Path.cwd(),
            "module_path": sys.path,
        }
        return RayWorkerHandle(number, self._job_ref, settings, cores=self.cores, gpus=self.gpus)


class RayWorkerHandle:
    """A worker on a node of the cluster. Calls to it never block, since its node may be gone."""

    def __init__(self, number: int, job_bytes: Any, settings: dict[str, Any], *, cores: float, gpus: float) -> None:
        import ray

        self.number, self.name = number, ""
        self._exit: WorkerExit | None = None
        remote_actor: Any = ray.remote(WorkerActor)
        self._actor = remote_actor.options(num_cpus=cores, num_gpus=gpus).remote()
        self._answer = self._actor.start_worker.remote(job_bytes, settings)

    def poll_exit(self) -> WorkerExit | None:
        import ray

        if self._exit is None and ray.wait([self._answer], timeout=0)[0]:
            answer = self._read_answer()
            if isinstance(answer, str):
                self.name = answer
            elif answer is not None:
                self._exit = answer
                self.kill()
            if self._exit is None:
                self._answer = self._actor.poll_exit.remote()
        return self._exit

    def is_waiting(self) -> bool:
        return not self.name and self._exit is None

    def stop(self) -> None:
        if self._exit is None and self.name:
            self._actor.stop.remote()

    def kill(self) -> None:
        import ray

        ray.kill(self._actor)

    def _read_answer(self) -> str | WorkerExit | None:
        import ray
        from ray.exceptions import ActorUnavailableError, RayActorError, RayError

        try:
            answer: str | WorkerExit | None = ray.get(self._answer)
        except ActorUnavailableError:
            return None
        except RayActorError as error:
            if not self.name:
                raise UserError(f"Ray could not start a worker ({_reason(error)}): fix that on its node.") from error
            return WorkerExit(self.name, lost=True)
        except RayError as error:
            cause = getattr(error, "cause", None)
            raise UserError(f"A worker could not begin ({_reason(cause or error)}): fix that on its node.") from error
        return answer


def _reason(error: BaseException) -> str:
    """The last line of the message, which is the exception; the lines before it are the traceback."""
    return ([line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__])[-1]
