"""Progress of long commands: the present activity, the part done, and the estimated time left."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from critbatch.records.core import CurvePoint


SECONDS_BETWEEN_LINES = 10.0


def duration(seconds: float) -> str:
    """A duration in readable units.

    >>> duration(0.137), duration(4.21), duration(75), duration(1500), duration(9000)
    ('0.14 s', '4.2 s', '75 s', '25 min', '2.5 h')
    """
    if seconds < 10:
        return f"{round(seconds, 2):.2g} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The progress of a run; `epochs` is the length of its plan."""

    step: int
    epoch: float
    epochs: float
    seconds: float
    point: CurvePoint


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """An estimate of the time left.

    Args:
        seconds: Wall-clock seconds, from `made` on.
        at_most: Whether it is an upper bound, since a batch size is left that has no finished run.
        made: Time of the estimate, a value of `time.monotonic()`.
    """

    seconds: float
    at_most: bool = False
    made: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What a display shows.

    Args:
        stage: The present stage: "sweep", "race over learning rates".
        trying: The run in progress.
        part: Part of that run that is done, 0 to 1.
        done: Finished runs of the stage.
        total: Runs of the stage; None if unknown.
        running: Runs in progress over all workers; None if there is one worker.
        best: The best result so far, in words.
        left: Time left in the stage; None while unknown.
        deadline: End of the budget, a value of `time.monotonic()`.
    """

    stage: str = ""
    trying: str = ""
    part: float | None = None
    done: int = 0
    total: int | None = None
    running: int | None = None
    best: str = ""
    left: Forecast | None = None
    deadline: float | None = None

    def time_left(self, now: float) -> str:
        """The time left at `now`, in words."""
        budget = None if self.deadline is None else max(0.0, self.deadline - now)
        rest = None if self.left is None else max(0.0, self.left.made + self.left.seconds - now)
        if self.left is None or rest is None:
            return "unknown yet" if budget is None else f"{duration(budget)} of the budget"
        about = "at most" if self.left.at_most else "about"
        if budget is not None and budget < rest:
            return f"{duration(budget)} of the budget, which is too short by {about} {duration(rest - budget)}"
        return f"{about} {duration(rest)}"

    def lines(self, now: float) -> list[str]:
        """The lines to show, the most important first."""
        running = "" if self.running is None else f", {self.running} running"
        count = "" if self.total is None else f": {self.done} of {self.total} done{running}"
        part = "" if self.part is None else f" ({self.part:.0%})"
        return [
            f"{self.stage}{count}{'' if self.trying else part}",
            *([f"trying {self.trying}{part}"] if self.trying else []),
            *([f"best so far: {self.best}"] if self.best else []),
            *([f"time left: {self.time_left(now)}"] if self.trying or self.running else []),
        ]


class Display:
    """Stores the situation and shows nothing: for `--json`, and the base class of other displays.

    with display_on(sys.stderr) as display:
        display.update(stage="sweep", total=24)
        train(task, plan, progress=display.watch)
    """

    def __init__(self) -> None:
        self.situation = Situation()

    def update(self, **changes: Any) -> None:
        """Change fields of the `Situation`. A new stage forgets what the one before was at."""
        before = self.situation
        if changes.get("stage", before.stage) != before.stage:
            before = Situation(best=before.best, deadline=before.deadline)
        self.situation = replace(before, **changes)
        self.show()

    def watch(self, progress: Progress) -> None:
        """Follow a run: the `progress` that training calls at each evaluation."""
        self.update(part=min(1.0, progress.epoch / progress.epochs))

    def show(self) -> None:
        """Called at each change."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Clear the display."""


class Lines(Display):
    """A plain line when a stage begins and every few seconds after that: for a file or a log."""

    def __init__(self, stream: TextIO, *, seconds_between: float = SECONDS_BETWEEN_LINES) -> None:
        super().__init__()
        self.stream, self.seconds_between = stream, seconds_between
        self._stage, self._shown = "", -float("inf")

    def show(self) -> None:
        now = time.monotonic()
        if not self.situation.stage:
            return
        if self.situation.stage != self._stage or now - self._shown >= self.seconds_between:
            self._stage, self._shown = self.situation.stage, now
            print("; ".join(self.situation.lines(now)), file=self.stream, flush=True)


class Live(Display):
    """A few terminal lines that are redrawn continuously and cleared at the end."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live as RichLive

        super().__init__()
        self._live = RichLive(console=console, get_renderable=self._picture, refresh_per_second=4, transient=True)

    def _picture(self) -> RenderableType:
        from rich.console import Group
        from rich.padding import Padding
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        now = self.situation
        rows: list[RenderableType] = [Text(line) for line in now.lines(time.monotonic())]
        if now.total:
            bar = ProgressBar(total=now.total, completed=now.done + (now.part or 0.0), width=40)
            rows.insert(1, Padding(bar, 0))  # a bar alone does not end its line
        return Group(*rows)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()


def display_on(stream: TextIO | None = None, *, silent: bool = False, every_line: bool = False) -> Display:
    """The display that suits `stream`, standard error unless given: live on a terminal, plain lines elsewhere.

    Args:
        silent: show nothing.
        every_line: a plain line at each change, on a terminal too.
    """
    if silent:
        return Display()
    if every_line:
        return Lines(stream or sys.stderr, seconds_between=0.0)
    from rich.console import Console

    stream = stream or sys.stderr
    console = Console(file=stream)
    return Live(console) if console.is_terminal else Lines(stream)
