"""The model as one of several processes trains it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from critbatch.runtime.distributed import Shard, sum_gradients

T = TypeVar("T")


class Replica:
    """Sums gradients over the processes, while backward still goes on, by torch's DistributedDataParallel.

    The first batch is summed by hand: it shows whether there are weights that get no gradient, which
    DistributedDataParallel must know. So is a batch with fewer examples than processes, in which some have no backward
    pass at all. Batch norm's statistics stay those of each process.

    Args:
        model: whose weights are the same in all processes.
        shard: of this process.
    """

    def __init__(self, model: nn.Module, shard: Shard) -> None:
        self.model, self.shard = model, shard
        self.parameters = [weight for weight in model.parameters() if weight.requires_grad]
        self.averages = False  # whether backward leaves the mean over the processes behind
        self._parallel: DistributedDataParallel | None = None

    def begin(self, batch_size: int) -> None:
        """Before the batch's first forward pass."""
        self.averages = self._parallel is not None and batch_size >= self.shard.world_size

    @property
    def forward(self) -> nn.Module:
        """What the forward pass goes through."""
        return self._parallel if self.averages and self._parallel is not None else self.model

    def part(self, *, last: bool) -> AbstractContextManager[Any]:
        """Around the forward and backward pass of a micro-batch: gradients are exchanged in that of the last one."""
        if not self.averages or last:
            return nullcontext()
        assert self._parallel is not None
        return self._parallel.no_sync()

    def end(self) -> None:
        """After the batch's last backward pass: gradients are those of the whole batch."""
        if self.shard.world_size == 1 or self.averages:
            return
        unused = sum_gradients(self.parameters, self.shard)
        if self._parallel is None:
            self._parallel = self._joined(unused=unused)

    def _joined(self, *, unused: bool) -> DistributedDataParallel:
        device = self.parameters[0].device
        with warnings.catch_warnings():
            # `broadcast_buffers` has another name from torch 2.13 on.
            warnings.simplefilter("ignore", FutureWarning)
            return DistributedDataParallel(
                self.model,
                device_ids=[device] if device.type == "cuda" else None,
                broadcast_buffers=False,
                find_unused_parameters=unused,
            )


def with_last(items: Iterable[T]) -> Iterator[tuple[bool, T]]:
    """Each item, and whether it is the last one."""
    ahead = iter(items)
    try:
        item = next(ahead)
    except StopIteration:
        return
    for following in ahead:
        yield False, item
        item = following
    yield True, item
