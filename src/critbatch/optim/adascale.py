"""AdaScale: the learning rate of a large batch from the noise of its gradients, step by step.

Johnson et al. 2020, "AdaScale SGD: a user-friendly algorithm for distributed training", arXiv:2007.05105.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from critbatch.errors import UserError


def gain(signal: float, covariance_trace: float, small_batch: float, scale: float) -> float:
    """How many steps of the small batch one step of `scale` times that batch is worth: from 1 to `scale`.

    ``r = (s2 + m2) / (s2 / S + m2)``, with ``s2 = tr(Sigma) / small_batch`` and ``m2 = |G|^2``: S where all is noise, 1
    where there is none. Algorithm 1 of the paper.

    Signal and noise are as `critbatch.records.NoiseScale` holds them, ``gradient_norm2`` and ``covariance_trace``,
    averaged over steps. An estimate below 0 counts as 0; where both do the gain is 1, the careful end.

    Args:
        signal: squared norm of the gradient over all data.
        covariance_trace: of the gradient of one example.
        small_batch: examples, in the batch that the learning rate was tuned for.
        scale: S, how many times as large the batch is.

    Raises:
        UserError: if the small batch is not above 0 or the scale below 1.

    >>> gain(signal=1.0, covariance_trace=64.0, small_batch=32, scale=4)
    2.0
    """
    if not 0 < small_batch < math.inf:
        raise UserError(f"small_batch={small_batch} is not possible: use a number above 0.")
    _refuse_scale(scale)
    return _ratio(max(0.0, covariance_trace) / small_batch, max(0.0, signal), scale)


class AdaScale:
    """Gain and progress of SGD with a batch S times as large as the one that its schedule was made for.

    Once a step, between the backward pass and the optimizer's, with gradients as they come: not clipped, without weight
    decay, all of one and the same weights:

        adascale.update(small_norm2s, big_norm2)
        learning_rate = adascale.learning_rate(schedule)

    The run is over when `steps`, counted in steps of the small batch, reaches the number that the small batch was to
    take. No warm-up is needed: while the signal is strong the gain is near 1.

    Signal and noise are averaged over the steps as they are estimated, below 0 or not, each without bias; only the
    averages are kept from below 0, and then divided. fairscale clamps each step's estimates before it averages. The
    average is the mean of all steps at first; after ``1 / (1 - smoothing)`` of them each new one has the weight
    ``1 - smoothing``: the paper's appendix B.3.

    Args:
        scale: S, the batch size over that of the schedule.
        shares: how many parts of equal size a batch is cut into, over processes and gradient accumulation; S unless
            given, and then a part is a small batch.
        smoothing: of the averages; ``max(1 - shares / 1000, 0)`` unless given, the paper's, where shares are S.

    Raises:
        UserError: if the scale is below 1, or there are fewer than 2 shares: one has nothing to be compared with.
    """

    def __init__(self, scale: float, *, shares: int | None = None, smoothing: float | None = None) -> None:
        _refuse_scale(scale)
        if shares is None:
            if scale != int(scale):
                raise UserError(
                    f"scale={scale} is no number of shares: give shares, the parts that a batch is cut into."
                )
            shares = int(scale)
        if shares < 2:
            raise UserError(f"shares={shares} leaves nothing to compare: use 2 or more.")
        if smoothing is None:
            smoothing = max(1 - shares / 1000, 0.0)
        if not 0 <= smoothing < 1:
            raise UserError(f"smoothing={smoothing} is not possible: use 0 or more, below 1.")
        self.scale, self.shares, self.smoothing = float(scale), shares, smoothing
        self.gain = 1.0
        self.steps = 0.0  # of the small batch, which the steps so far were worth, this one included
        self.begun_at = 0.0  # likewise, without this one
        self.skipped = 0  # steps whose gradients were not finite
        self.updates = 0
        self.noise = self.signal = 0.0  # averages, of the small batch

    def update(self, small_norm2s: Sequence[float] | float, big_norm2: float) -> float:
        """Take a step's gradients into account; its gain.

        A step whose gradients are not finite counts as none: the optimizer is not to take it either.

        Args:
            small_norm2s: squared norm of each share's gradient, itself a mean over the share's examples; or their mean.
            big_norm2: squared norm of the shares' mean.

        Raises:
            UserError: if there are not as many norms as shares.
        """
        if isinstance(small_norm2s, Sequence):
            if len(small_norm2s) != self.shares:
                raise UserError(f"{len(small_norm2s)} squared norms do not fit shares={self.shares}: give one of each.")
            small_norm2 = math.fsum(small_norm2s) / self.shares
        else:
            small_norm2 = float(small_norm2s)
        if not (math.isfinite(small_norm2) and math.isfinite(big_norm2)):
            self.skipped += 1
            return self.gain
        n = self.shares
        of_share = n / (n - 1) * (small_norm2 - float(big_norm2))
        # A share of S / n small batches has n / S of a small batch's noise.
        noise, signal = of_share * self.scale / n, float(big_norm2) - of_share / n
        self.updates += 1
        weight = max(1 - self.smoothing, 1 / self.updates)
        self.noise += weight * (noise - self.noise)
        self.signal += weight * (signal - self.signal)
        return self.advance(_ratio(max(0.0, self.noise), max(0.0, self.signal), self.scale))

    def advance(self, gain: float) -> float:
        """Take a step of this gain, which the caller computed, for example with `gain` from a Monitor's noise scale."""
        self.gain = gain
        self.begun_at = self.steps
        self.steps += gain
        return gain

    def learning_rate(self, schedule: Callable[[int], float]) -> float:
        """Of the step that `update` saw: the gain times the small batch's rate at the steps done before it.

        Args:
            schedule: the rate at a step of the small batch.
        """
        return self.gain * schedule(math.floor(self.begun_at))

    def state_dict(self) -> dict[str, Any]:
        """Numbers alone. They are of the small batch, so that a run may go on from them at another scale."""
        return {name: getattr(self, name) for name in _STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in _STATE:
            setattr(self, name, state[name])


_STATE = ("gain", "steps", "begun_at", "skipped", "updates", "noise", "signal")


def _ratio(noise: float, signal: float, scale: float) -> float:
    """Of the noise of a small batch and the signal, both 0 or more."""
    whole = noise / scale + signal
    return min(max((noise + signal) / whole, 1.0), float(scale)) if whole > 0 else 1.0


def _refuse_scale(scale: float) -> None:
    if not 1 <= scale < math.inf:
        raise UserError(f"scale={scale} is not possible: use 1 or more.")
