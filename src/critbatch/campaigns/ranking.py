"""Which of several settings at one batch size is best, by the ends of their runs, and never by a test set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from critbatch.campaigns.terms import Brief
from critbatch.records.core import Quantity
from critbatch.records.study import Question

Rank = tuple[float, float, float, float]
Judge = Callable[[Sequence[Brief]], Rank]
"""Of runs that differ by seed alone: which rank they have, smaller is better."""


def judges_of(question: Question) -> list[Judge]:
    """By steps to the target, where there is one; by what they end with, where they go on to their end.

    In any case the share that failed counts first.
    """
    by_end = _by_end(question)
    if question.target is None:
        return [by_end]
    by_target = _by_target(question)
    return [by_target] if question.stops_at_target else [by_target, by_end]


def _by_target(question: Question) -> Judge:
    """First the share that missed the target, then the median steps to it; where all missed it, their best value."""

    def judge(briefs: Sequence[Brief]) -> Rank:
        missed = sum(brief.missed for brief in briefs) / len(briefs)
        steps = median(brief.steps_to_target for brief in briefs)
        return (_failed(briefs), missed, steps, median(_value(question, brief) for brief in briefs))

    return judge


def _by_end(question: Question) -> Judge:
    """The median over seeds of the best validation value: of the metric where the target is set on it."""

    def judge(briefs: Sequence[Brief]) -> Rank:
        return (_failed(briefs), 0.0, 0.0, median(_value(question, brief) for brief in briefs))

    return judge


def _failed(briefs: Sequence[Brief]) -> float:
    return sum(brief.failed for brief in briefs) / len(briefs)


def _value(question: Question, brief: Brief) -> float:
    if question.target is not None and question.target.quantity is Quantity.VALIDATION_METRIC:
        return -brief.metric
    return brief.loss
