"""The gradient noise scale from the gradients of micro-batches, which gradient accumulation computes anyway."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from critbatch.records import NoiseScale

FEWEST_PAIRS = 8


def noise_scale(
    small_norm2: Tensor, big_norm2: Tensor, *, small: float, big: float, examples: float = math.inf
) -> NoiseScale:
    """Separate the gradient's signal from its noise, given its squared norm at two batch sizes.

    ``E|g_B|^2 = |G|^2 + tr(Sigma) (1/B - 1/N)`` holds at both sizes: two equations, two unknowns. Each answer is
    unbiased, their ratio is not: average the norms over steps before you call this.
    McCandlish et al. 2018, arXiv:1812.06162, appendix A.1; 1/N for batches drawn without replacement.

    Args:
        small_norm2: mean of ``|g|^2`` over batches of `small` examples. Shape ().
        big_norm2: the same over batches of `big` examples. Shape (), same device.
        small: examples in a small batch; of batches of several sizes, the harmonic mean.
        big: examples in a big batch.
        examples: N, what the batches are drawn from; infinite where they are drawn anew.

    Raises:
        ValueError: if `small` is not below `big`: the two equations would be one.

    >>> from torch import tensor
    >>> scale = noise_scale(tensor(3.0), tensor(1.5), small=1, big=4)
    >>> scale.gradient_norm2, scale.covariance_trace, scale.examples
    (1.0, 2.0, 2.0)
    """
    if small >= big:
        raise ValueError(f"`small` must be below `big`, but got {small=}, {big=}.")
    noise = (small_norm2 - big_norm2) / (1 / small - 1 / big)
    signal = (big * big_norm2 - small * small_norm2) / (big - small) + noise / examples
    return NoiseScale(gradient_norm2=signal.item(), covariance_trace=noise.item())


def average(scales: Sequence[NoiseScale], *, level: float = 0.95) -> NoiseScale:
    """Signal and noise averaged over the steps, then divided, with Fieller's interval of the ratio.

    The interval takes the steps as independent: their batches are, their weights drift slowly. It is open to the right
    (`high` is None) where the signal cannot be told from zero. Fieller 1954, "Some problems in interval estimation".
    """
    pairs = len(scales)
    noise = torch.tensor([scale.covariance_trace for scale in scales], dtype=torch.float64)
    signal = torch.tensor([scale.gradient_norm2 for scale in scales], dtype=torch.float64)
    mean = NoiseScale(
        gradient_norm2=signal.mean().item(), covariance_trace=noise.mean().item(), pairs=pairs, level=level
    )
    if pairs < FEWEST_PAIRS:
        return replace(mean, reason="too_few_pairs")
    covariance = torch.cov(torch.stack([noise, signal])) / pairs
    low, high = _fieller(mean.covariance_trace, mean.gradient_norm2, covariance.tolist(), pairs=pairs, level=level)
    return replace(mean, low=low, high=high, reason="" if high is not None else "noise_not_distinguishable")


def _fieller(
    noise: float, signal: float, covariance: list[list[float]], *, pairs: int, level: float
) -> tuple[float | None, float | None]:
    """The ratios r with (noise - r signal)^2 <= t^2 var(noise - r signal)."""
    from scipy.special import stdtrit

    t2 = float(stdtrit(pairs - 1, (1 + level) / 2)) ** 2
    (var_noise, both), (_, var_signal) = covariance
    a, b, c = signal**2 - t2 * var_signal, noise * signal - t2 * both, noise**2 - t2 * var_noise
    root2 = b**2 - a * c
    if root2 < 0:
        return None, None
    root = math.sqrt(root2)
    if a > 0 and signal > 0:
        return max(0.0, (b - root) / a), (b + root) / a
    # The signal may be zero, so that any larger ratio is possible.
    above = max((b - root) / a, (b + root) / a) if a else 0.0
    return max(0.0, above), None


class NoiseMeter:
    """Sees the gradient of every micro-batch of some steps, and tells the noise scale over them.

    Args:
        examples: in the training set, from which batches are drawn without replacement.
        batch_norm: whether the model normalizes over the batch. Then the gradient of one micro-batch is of another
            function than that of a batch, and the result says so.
    """

    def __init__(self, examples: float = math.inf, *, batch_norm: bool = False) -> None:
        self.examples, self.batch_norm = examples, batch_norm
        self.scales: list[NoiseScale] = []  # of each step since the last `take`
        self._totals: list[Tensor | None] = []
        self._norms2: list[Tensor] = []
        self._sizes: list[int] = []

    def after_micro_batch(self, parameters: Sequence[nn.Parameter], size: int, batch_size: int) -> None:
        """Take over the gradients in `.grad`: those of the sum over `size` examples, divided by `batch_size`."""
        grads = [parameter.grad for parameter in parameters]
        self._norms2.append(_norm2(grads) * (batch_size / size) ** 2)
        self._sizes.append(size)
        if not self._totals:
            self._totals = [None if grad is None else grad.clone() for grad in grads]
        else:
            for i, grad in enumerate(grads):
                if grad is not None:
                    before = self._totals[i]
                    self._totals[i] = grad.clone() if before is None else before.add_(grad)
        for parameter in parameters:
            parameter.grad = None

    def after_batch(self, parameters: Sequence[nn.Parameter], batch_size: int) -> None:
        """Give the gradient of the whole batch back, and note its norm."""
        for parameter, total in zip(parameters, self._totals, strict=True):
            parameter.grad = total
        if len(self._sizes) > 1:
            small = len(self._sizes) / sum(1 / size for size in self._sizes)
            small_norm2 = torch.stack(self._norms2).mean()
            big_norm2 = _norm2(self._totals)
            self.scales.append(noise_scale(small_norm2, big_norm2, small=small, big=batch_size, examples=self.examples))
        self._totals, self._norms2, self._sizes = [], [], []

    def take(self) -> NoiseScale:
        """The noise scale over the steps seen since the last call; the meter is empty afterwards."""
        scale = average(self.scales)
        self.scales = []
        return replace(scale, reason="batch_norm_in_train_mode") if self.batch_norm and not scale.reason else scale


def _norm2(grads: Sequence[Tensor | None]) -> Tensor:
    """The squared norm of all gradients together, in float32 at least. Shape ()."""
    found = [
        grad.float() if grad.dtype in (torch.float16, torch.bfloat16) else grad for grad in grads if grad is not None
    ]
    return torch.stack(torch._foreach_norm(found)).square().sum()
