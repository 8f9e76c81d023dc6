"""What a `Monitor` tells in a training loop of the user's own: frozen records, as those of `records.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from critbatch.records import Estimate, NoiseScale, Record


@dataclass(frozen=True, kw_only=True)
class OtherSize(Record):
    """What another batch size would cost from here on. Ratios are multiples of what the size in use costs."""

    batch_size: int
    steps: Estimate  # ratio
    examples: Estimate  # ratio
    learning_rate: Estimate | None  # of the first parameter group; the others by the same factor. None: not known
    step_seconds: Estimate | None  # None: not known
    seconds: Estimate | None  # ratio of the times; None where seconds per step are not known for both

    @property
    def even(self) -> float:
        """The time of a step, as a multiple of that of the size in use, below which this size is the sooner one."""
        return 1 / self.steps.value


@dataclass(frozen=True, kw_only=True)
class MonitorAdvice(Record):
    """What the gradients of the last steps say about batch sizes for the rest of the run.

    `str(advice)` is a sentence or two; so is `text`, in another language.
    """

    batch_size: int | None  # examples per step over all processes, in most of the last steps; None before the first
    steps: int  # seen so far
    by: str  # whose gradients were compared with the batch's: "examples", "micro_batches" or "processes"
    noise: NoiseScale  # now
    critical: Estimate  # B_n: the batch size from here on that costs twice the fewest steps, twice the fewest examples
    optimizer: str  # whose rule moves the learning rate: "sgd", "adam", another one's class, or "" for none
    learning_rate: float | None  # of the first parameter group, now
    step_seconds: Estimate | None  # of the size in use; None: not known
    sizes: tuple[OtherSize, ...]  # empty where nothing can be said of them
    reason: str = ""  # why not to trust it, or why `sizes` is empty: a key of reporting/words.py

    teller: ClassVar[Callable[[MonitorAdvice, str], str] | None] = None

    @property
    def trusted(self) -> bool:
        return not self.reason

    def text(self, language: str = "en") -> str:
        """The advice in a sentence or two.

        Raises:
            UserError: if there are no sentences in `language`.
        """
        if MonitorAdvice.teller is None:
            raise TypeError("no teller: import critbatch, not critbatch.monitor_records alone")
        return MonitorAdvice.teller(self, language)

    def __str__(self) -> str:
        return self.text()
