"""What a recipe says: phases of training as data. The loop in `training.py` does what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import nn
from torch.optim import Optimizer

from critbatch.batches import Order
from critbatch.errors import UserError
from critbatch.learning_rate import Rate


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Some epochs at one batch size with one optimizer.

    Args:
        epochs: how long, as a float.
        batch_size: examples per step, over all processes.
        optimizer: makes the optimizer of these parameters; its learning rate is set at every step.
        learning_rate: of the epoch within the phase.
    """

    epochs: float
    batch_size: int
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]
    learning_rate: Rate

    def __post_init__(self) -> None:
        if self.epochs <= 0:
            raise UserError(f"epochs={self.epochs} is not possible: use a number above 0.")
        if self.batch_size < 1:
            raise UserError(f"batch_size={self.batch_size} is not possible: use 1 or more.")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A whole recipe, ready to run.

    Args:
        recipe: its name.
        peak: the largest learning rate, as reports call it.
        phases: in their order.
        micro_batch_size: examples per forward pass on one device; None for all of a device's share at once. It moves
            memory and time, not the result.
        order: how the examples of an epoch are put in order.
        drop_last: leave out the examples of an epoch that do not fill a batch.
    """

    recipe: str
    peak: float
    phases: tuple[Phase, ...]
    micro_batch_size: int | None = None
    order: Order = Order.RESHUFFLE
    drop_last: bool = False

    def __post_init__(self) -> None:
        if not self.phases:
            raise UserError("A plan needs at least one phase.")
        if self.micro_batch_size is not None and self.micro_batch_size < 1:
            raise UserError(f"micro_batch_size={self.micro_batch_size} is not possible: use 1 or more.")

    @property
    def epochs(self) -> float:
        return sum(phase.epochs for phase in self.phases)

    @property
    def batch_size(self) -> int:
        """Of the first phase."""
        return self.phases[0].batch_size
