"""Records of a running study, and of what a `Monitor` says in a training loop of your own."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module

from critbatch.records.core import Estimate, NoiseScale, OptionValue, Outcome, Record, Target
from critbatch.records.study import StudySpec


@dataclass(frozen=True, kw_only=True)
class RunningRun(Record):
    """A run on which a living process is working."""

    batch_size: int
    learning_rate: float
    seed: int
    options: dict[str, OptionValue] = field(default_factory=dict)
    host: str  # the machine of the process
    at_least_seconds: float  # that it has worked on the run; 0 before its first heartbeat
    expected_seconds: float | None  # of a run at this batch size, by the finished ones; None if there are none


@dataclass(frozen=True, kw_only=True)
class SizeStatus(Record):
    """One batch size and its best run so far.

    The best run reached its target in the fewest steps, or has the lowest validation loss.
    """

    batch_size: int
    made: int  # finished runs
    failed: int = 0  # of these, runs that diverged or ran out of memory
    learning_rate: float | None = None  # of the best run; None if no run has finished without failing
    options: dict[str, OptionValue] = field(default_factory=dict)
    seed: int | None = None
    outcome: Outcome | None = None
    reached: bool = False
    steps: float | None = None  # to the target; all steps if the target was missed
    seconds: float | None = None  # of training, in the same way
    best_value: float | None = None  # the best value of `StudySoFar.curves_of` along the run
    curve: tuple[tuple[float, float], ...] = ()  # (epochs, that value), finite values only


@dataclass(frozen=True, kw_only=True)
class StudyStatus(Record):
    """The state of the runs of one task, recipe and target."""

    where: str  # the database
    task: str
    recipe: str
    target: Target | None
    metric_name: str
    question: StudySpec | None  # None for runs that do not belong to a sweep
    done: int  # finished runs
    failed: int  # of these, runs that diverged or ran out of memory
    broken_off: int  # interrupted runs, which will be resumed
    left: int | None  # unfinished runs, including those at work; None if not known
    seconds_left: float | None
    at_most: bool = False  # whether `seconds_left` is only an upper bound, because a batch size has no run yet
    at_work: tuple[RunningRun, ...] = ()
    curves_of: str  # "validation_metric" or "validation_loss"
    sizes: tuple[SizeStatus, ...] = ()


@dataclass(frozen=True, kw_only=True)
class WatchSnapshot(Record):
    """Everything that a folder or database holds at one time."""

    at: str  # ISO 8601, with the time zone of this machine
    studies: tuple[StudyStatus, ...]  # the most recent first
    held: bool  # whether a command is working in one of the folders, even if it makes no run

    @property
    def lives(self) -> bool:
        """Whether any process is working on any of the studies."""
        return self.held or any(study.at_work for study in self.studies)

    @property
    def over(self) -> bool:
        """Whether nobody is working, and nothing is left to do, as far as known."""
        return not self.lives and not any(study.left for study in self.studies)


# What a `Monitor` tells in a training loop of the user's own: frozen records, as those of `records.py`.


@dataclass(frozen=True, kw_only=True)
class OtherSize(Record):
    """What another batch size would cost from here on, relative to the one in use."""

    batch_size: int
    steps: Estimate  # ratio to the size in use
    examples: Estimate  # ratio to the size in use
    learning_rate: Estimate | None  # of the first parameter group; others change by the same factor. None: not known
    step_seconds: Estimate | None  # None: not known
    seconds: Estimate | None  # ratio of the times; None if the seconds per step of both are not known

    @property
    def even(self) -> float:
        """How much longer its step may take, relative to the size in use, before this size is the slower one."""
        return 1 / self.steps.value


@dataclass(frozen=True, kw_only=True)
class MonitorAdvice(Record):
    """What the gradients of the last steps say about batch sizes for the rest of the run.

    `str(advice)` is a sentence or two. `text` gives the same in another language.
    """

    batch_size: int | None  # examples per step over all processes, in most of the last steps; None before the first
    steps: int  # measured so far
    by: str  # what was compared with the batch: "examples", "micro_batches" or "processes"
    noise: NoiseScale  # now
    critical: Estimate  # B_n: batch size from here on that needs twice the fewest steps and twice the fewest examples
    optimizer: str  # "sgd", "adam", the name of another class, or "" for none
    learning_rate: float | None  # of the first parameter group, now
    step_seconds: Estimate | None  # of the size in use; None: not known
    sizes: tuple[OtherSize, ...]  # empty if nothing can be said about other sizes
    reason: str = ""  # why not to trust it, or why `sizes` is empty: a key of reports/messages

    @property
    def trusted(self) -> bool:
        """Whether nothing speaks against the advice."""
        return not self.reason

    def text(self, language: str = "en") -> str:
        """Return the advice in a sentence or two.

        Raises:
            UserError: If there are no messages in `language`.
        """
        # The reports lie above the records, and are loaded only where a text is asked for.
        return str(import_module("critbatch.reports.views.noise").monitor_text(self, language))

    def __str__(self) -> str:
        return self.text()
