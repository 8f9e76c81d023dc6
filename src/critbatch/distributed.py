"""Which of how many processes this is. One process, unless torch.distributed has been started."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from critbatch.errors import UserError


@dataclass(frozen=True)
class Shard:
    """Part `rank` of `world_size` equal parts of every batch."""

    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world_size:
            raise UserError(
                f"rank={self.rank} is not possible: with world_size={self.world_size} use 0 or more, below it."
            )

    def of(self, indices: Tensor) -> Tensor:
        """This process's part of a batch. The parts differ by one example at the most, and together are the batch."""
        first = len(indices) * self.rank // self.world_size
        last = len(indices) * (self.rank + 1) // self.world_size
        return indices[first:last]


def this_shard() -> Shard:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return Shard(torch.distributed.get_rank(), torch.distributed.get_world_size())
    return Shard()


def sum_over_processes(tensor: Tensor) -> None:
    """Replace the tensor by its sum over all processes."""
    torch.distributed.all_reduce(tensor)


def sum_gradients(parameters: Iterable[nn.Parameter], shard: Shard) -> None:
    """Replace each gradient by its sum over the processes. The loss has been divided by the global batch size."""
    if shard.world_size == 1:
        return
    for parameter in parameters:
        if parameter.grad is None:  # this process had no example of a short batch, or did not use the parameter
            parameter.grad = torch.zeros_like(parameter)
        torch.distributed.all_reduce(parameter.grad)
