"""The position of a run in its plan: the phase, the next batches, and the learning rate."""

from __future__ import annotations

import math

import torch

from critbatch.recipes.plan import Phase, Plan
from critbatch.runtime.distributed import Shard
from critbatch.tasks.augmentation import Augmentation
from critbatch.tasks.sampler import BatchGatherer, BatchIterator, EpochSampler

# Micro-batches of a batch at a step where the gradient noise is measured.
NOISE_PIECES = 4


class PhaseCursor:
    """Walks through the phases of a plan.

    Args:
        plan: Plan with the phases.
        source: Gathers the examples.
        cursor: Position in the data, which advances with each batch.
        shard: This process's part of each batch.
        augment: Changes the inputs of every batch.
        noise_every: At every n-th step the batch is split into `noise_pieces` micro-batches to measure the noise. 0:
            never.
        noise_pieces: Number of these micro-batches.
    """

    feed: BatchIterator

    def __init__(
        self,
        plan: Plan,
        source: BatchGatherer,
        cursor: EpochSampler,
        shard: Shard,
        *,
        augment: Augmentation | None = None,
        noise_every: int = 0,
        noise_pieces: int = NOISE_PIECES,
    ) -> None:
        self.plan, self.source, self.cursor, self.shard = plan, source, cursor, shard
        self.augment, self.noise_every, self.noise_pieces = augment, noise_every, noise_pieces
        self.begin_phase(0, step=0)

    def begin_phase(self, index: int, *, step: int, start: float | None = None) -> None:
        """Begin phase `index` at a step of the run, with batches of its size from the cursor's position.

        Args:
            index: Index of the phase.
            step: Step of the run.
            start: Epoch at which the phase began. Default: as planned.
        """
        self.index = index
        self.phase: Phase = self.plan.phases[index]
        self.start = sum(phase.epochs for phase in self.plan.phases[:index]) if start is None else start
        self.end = self.start + self.phase.epochs
        self.resize(self.phase.batch_size, 1.0, step=step)

    def resize(self, batch_size: int, rate_factor: float, *, step: int) -> None:
        """Continue with another batch size, and with the learning rate of the phase times a factor."""
        self.batch_size, self.rate_factor = batch_size, rate_factor
        if hasattr(self, "feed"):
            self.feed.close()
        self.feed = BatchIterator(
            self.source,
            self.cursor,
            batch_size=batch_size,
            shard=self.shard,
            piece=lambda n: self._piece_size(step + n),
            augment=self.augment,
        )

    def close(self) -> None:
        """Stop the workers that prepare batches. The next batch starts new ones."""
        self.feed.close()

    @property
    def phase_is_over(self) -> bool:
        return self.cursor.position >= self.end

    @property
    def is_last_phase(self) -> bool:
        return self.index + 1 == len(self.plan.phases)

    @property
    def epoch(self) -> float:
        """Epoch of the next step, within the phase."""
        return self.cursor.position - self.start

    @property
    def learning_rate(self) -> float:
        """Learning rate of the next step."""
        return self.rate_factor * self.phase.learning_rate(self.epoch)

    @property
    def pass_size(self) -> int:
        """Examples in a full forward pass of this process: its share of a batch, or a micro-batch."""
        share = len(self.shard.of(torch.arange(self.batch_size)))
        return min(share, self.plan.micro_batch_size or share)

    def is_noise_step(self, step: int) -> bool:
        return self.noise_every > 0 and step % self.noise_every == 0 and self.batch_size > 1

    def _piece_size(self, step: int) -> int | None:
        sizes = [self.plan.micro_batch_size] if self.plan.micro_batch_size else []
        if self.is_noise_step(step):
            sizes.append(math.ceil(self.batch_size / self.noise_pieces))
        return min(sizes, default=None)
