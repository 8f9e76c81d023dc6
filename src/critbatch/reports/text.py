"""The few sentences that a terminal shows of a record."""

from __future__ import annotations

from collections.abc import Sequence
from unicodedata import east_asian_width

from critbatch.records.claims import Lecture
from critbatch.records.core import Record
from critbatch.records.study import Fit, Study
from critbatch.reports.derived.claims import lecture_lines
from critbatch.reports.derived.loss_surface import Subject, subjects
from critbatch.reports.derived.study import findings
from critbatch.reports.model import Cell, Table
from critbatch.reports.translator import Translator
from critbatch.reports.views.answers import answer
from critbatch.reports.views.study import brief_table, predictions_table

# A table as plain text, for a terminal.


def plain(table: Table) -> list[str]:
    """Head and rows in columns, numbers to the right; what is small on the page stands in brackets."""
    rows = [list(table.header), *([_written(cell) for cell in row] for row in table.rows)]
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    return [_row(row, widths) for row in rows]


def _written(cell: Cell) -> str:
    marks = f" ({'; '.join(cell.marks)})" if cell.marks else ""
    return f"{cell.text} [{cell.note}]{marks}" if cell.note else f"{cell.text}{marks}"


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(" " * (most - width(cell)) + cell for cell, most in zip(cells, widths, strict=True)).rstrip()


def width(text: str) -> int:
    """Columns of a terminal that the text takes: a Chinese character takes two."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def summary(record: Record, language: str = "en") -> str:
    """The answer first, then what belongs to it, then what to distrust: plain text, one thought a line.

    Raises:
        UserError: if `language` is not there, or there is nothing to say of such a record.
    """
    t = Translator(language)
    (subject,) = subjects([record])
    told = answer(subject, t)
    warning = [t("warning", sentence=told.warning)] if told.warning else []
    rows = [t.join((told.headline, *told.lead)), *warning, *told.more, *_sizes(subject, t)]
    rows += ["", *lecture_lines(subject, t)] if isinstance(subject, Lecture) else []
    if told.distrust:
        rows += ["", t("to_keep_in_mind"), *(f"- {sentence}" for sentence in told.distrust)]
    return "\n".join(rows)


def _sizes(subject: Subject, t: Translator) -> list[str]:
    """The batch sizes of a study that was analysed, or of a fit, as a table; below it what the law predicts."""
    found = findings(subject) if isinstance(subject, (Study, Fit)) else None
    if found is None or not any(size.steps or size.epochs or size.bound for size in found.sizes):
        return []
    rows = ["", *plain(brief_table(found, t))]
    if isinstance(subject, Fit) and subject.predictions:
        table = predictions_table(subject, t)
        rows += ["", table.caption, *plain(table)]
    return rows
