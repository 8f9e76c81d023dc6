"""The few sentences that a terminal shows of a record."""

from __future__ import annotations

from critbatch.records import Record
from critbatch.reporting.answers import answer
from critbatch.reporting.subjects import subjects
from critbatch.reporting.voice import Voice


def summary(record: Record, language: str = "en") -> str:
    """The answer first, then what belongs to it, then what to distrust: plain text, one thought a line.

    Raises:
        UserError: if `language` is not there, or there is nothing to say of such a record.
    """
    voice = Voice(language)
    (subject,) = subjects([record])
    told = answer(subject, voice)
    joint = " " if language == "en" else ""
    rows = [joint.join((told.headline, *told.lead)), *told.more]
    if told.distrust:
        rows += ["", voice("to_keep_in_mind"), *(f"- {sentence}" for sentence in told.distrust)]
    return "\n".join(rows)
