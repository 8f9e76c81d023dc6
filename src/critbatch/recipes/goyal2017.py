"""Goyal et al. 2017, "Accurate, large minibatch SGD: training ImageNet in 1 hour", arXiv:1706.02677."""

from __future__ import annotations

from torch.optim import SGD

from critbatch.arguments import renamed_arguments
from critbatch.law.prior import WIDE_PRIOR, WIDE_RATES
from critbatch.optim.lr_schedule import begin_with, ramp, stairs
from critbatch.optim.scaling_rules import scale_linearly
from critbatch.recipes.base import DecayWithoutVectors, recipe
from critbatch.recipes.plan import Phase, Plan

BASE_BATCH, BASE_RATE = 256, 0.1  # section 2.1
STAIRS, EPOCHS, WARM_UP_EPOCHS = (30, 60, 80), 90, 5  # section 5.1


def usual_rate(batch_size: int) -> float:
    """0.1 for 256 examples, scaled linearly: section 2.1."""
    return scale_linearly(BASE_RATE, from_batch=BASE_BATCH, to_batch=batch_size)


@recipe(
    "goyal2017",
    paper="Goyal et al. 2017, arXiv:1706.02677",
    changes="linear scaling, gradual warm-up, step decay, no weight decay on vectors, zero gamma",
    needs="no more than SGD",
    usual_rate=usual_rate,
    law_prior=WIDE_PRIOR,
    first_learning_rates=WIDE_RATES,
)
@renamed_arguments(warm_up_epochs="warmup_epochs")
def goyal2017(
    *,
    batch_size: int,
    learning_rate: float | None = None,
    epochs: float = EPOCHS,
    base_batch: int = BASE_BATCH,
    warmup_epochs: float | None = None,
    weight_decay: float = 1e-4,
    zero_gamma: bool = True,
) -> Plan:
    """Scale the learning rate linearly with the batch size, and warm up to it from the rate of the base batch size.

    At `base_batch` this is plain SGD with Nesterov momentum and step decay. The model keeps its own initialization;
    that of section 5.1 is in the task `resnet50-folder`. Batch norm computes its statistics in each process, and with
    `micro_batch_size` over each micro-batch: section 2.3 uses 32 examples.

    Args:
        batch_size: Examples per step.
        learning_rate: The peak. Default: 0.1 for 256 examples, scaled linearly.
        epochs: Length of the run. Decay and warm-up are scaled from the paper's 90 epochs.
        base_batch: Batch size at which the scaling starts.
        warmup_epochs: Default: 5 of 90; section 2.2.
        weight_decay: For all weights but one-dimensional ones; section 5.1.
        zero_gamma: Start residual blocks as the identity, in models that mark their last batch norm; section 5.1.
    """
    peak = usual_rate(batch_size) if learning_rate is None else learning_rate
    start = peak * min(1.0, base_batch / batch_size)
    up = WARM_UP_EPOCHS * epochs / EPOCHS if warmup_epochs is None else warmup_epochs
    down = stairs(peak, factor=0.1, at=[epochs * stair / EPOCHS for stair in STAIRS])
    rate = begin_with(ramp(start, peak, epochs=up), up, down)
    optimizer = DecayWithoutVectors(SGD, lr=peak, momentum=0.9, nesterov=True, weight_decay=weight_decay, fused=True)
    phase = Phase(epochs=epochs, batch_size=batch_size, optimizer=optimizer, learning_rate=rate)
    return Plan(recipe="goyal2017", peak=peak, phases=(phase,), zero_gamma=zero_gamma)
