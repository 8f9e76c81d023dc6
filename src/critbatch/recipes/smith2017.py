"""Smith et al. 2017, "Don't decay the learning rate, increase the batch size", arXiv:1711.00489."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

from torch.optim import SGD

from critbatch.errors import UserError
from critbatch.law.prior import WIDE_PRIOR, WIDE_RATES
from critbatch.optim.lr_schedule import constant
from critbatch.optim.scaling_rules import scale_linearly
from critbatch.recipes.base import recipe
from critbatch.recipes.plan import Phase, Plan


def usual_rate(batch_size: int) -> float:
    """0.1 for 256 examples, and in proportion below that."""
    return min(0.1, scale_linearly(0.1, from_batch=256, to_batch=batch_size))


@recipe(
    "smith2017",
    paper="Smith et al. 2017, arXiv:1711.00489",
    changes="the batch grows where the learning rate would fall",
    needs="enough data for the largest batch",
    usual_rate=usual_rate,
    law_prior=WIDE_PRIOR,
    first_learning_rates=WIDE_RATES,
    later_batches="largest_batch",
)
def smith2017(
    *,
    batch_size: int,
    learning_rate: float | None = None,
    epochs: float = 90.0,
    factor: int = 5,
    at: tuple[float, ...] = (0.3, 0.6, 0.8),
    largest_batch: int | None = None,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
) -> Plan:
    """Where the learning rate would be divided by a factor, multiply the batch size by it instead.

    The noise of a step, learning rate / batch size, falls in the same way, with fewer steps. If the batch would exceed
    its limit, the learning rate is divided after all. The momentum continues from phase to phase.

    Args:
        batch_size: Examples per step in the first phase.
        learning_rate: For all phases whose batch grows. Default: 0.1 for 256 examples.
        epochs: Length of the run.
        factor: 5 in section 5.1.
        at: When the batch grows, as shares of the run. In section 5.1: after 60, 120 and 160 of 200 epochs.
        largest_batch: Upper limit of the batch size. Section 3 recommends a tenth of the data. Default: no limit.
        momentum: Section 5.1.
        weight_decay: For all weights.
    """
    if factor < 2:
        raise UserError(f"factor={factor} is not possible: use 2 or more.")
    if not all(0 < first < second < 1 for first, second in pairwise((*at, 1 - 1e-9))):
        raise UserError(f"at={at} is not possible: use rising shares of the run, between 0 and 1.")
    peak = usual_rate(batch_size) if learning_rate is None else learning_rate
    optimizer = partial(SGD, lr=peak, momentum=momentum, weight_decay=weight_decay, fused=True)
    phases, size, rate = [], batch_size, peak
    for n, (begin, end) in enumerate(pairwise((0.0, *at, 1.0))):
        if n and (largest_batch is None or size * factor <= largest_batch):
            size *= factor
        elif n:
            rate /= factor
        phases.append(
            Phase(
                epochs=(end - begin) * epochs,
                batch_size=size,
                optimizer=optimizer,
                learning_rate=constant(rate),
                keeps_optimizer=n > 0,
            )
        )
    return Plan(recipe="smith2017", peak=peak, phases=tuple(phases))
