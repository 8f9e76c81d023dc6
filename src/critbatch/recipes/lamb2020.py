"""You et al. 2020, "Large batch optimization for deep learning: training BERT in 76 minutes", arXiv:1904.00962."""

from __future__ import annotations

from functools import partial

from critbatch.law.prior import WIDE_PRIOR, WIDE_RATES
from critbatch.optim.lamb import LAMB
from critbatch.optim.lr_schedule import join, linear_decay, ramp
from critbatch.optim.scaling_rules import scale_by_root
from critbatch.recipes.base import recipe
from critbatch.recipes.plan import Phase, Plan

# Table 4, BERT: the rate at 32,768 examples, and the part of the run that is warm-up there, both untuned.
LARGEST, RATE, WARM_UP = 32768, 5e-3, 1 / 5
SECOND_STAGE = 1 / 10  # section 4.1: of the epochs, at sequences of 512


def usual_rate(batch_size: int) -> float:
    """0.005 for 32,768 examples, scaled by the square root: table 4."""
    return scale_by_root(RATE, from_batch=LARGEST, to_batch=batch_size)


@recipe(
    "lamb2020",
    paper="You et al. 2020, arXiv:1904.00962",
    changes="Adam steps scaled to each layer's weights (LAMB), square-root scaling, constant number of warm-up steps",
    needs="two more tensors per weight, as Adam; two norms per tensor and step",
    usual_rate=usual_rate,
    law_prior=WIDE_PRIOR,
    first_learning_rates=WIDE_RATES,
    later_batches="second_batch_size",
)
def lamb2020(
    *,
    batch_size: int,
    learning_rate: float | None = None,
    epochs: float = 40.0,
    warm_up_share: float | None = None,
    second_batch_size: int | None = None,
    second_learning_rate: float | None = None,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-6,
    weight_decay: float = 0.01,
    max_gradient_norm: float | None = 1.0,
    bias_correction: bool = True,
) -> Plan:
    """Adam whose steps are scaled to the norm of each layer's weights; square-root scaling; a longer warm-up.

    With `second_batch_size` this is the mixed-batch plan: the last tenth of the epochs has another batch size, a
    learning rate that rises from 0 again, and a new optimizer. For BERT the sequences become longer there, which is
    another task: train the second stage separately, with `--start-from` the first.

    Args:
        batch_size: Examples per step.
        learning_rate: The peak. Default: 0.005 for 32,768 examples, scaled by the square root.
        epochs: Length of the run.
        warm_up_share: Share of the steps before the peak. Default: 1/5 for 32,768 examples, in proportion, which is a
            constant number of steps.
        second_batch_size: Batch size of the second stage. Default: no second stage.
        second_learning_rate: Its peak. Default: scaled by the square root of its batch size.
        betas: Section 4.
        eps: As in the authors' code.
        weight_decay: For all weights but one-dimensional ones, as part of the norm in the ratio; section 4.
        max_gradient_norm: Clip the gradient of all weights to this norm first, as in the authors' BERT code.
        bias_correction: Correct the moments, as in algorithm 2; the third version of the paper does not.
    """
    peak = usual_rate(batch_size) if learning_rate is None else learning_rate
    optimizer = partial(
        LAMB,
        betas=betas,
        eps=eps,
        weight_decay=weight_decay,
        max_gradient_norm=max_gradient_norm,
        bias_correction=bias_correction,
    )

    def stage(size: int, top: float, length: float) -> Phase:
        share = min(1.0, WARM_UP * size / LARGEST) if warm_up_share is None else warm_up_share
        up = share * length
        rate = join(ramp(0.0, top, epochs=up), up, linear_decay(top, epochs=length - up))
        return Phase(epochs=length, batch_size=size, optimizer=partial(optimizer, lr=top), learning_rate=rate)

    if second_batch_size is None:
        return Plan(recipe="lamb2020", peak=peak, phases=(stage(batch_size, peak, epochs),))
    second = scale_by_root(peak, from_batch=batch_size, to_batch=second_batch_size)
    last = SECOND_STAGE * epochs
    phases = (
        stage(batch_size, peak, epochs - last),
        stage(second_batch_size, second if second_learning_rate is None else second_learning_rate, last),
    )
    return Plan(recipe="lamb2020", peak=peak, phases=phases)
