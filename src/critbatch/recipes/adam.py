"""Adam, and AdamW where weight decay is asked for."""

from __future__ import annotations

import math

from torch.optim import Adam, AdamW

from critbatch.arguments import renamed_arguments
from critbatch.law.prior import LawPrior
from critbatch.optim.lr_schedule import warmed_up
from critbatch.recipes.base import recipe, with_decay
from critbatch.recipes.plan import Phase, Plan


@recipe(
    "adam",
    paper="Kingma and Ba 2015, arXiv:1412.6980",
    changes="steps are divided by the root mean square of the gradients",
    needs="two more tensors per weight",
    usual_rate=lambda batch_size: 0.001,
    # Exponents of 0.29 to 0.57 were measured.
    law_prior=LawPrior(log_rate=(math.log(0.005), 2.0), exponent=(0.46, 0.12)),
    first_learning_rates=(1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
    optimizers=(AdamW, Adam),
)
@renamed_arguments(decay="lr_decay", warm_up_epochs="warmup_epochs")
def adam(
    *,
    batch_size: int,
    learning_rate: float,
    epochs: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decay_vectors: bool = True,
    warmup_epochs: float = 0.0,
    lr_decay: str = "constant",
) -> Plan:
    """Adam: Kingma and Ba 2015, arXiv:1412.6980, algorithm 1, with its constants.

    Weight decay is decoupled from the gradient: Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2.

    Args:
        batch_size: Examples per step.
        learning_rate: The peak of the schedule.
        epochs: Length of the run.
        betas: Decay of the first and of the second moment.
        eps: Added to the root of the second moment.
        weight_decay: Decoupled weight decay.
        decay_vectors: Whether biases and the gains of normalization layers decay too.
        warmup_epochs: Epochs of linear warm-up from 0 to the peak.
        lr_decay: "constant", "linear", "cosine", "step" or "polynomial".
    """
    settings = {"lr": learning_rate, "betas": betas, "eps": eps, "fused": True}
    optimizer = with_decay(AdamW, weight_decay=weight_decay, vectors=decay_vectors, **settings)
    rate = warmed_up(learning_rate, epochs=epochs, warmup_epochs=warmup_epochs, lr_decay=lr_decay)
    phase = Phase(epochs=epochs, batch_size=batch_size, optimizer=optimizer, learning_rate=rate)
    return Plan(recipe="adam", peak=learning_rate, phases=(phase,))
