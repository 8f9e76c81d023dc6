"""Sampling: the examples of each batch, as a function of (seed, epoch) alone."""

from __future__ import annotations

import gc
import itertools
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from enum import StrEnum
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from critbatch.arguments import check_count, process_limit
from critbatch.errors import UserError, first_line
from critbatch.runtime.device import placed_on
from critbatch.runtime.distributed import Shard
from critbatch.tasks.augmentation import Augmentation, epoch_draws
from critbatch.tasks.data import (
    Data,
    DatasetBatches,
    Examples,
    Fault,
    Form,
    Row,
    Tree,
    as_tuples,
    differing,
    form_of,
    map_tree,
)
from critbatch.tasks.task import Task

# The seed of what a Dataset's items draw outside of training. Those of runs are not below 0.
EVALUATION = -1


class Order(StrEnum):
    """The order in which an epoch visits the examples."""

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


class EpochSampler:
    """A position in the endless sequence of epochs. Its whole state is two integers: `epoch` and `offset`.

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
        """The position in epochs, as a float."""
        return self.epoch + self.offset / self.examples

    def peek(self, batch_size: int) -> Tensor:
        """The indices of the next batch, shape (batch_size,) or shorter at the end of an epoch; the cursor stays.

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
        """The indices of the next batch; the cursor moves past it."""
        indices = self.peek(batch_size)
        self.offset += len(indices)
        return indices

    def copy(self) -> EpochSampler:
        """A copy of the cursor."""
        return EpochSampler(
            self.examples,
            seed=self.seed,
            order=self.order,
            drop_last=self.drop_last,
            epoch=self.epoch,
            offset=self.offset,
        )


class BatchGatherer:
    """Batches of a data set on a device, given their indices.

    Tensors (`Examples`) are moved to the device once and gathered there. Of any other Dataset the items are asked for
    in the same order, by the workers of torch's DataLoader if there are any. If it has a method
    `item_at(index, epoch)`, that gives the examples of training: so augmentation is a function of (index, epoch) and a
    resumed run sees what the unbroken one saw.

    Args:
        data: the data set.
        device: where batches are wanted.
        workers: of the DataLoader; not used for tensors.
        part: of the task, for sentences.
        classes: that the labels of a Dataset may be of; None where they are not checked.

    Raises:
        UserError: if `workers` is below 0, or tensors do not fit on the device; later, by its index, if an item of a
            Dataset cannot be used.
    """

    def __init__(
        self,
        data: Data,
        device: torch.device,
        *,
        workers: int = 0,
        part: str = "training",
        classes: int | None = None,
    ) -> None:
        if workers < 0:
            raise UserError(f"workers={workers} is not possible: use 0 or more.")
        if workers:
            check_count(f"workers={workers}", workers, process_limit())
        self.data = data
        if isinstance(data, Examples):
            with placed_on(device, f"{part} data"):
                self.data = data.to(device)
        self.device, self.workers, self.part, self.classes = device, workers, part, classes
        # Of the first batch and of the last one, where items come from a Dataset.
        self._first: Form | None = None
        self._last: tuple[Row, Form] | None = None

    def stream(self, batches: Iterator[Tensor]) -> Iterator[tuple[Tree, Tree]]:
        """The batch of each row of indices, shape (batch,), computed lazily. Items always draw the same numbers."""
        if isinstance(self.data, Examples):
            return map(self.take, batches)
        return self._made(((0, rows.tolist()) for rows in batches), seed=EVALUATION, workers=self.workers)

    def training_stream(self, rows: Iterator[Row], *, seed: int) -> Generator[tuple[Tree, Tree]]:
        """Of a Dataset: the batch of each row, as its epoch sees it. Items draw by (seed, epoch, indices)."""
        return self._made(rows, seed=seed, workers=self.workers)

    def take(self, indices: Tensor) -> tuple[Tree, Tree]:
        """One batch."""
        if isinstance(self.data, Examples):
            return self.data.take(indices.to(self.device))
        return next(self._made(iter([(0, indices.tolist())]), seed=EVALUATION, workers=0))

    @property
    def odd_batch(self) -> str:
        """How the items of the last batch differ from those of the first, for a model that fails on them; or ""."""
        if self._first is None or self._last is None or self._first == self._last[1]:
            return ""
        (_, indices), form = self._last
        return (
            f"item {indices[0]} of the {self.part} Dataset has {differing(form, self._first)}, and others have "
            f"{differing(self._first, form)}"
        )

    def _made(self, rows: Iterator[Row], *, seed: int, workers: int) -> Generator[tuple[Tree, Tree]]:
        maker = DatasetBatches(self.data, part=self.part, classes=self.classes, seed=seed)
        pending: deque[Row] = deque()
        rows = _recorded(rows, pending)
        if not workers:
            batches: Iterator[tuple[Tree, Tree] | Fault] = map(maker.batch, rows)
        else:
            batches = _by_workers(maker, rows, workers, self.device)
        for batch in batches:
            if isinstance(batch, Fault):
                raise UserError(batch.sentence)
            self._last = pending.popleft(), form_of(batch)
            self._first = self._first or self._last[1]
            yield self._moved(batch[0]), self._moved(batch[1])

    def _moved(self, tree: Tree) -> Tree:
        if self.device.type == "cuda" and not self.workers:
            tree = map_tree(Tensor.pin_memory, tree)
        return map_tree(lambda leaf: leaf.to(self.device, non_blocking=True), as_tuples(tree))


