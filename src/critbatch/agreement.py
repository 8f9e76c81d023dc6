"""What processes must not decide each for itself: how late it is, and whether to stop."""

from __future__ import annotations

import torch

from critbatch.distributed import Shard, largest_over_processes

SECONDS_BETWEEN_EXCHANGES = 0.1
MOST_STEPS_BETWEEN_EXCHANGES = 1000


class Agreement:
    """The clock of a run and the request to stop it, the same in all processes at each step.

    They exchange them now and then, at steps that all know beforehand. Clocks differ, and so do the moments at which
    Ctrl-C arrives: a process that acted on its own would leave the others waiting for it.
    """

    def __init__(self, shard: Shard, device: torch.device) -> None:
        self.shard, self.device = shard, device
        self.seconds, self.stop = 0.0, False
        self._step, self._next = 0, 0

    def reach(self, *, step: int, seconds: float, asked: bool, always: bool = False) -> None:
        """Take over what this process sees, if an exchange is due, or `always`.

        Args:
            step: of the run.
            seconds: of training by this process's clock; of all the largest counts.
            asked: whether this process was asked to stop; one is enough.
        """
        if self.shard.world_size == 1:
            self.seconds, self.stop = seconds, asked
            return
        if step < self._next and not always:
            return
        before = self.seconds
        self.seconds, stop = largest_over_processes([seconds, float(asked)], self.device)
        self.stop = bool(stop)
        pace = (self.seconds - before) / max(1, step - self._step)
        gap = SECONDS_BETWEEN_EXCHANGES / pace if pace > 0 else 1
        self._step, self._next = step, step + int(min(max(gap, 1), MOST_STEPS_BETWEEN_EXCHANGES))
