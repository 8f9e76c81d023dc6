"""AdaScale: the learning rate of a large batch from the noise of its gradients, step by step.

Johnson et al. 2020, "AdaScale SGD: a user-friendly algorithm for distributed training", arXiv:2007.05105.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from critbatch.errors import UserError


def gain(signal: float, covariance_trace: float, small_batch: float, scale: float) -> float:
    """Return how many steps of the small batch one step with `scale` times that batch is worth: from 1 to `scale`.

    ``r = (s2 + m2) / (s2 / S + m2)``, with ``s2 = tr(Sigma) / small_batch`` and ``m2 = |G|^2``. It is S if there is
    only noise, and 1 if there is none. Algorithm 1 of the paper.

    Signal and noise are those of a `critbatch.records.NoiseScale`, ``gradient_norm2`` and ``covariance_trace``,
    averaged over steps. An estimate below 0 counts as 0. If both are 0, the gain is 1, the cautious end.

    Args:
        signal: Squared norm of the gradient over all data.
        covariance_trace: Trace of the covariance of the gradient of one example.
        small_batch: Examples in the batch for which the learning rate was tuned.
        scale: S, the batch size divided by the small one.

    Raises:
        UserError: If the small batch is not above 0, or the scale is below 1.

    >>> gain(signal=1.0, covariance_trace=64.0, small_batch=32, scale=4)
    2.0
    """
    if not 0 < small_batch < math.inf:
        raise UserError(f"small_batch={small_batch} is not possible: use a number above 0.")
    _refuse_scale(scale)
    return _ratio(max(0.0, covariance_trace) / small_batch, max(0.0, signal), scale)


class AdaScale:
    """Gain and progress of SGD with a batch S times as large as the one for which its schedule was made.

    Call it once per step, between the backward pass and the optimizer step. The gradients must be as computed: not
    clipped, without weight decay, and all at the same weights::

        adascale.update(small_norm2s, big_norm2)
        learning_rate = adascale.learning_rate(schedule)

    The run is over when `steps`, which counts steps of the small batch, reaches the number of steps that the small
    batch was to take. It needs no warm-up: while the signal is strong, the gain is near 1.

    The unbiased estimates of signal and noise are averaged over the steps, even if they are below 0. Only the averages
    are clipped at 0 and then divided. (fairscale clips the estimates of each step before it averages them.) At first
    the average is the mean of all steps. After ``1 / (1 - smoothing)`` steps each new one has the weight ``1 -
    smoothing``, as in the paper's appendix B.3.

    Args:
        scale: S, the batch size divided by that of the schedule.
        shares: The number of equal parts into which a batch is cut, over processes and gradient accumulation. The
            default is S; a part is then a small batch.
        smoothing: Smoothing of the averages. The default is ``max(1 - shares / 1000, 0)``, as in the paper, where the
            number of shares is S.

    Raises:
        UserError: If the scale is below 1, or there are fewer than 2 shares: one share has nothing to be compared with.
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
        """Record the gradients of one step, and return its gain.

        A step whose gradients are not finite does not count. Skip the optimizer step as well.

        Args:
            small_norm2s: Squared norm of the gradient of each share, which is a mean over the share's examples; or the
                mean of these squared norms.
            big_norm2: Squared norm of the mean gradient of the shares.

        Raises:
            UserError: If the number of norms is not the number of shares.
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
        """Take a step of a gain that you computed, for example with `gain` from the noise scale of a Monitor."""
        self.gain = gain
        self.begun_at = self.steps
        self.steps += gain
        return gain

    def learning_rate(self, schedule: Callable[[int], float]) -> float:
        """Return the learning rate of the last recorded step.

        It is the gain, multiplied by the small batch's learning rate at the steps done before.

        Args:
            schedule: The learning rate as a function of the step of the small batch.
        """
        return self.gain * schedule(math.floor(self.begun_at))

    def state_dict(self) -> dict[str, Any]:
        """Return the state, numbers only. They refer to the small batch, so a run can go on at another scale."""
        return {name: getattr(self, name) for name in _STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a `state_dict`."""
        for name in _STATE:
            setattr(self, name, state[name])


_STATE = ("gain", "steps", "begun_at", "skipped", "updates", "noise", "signal")


def _ratio(noise: float, signal: float, scale: float) -> float:
    """The gain from the noise of a small batch and the signal, both 0 or more."""
    whole = noise / scale + signal
    return min(max((noise + signal) / whole, 1.0), float(scale)) if whole > 0 else 1.0


def _refuse_scale(scale: float) -> None:
    if not 1 <= scale < math.inf:
        raise UserError(f"scale={scale} is not possible: use 1 or more.")
