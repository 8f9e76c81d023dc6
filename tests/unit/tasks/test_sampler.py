from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset

from critbatch.errors import UserError
from critbatch.runtime.distributed import Shard
from critbatch.tasks.data import Examples
from critbatch.tasks.sampler import BatchGatherer, BatchIterator, EpochSampler, Order, epoch_order

CPU = torch.device("cpu")


def one_epoch(cursor: EpochSampler, batch_size: int) -> list[torch.Tensor]:
    epoch, batches = cursor.epoch, []
    while True:
        ahead = cursor.copy()
        batch = ahead.take(batch_size)
        if ahead.epoch != epoch:
            return batches
        batches.append(cursor.take(batch_size))
        assert torch.equal(batch, batches[-1])


@given(examples=st.integers(1, 50), batch_size=st.integers(1, 60), seed=st.integers(0, 1000))
def test_every_example_is_seen_once_per_epoch(examples: int, batch_size: int, seed: int) -> None:
    cursor = EpochSampler(examples, seed=seed)
    for _ in range(2):
        batches = one_epoch(cursor, batch_size)
        assert sorted(torch.cat(batches).tolist()) == list(range(examples))
        assert all(len(batch) == batch_size for batch in batches[:-1])
        cursor.peek(batch_size)


@given(examples=st.integers(1, 50), batch_size=st.integers(1, 50))
def test_a_dropped_last_batch_leaves_only_full_ones(examples: int, batch_size: int) -> None:
    cursor = EpochSampler(examples, seed=0, drop_last=True)
    if batch_size > examples:
        with pytest.raises(UserError, match="drop_last leaves nothing"):
            cursor.take(batch_size)
        return
    sizes = [len(cursor.take(batch_size)) for _ in range(7)]
    assert sizes == [batch_size] * 7
    assert cursor.epoch == (7 - 1) // (examples // batch_size)


def test_reshuffling_gives_a_new_partition_each_epoch_and_the_others_do_not() -> None:
    def partition(order: Order, epoch: int) -> list[list[int]]:
        rows = epoch_order(20, seed=3, epoch=epoch, order=order).split(5)
        return sorted(sorted(row.tolist()) for row in rows)

    assert partition(Order.RESHUFFLE, 0) != partition(Order.RESHUFFLE, 1)
    assert partition(Order.SHUFFLE_ONCE, 0) == partition(Order.SHUFFLE_ONCE, 1) != partition(Order.SEQUENTIAL, 0)
    assert partition(Order.SEQUENTIAL, 1) == [
        [0, 1, 2, 3, 4],
        [5, 6, 7, 8, 9],
        [10, 11, 12, 13, 14],
        [15, 16, 17, 18, 19],
    ]


def test_with_replacement_every_example_is_drawn_equally_often() -> None:
    draws = torch.cat([epoch_order(10, seed=0, epoch=epoch, order=Order.WITH_REPLACEMENT) for epoch in range(2000)])
    counts = torch.bincount(draws, minlength=10)
    standard_error = (2000 * 10 * 0.1 * 0.9) ** 0.5
    assert (counts - 2000).abs().max() < 4 * standard_error
    assert len(set(epoch_order(10, seed=0, epoch=0, order=Order.WITH_REPLACEMENT).tolist())) < 10


def test_the_order_is_a_function_of_seed_and_epoch_alone() -> None:
    before = epoch_order(100, seed=1, epoch=7)
    torch.manual_seed(5)
    assert torch.equal(before, epoch_order(100, seed=1, epoch=7))
    assert not torch.equal(before, epoch_order(100, seed=2, epoch=7))
    assert not torch.equal(epoch_order(100, seed=1, epoch=0), epoch_order(100, seed=0, epoch=1))


@given(examples=st.integers(1, 40), batch_size=st.integers(1, 40), world_size=st.integers(1, 5))
def test_the_shards_together_are_the_batches_that_one_process_sees(
    examples: int, batch_size: int, world_size: int
) -> None:
    alone, together = EpochSampler(examples, seed=0), [EpochSampler(examples, seed=0) for _ in range(world_size)]
    for _ in range(5):
        batch = alone.take(batch_size)
        parts = [Shard(rank, world_size).of(cursor.take(batch_size)) for rank, cursor in enumerate(together)]
        assert torch.equal(torch.cat(parts), batch)
        sizes = [len(part) for part in parts]
        assert max(sizes) - min(sizes) <= 1


def test_a_cursor_put_at_two_integers_goes_on_as_the_first_did() -> None:
    first = EpochSampler(23, seed=4)
    for _ in range(9):
        first.take(5)
    second = EpochSampler(23, seed=4, epoch=first.epoch, offset=first.offset)
    assert [first.take(5).tolist() for _ in range(9)] == [second.take(5).tolist() for _ in range(9)]


class Squares(Dataset[tuple[torch.Tensor, int]]):
    def __len__(self) -> int:
        return 23

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.tensor([float(index) ** 2]), index


@pytest.mark.parametrize("workers", [0, 1])
def test_a_dataset_gives_the_batches_that_tensors_give(workers: int) -> None:
    tensors = Examples(torch.arange(23.0).square()[:, None], torch.arange(23))
    seen = []
    for data in (tensors, Squares()):
        source = BatchGatherer(data, CPU, workers=workers)
        feed = BatchIterator(
            source, EpochSampler(23, seed=0), batch_size=6, shard=Shard(1, 2), piece=lambda n: 2 if n % 2 else None
        )
        batches = []
        for _ in range(6):
            size, pieces = next(feed)
            batches.append((size, [(x.tolist(), y.tolist()) for x, y in pieces]))
        seen.append((batches, feed.cursor.epoch, feed.cursor.offset))
    assert seen[0] == seen[1]
    assert [len(pieces) for _, pieces in seen[0][0]] == [1, 2, 1, 2, 1, 2]


def test_a_batch_of_none_or_less_is_refused() -> None:
    with pytest.raises(UserError, match="batch_size=0 is not possible"):
        EpochSampler(10, seed=0).take(0)


class Augmented(Dataset):
    """Examples that are a function of (index, epoch)."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.item_at(index, 0)

    def item_at(self, index: int, epoch: int) -> tuple[torch.Tensor, int]:
        return torch.tensor([float(index), float(epoch)]), index


@pytest.mark.parametrize("workers", [0, 2])
def test_examples_that_change_with_the_epoch_are_those_of_their_epoch(workers: int) -> None:
    cursor = EpochSampler(10, seed=0)
    source = BatchGatherer(Augmented(), CPU, workers=workers)
    feed = BatchIterator(source, cursor, batch_size=4, shard=Shard(), piece=lambda n: None)
    seen = []
    for _ in range(7):
        epoch = cursor.epoch + (cursor.offset == 10)
        _, pieces = next(feed)
        for inputs, _ in pieces:
            assert inputs[:, 1].tolist() == [float(epoch)] * len(inputs)
            seen += inputs[:, 0].int().tolist()
    order = torch.cat([epoch_order(10, seed=0, epoch=epoch) for epoch in range(3)])
    assert seen == order[: len(seen)].tolist()
    inputs, _ = source.take(torch.tensor([3]))
    assert inputs.tolist() == [[3.0, 0.0]]
