"""Akiba, Suzuki, Fukuda 2017, "Extremely large minibatch SGD: ResNet-50 in 15 minutes", arXiv:1711.04325."""

from __future__ import annotations

from functools import partial

from critbatch.law.prior import WIDE_PRIOR, WIDE_RATES
from critbatch.optim.lr_schedule import slow_start
from critbatch.optim.rmsprop_warmup import RMSpropWarmUp
from critbatch.optim.scaling_rules import scale_linearly
from critbatch.recipes.base import recipe
from critbatch.recipes.plan import NormStatistics, Phase, Plan

EPOCHS, CENTRE, PERIOD = 90, 10, 5


def usual_rate(batch_size: int) -> float:
    """Half of 0.1 for 256 examples, scaled linearly: the first and largest learning rate of the slow start."""
    return 0.5 * scale_linearly(0.1, from_batch=256, to_batch=batch_size)


@recipe(
    "akiba2017",
    paper="Akiba et al. 2017, arXiv:1711.04325",
    changes="RMSprop first and SGD later, slow start, batch norm without moving averages",
    needs="two more tensors per weight",
    usual_rate=usual_rate,
    law_prior=WIDE_PRIOR,
    first_learning_rates=WIDE_RATES,
)
def akiba2017(
    *,
    batch_size: int,
    learning_rate: float | None = None,
    epochs: float = EPOCHS,
    weight_decay: float = 1e-4,
    rmsprop_lr: float = 3e-4,
) -> Plan:
    """Start with RMSprop and move to SGD; a slow start instead of a warm-up; batch norm without moving averages.

    The share of SGD follows the continuous transition. The printed one jumps (`critbatch.optim.rmsprop_warmup`).

    Args:
        batch_size: Examples per step.
        learning_rate: The largest rate of the slow start. Default: half of 0.1 for 256 examples, scaled linearly.
        epochs: Length of the run. The slow start, and centre (10) and period (5) of the transition, are scaled from 90.
        weight_decay: For all weights.
        rmsprop_lr: Learning rate of the RMSprop part.
    """
    peak = usual_rate(batch_size) if learning_rate is None else learning_rate
    optimizer = partial(
        RMSpropWarmUp,
        lr=peak,
        rmsprop_lr=rmsprop_lr,
        weight_decay=weight_decay,
        centre=CENTRE * epochs / EPOCHS,
        period=PERIOD * epochs / EPOCHS,
    )
    rate = slow_start(2 * peak, epochs=epochs)
    phase = Phase(epochs=epochs, batch_size=batch_size, optimizer=optimizer, learning_rate=rate)
    return Plan(recipe="akiba2017", peak=peak, phases=(phase,), norm_statistics=NormStatistics.LAST_BATCH)
