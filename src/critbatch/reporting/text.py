"""The few sentences that a terminal shows of a record."""

from __future__ import annotations

from critbatch.records.claims import Lecture
from critbatch.records.core import Record
from critbatch.records.study import Fit, Study
from critbatch.reporting.answers import answer
from critbatch.reporting.findings import findings
from critbatch.reporting.lecture_answers import lecture_lines
from critbatch.reporting.plain_table import plain
from critbatch.reporting.sections.points import predictions_table
from critbatch.reporting.sections.sizes import brief_table
from critbatch.reporting.subjects import Subject, subjects
from critbatch.reports.translator import Translator


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
