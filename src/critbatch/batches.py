"""Which examples make which batch, as a function of (seed, epoch) alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from critbatch.augmentation import Augmentation, epoch_draws
from critbatch.distributed import Shard
from critbatch.errors import UserError
from critbatch.examples import Data, Examples, Tree, as_tuples, map_tree


class Order(StrEnum):
    """How the examples of an epoch are put in order."""

    RESHUFFLE = "reshuffle"  # a new partition into batches every epoch
    SHUFFLE_ONCE = "shuffle_once"  # one random partition, the same every epoch
    SEQUENTIAL = "sequential"  # as the data lie
    WITH_REPLACEMENT = "with_replacement"  # every draw from all the examples: some twice in an epoch, some not at all


def epoch_order(examples: int, *, seed: int, epoch: int, order: Order = Order.RESHUFFLE) -> Tensor:
    """The indices of the examples in the order of this epoch, shape (examples,), int64.

    The number of processes, the batch size and the micro-batch size do not enter.

    >>> epoch_order(5, seed=0, epoch=0, order=Order.SEQUENTIAL).tolist()
    [0, 1, 2, 3, 4]
    """
    if order is Order.SEQUENTIAL:
        return torch.arange(examples)
    entropy = (seed, 0 if order is Order.SHUFFLE_ONCE else epoch)
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
    if order is Order.WITH_REPLACEMENT:
        return torch.from_numpy(generator.integers(0, examples, examples))
    return torch.from_numpy(generator.permutation(examples))


class Cursor:
    """A place in the endless row of epochs. Its whole state is two integers: `epoch` and `offset`.

    Args:
        examples: in the training set.
        seed: of the order.
        order: how each epoch is put in order.
        drop_last: leave out the examples of an epoch that do not fill a batch. Otherwise they make a short batch.
    """

    def __init__(
        self,
        examples: int,
        *,
        seed: int,
        order: Order = Order.RESHUFFLE,
        drop_last: bool = False,
        epoch: int = 0,
        offset: int = 0,
    ) -> None:
        self.examples, self.seed, self.order, self.drop_last = examples, seed, order, drop_last
        self.epoch, self.offset = epoch, offset
        self._order: Tensor | None = None
        self._order_epoch = -1

    @property
    def position(self) -> float:
        """Epochs behind it, as a float."""
        return self.epoch + self.offset / self.examples

    def peek(self, batch_size: int) -> Tensor:
        """The indices of the next batch, shape (batch_size,) or shorter at the end of an epoch; moves nothing.

        Raises:
            UserError: if `batch_size` is below 1, or no epoch can fill a batch and the rest is dropped.
        """
        if batch_size < 1:
            raise UserError(f"batch_size={batch_size} is not possible: use 1 or more.")
        if self.drop_last and batch_size > self.examples:
            raise UserError(
                f"batch_size={batch_size} is above the {self.examples} examples, and drop_last leaves nothing: use "
                f"{self.examples} or less."
            )
        left = self.examples - self.offset
        if left == 0 or (self.drop_last and left < batch_size):
            self.epoch, self.offset = self.epoch + 1, 0
        if self._order is None or self._order_epoch != self.epoch:
            self._order = epoch_order(self.examples, seed=self.seed, epoch=self.epoch, order=self.order)
            self._order_epoch = self.epoch
        return self._order[self.offset : self.offset + batch_size]

    def take(self, batch_size: int) -> Tensor:
        """The indices of the next batch; the cursor moves behind it."""
        indices = self.peek(batch_size)
        self.offset += len(indices)
        return indices

    def copy(self) -> Cursor:
        """Another cursor at the same place."""
        return Cursor(
            self.examples,
            seed=self.seed,
            order=self.order,
            drop_last=self.drop_last,
            epoch=self.epoch,
            offset=self.offset,
        )


class Source:
    """Batches of a data set on a device, given their indices.

    Tensors (`Examples`) are moved to the device once and gathered there. Any other Dataset goes through torch's
    DataLoader, in the same order. If it has a method `item_at(index, epoch)`, that gives the examples of training: so
    augmentation is a function of (index, epoch) and a resumed run sees what the unbroken one saw.

    Args:
        data: the data set.
        device: where batches are wanted.
        workers: of the DataLoader; not used for tensors.
    """

    def __init__(self, data: Data, device: torch.device, *, workers: int = 0) -> None:
        self.data = data.to(device) if isinstance(data, Examples) else data
        self.by_epoch = not isinstance(data, Examples) and callable(getattr(data, "item_at", None))
        self.device, self.workers = device, workers

    def stream(self, batches: Iterator[Tensor]) -> Iterator[tuple[Tree, Tree]]:
        """The batch of each row of indices, shape (batch,), as it is asked for."""
        if isinstance(self.data, Examples):
            yield from map(self.take, batches)
            return
        loader = DataLoader(
            _ByEpoch(self.data) if self.by_epoch else self.data,
            batch_sampler=_Rows(batches),
            num_workers=self.workers,
            pin_memory=self.device.type == "cuda",
        )
        for inputs, targets in loader:
            yield self._moved(inputs), self._moved(targets)

    def take(self, indices: Tensor) -> tuple[Tree, Tree]:
        """One batch."""
        if isinstance(self.data, Examples):
            return self.data.take(indices.to(self.device))
        return next(self.stream(iter([indices])))

    def _moved(self, tree: Tree) -> Tree:
        return map_tree(lambda leaf: leaf.to(self.device, non_blocking=True), as_tuples(tree))


class Feed:
    """The batches of a run, one after the other, each as micro-batches.

    Args:
        source: gathers the examples.
        cursor: where the run is; it moves with the batches that were given out.
        batch_size: examples in a batch, over all processes.
        shard: this process's part of each batch.
        piece: the micro-batch size of the n-th batch from now; None for a whole share at once.
        augment: changes the inputs, where the data are tensors.
    """

    def __init__(
        self,
        source: Source,
        cursor: Cursor,
        *,
        batch_size: int,
        shard: Shard,
        piece: Callable[[int], int | None],
        augment: Augmentation | None = None,
    ) -> None:
        self.source, self.cursor, self.batch_size, self.shard, self.piece = source, cursor, batch_size, shard, piece
        self.augment = augment
        self._given = 0
        self._draws: tuple[int, Tensor] | None = None
        # A DataLoader with workers asks for indices long before their batch is used: it has a cursor of its own.
        self._stream = None if isinstance(source.data, Examples) else source.stream(self._rows(cursor.copy()))

    def __next__(self) -> tuple[int, Iterable[tuple[Tree, Tree]]]:
        """The size of the next batch over all processes, and this process's micro-batches."""
        indices = self.cursor.take(self.batch_size)
        rows = self._cut(indices, self._given)
        self._given += 1
        if self._stream is not None:
            return len(indices), itertools.islice(self._stream, len(rows))
        return len(indices), map(self._gather(), rows)

    def _gather(self) -> Callable[[Tensor], tuple[Tree, Tree]]:
        """What gives the examples of a row of indices, as the epoch of the cursor sees them."""
        if self.augment is None:
            return self.source.take
        epoch = self.cursor.epoch
        if self._draws is None or self._draws[0] != epoch:
            draws = epoch_draws(self.cursor.examples, self.augment.numbers, seed=self.cursor.seed, epoch=epoch)
            self._draws = epoch, draws.to(self.source.device)
        return partial(self._augmented, self.augment, self._draws[1])

    def _augmented(self, augment: Augmentation, draws: Tensor, rows: Tensor) -> tuple[Tree, Tree]:
        rows = rows.to(self.source.device)
        inputs, targets = self.source.take(rows)
        return augment(inputs, draws.index_select(0, rows)), targets

    def _cut(self, indices: Tensor, n: int) -> tuple[Tensor, ...]:
        share, piece = self.shard.of(indices), self.piece(n)
        if len(share) == 0:
            return ()
        return (share,) if piece is None or len(share) <= piece else torch.split(share, piece)

    def _rows(self, ahead: Cursor) -> Iterator[Tensor]:
        for n in itertools.count():
            rows = self._cut(ahead.take(self.batch_size), n)
            # The epoch goes with the index: workers ask for examples long before their epoch begins.
            shift = ahead.epoch * ahead.examples if self.source.by_epoch else 0
            yield from (row + shift for row in rows)


class _ByEpoch(Dataset[Any]):
    """Items that are a function of (index, epoch), asked for by ``index + epoch * examples``."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __getitem__(self, place: int) -> Any:
        epoch, index = divmod(place, len(self.data))
        return self.data.item_at(index, epoch)


class _Rows:
    """An iterator of index tensors as the DataLoader's batch sampler."""

    def __init__(self, rows: Iterator[Tensor]) -> None:
        self.rows = rows

    def __iter__(self) -> Iterator[list[int]]:
        return (row.tolist() for row in self.rows)