def _by_workers(
    maker: DatasetBatches, rows: Iterator[Row], workers: int, device: torch.device
) -> Iterator[tuple[Tree, Tree] | Fault]:
    loader = DataLoader(
        maker,
        batch_sampler=_Rows(rows),  # type: ignore[arg-type]  # `DatasetBatches` takes its rows
        collate_fn=_only,
        num_workers=workers,
        worker_init_fn=_begin_worker,
        pin_memory=device.type == "cuda",
        # Workers are seeded from it. Without one of its own it is torch's, from which the model draws.
        generator=torch.Generator().manual_seed(0),
    )
    iterator = iter(loader)
    try:
        yield from iterator
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise UserError(
            f"A worker of the DataLoader has ended ({first_line(error)}): use fewer workers, or none."
        ) from error
    finally:
        # Now, and not when the garbage is collected: by then a worker of another DataLoader may hold a copy.
        if (shut_down := getattr(iterator, "_shutdown_workers", None)) is not None:
            shut_down()


def _recorded(rows: Iterator[Row], pending: deque[Row]) -> Iterator[Row]:
    for row in rows:
        pending.append(row)
        yield row


def _only(batches: list[Any]) -> Any:
    (batch,) = batches
    return batch


def _begin_worker(worker: int) -> None:
    """Initialize a new worker process of a DataLoader."""
    # Ctrl-C goes to all processes of a terminal, and the run decides when its workers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A forked process has copies of the other DataLoaders. Collected as garbage here, they would shut down processes
    # that are not theirs, and say so on standard error: "can only test a child process".
    gc.freeze()


class BatchIterator:
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
        source: BatchGatherer,
        cursor: EpochSampler,
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
        self._stream: Generator[tuple[Tree, Tree]] | None = None

    def __next__(self) -> tuple[int, Iterable[tuple[Tree, Tree]]]:
        """The size of the next batch over all processes, and this process's micro-batches."""
        if self._stream is None and not isinstance(self.source.data, Examples):
            # Workers ask for indices long before their batch is used: they have a cursor of their own.
            rows = self._rows(self.cursor.copy(), self._given)
            self._stream = self.source.training_stream(rows, seed=self.cursor.seed)
        indices = self.cursor.take(self.batch_size)
        rows_of_batch = self._cut(indices, self._given)
        self._given += 1
        if self._stream is not None:
            return len(indices), itertools.islice(self._stream, len(rows_of_batch))
        return len(indices), map(self._gather(), rows_of_batch)

    def close(self) -> None:
        """End the workers of the DataLoader. The next batch starts new ones."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _gather(self) -> Callable[[Tensor], tuple[Tree, Tree]]:
        """The function that gives the examples of a row of indices in the epoch of the cursor."""
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

    def _rows(self, ahead: EpochSampler, first: int) -> Iterator[Row]:
        for n in itertools.count(first):
            rows = self._cut(ahead.take(self.batch_size), n)
            # The epoch goes with the indices: workers ask for examples long before their epoch begins.
            yield from ((ahead.epoch, row.tolist()) for row in rows)


class _Rows:
    """Passes rows to a DataLoader as its batch sampler."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self.rows = rows

    def __iter__(self) -> Iterator[Row]:
        return self.rows


def training_source(task: Task, device: torch.device, *, workers: int = 0) -> BatchGatherer:
    """Batches of the task's training set."""
    return BatchGatherer(task.train, device, workers=workers, classes=task.classes("training"))


def validation_source(task: Task, device: torch.device, *, workers: int = 0) -> BatchGatherer:
    """Batches of the task's validation set."""
    return BatchGatherer(
        task.validation, device, workers=workers, part="validation", classes=task.classes("validation")
    )
