"""What one look at a study finds while it goes on: frozen records, as those of `records.py`."""

from __future__ import annotations

from dataclasses import dataclass, field

from critbatch.records import Outcome, Record, Setting, Target
from critbatch.study_records import Question


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
