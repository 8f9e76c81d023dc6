"""Lin et al. 2018, "Don't use large mini-batches, use local SGD", arXiv:1808.07217."""

from __future__ import annotations

from functools import partial

from torch.optim import SGD

from critbatch.arguments import renamed_arguments
from critbatch.errors import UserError
from critbatch.law.prior import WIDE_PRIOR, WIDE_RATES
from critbatch.optim.lr_schedule import constant, join, ramp, stairs
from critbatch.optim.scaling_rules import scale_linearly
from critbatch.recipes.base import recipe
from critbatch.recipes.plan import Phase, Plan


def usual_rate(batch_size: int) -> float:
    """0.1 for 128 examples, scaled linearly."""
    return scale_linearly(0.1, from_batch=128, to_batch=batch_size)


@recipe(
    "post-local-sgd",
    paper="Lin et al. 2018, arXiv:1808.07217",
    changes="in the second half, workers train separately and average their weights every few steps",
    needs="memory for weights and optimizer of each worker; less communication than SGD",
    usual_rate=usual_rate,
    law_prior=WIDE_PRIOR,
    first_learning_rates=WIDE_RATES,
)
@renamed_arguments(warm_up_epochs="warmup_epochs")
def post_local_sgd(
    *,
    batch_size: int,
    learning_rate: float | None = None,
    epochs: float = 300.0,
    copies: int = 8,
    local_steps: int = 16,
    local_share: float = 0.5,
    warmup_epochs: float | None = None,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
) -> Plan:
    """Plain SGD in the first half; then workers that share each batch and average their weights every few steps.

    The switch comes where the learning rate first falls, as in section 4. Workers keep their momentum. With 1 local
    step and no momentum this is plain SGD.

    Args:
        batch_size: Examples per step, over all workers.
        learning_rate: The peak. Default: 0.1 for 128 examples, scaled linearly.
        epochs: Length of the run. The learning rate falls to a tenth after a half and after three quarters.
        copies: Number of workers.
        local_steps: Steps between two averages; 16 in section 4.
        local_share: The last share of the run, in which steps are local.
        warmup_epochs: From the rate of 128 examples to the peak. Default: 5 of 300.
        momentum: Nesterov momentum, as in appendix A.
        weight_decay: For all weights.
    """
    if not 0 < local_share < 1:
        raise UserError(f"local_share={local_share} is not possible: use a number between 0 and 1.")
    peak = usual_rate(batch_size) if learning_rate is None else learning_rate
    up = 5 * epochs / 300 if warmup_epochs is None else warmup_epochs
    first, second = (1 - local_share) * epochs, local_share * epochs
    optimizer = partial(SGD, lr=peak, momentum=momentum, nesterov=momentum > 0, weight_decay=weight_decay, fused=True)
    start = peak * min(1.0, 128 / batch_size)
    return Plan(
        recipe="post-local-sgd",
        peak=peak,
        phases=(
            Phase(
                epochs=first,
                batch_size=batch_size,
                optimizer=optimizer,
                learning_rate=join(ramp(start, peak, epochs=up), up, constant(peak)),
            ),
            Phase(
                epochs=second,
                batch_size=batch_size,
                optimizer=optimizer,
                learning_rate=stairs(peak / 10, factor=0.1, at=[second / 2]),
                keeps_optimizer=True,
                copies=copies,
                shares_batches=True,
                average_every=local_steps,
            ),
        ),
    )
