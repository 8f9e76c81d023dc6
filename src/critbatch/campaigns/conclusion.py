"""From the runs that there are to the record of the study: those that the question needs, and what they say."""

from __future__ import annotations

from dataclasses import replace

from critbatch.campaigns.search import choose
from critbatch.campaigns.shelf import Shelf
from critbatch.law.study_analysis import analyse
from critbatch.records.study import Question, Spent, Study


def concluded(study: Study, shelf: Shelf) -> Study:
    """The study with the runs that it has by now.

    Args:
        study: without runs.
    """
    question = study.question
    shelf.judge = question.target
    choice = choose(question, shelf.look())
    made = shelf.find_all(choice.keys)
    return replace(
        study,
        runs=tuple(made),
        left=len(choice.keys) - len(made) + choice.later,
        analysis=analyse(made, target=question.target, examples=study.examples, amounts=_amounts(question)),
    )


def _amounts(question: Question) -> dict[Spent, float]:
    """What the question says of the budgets at which batch sizes are compared."""
    given = {Spent.EPOCHS: question.epochs, Spent.STEPS: question.steps, Spent.SECONDS: question.seconds}
    several = sum(amount is not None for amount in given.values()) > 1
    return {spent: float(amount) for spent, amount in given.items() if amount is not None and several}
