"""The warning under a headline whose numbers rest on a clock that swings: what was seen, and what would help."""

from __future__ import annotations

from critbatch.law.clock_check import WAITED, is_usable
from critbatch.records.claims import Lecture
from critbatch.records.core import Advice, ClockCheck, Speed
from critbatch.records.scaling import Scale
from critbatch.records.study import Study
from critbatch.reporting.subjects import Subject
from critbatch.reports.translator import Translator


def speeds_of(record: Subject) -> list[Speed]:
    """The clocks that a record's numbers rest on. None of an advice that its clock left without an answer: it says so
    itself."""
    if isinstance(record, Speed):
        return [record]
    if isinstance(record, (Advice, Scale)):
        return [record.speed] if not isinstance(record, Advice) or is_usable(record.speed) else []
    if isinstance(record, Study):
        return [record.speed] if record.speed is not None else []
    return [*record.speeds] if isinstance(record, Lecture) else []


def clock_warning(speeds: list[Speed], t: Translator) -> str:
    """One for the clock that swings most; empty where none does."""
    checks = [speed.check for speed in speeds if speed.check is not None and speed.check.is_busy]
    if not checks:
        return ""
    worst = max(checks, key=lambda check: check.swing)
    return t.join((t(_key(worst), swing=t.about(worst.swing)), *_waited(worst, t)))


def _key(check: ClockCheck) -> str:
    """Whether the times themselves disagree, or only the system says that there was other work."""
    return "clock_may_be_off" if check.signs == ("clock_waited",) else "clock_swings"


def _waited(check: ClockCheck, t: Translator) -> list[str]:
    known = check.waited is not None and check.waited > WAITED
    share = [t("clock_share", share=t.percent(check.waited or 0.0))] if known else []
    return [*share, t("clock_again")]
