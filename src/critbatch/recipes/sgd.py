"""Plain stochastic gradient descent with momentum."""

from __future__ import annotations

import math

from torch.optim import SGD

from critbatch.arguments import renamed_arguments
from critbatch.law.prior import LawPrior
from critbatch.optim.lr_schedule import warmed_up
from critbatch.recipes.base import recipe, with_decay
from critbatch.recipes.plan import Phase, Plan


def usual_rate(batch_size: int) -> float:
    """0.1 for 256 examples, and in proportion below that: Goyal et al. 2017, arXiv:1706.02677, section 5.1."""
    return 0.1 * min(1.0, batch_size / 256)


@recipe(
    "sgd",
    paper="Sutskever et al. 2013, section 2",
    changes="nothing",
    needs="nothing",
    usual_rate=usual_rate,
    # Exponents of 0.98 to 1.29 were measured.
    law_prior=LawPrior(log_rate=(math.log(0.5), 2.0), exponent=(1.1, 0.12)),
    first_learning_rates=(0.003, 0.01, 0.03, 0.1, 0.3, 1.0),
    optimizers=(SGD,),
)
@renamed_arguments(decay="lr_decay", warm_up_epochs="warmup_epochs")
def sgd(
    *,
    batch_size: int,
    learning_rate: float,
    epochs: float,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    decay_vectors: bool = True,
    warmup_epochs: float = 0.0,
    lr_decay: str = "constant",
) -> Plan:
    """SGD with momentum in PyTorch's form, which needs no momentum correction when the learning rate changes.

    ``v <- m v + g`` and ``w <- w - lr v``. Sutskever et al. 2013, "On the importance of initialization and momentum in
    deep learning", section 2. The form is that of Goyal et al. 2017, arXiv:1706.02677, equation 9, with the learning
    rate outside.

    Args:
        batch_size: Examples per step.
        learning_rate: The peak of the schedule.
        epochs: Length of the run.
        momentum: Factor of the velocity.
        nesterov: Whether to use Nesterov momentum.
        weight_decay: Weight decay, part of the gradient.
        decay_vectors: Whether biases and the gains of batch norm decay too. In section 5.1 of Goyal et al. batch norm
            does not.
        warmup_epochs: Epochs of linear warm-up from 0 to the peak.
        lr_decay: "constant", "linear", "cosine", "step" or "polynomial".
    """
    settings = {"lr": learning_rate, "momentum": momentum, "nesterov": nesterov, "fused": True}
    optimizer = with_decay(SGD, weight_decay=weight_decay, vectors=decay_vectors, **settings)
    rate = warmed_up(learning_rate, epochs=epochs, warmup_epochs=warmup_epochs, lr_decay=lr_decay)
    phase = Phase(epochs=epochs, batch_size=batch_size, optimizer=optimizer, learning_rate=rate)
    return Plan(recipe="sgd", peak=learning_rate, phases=(phase,))
