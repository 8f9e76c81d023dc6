"""How late it is in a run, and whether to stop: what processes must not decide each for itself."""

from __future__ import annotations

import time

import torch

from critbatch.runtime.distributed import Shard, largest_over_processes

SECONDS_BETWEEN_EXCHANGES = 0.1
MOST_STEPS_BETWEEN_EXCHANGES = 1000


class RunClock:
    """The seconds of training and the request to stop, the same in all processes at each step.

    They exchange them now and then, at steps that all know beforehand. Clocks differ, and so do the moments at which
    Ctrl-C arrives: a process that acted on its own would leave the others waiting for it.
    """

    def __init__(self, shard: Shard, device: torch.device) -> None:
        self.shard, self.device = shard, device
        self.seconds, self.stop = 0.0, False
        self._started: float | None = None
        self._before = 0.0
        self._step, self._next = 0, 0

    def start(self) -> None:
        self._started, self._before = time.perf_counter(), self.seconds

    def pause(self) -> None:
        self._started = None

    def look(self, *, step: int, asked: bool, always: bool = False) -> float:
        """The seconds of training so far; of the slowest process, as of the last exchange.

        Args:
            step: of the run.
            asked: whether this process was asked to stop; one is enough.
            always: exchange now, whether it is due or not.
        """
        if step < self._step:  # copies are trained one after the other, each from the same step on
            self._step = self._next = step
        seconds = self._before + time.perf_counter() - self._started if self._started is not None else self.seconds
        if self.shard.world_size == 1:
            self.seconds, self.stop = seconds, asked
        elif always or step >= self._next:
            before = self.seconds
            self.seconds, stop = largest_over_processes([seconds, float(asked)], self.device)
            self.stop = bool(stop)
            pace = (self.seconds - before) / max(1, step - self._step)
            gap = SECONDS_BETWEEN_EXCHANGES / pace if pace > 0 else 1
            self._step, self._next = step, step + int(min(max(gap, 1), MOST_STEPS_BETWEEN_EXCHANGES))
        return self.seconds
