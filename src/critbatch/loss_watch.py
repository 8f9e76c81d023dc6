"""Whether the losses of a run are still numbers. Not asked at every step, since the device is waited for."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from critbatch.runtime.distributed import Shard, sum_over_processes

STEPS_BETWEEN_CHECKS = 64


class LossWatch:
    """Collects the losses of steps, each process its own part of them."""

    def __init__(self, shard: Shard) -> None:
        self.shard = shard
        self._losses: list[Tensor] = []

    def add(self, losses: Iterable[Tensor]) -> None:
        self._losses.extend(losses)

    @property
    def is_due(self) -> bool:
        return len(self._losses) >= STEPS_BETWEEN_CHECKS

    def steps_since_the_first_bad_one(self) -> int | None:
        """Of the losses since the last call, that of no finite number counted from the end, 0 for the last; or None."""
        if not self._losses:
            return None
        losses = torch.stack(self._losses)
        self._losses = []
        if self.shard.world_size > 1:
            sum_over_processes(losses)
        fine = losses.isfinite()
        return None if bool(fine.all()) else len(fine) - 1 - int(fine.int().argmin())
