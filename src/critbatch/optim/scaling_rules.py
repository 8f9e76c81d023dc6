"""Rules that move hyper-parameters from one batch size to another. One function per rule.

Count batches in examples or in tokens, but all batches of one call in the same way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from critbatch.errors import UserError


def scale_linearly(rate: float, *, from_batch: float, to_batch: float) -> float:
    """``rate k`` for a batch k times as large: SGD, with everything else unchanged.

    Goyal et al. 2017, arXiv:1706.02677, section 2.1. The rule assumes that k small steps see about the same gradient.
    This fails early in training, hence the warm-up, and above some batch size: in the paper, about 8,192.

    Raises:
        UserError: If a batch is not above 0.

    >>> scale_linearly(0.1, from_batch=256, to_batch=8192)
    3.2
    """
    return rate * _growth(from_batch, to_batch)


def scale_by_root(rate: float, *, from_batch: float, to_batch: float) -> float:
    """``rate sqrt(k)``, which keeps the covariance of the steps of the weights.

    Hoffer et al. 2017, arXiv:1705.08741, for SGD; You et al. 2020, arXiv:1904.00962, in the table of LAMB. For Adam the
    betas change with it: see `malladi`.

    Raises:
        UserError: If a batch is not above 0.

    >>> scale_by_root(5e-3, from_batch=32768, to_batch=512)
    0.000625
    """
    return rate * math.sqrt(_growth(from_batch, to_batch))


def saturating(rate_at_infinity: float, *, noise_scale: float, batch: float, exponent: float = 1.0) -> float:
    """``rate_at_infinity / (1 + noise_scale / batch)^exponent``: linear for small batches, constant for large ones.

    McCandlish et al. 2018, arXiv:1812.06162, section 2.2, where the exponent is 1 and the gradients are plain. This
    project measured about 1.1 for SGD with momentum and 0.46 for Adam.

    Args:
        rate_at_infinity: The best learning rate without noise.
        noise_scale: The batch size at which noise and signal are equal, in the unit of `batch`.
        batch: The batch size.
        exponent: How steeply the learning rate grows below the noise scale.

    Raises:
        UserError: If the batch is not above 0, or the noise scale is below 0.

    >>> [saturating(1.0, noise_scale=100, batch=batch) for batch in (1, 100, 300)]
    [0.009900990099009901, 0.5, 0.75]
    """
    _above_zero(batch=batch)
    if not noise_scale >= 0:
        raise UserError(f"noise_scale={noise_scale} is not possible: use 0 or more.")
    return rate_at_infinity * float((batch / (batch + noise_scale)) ** exponent)


def scale_saturating(
    rate: float, *, from_batch: float, to_batch: float, noise_scale: float, exponent: float = 1.0
) -> float:
    """Move the best learning rate of one batch size to another along `saturating`.

    With exponent 1 this is `scale_linearly` far below the noise scale, and the unchanged rate far above it. It is also
    AdaScale's gain times the rate: `critbatch.optim.adascale.gain`.

    Raises:
        UserError: As for `saturating`; or if the noise scale is not finite, because there is no signal to scale by.

    >>> scale_saturating(0.1, from_batch=100, to_batch=300, noise_scale=100)
    0.15000000000000002
    """
    if not math.isfinite(noise_scale):
        raise UserError(f"noise_scale={noise_scale} says nothing about the rate: use scale_linearly.")
    old, new = (saturating(1.0, noise_scale=noise_scale, batch=b, exponent=exponent) for b in (from_batch, to_batch))
    return rate * new / old


@dataclass(frozen=True, kw_only=True)
class Adaptive:
    """The hyper-parameters of Adam, or of RMSprop, at one batch size."""

    learning_rate: float
    beta1: float | None  # None for RMSprop
    beta2: float  # of the squares; RMSprop's `alpha`
    eps: float  # added to the root of the second moment, outside it


def malladi(
    learning_rate: float, *, beta2: float, eps: float, beta1: float | None = None, from_batch: float, to_batch: float
) -> Adaptive:
    """The square-root scaling rule of Adam and RMSprop, for a batch k times as large.

    ``rate sqrt(k)``, ``1 - beta`` times k for each beta, ``eps / sqrt(k)``: both batch sizes then follow the same
    stochastic differential equation. Malladi et al. 2022, arXiv:2205.10287, section 5. The rule holds while the noise
    of the gradient outweighs its signal: for batches far below the noise scale.

    Args:
        learning_rate: At `from_batch`.
        beta2: At `from_batch`; for RMSprop this is torch's `alpha`.
        eps: At `from_batch`.
        beta1: At `from_batch`; None for RMSprop.
        from_batch: The batch size of these values.
        to_batch: The new batch size.

    Raises:
        UserError: If a batch is not above 0, a beta is not in [0, 1), or ``k (1 - beta)`` reaches 1: the average would
            contain only the last step.

    >>> malladi(1e-3, beta1=0.75, beta2=0.9375, eps=1e-8, from_batch=64, to_batch=128)
    Adaptive(learning_rate=0.0014142135623730952, beta1=0.5, beta2=0.875, eps=7.071067811865475e-09)
    """
    k = _growth(from_batch, to_batch)

    def moved(name: str, beta: float) -> float:
        _in_unit_interval(name, beta)
        if k > 1 and k * (1 - beta) >= 1 - 1e-12:
            raise UserError(
                f"{name}={beta} leaves nothing to average at to_batch={to_batch}: its rule holds for batches below "
                f"{from_batch / (1 - beta):.6g}."
            )
        return beta - (k - 1) * (1 - beta)

    return Adaptive(
        learning_rate=learning_rate * math.sqrt(k),
        beta1=None if beta1 is None else moved("beta1", beta1),
        beta2=moved("beta2", beta2),
        eps=eps / math.sqrt(k),
    )


def token_half_life(beta2: float, *, from_batch: float, to_batch: float) -> float:
    """``beta2^k``: the average of the squares forgets half within the same number of tokens at both batch sizes.

    Marek et al. 2025, arXiv:2507.07101. Unlike `malladi`, it holds down to any batch size. For beta2 near 1 the two
    agree. Count batches in tokens, or in examples of equal length.

    Raises:
        UserError: If a batch is not above 0, or the beta is not in [0, 1).

    >>> round(token_half_life(0.95, from_batch=512, to_batch=1), 6)
    0.9999
    """
    _in_unit_interval("beta2", beta2)
    return float(beta2 ** _growth(from_batch, to_batch))


def half_life(beta: float, *, batch: float) -> float:
    """The tokens, or examples, after which an average has forgotten half: t in ``beta = 2^(-batch / t)``.

    Marek et al. 2025, arXiv:2507.07101.

    Raises:
        UserError: If the batch is not above 0, or the beta is not in [0, 1).

    >>> half_life(0.5, batch=4096)
    4096.0
    """
    _above_zero(batch=batch)
    _in_unit_interval("beta", beta)
    return batch * math.log(2) / -math.log(beta) if beta else 0.0


def timescale(*, batch: float, learning_rate: float, weight_decay: float, dataset: float) -> float:
    """AdamW's ``tau = B / (eta lambda D)``: the part of the run over which its weights average the updates.

    Bergsma et al. 2025, arXiv:2505.13738.

    Args:
        batch: B, in tokens or examples.
        learning_rate: eta, the peak.
        weight_decay: lambda, decoupled, as in torch's AdamW, which multiplies it by the learning rate.
        dataset: D, everything that the run sees, in the unit of the batch.

    Raises:
        UserError: If one of them is not above 0.

    >>> timescale(batch=500, learning_rate=0.01, weight_decay=0.1, dataset=1_000_000)
    0.5
    """
    _above_zero(batch=batch, learning_rate=learning_rate, weight_decay=weight_decay, dataset=dataset)
    return batch / (learning_rate * weight_decay * dataset)


def weight_decay_for(timescale: float, *, batch: float, learning_rate: float, dataset: float) -> float:
    """The weight decay that keeps AdamW's `timescale` at another batch size, learning rate or length of the run.

    ``lambda = B / (eta tau D)``: at one learning rate and data set it grows linearly with the batch size. Bergsma et
    al. 2025, arXiv:2505.13738.

    Raises:
        UserError: If one of them is not above 0.

    >>> tau = timescale(batch=500, learning_rate=0.01, weight_decay=0.1, dataset=1_000_000)
    >>> weight_decay_for(tau, batch=1000, learning_rate=0.01, dataset=1_000_000)
    0.2
    """
    _above_zero(timescale=timescale, batch=batch, learning_rate=learning_rate, dataset=dataset)
    return batch / (learning_rate * timescale * dataset)


def momentum_correction(old_rate: float, new_rate: float) -> float:
    """The factor for the velocity when the learning rate changes, if the rate is inside the velocity.

    ``v <- m (new / old) v + new g`` and ``w <- w - v``: Goyal et al. 2017, arXiv:1706.02677, section 3, remark 2.
    torch's SGD keeps the rate outside, ``v <- m v + g`` and ``w <- w - rate v``, and needs no correction.

    Raises:
        UserError: If the old rate is not above 0, because the velocity then contains no gradients.

    >>> momentum_correction(0.1, 0.4)
    4.0
    """
    _above_zero(old_rate=old_rate)
    return new_rate / old_rate


def scale_warm_up(warmup_epochs: float, *, from_batch: float, to_batch: float) -> float:
    """``k`` times as many warm-up epochs, which is the same number of steps.

    You et al. 2020, arXiv:1904.00962, in the table of LAMB. A warm-up that is given in steps needs no scaling.

    Raises:
        UserError: If a batch is not above 0.

    >>> scale_warm_up(20, from_batch=32768, to_batch=512)
    0.3125
    """
    return warmup_epochs * _growth(from_batch, to_batch)


def _growth(from_batch: float, to_batch: float) -> float:
    _above_zero(from_batch=from_batch, to_batch=to_batch)
    return to_batch / from_batch


def _above_zero(**numbers: float) -> None:
    for name, number in numbers.items():
        if not 0 < number < math.inf:
            raise UserError(f"{name}={number} is not possible: use a number above 0.")


def _in_unit_interval(name: str, beta: float) -> None:
    if not 0 <= beta < 1:
        raise UserError(f"{name}={beta} is not possible: use 0 or more, below 1.")
