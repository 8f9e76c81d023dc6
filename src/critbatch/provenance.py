"""How to get a record again: the command, the machine, the seed, and how long it took."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import torch

from critbatch.device import describe_machine
from critbatch.records import Provenance


class Stopwatch:
    """Started with a measurement, it makes its `Provenance` at the end."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self._started = datetime.now(UTC)

    def provenance(self, *, command: str, seed: int, device: torch.device) -> Provenance:
        return Provenance(
            command=command,
            started=self._started.isoformat(timespec="seconds"),
            wall_seconds=time.monotonic() - self.began,
            seed=seed,
            machine=describe_machine(device),
        )
