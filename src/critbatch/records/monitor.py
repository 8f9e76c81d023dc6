"""What one look at a study finds while it goes on: frozen records, as those of `records.py`."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module

from critbatch.records.core import Estimate, NoiseScale, Outcome, Record, Setting, Target
from critbatch.records.study import Question


@dataclass(frozen=True, kw_only=True)
class RunAtWork(Record):
    """A run that a process which lives is making."""

    batch_size: int
    learning_rate: float
    seed: int
    options: dict[str, Setting] = field(default_factory=dict)
    host: str  # the machine of that process
    at_least_seconds: float  # that it has worked on the run; 0 where it has given no sign of life yet
    expected_seconds: float | None  # of a run at this batch size, by those that are made; None where there are none


@dataclass(frozen=True, kw_only=True)
class SizeSoFar(Record):
    """One batch size, and its best run by now: at its target after the fewest steps, or of lowest validation loss."""

    batch_size: int
    made: int  # runs that have come to their end
    failed: int = 0  # of `made`: they diverged, or ran out of memory
    learning_rate: float | None = None  # of the best run; None where no run has come to its end without failing
    options: dict[str, Setting] = field(default_factory=dict)
    seed: int | None = None
    outcome: Outcome | None = None
    reached: bool = False
    steps: float | None = None  # to the target, or all of them where it was missed
    seconds: float | None = None  # of training, likewise
    best_value: float | None = None  # of what `StudySoFar.curves_of` names, along the run
    curve: tuple[tuple[float, float], ...] = ()  # epochs, and that value; those that are not finite left out


@dataclass(frozen=True, kw_only=True)
class StudySoFar(Record):
    """The runs of one task, recipe and target as they are by now."""

    where: str  # the database
    task: str
    recipe: str
    target: Target | None
    metric_name: str
    question: Question | None  # None for runs of which no sweep has said what they are to be
    done: int
    failed: int  # of `done`
    broken_off: int  # to be gone on with
    left: int | None  # not at their end, those at work among them; None where nobody knows
    seconds_left: float | None
    at_most: bool = False  # `seconds_left` is a bound, since a batch size has no run yet
    at_work: tuple[RunAtWork, ...] = ()
    curves_of: str  # validation_metric or validation_loss
    sizes: tuple[SizeSoFar, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Look(Record):
    """All that a folder or database holds at one time."""

    at: str  # ISO 8601, with the offset of this machine
    studies: tuple[StudySoFar, ...]  # those that were begun last first
    held: bool  # a command is at work in one of the folders, whether it makes a run or not

    @property
    def lives(self) -> bool:
        """Whether anyone works on any of them."""
        return self.held or any(study.at_work for study in self.studies)

    @property
    def over(self) -> bool:
        """Nobody works, and nothing is left that anyone knows of."""
        return not self.lives and not any(study.left for study in self.studies)


# What a `Monitor` tells in a training loop of the user's own: frozen records, as those of `records.py`.


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
    reason: str = ""  # why not to trust it, or why `sizes` is empty: a key of reports/messages

    @property
    def trusted(self) -> bool:
        return not self.reason

    def text(self, language: str = "en") -> str:
        """The advice in a sentence or two.

        Raises:
            UserError: if there are no sentences in `language`.
        """
        # The reports lie above the records, and are loaded only where a text is asked for.
        return str(import_module("critbatch.reports.views.noise").monitor_text(self, language))

    def __str__(self) -> str:
        return self.text()
