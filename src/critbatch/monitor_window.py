"""The last steps that a `Monitor` saw: signal and noise of each, its batch size and its seconds."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from critbatch.errors import UserError
from critbatch.gradient_noise import average_pairs, separate
from critbatch.monitor_hooks import Later
from critbatch.records import NoiseScale

STEPS_AT_ONCE = 32


class Waiting(NamedTuple):
    """A step whose numbers may still be on their way from a device.

    Args:
        seen: its small gradients.
        big_norm2: of the whole batch's gradient, shape (rows, weights).
        small_scale: what the small gradients were multiplied with.
        big_scale: what the batch's gradient was.
        seconds: since the update before; None for the first, or where nobody asked.
    """

    seen: Later
    big_norm2: Tensor
    small_scale: float
    big_scale: float
    seconds: float | None


class Window:
    """The last steps, of which each is settled some steps later, many at once.

    Args:
        length: how many steps it holds.
        examples: N, what the batches are drawn from without replacement.
    """

    def __init__(self, length: int, examples: float) -> None:
        self.examples, self.skipped = examples, 0
        self.pairs: deque[NDArray[np.float64]] = deque(maxlen=length)  # each (noise or signal, rows, weights)
        self.times: deque[tuple[int, float | None]] = deque(maxlen=length)  # batch size and seconds of each step
        self._waiting: list[Waiting] = []

    def add(self, step: Waiting) -> None:
        if len(self._waiting) == STEPS_AT_ONCE:
            self.settle()
        self._waiting.append(step)

    def settle(self) -> None:
        """Turn what the last steps showed into signal and noise, all at once: no step waits for a device."""
        waiting, self._waiting = self._waiting, []
        for step in waiting:
            norms2, small, big = step.seen()
            # A few numbers: arrays take a tenth of the time that tensors do.
            small_norm2 = norms2.detach().cpu().double().numpy() / step.small_scale**2
            big_norm2 = step.big_norm2.detach().cpu().double().numpy() / step.big_scale**2
            with np.errstate(invalid="ignore"):  # gradients may have overflowed
                pair = np.stack(separate(small_norm2, big_norm2, small=small, big=big, examples=self.examples))
            if np.isfinite(pair).all():
                self.pairs.append(pair)
            else:
                self.skipped += 1
            self.times.append((round(big), step.seconds))

    @property
    def batch_size(self) -> int | None:
        """That of most steps: the last batch of an epoch may be short."""
        return Counter(size for size, _ in self.times).most_common(1)[0][0] if self.times else None

    @property
    def timed(self) -> list[tuple[int, float]]:
        return [(size, seconds) for size, seconds in self.times if seconds is not None]

    def noise_scale(self, *, row: int = 0, places: list[int] | None = None) -> NoiseScale:
        """Over the steps that have this row; of these weights, or of all."""
        pairs = [pair[:, row] for pair in self.pairs if pair.shape[1] > row]
        if not pairs:
            return average_pairs(torch.zeros(0), torch.zeros(0))
        both = np.stack(pairs)
        sums = torch.from_numpy((both if places is None else both[:, :, places]).sum(-1))
        return average_pairs(sums[:, 0], sums[:, 1])

    def state_dict(self) -> dict[str, Any]:
        return {
            "skipped": self.skipped,
            "pairs": [torch.from_numpy(pair) for pair in self.pairs],
            "times": list(self.times),
        }

    def load_state_dict(self, state: dict[str, Any], *, weights: int) -> None:
        """Go on from a `state_dict`.

        Raises:
            UserError: if it is of a model with another number of weights.
        """
        if any(pair.shape[-1] != weights for pair in state["pairs"]):
            raise UserError(
                f"The state is of a model with {state['pairs'][0].shape[-1]} weights and this one has {weights}: use "
                "the model that was monitored."
            )
        self.skipped, self._waiting = state["skipped"], []
        self.pairs.clear()
        self.pairs.extend(pair.double().numpy() for pair in state["pairs"])
        self.times.clear()
        self.times.extend((size, seconds) for size, seconds in state.get("times", []))
