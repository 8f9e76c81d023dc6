"""A batch that grows with the measured noise scale: McCandlish et al. 2018, arXiv:1812.06162, section 2.4."""

from __future__ import annotations

from functools import partial

from torch.optim import SGD, AdamW

from critbatch.arguments import renamed_arguments
from critbatch.errors import UserError
from critbatch.law.prior import WIDE_PRIOR, WIDE_RATES
from critbatch.optim.lr_schedule import warmed_up
from critbatch.optim.scaling_rules import scale_linearly
from critbatch.recipes.base import recipe
from critbatch.recipes.plan import Growth, Phase, Plan


def usual_rate(batch_size: int) -> float:
    """That of SGD: 0.1 for 256 examples, and in proportion below that."""
    return min(0.1, scale_linearly(0.1, from_batch=256, to_batch=batch_size))


@recipe(
    "adaptive",
    paper="McCandlish et al. 2018, arXiv:1812.06162",
    changes="the batch doubles when the gradient noise scale has grown",
    needs="batches that can be cut into micro-batches, to measure the noise",
    usual_rate=usual_rate,
    law_prior=WIDE_PRIOR,
    first_learning_rates=WIDE_RATES,
)
@renamed_arguments(decay="lr_decay", warm_up_epochs="warmup_epochs")
def adaptive(
    *,
    batch_size: int,
    learning_rate: float | None = None,
    epochs: float = 20.0,
    optimizer: str = "sgd",
    largest_batch: int = 4096,
    share: float = 1.0,
    factor: int = 2,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    warmup_epochs: float = 0.0,
    lr_decay: str = "constant",
) -> Plan:
    """Start with a small batch, and double it when the gradient noise scale has become as large as the doubled batch.

    The noise is measured during the run, by micro-batches. The learning rate grows with the batch along ``1 / (1 +
    B_noise / B)^a``, a = 1 for SGD and 1/2 for Adam: linearly far below the noise scale.

    Args:
        batch_size: Examples per step at the start.
        learning_rate: For that batch size. Default: that of SGD; 0.001 for Adam.
        epochs: Length of the run.
        optimizer: "sgd" or "adam".
        largest_batch: Upper limit of the batch size.
        share: The batch size as a share of the noise scale. 1 costs twice the fewest examples and twice the fewest
            steps (the paper, equation 2.11).
        factor: Factor by which the batch grows at once.
        momentum: Momentum of SGD.
        weight_decay: For all weights.
        warmup_epochs: Epochs of linear warm-up from 0.
        lr_decay: As for `sgd`.
    """
    if optimizer not in ("sgd", "adam"):
        raise UserError(f"optimizer={optimizer!r} is not known: use sgd or adam.")
    rate = usual_rate(batch_size) if learning_rate is None else learning_rate
    make = (
        partial(SGD, lr=rate, momentum=momentum, weight_decay=weight_decay, fused=True)
        if optimizer == "sgd"
        else partial(AdamW, lr=rate, weight_decay=weight_decay, fused=True)
    )
    phase = Phase(
        epochs=epochs,
        batch_size=batch_size,
        optimizer=make,
        learning_rate=warmed_up(rate, epochs=epochs, warmup_epochs=warmup_epochs, lr_decay=lr_decay),
        growth=Growth(share=share, factor=factor, largest=largest_batch, exponent=1.0 if optimizer == "sgd" else 0.5),
    )
    return Plan(recipe="adaptive", peak=rate, phases=(phase,))
