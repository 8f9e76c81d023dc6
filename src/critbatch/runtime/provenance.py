"""The provenance of a record: command, machine, seed and duration."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from critbatch.records.core import Machine, Provenance
from critbatch.runtime.host import describe_host

if TYPE_CHECKING:
    import torch


class RunTimer:
    """Times a measurement, from its creation on, and builds its `Provenance` at the end."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self._started = datetime.now(UTC)

    def provenance(self, *, command: str, seed: int, device: torch.device | None) -> Provenance:
        """The provenance so far. Without a device, for commands that do not need torch, the torch version is empty."""
        return Provenance(
            command=command,
            started=self._started.isoformat(timespec="seconds"),
            wall_seconds=time.monotonic() - self.began,
            seed=seed,
            machine=_machine(device),
        )


def _machine(device: torch.device | None) -> Machine:
    if device is None:
        return describe_host()
    from critbatch.runtime.device import describe_machine

    return describe_machine(device)
