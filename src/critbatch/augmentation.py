"""Random changes of training inputs, as a function of (seed, epoch, index of the example) alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch
from torch import Tensor

from critbatch.errors import UserError
from critbatch.examples import Tree


@dataclass(frozen=True)
class Augmentation:
    """How training inputs that are tensors are changed at random: flipped, cropped, made noisy.

    All that is random comes from numbers that `apply` is given. Those of an example are a function of (seed, epoch,
    index): the size of batches and micro-batches, the number of processes and interruptions do not enter. Only training
    sees changed inputs, and the noise of its gradients; evaluation, and measurements at given weights, see the examples
    as they are.

    Args:
        apply: (inputs, draws) to inputs of the same shape and type. It gets a batch of raw inputs, before
            `Task.prepare`, on the device, and numbers that are uniform in [0, 1), float32, shape (batch, numbers). An
            example's inputs may depend on its own inputs and numbers only.
        numbers: how many an example needs.

    Raises:
        UserError: if `apply` is no function, or `numbers` is below 1.

    >>> noisy = Augmentation(lambda inputs, draws: inputs + draws - 0.5, numbers=1)
    >>> noisy(torch.zeros(2, 1), torch.tensor([[0.0], [0.75]]))
    tensor([[-0.5000],
            [ 0.2500]])
    """

    apply: Callable[[Tree, Tensor], Tree]
    _: KW_ONLY
    numbers: int

    def __post_init__(self) -> None:
        if not callable(self.apply):
            raise UserError(
                f"An augmentation of {type(self.apply).__name__} is not possible: give a function of (inputs, draws)."
            )
        if not isinstance(self.numbers, int) or self.numbers < 1:
            raise UserError(f"numbers={self.numbers!r} is not possible: use a whole number, 1 or more.")

    def __call__(self, inputs: Tree, draws: Tensor) -> Tree:
        return self.apply(inputs, draws)


def epoch_draws(examples: int, numbers: int, *, seed: int, epoch: int) -> Tensor:
    """The numbers of all examples in this epoch, uniform in [0, 1), shape (examples, numbers), float32.

    They are independent of the order of the epoch, which has the same seed.
    """
    sequence = np.random.SeedSequence((seed, epoch), spawn_key=(1,))
    generator = np.random.Generator(np.random.PCG64(sequence))
    return torch.from_numpy(generator.random((examples, numbers), dtype=np.float32))
