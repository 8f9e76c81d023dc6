"""You, Gitman, Ginsburg 2017, "Large batch training of convolutional networks", arXiv:1708.03888."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise

from critbatch.arguments import renamed_arguments
from critbatch.law.prior import WIDE_PRIOR, WIDE_RATES
from critbatch.optim.lars import LARS
from critbatch.optim.lr_schedule import join, polynomial, ramp
from critbatch.recipes.base import recipe
from critbatch.recipes.plan import Phase, Plan

# Table 4, ResNet-50: batch size, peak, epochs of warm-up out of 100.
TABLE = ((256, 4.0, 0), (1024, 9.0, 5), (8192, 30.0, 5), (16384, 33.0, 12), (32768, 40.0, 12))
EPOCHS = 100


def usual_rate(batch_size: int) -> float:
    """The learning rates of table 4, interpolated by powers of the batch size; outside of it by the square root."""
    (least, low, _), (most, high, _) = TABLE[0], TABLE[-1]
    if batch_size <= least:
        return low * math.sqrt(batch_size / least)
    if batch_size >= most:
        return high * math.sqrt(batch_size / most)
    first, second = next((a, b) for a, b in pairwise(TABLE) if a[0] <= batch_size <= b[0])
    part = math.log(batch_size / first[0]) / math.log(second[0] / first[0])
    return float(first[1] * (second[1] / first[1]) ** part)


@recipe(
    "lars2017",
    paper="You et al. 2017, arXiv:1708.03888",
    changes="steps scaled to the norm of each layer's weights (LARS), warm-up, polynomial decay",
    needs="two norms per tensor and step",
    usual_rate=usual_rate,
    law_prior=WIDE_PRIOR,
    first_learning_rates=WIDE_RATES,
)
@renamed_arguments(warm_up_epochs="warmup_epochs")
def lars2017(
    *,
    batch_size: int,
    learning_rate: float | None = None,
    epochs: float = EPOCHS,
    warmup_epochs: float | None = None,
    weight_decay: float = 5e-4,
    momentum: float = 0.9,
    trust_coefficient: float = 0.001,
    variant: str = "paper",
    adapt_one_dimensional: bool = False,
) -> Plan:
    """LARS, which scales the step of every layer to the norm of its weights, with a warm-up and a polynomial decay.

    The decay has the power 2. Biases and gains take plain steps at the full learning rate, which is as large as 4 to 40
    here. Models with batch norm tolerate this. A model without it needs a smaller rate with a larger trust coefficient,
    or `adapt_one_dimensional`.

    Args:
        batch_size: Examples per step.
        learning_rate: The peak. Default: that of table 4 (ResNet-50). Only its product with the trust coefficient
            matters.
        epochs: Length of the run; 100 in table 4.
        warmup_epochs: From 0 to the peak. Default: those of table 4, in proportion.
        weight_decay: Section 5.
        momentum: Section 5.
        trust_coefficient: Section 5.
        variant: "paper", or "mlperf" with the learning rate outside of the velocity: `critbatch.LARS`.
        adapt_one_dimensional: Adapt biases and gains too, as in the paper; later practice leaves them out.
    """
    peak = usual_rate(batch_size) if learning_rate is None else learning_rate
    if warmup_epochs is None:
        warmup_epochs = next((up for size, _, up in reversed(TABLE) if batch_size >= size), 0) * epochs / EPOCHS
    decay = polynomial(peak, epochs=epochs - warmup_epochs, power=2.0)
    optimizer = partial(
        LARS,
        lr=peak,
        momentum=momentum,
        weight_decay=weight_decay,
        trust_coefficient=trust_coefficient,
        variant=variant,
        adapt_one_dimensional=adapt_one_dimensional,
    )
    phase = Phase(
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        learning_rate=join(ramp(0.0, peak, epochs=warmup_epochs), warmup_epochs, decay),
    )
    return Plan(recipe="lars2017", peak=peak, phases=(phase,))
