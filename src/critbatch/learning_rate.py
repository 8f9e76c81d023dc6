"""Learning rates as functions of the epoch, a float, so that they hold at any batch size."""

from __future__ import annotations

import math
from collections.abc import Callable

from critbatch.errors import UserError

Rate = Callable[[float], float]
"""The learning rate at an epoch."""


def constant(rate: float) -> Rate:
    return lambda epoch: rate


def ramp(start: float, end: float, *, epochs: float) -> Rate:
    """From `start` to `end` in a straight line, then `end`. Goyal et al. 2017, arXiv:1706.02677, section 2.2."""
    if epochs <= 0:
        return constant(end)
    return lambda epoch: start + (end - start) * min(1.0, epoch / epochs)


def cosine(peak: float, *, epochs: float, end: float = 0.0) -> Rate:
    """Half a wave of the cosine from `peak` to `end`. Loshchilov and Hutter 2017, arXiv:1608.03983, equation 5."""
    return lambda epoch: end + (peak - end) * (1 + math.cos(math.pi * min(1.0, epoch / epochs))) / 2


def linear_decay(peak: float, *, epochs: float, end: float = 0.0) -> Rate:
    """From `peak` to `end` in a straight line, then `end`."""
    return ramp(peak, end, epochs=epochs)


def join(first: Rate, epochs: float, then: Rate) -> Rate:
    """`first` for its epochs, then `then`, which counts its own epochs from 0.

    >>> rate = join(ramp(0, 1, epochs=5), 5, constant(1))
    >>> rate(2.5), rate(7)
    (0.5, 1)
    """
    return lambda epoch: first(epoch) if epoch < epochs else then(epoch - epochs)


DECAYS = ("constant", "linear", "cosine")


def warmed_up(peak: float, *, epochs: float, warm_up_epochs: float = 0.0, decay: str = "constant") -> Rate:
    """From 0 to `peak` over the warm-up, then the named decay over the epochs that are left.

    Raises:
        UserError: if `peak` is not above 0, the warm-up is as long as the run, or `decay` is not one of DECAYS.
    """
    if not (peak > 0 and math.isfinite(peak)):
        raise UserError(f"learning_rate={peak} is not possible: use a number above 0.")
    if not 0 <= warm_up_epochs < epochs:
        raise UserError(f"warm_up_epochs={warm_up_epochs} does not fit into epochs={epochs}: use 0 or more, below it.")
    left = epochs - warm_up_epochs
    match decay:
        case "constant":
            rest = constant(peak)
        case "linear":
            rest = linear_decay(peak, epochs=left)
        case "cosine":
            rest = cosine(peak, epochs=left)
        case _:
            raise UserError(f"decay={decay!r} is not known: use {', '.join(DECAYS)}.")
    return join(ramp(0.0, peak, epochs=warm_up_epochs), warm_up_epochs, rest) if warm_up_epochs else rest
