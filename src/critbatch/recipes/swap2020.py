"""Gupta, Serrano, DeCoste 2020, "Stochastic weight averaging in parallel", arXiv:2001.02312."""

from __future__ import annotations

from functools import partial

from torch.optim import SGD

from critbatch.errors import UserError
from critbatch.law.prior import WIDE_PRIOR, WIDE_RATES
from critbatch.optim.lr_schedule import linear_decay, one_cycle
from critbatch.optim.scaling_rules import scale_linearly
from critbatch.recipes.base import DecayWithoutVectors, recipe
from critbatch.recipes.plan import Phase, Plan

# CIFAR-10, from the appendix: at most 150 epochs of the first phase, 5 of them warm-up, and 30 of the second.
FIRST, WARM_UP, SECOND = 150, 5, 30


def usual_rate(batch_size: int) -> float:
    """1.2 for 4,096 examples, scaled linearly."""
    return scale_linearly(1.2, from_batch=4096, to_batch=batch_size)


@recipe(
    "swap2020",
    paper="Gupta et al. 2020, arXiv:2001.02312",
    changes="large batches, then separate copies with small batches, then their mean",
    needs="memory for weights and optimizer of each copy; to be fast, one process per copy",
    usual_rate=usual_rate,
    law_prior=WIDE_PRIOR,
    first_learning_rates=WIDE_RATES,
    later_batches="small_batch_size",
)
def swap2020(
    *,
    batch_size: int,
    learning_rate: float | None = None,
    epochs: float = FIRST + SECOND,
    copies: int = 8,
    small_batch_size: int | None = None,
    small_learning_rate: float | None = None,
    until_train_metric: float | None = 0.98,
    refining_share: float = SECOND / (FIRST + SECOND),
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
) -> Plan:
    """Large batches until the training set is nearly fitted; then separate copies with small batches; then their mean.

    Each copy sees all the data in its own order, with a new optimizer. The batch-norm statistics of the mean are
    recomputed from the training set. In several processes, each process trains its part of the copies.

    Args:
        batch_size: Examples per step in the first phase.
        learning_rate: Peak of the first phase: up in a thirtieth of it, down in a straight line. Default: 1.2 for 4,096
            examples, scaled linearly.
        epochs: Length of both phases at most; 150 and 30 for CIFAR-10, in proportion.
        copies: Copies of the model in the second phase.
        small_batch_size: Batch size of each copy. Default: an eighth of `batch_size`.
        small_learning_rate: At the start of the second phase, then down to 0 in a straight line. Default: scaled
            linearly.
        until_train_metric: Training accuracy that ends the first phase; None for all its epochs.
        refining_share: Share of the epochs for the second phase.
        momentum: Nesterov momentum of SGD.
        weight_decay: For all weights but one-dimensional ones.
    """
    if not 0 < refining_share < 1:
        raise UserError(f"refining_share={refining_share} is not possible: use a number between 0 and 1.")
    peak = usual_rate(batch_size) if learning_rate is None else learning_rate
    small = max(1, batch_size // 8) if small_batch_size is None else small_batch_size
    low = scale_linearly(peak, from_batch=batch_size, to_batch=small)
    low = low if small_learning_rate is None else small_learning_rate
    optimizer = partial(
        DecayWithoutVectors, SGD, momentum=momentum, nesterov=momentum > 0, weight_decay=weight_decay, fused=True
    )
    first, second = (1 - refining_share) * epochs, refining_share * epochs
    return Plan(
        recipe="swap2020",
        peak=peak,
        phases=(
            Phase(
                epochs=first,
                batch_size=batch_size,
                optimizer=optimizer(lr=peak),
                learning_rate=one_cycle(peak, epochs=first, warm_up_share=WARM_UP / FIRST),
                until_train_metric=until_train_metric,
            ),
            Phase(
                epochs=second,
                batch_size=small,
                optimizer=optimizer(lr=low),
                learning_rate=linear_decay(low, epochs=second),
                copies=copies,
            ),
        ),
    )
