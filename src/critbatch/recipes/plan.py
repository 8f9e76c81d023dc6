"""What a recipe says: phases of training as data. The loop in `training.py` does what they say."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

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
    """The batch is multiplied by `factor` when `share` of the noise scale has come to be as large.

    McCandlish et al. 2018, arXiv:1812.06162, section 2.4 and appendix C.1: the best batch at a point of training is in
    proportion to the noise scale there, which grows.

    Args:
        share: of the noise scale, that the batch shall have.
        factor: by which it grows at once.
        largest: it never grows beyond, nor beyond the training set.
        exponent: of the rule for the learning rate, ``1 / (1 + B_noise / B)^exponent``: 1 for SGD, 0.5 for Adam; 0
            leaves the rate as it is.
        points: so many points of the noise are averaged, since one alone is noisy.
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
        """Of the last points together, in examples: signal and noise are averaged first. None while it is not known."""
        last = [point.scale for point in points[-self.points :]]
        if len(last) < self.points:
            return None
        signal = sum(scale.gradient_norm2 for scale in last)
        noise = sum(scale.covariance_trace for scale in last)
        return noise / signal if signal > 0 < noise else None

    def next_size(self, size: int, points: Sequence[NoisePoint], *, examples: int) -> int:
        """The batch size to go on with, never above the number of `examples` in the training set."""
        scale = self.noise_scale(points)
        grown = size * self.factor
        return grown if scale is not None and grown <= min(self.largest, examples, self.share * scale) else size


class NormStatistics(StrEnum):
    """What batch norm normalizes with when a model is evaluated."""

    RUNNING = "running"  # moving averages over the batches of training
    LAST_BATCH = "last_batch"  # those of the last batch, averaged over processes: Akiba et al. 2017, arXiv:1711.04325


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Some epochs at one batch size with one optimizer.

    Args:
        epochs: how long, as a float.
        batch_size: examples per step, over all processes.
        optimizer: makes the optimizer of these parameters; its learning rate is set at every step.
        learning_rate: of the epoch within the phase.
        keeps_optimizer: goes on with the optimizer of the phase before, its momentum too; else with a new one.
        until_train_metric: the phase ends sooner, at the first evaluation at which the training set has this metric.
        copies: so many copies of the model train each on its own; the phase ends with their mean, for which batch
            norm's statistics are computed anew from the training set.
        shares_batches: the copies share the examples of each batch of `batch_size`; else each sees all the data in an
            order of its own, in batches of `batch_size`.
        average_every: the copies go on from their mean after so many steps, too.
        growth: the batch grows with the noise of its gradient, which is then measured.
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
        return sum(phase.epochs for phase in self.phases)

    @property
    def batch_size(self) -> int:
        """Of the first phase."""
        return self.phases[0].batch_size

    @property
    def needs_noise(self) -> bool:
        return any(phase.growth is not None for phase in self.phases)
