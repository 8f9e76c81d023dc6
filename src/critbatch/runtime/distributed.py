"""Data-parallel processes: rank, world size, and collective operations. One process unless torch.distributed runs."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from critbatch.errors import UserError
from critbatch.runtime.device import sum_dtype

STATISTICS = ("running_mean", "running_var")


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
        """This process's part of a batch. The sizes of the parts differ by at most one example."""
        first = len(indices) * self.rank // self.world_size
        last = len(indices) * (self.rank + 1) // self.world_size
        return indices[first:last]


def this_shard() -> Shard:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return Shard(torch.distributed.get_rank(), torch.distributed.get_world_size())
    return Shard()


def started_by_torchrun() -> bool:
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def rank_by_torchrun() -> int:
    """The rank that torchrun gave this process, before torch.distributed is initialized; 0 for a single process."""
    return int(os.environ["RANK"]) if started_by_torchrun() else 0


@contextmanager
def joined_processes(device: torch.device) -> Iterator[Shard]:
    """Initialize torch.distributed for processes of `torchrun` within `with`: NCCL on GPUs, gloo elsewhere."""
    if not started_by_torchrun() or torch.distributed.is_initialized():
        yield this_shard()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield this_shard()
    finally:
        # Collect objects that still use the group, such as a DistributedDataParallel in a reference cycle.
        gc.collect()
        torch.distributed.destroy_process_group()


def sum_over_processes(tensor: Tensor) -> None:
    """Replace the tensor by its sum over all processes."""
    torch.distributed.all_reduce(tensor)


def largest_over_processes(numbers: list[float], device: torch.device) -> list[float]:
    """The maximum of each number over all processes."""
    tensor = torch.tensor(numbers, dtype=sum_dtype(device), device=device)
    torch.distributed.all_reduce(tensor, op=torch.distributed.ReduceOp.MAX)
    return list(tensor.tolist())


def gathered(value: Any, shard: Shard) -> list[Any]:
    """The value of every process, by rank."""
    if shard.world_size == 1:
        return [value]
    values: list[Any] = [None] * shard.world_size
    torch.distributed.all_gather_object(values, value)
    return values


def seen_by_all(path: Path, shard: Shard) -> bool:
    """Whether the file exists for all processes.

    Raises:
        UserError: if it exists for some of the processes only.
    """
    is_there = gathered(path.is_file(), shard)
    if any(is_there) and not all(is_there):
        raise UserError(f"{path} is there for some of the processes only: give a folder that all of them share.")
    return all(is_there)


def sum_gradients(parameters: Sequence[nn.Parameter], shard: Shard) -> bool:
    """Replace each gradient by its sum over the processes. The loss has been divided by the global batch size.

    A weight that no process has a gradient of keeps none, as in one process.

    Returns:
        Whether some process lacked the gradient of a weight.
    """
    if shard.world_size == 1:
        return False
    device = parameters[0].device
    having = torch.tensor([float(weight.grad is not None) for weight in parameters], device=device)
    sum_over_processes(having)
    for weight, count in zip(parameters, having.tolist(), strict=True):
        if count == 0:
            continue
        if weight.grad is None:  # this process had no example of a short batch, or did not use the weight
            weight.grad = torch.zeros_like(weight)
        sum_over_processes(weight.grad)
    return bool((having < shard.world_size).any())


def averaged_statistics(tensors: Mapping[str, Tensor], shard: Shard) -> dict[str, Tensor]:
    """The means over all processes of the running means and variances among the tensors, by name.

    Both are moving averages of unbiased estimates, so their means are the moving averages of the means, whenever they
    are taken. Goyal et al. 2017, arXiv:1706.02677, section 2.3: in training each process has its own.
    """
    if shard.world_size == 1:
        return {}
    statistics = {name: tensor.clone() for name, tensor in tensors.items() if name.endswith(STATISTICS)}
    for tensor in statistics.values():
        sum_over_processes(tensor)
        tensor /= shard.world_size
    return statistics


def is_lost_process(error: BaseException) -> bool:
    """Whether the error shows that another process has died."""
    if isinstance(error, torch.distributed.DistError):
        return True
    words = ("gloo", "Connection closed by peer", "Connection reset by peer", "Broken pipe", "NCCL")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)
