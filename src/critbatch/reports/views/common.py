"""The base class of views and their registry. A view says what a report shows of one kind of record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import plotly.graph_objects as go

from critbatch.errors import UserError
from critbatch.records.core import Estimate, Provenance, Record, Run, Speed
from critbatch.records.loss_surface import Eigenvalue, Setup
from critbatch.reports.charts.theme import Picture
from critbatch.reports.model import Answer, Cell, Chart, Section, Tile
from critbatch.reports.translator import SURE, Translator, Write

# Tiles, the picture at the head, sections.
Parts = tuple[list[Tile], Chart | None, list[Section]]

# The subject of a chapter: a record, or the runs of one task.
Subject = Record | Sequence[Run]

S = TypeVar("S")


class RecordView(Generic[S]):
    """The contents of a report for one kind of record.

    Register a view with `@view(Kind)` in a module of this package: all its modules are imported with the package.
    `S` is the record, except for runs: all runs of one task are one chapter.
    """

    of_loss_surface: ClassVar[bool] = False  # whether the chapter explains the terms of the loss surface

    def name(self, subject: S, /) -> str:
        """The heading of the chapter: the name of the task."""
        return str(subject.task)  # type: ignore[attr-defined]

    def answer(self, subject: S, t: Translator, /) -> Answer:
        """Headline, lead, and details. Cautions and the warning about the clock are added later."""
        raise NotImplementedError

    def parts(self, subject: S, t: Translator, /) -> Parts:
        """Tiles, the picture at the head, sections."""
        raise NotImplementedError

    def cautions(self, subject: S, /) -> list[str]:
        """Message keys of what to distrust, those of the record first. Empty keys are dropped."""
        raise NotImplementedError

    def figure(self, record: Any, t: Translator, /) -> Picture | go.Figure | None:
        """The figure of `record.plot()`. None if there is no useful picture."""
        return None

    def own_cautions(self, subject: S, /) -> Sequence[str]:
        """The cautions that the record itself has. All of them are shown with the answer."""
        return ()

    def speeds(self, subject: S, /) -> Sequence[Speed]:
        """The speeds whose clocks the numbers depend on."""
        return ()

    def runs(self, subject: S, /) -> Sequence[Run]:
        """The runs whose seeds the chapter lists."""
        return ()

    def provenance(self, subject: S, /) -> Provenance | None:
        """How to reproduce the record. None for runs, which come from many commands."""
        return subject.provenance  # type: ignore[attr-defined,no-any-return]

    def records_shown(self, subject: S, /) -> Sequence[Record | None]:
        """Records that the chapter already shows, so that they need no chapter of their own."""
        return ()

    def lines(self, subject: S, t: Translator, /) -> list[str]:
        """Lines that a terminal shows below the answer."""
        return []

    def check(self, subject: S, /) -> None:
        """Raise a UserError if no chapter can be made of the record."""


VIEWS: dict[type, RecordView[Any]] = {}

View = TypeVar("View", bound=type[RecordView[Any]])


def view(kind: type) -> Callable[[View], View]:
    """Register the class as the view of records of this kind."""

    def register(own: View) -> View:
        VIEWS[kind] = own()
        return own

    return register


def view_of(subject: Subject) -> RecordView[Any]:
    """The view of a record, or of the runs of a task.

    Raises:
        UserError: if there is no view of such a record.
    """
    kind = type(subject) if isinstance(subject, Record) else Run
    if kind not in VIEWS:
        names = sorted(each.__name__ for each in VIEWS)
        raise UserError(f"A report cannot be made of a {kind.__name__}: give {', '.join(names[:-1])} or {names[-1]}.")
    return VIEWS[kind]


def chart(picture: Picture | None, note: str) -> Chart | None:
    return Chart(picture, note) if picture is not None else None


def tile(label: str, estimate: Estimate, write: Write, t: Translator) -> Tile:
    """A tile of a number with its interval, or the reason why there is no interval."""
    if estimate.reason in SURE:
        return Tile(label, write(estimate.value), t(f"tile_{estimate.reason}"))
    return Tile(label, write(estimate.value), t.interval(estimate, write) or t("no_interval"))


def without_interval(estimates: Iterable[Estimate | None]) -> list[str]:
    """Message keys of the reasons why numbers have no interval."""
    return [each.reason for each in estimates if each is not None and each.reason]


def open_reasons_of(estimates: Iterable[Estimate | None]) -> list[str]:
    """As `without_interval`, but without the reason that a number is exact."""
    return [key for key in without_interval(estimates) if key not in SURE]


def setup_lines(setup: Setup, t: Translator) -> list[str]:
    """Lines that describe the loss function that was measured."""
    data = setup.data if setup.data in ("train", "validation") else "own"
    counts = {"examples": t.count(setup.examples), "parameters": t.count(setup.parameters)}
    lines = [t(f"method_setup_{data}", precision=setup.precision, **counts)]
    if setup.batch_norm:
        lines.append(t(f"method_norm_{setup.mode}", chunk=t.count(setup.chunk)))
    return lines


def cell(estimate: Estimate | None, write: Write, t: Translator) -> Cell:
    """A cell of a number with its interval, or the reason why there is no interval."""
    if estimate is None:
        return Cell("–")
    if estimate.low is not None and estimate.high is not None:
        n = t("cell_n", n=t.count(estimate.n))
        return Cell(write(estimate.value), t("cell_interval", span=t.span(estimate.low, estimate.high, write), n=n))
    return Cell(write(estimate.value), t(f"tile_{estimate.reason}" if estimate.reason in SURE else "no_interval"))


def notes(estimates: Iterable[Estimate | None], t: Translator) -> tuple[str, ...]:
    """The levels of the intervals, and the reasons why some numbers have none."""
    known_estimates = [each for each in estimates if each is not None]
    levels = sorted({each.level for each in known_estimates if each.low is not None})
    reasons = sorted({each.reason for each in known_estimates if each.low is None} - {""})
    sentences = [t("cell_level", level=t.percent(level)) for level in levels]
    return (*sentences, *(t("cost_no_interval", reason=t.reason(key)) for key in reasons))


# A reader remembers no more tiles than this.
MOST_TILES = 4


def eigenvalue_tile(key: str, eigenvalue: Eigenvalue, t: Translator) -> Tile:
    return Tile(t(key), t.score(eigenvalue.value), t.within(eigenvalue))


def open_eigenvalues(eigenvalues: Iterable[Eigenvalue]) -> list[str]:
    failed = [each for each in eigenvalues if not each.converged]
    reasons = ["not_converged"] if any(each.placed for each in failed) else []
    return [*reasons, "place_unknown"] if not all(each.placed for each in failed) else reasons
