"""The few sentences that a terminal shows of a record."""

from __future__ import annotations

from critbatch.records.core import Record
from critbatch.reports.translator import Translator
from critbatch.reports.views.chapters import answer, subjects
from critbatch.reports.views.common import view_of


def summary(record: Record, language: str = "en") -> str:
    """The answer first, then what belongs to it, then what to distrust: plain text, one thought a line.

    Raises:
        UserError: if `language` is not there, or there is nothing to say of such a record.
    """
    t = Translator(language)
    (subject,) = subjects([record])
    said = answer(subject, t)
    warning = [t("warning", sentence=said.warning)] if said.warning else []
    rows = [t.join((said.headline, *said.lead)), *warning, *said.more, *view_of(subject).lines(subject, t)]
    if said.distrust:
        rows += ["", t("to_keep_in_mind"), *(f"- {sentence}" for sentence in said.distrust)]
    return "\n".join(rows)
