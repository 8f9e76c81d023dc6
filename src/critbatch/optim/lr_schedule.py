"""Learning rates as functions of the epoch, a float, so that they hold at any batch size."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

from critbatch.errors import UserError

Rate = Callable[[float], float]
"""The learning rate at an epoch."""


def constant(rate: float) -> Rate:
    """The same learning rate at every epoch."""
    return lambda epoch: rate


def ramp(start: float, end: float, *, epochs: float) -> Rate:
    """A straight line from `start` to `end`, then `end`. Goyal et al. 2017, arXiv:1706.02677, section 2.2."""
    if epochs <= 0:
        return constant(end)
    return lambda epoch: start + (end - start) * min(1.0, epoch / epochs)


def cosine(peak: float, *, epochs: float, end: float = 0.0) -> Rate:
    """Half a cosine wave from `peak` to `end`. Loshchilov and Hutter 2017, arXiv:1608.03983, equation 5."""
    return lambda epoch: end + (peak - end) * (1 + math.cos(math.pi * min(1.0, epoch / epochs))) / 2


def linear_decay(peak: float, *, epochs: float, end: float = 0.0) -> Rate:
    """A straight line from `peak` to `end`, then `end`."""
    return ramp(peak, end, epochs=epochs)


def polynomial(peak: float, *, epochs: float, power: float = 2.0, end: float = 0.0) -> Rate:
    """``end + (peak - end) (1 - t/T)^power``, then `end`: LARS, You et al. 2017, arXiv:1708.03888, algorithm 1.

    With `power` 1 it is the straight line of LAMB: You et al. 2020, arXiv:1904.00962.

    >>> rate = polynomial(32.0, epochs=100)
    >>> rate(0), rate(50), rate(75), rate(101)
    (32.0, 8.0, 2.0, 0.0)
    """
    return lambda epoch: end + (peak - end) * (1 - min(1.0, epoch / epochs)) ** power


def stairs(peak: float, *, factor: float, at: Sequence[float]) -> Rate:
    """A learning rate that is multiplied by `factor` at each epoch of `at`, counted from the start of the run.

    Goyal et al. 2017, arXiv:1706.02677, section 5.1, multiply by a tenth at epochs 30, 60 and 80 of 90. After a warm-up
    use `begin_with`, which counts from the start of the run. After `join`, each step would come later by the length of
    the warm-up.

    >>> rate = stairs(8.0, factor=0.5, at=(30, 60, 80))
    >>> rate(29.9), rate(30), rate(85)
    (8.0, 4.0, 1.0)
    """
    return lambda epoch: peak * factor ** sum(epoch >= stair for stair in at)


def slow_start(base_rate: float, *, epochs: float = 90.0) -> Rate:
    """Half the base rate, without a warm-up, then lower in three steps. Akiba et al. 2017, arXiv:1711.04325.

    Of 90 epochs, 40 have 0.5, 30 have 0.075, 15 have 0.01 and 5 have 0.001 times the base rate. Runs of another length
    are divided in the same proportions.

    Args:
        base_rate: In the paper 0.1 for 256 examples, scaled linearly: 12.8 at 32,768.
        epochs: Length of the run.

    >>> rate = slow_start(12.8)
    >>> rate(0), rate(40), rate(70), rate(85)
    (6.4, 0.96, 0.128, 0.0128)
    """
    shares = [(epochs * first / 90, share) for first, share in ((85, 0.001), (70, 0.01), (40, 0.075))]
    return lambda epoch: base_rate * next((share for first, share in shares if epoch >= first), 0.5)


def one_cycle(
    peak: float,
    *,
    epochs: float,
    warm_up_share: float,
    start: float = 0.0,
    end: float = 0.0,
    shape: Literal["linear", "cosine"] = "linear",
) -> Rate:
    """Up from `start` to `peak`, then down to `end`. Smith and Topin 2018, arXiv:1708.07120.

    The cycle has two pieces. "linear" is the schedule of cifar10-fast, which SWAP uses (Gupta et al. 2020,
    arXiv:2001.02312): from 0 to 0.4 in 5 of 24 epochs, and back to 0. "cosine" is torch's OneCycleLR with two phases.
    It counts steps so that the last of n steps, n - 1, is at `end`, and step ``pct_start n - 1`` at the peak. The cycle
    of the paper has two pieces of equal length and a third one, far below the start.

    Args:
        peak: The largest learning rate.
        epochs: Length of the run. Afterwards the learning rate is `end`.
        warm_up_share: Share of the epochs in which the rate rises.
        start: The learning rate at epoch 0; torch's is peak / 25.
        end: The last learning rate; torch's is start / 10,000.
        shape: Shape of both pieces.

    Raises:
        UserError: If the share is not in [0, 1), or the shape is not known.

    >>> rate = one_cycle(0.4, epochs=24, warm_up_share=5 / 24)
    >>> rate(2.5), rate(5), rate(14.5), rate(24)
    (0.2, 0.4, 0.2, 0.0)
    """
    if not 0 <= warm_up_share < 1:
        raise UserError(f"warm_up_share={warm_up_share} is not possible: use 0 or more, below 1.")
    if shape not in ("linear", "cosine"):
        raise UserError(f"shape={shape!r} is not known: use linear, cosine.")
    up = warm_up_share * epochs
    if shape == "linear":
        return join(ramp(start, peak, epochs=up), up, ramp(peak, end, epochs=epochs - up))
    return join(cosine(start, epochs=up, end=peak), up, cosine(peak, epochs=epochs - up, end=end))


def constant_warm_up(base_rate: float, peak: float, *, epochs: float) -> Rate:
    """`base_rate` for some epochs, then `peak`. Goyal et al. 2017, arXiv:1706.02677, section 2.2.

    In the paper, at 8,192 images, it ended at 25.9 % error, a run without a warm-up at 24.8 %, and one with a gradual
    warm-up (`ramp`) at 23.7 %.
    """
    return join(constant(base_rate), epochs, constant(peak))


def join(first: Rate, epochs: float, then: Rate) -> Rate:
    """`first` for its epochs, then `then`, which counts its own epochs from 0.

    >>> rate = join(ramp(0, 1, epochs=5), 5, constant(1))
    >>> rate(2.5), rate(7)
    (0.5, 1)
    """
    return lambda epoch: first(epoch) if epoch < epochs else then(epoch - epochs)


def begin_with(first: Rate, epochs: float, rest: Rate) -> Rate:
    """`first` for its epochs, then `rest`, which counts from the start of the run.

    The warm-up of Goyal et al. before their step decay, arXiv:1706.02677, sections 2.2 and 5.1:

    >>> rate = begin_with(ramp(0.1, 3.2, epochs=5), 5, stairs(3.2, factor=0.1, at=(30, 60, 80)))
    >>> rate(0), rate(5), rate(29.9), rate(30)
    (0.1, 3.2, 3.2, 0.32000000000000006)
    """
    return lambda epoch: first(epoch) if epoch < epochs else rest(epoch)


DECAYS = ("constant", "linear", "cosine", "step", "polynomial")


def warmed_up(peak: float, *, epochs: float, warmup_epochs: float = 0.0, lr_decay: str = "constant") -> Rate:
    """A linear warm-up from 0 to `peak`, then the named decay over the remaining epochs.

    "step" is that of Goyal et al. in proportion: a tenth at 30, 60 and 80 ninetieths of the run, warm-up included.
    "polynomial" has the power 2.

    Raises:
        UserError: If `peak` is not above 0, the warm-up is as long as the run or longer than until the first step of
            the decay, or `lr_decay` is not one of DECAYS.
    """
    if not (peak > 0 and math.isfinite(peak)):
        raise UserError(f"learning_rate={peak} is not possible: use a number above 0.")
    if not 0 <= warmup_epochs < epochs:
        raise UserError(f"warmup_epochs={warmup_epochs} does not fit into epochs={epochs}: use 0 or more, below it.")
    left = epochs - warmup_epochs
    match lr_decay:
        case "constant":
            rest = constant(peak)
        case "linear":
            rest = linear_decay(peak, epochs=left)
        case "cosine":
            rest = cosine(peak, epochs=left)
        case "polynomial":
            rest = polynomial(peak, epochs=left)
        case "step":
            if warmup_epochs > epochs / 3:
                raise UserError(
                    f"warmup_epochs={warmup_epochs} leads past the first stair, a third of epochs={epochs}: "
                    f"use {epochs / 3:g} or less."
                )
            at = [epochs * stair / 90 for stair in (30, 60, 80)]
            return begin_with(ramp(0.0, peak, epochs=warmup_epochs), warmup_epochs, stairs(peak, factor=0.1, at=at))
        case _:
            raise UserError(f"lr_decay={lr_decay!r} is not known: use {', '.join(DECAYS)}.")
    return join(ramp(0.0, peak, epochs=warmup_epochs), warmup_epochs, rest) if warmup_epochs else rest
