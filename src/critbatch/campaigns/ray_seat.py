"""What runs in a Ray actor. It needs no torch: that is the worker's."""

from __future__ import annotations

from typing import Any

from critbatch.campaigns.worker_process import End, WorkerProcess


class Seat:
    """An actor: it holds the resources of a worker, and the worker itself as a process of its own."""

    def __init__(self) -> None:
        self.worker: WorkerProcess | None = None

    def begin(self, parcel: bytes, settings: dict[str, Any]) -> str:
        """Returns the name of the worker."""
        self.worker = WorkerProcess(parcel, **settings)
        return self.worker.name

    def ended(self) -> End | None:
        assert self.worker is not None
        return self.worker.ended()

    def stop(self) -> None:
        if self.worker is not None:
            self.worker.stop()
