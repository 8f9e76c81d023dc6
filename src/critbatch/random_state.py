"""The random state that dropout and the like draw from: a run has its own, and the caller's stays as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor


class RandomState:
    """A random state that is put in place for a while.

    Args:
        seed: where it begins.
        rank: of the process: each draws numbers of its own.
        device: whose generator belongs to it, beside that of the CPU.
    """

    def __init__(self, seed: int, device: torch.device, *, rank: int = 0) -> None:
        self._devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=self._devices):
            torch.manual_seed(seed if rank == 0 else int(np.random.SeedSequence((seed, rank)).generate_state(1)[0]))
            self.states = self._read()

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within, draws come from this state and move it; outside, the caller's state is untouched."""
        with torch.random.fork_rng(devices=self._devices):
            torch.set_rng_state(self.states[0])
            for device, state in zip(self._devices, self.states[1:], strict=True):
                torch.cuda.set_rng_state(state, device)
            try:
                yield
            finally:
                self.states = self._read()

    def _read(self) -> list[Tensor]:
        return [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in self._devices)]
