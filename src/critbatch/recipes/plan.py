"""A recipe as data: phases of training. The training loop carries them out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from critbatch.arguments import check_counts
from critbatch.errors import UserError
from critbatch.optim.lr_schedule import Rate
from critbatch.records.core import NoisePoint
from critbatch.tasks.sampler import Order

# When the batch grows with the noise of its gradient.


@dataclass(frozen=True, kw_only=True)
class Growth:
    """A batch that grows with the noise of its gradient.

    The batch size is multiplied by `factor` as soon as `share` of the measured noise scale is as large as the new size.
    McCandlish et al. 2018, arXiv:1812.06162, section 2.4 and appendix C.1: the best batch size at a point of training
    is proportional to the noise scale there, which grows during training.

    Args:
        share: The batch size as a share of the noise scale.
        factor: Factor by which the batch grows at once.
        largest: Upper limit of the batch size. The training set is a limit too.
        exponent: Exponent of the rule for the learning rate, ``1 / (1 + B_noise / B)^exponent``: 1 for SGD, 0.5 for
            Adam; 0 keeps the learning rate.
        points: Number of noise measurements that are averaged, because a single one is noisy.
    """

    share: float = 1.0
    factor: int = 2
    largest: int
    exponent: float = 1.0
    points: int = 4

    def __post_init__(self) -> None:
        if not self.share > 0 or self.factor < 2 or self.largest < 1 or self.points < 1 or self.exponent < 0:
            raise UserError(
                f"share={self.share}, factor={self.factor}, largest={self.largest}, points={self.points}, "
                f"exponent={self.exponent} are not possible: use a share above 0, a factor of 2 or more, and no "
                "negative number."
            )

    def noise_scale(self, points: Sequence[NoisePoint]) -> float | None:
        """Return the noise scale of the last points together, in examples, or None while it is not known.

        Signal and noise are averaged before they are divided.
        """
        last = [point.scale for point in points[-self.points :]]
        if len(last) < self.points:
            return None
        signal = sum(scale.gradient_norm2 for scale in last)
        noise = sum(scale.covariance_trace for scale in last)
        return noise / signal if signal > 0 < noise else None

    def next_size(self, size: int, points: Sequence[NoisePoint], *, examples: int) -> int:
        """Return the batch size to continue with, never above the number of `examples` in the training set."""
        scale = self.noise_scale(points)
        grown = size * self.factor
        return grown if scale is not None and grown <= min(self.largest, examples, self.share * scale) else size


class NormStatistics(StrEnum):
    """The statistics that batch norm uses when a model is evaluated."""

    RUNNING = "running"  # moving averages over the training batches
    LAST_BATCH = "last_batch"  # those of the last training batch, averaged over processes (Akiba et al. 2017)


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Some epochs at one batch size with one optimizer.

    Args:
        epochs: Length of the phase, a float.
        batch_size: Examples per step, over all processes.
        optimizer: A function that creates the optimizer of the given parameters. Its learning rate is set at every
            step.
        learning_rate: The learning rate as a function of the epoch within the phase.
        keeps_optimizer: Whether to continue with the optimizer of the previous phase, including its momentum.
        until_train_metric: Ends the phase early, at the first evaluation at which the training metric reaches this
            value.
        copies: Number of copies of the model that train separately. The phase ends with their mean, whose batch-norm
            statistics are recomputed from the training set.
        shares_batches: Whether the copies share the examples of each batch. Otherwise each copy sees all the data in
            its own order, in batches of `batch_size`.
        average_every: Number of steps after which the copies continue from their mean.
        growth: Lets the batch grow with the noise of its gradient, which is then measured.
    """

    epochs: float
    batch_size: int
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]
    learning_rate: Rate
    keeps_optimizer: bool = False
    until_train_metric: float | None = None
    copies: int = 1
    shares_batches: bool = False
    average_every: int | None = None
    growth: Growth | None = None

    def __post_init__(self) -> None:
        if not (self.epochs > 0 and math.isfinite(self.epochs)):
            raise UserError(f"epochs={self.epochs} is not possible: use a number above 0.")
        if self.batch_size < 1:
            raise UserError(f"batch_size={self.batch_size} is not possible: use 1 or more.")
        counts = {"batch_size": self.batch_size, "copies": self.copies}
        check_counts(counts, lambda name, value: f"{name}={value}")
        if self.copies < 1 or (self.average_every is not None and self.average_every < 1):
            raise UserError(
                f"copies={self.copies} with average_every={self.average_every} is not possible: use 1 or more."
            )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A whole recipe, ready to run.

    Args:
        recipe: Name of the recipe.
        peak: Largest learning rate, as reports show it.
        phases: Phases in their order.
        micro_batch_size: Examples in one forward pass on one device. It changes memory and time, not the result.
            Default: the whole batch.
        order: How the examples of an epoch are ordered.
        drop_last: Skip the examples of an epoch that do not fill a batch.
        zero_gamma: Start the last batch norm of each residual block at 0, in models that mark it. Goyal et al. 2017,
            arXiv:1706.02677, section 5.1.
        ghost_batch: Examples over which batch norm takes its statistics in training. Hoffer et al. 2017,
            arXiv:1705.08741, algorithm 1. Default: the whole forward pass.
        sam_rho: Radius of sharpness-aware minimization, such as 0.05; it takes two gradients a step. Foret et al. 2020,
            arXiv:2010.01412. Default: off.
        norm_statistics: Statistics that batch norm uses in evaluations: running averages, or the last batch's (Akiba).
    """

    recipe: str
    peak: float
    phases: tuple[Phase, ...]
    micro_batch_size: int | None = None
    order: Order = Order.RESHUFFLE
    drop_last: bool = False
    zero_gamma: bool = False
    ghost_batch: int | None = None
    sam_rho: float | None = None
    norm_statistics: NormStatistics = NormStatistics.RUNNING

    def __post_init__(self) -> None:
        if not self.phases:
            raise UserError("A plan needs at least one phase.")
        if self.norm_statistics not in list(NormStatistics):
            raise UserError(
                f"norm_statistics={str(self.norm_statistics)!r} is not known: use {', '.join(NormStatistics)}."
            )
        object.__setattr__(self, "norm_statistics", NormStatistics(self.norm_statistics))
        if self.micro_batch_size is not None and self.micro_batch_size < 1:
            raise UserError(f"micro_batch_size={self.micro_batch_size} is not possible: use 1 or more.")
        if self.ghost_batch is not None and self.ghost_batch < 2:
            raise UserError(f"ghost_batch={self.ghost_batch} is not possible: use 2 or more.")
        if self.sam_rho is not None and not self.sam_rho > 0:
            raise UserError(f"sam_rho={self.sam_rho} is not possible: use a number above 0, such as 0.05.")

    @property
    def epochs(self) -> float:
        """Length of all phases together."""
        return sum(phase.epochs for phase in self.phases)

    @property
    def batch_size(self) -> int:
        """The batch size of the first phase."""
        return self.phases[0].batch_size

    @property
    def needs_noise(self) -> bool:
        """Whether a phase needs the noise of the gradient."""
        return any(phase.growth is not None for phase in self.phases)

    @property
    def is_more_than_steps(self) -> bool:
        """Whether it is not only gradients of batches and updates by them."""
        copies = any(phase.copies > 1 for phase in self.phases)
        return copies or self.sam_rho is not None or self.ghost_batch is not None


# Of torch's optimizers: how fast a step is, not what it does.
SPEED_SETTINGS = ("fused", "foreach", "capturable")


def plain_torch_optimizer(plan: Plan) -> tuple[type[Optimizer], dict[str, Any]] | None:
    """Torch's optimizer and its settings, where it does all that the plan says, at a constant learning rate.

    Returns:
        A class of `torch.optim` and what differs from its defaults, without the learning rate; None where the plan has
        a schedule, several phases, parameter groups or an optimizer of its own.
    """
    phase = plan.phases[0]
    make = phase.optimizer
    if len(plan.phases) > 1 or phase.growth is not None or phase.copies > 1 or plan.is_more_than_steps:
        return None
    if not isinstance(make, partial) or make.args or not isinstance(make.func, type):
        return None
    if getattr(torch.optim, make.func.__name__, None) is not make.func or plan.zero_gamma or plan.drop_last:
        return None
    if any(phase.learning_rate(phase.epochs * part / 1000) != plan.peak for part in range(1000)):
        return None
    defaults = {name: one.default for name, one in signature(make.func).parameters.items()}
    settings = {name: value for name, value in make.keywords.items() if name not in ("lr", *SPEED_SETTINGS)}
    return make.func, {name: value for name, value in settings.items() if value != defaults.get(name)}
