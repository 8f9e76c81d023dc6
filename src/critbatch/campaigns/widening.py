"""A grid of learning rates around the usual one that widens by itself until the best is not at its edge."""

from __future__ import annotations

from critbatch.campaigns.ranking import Judge, judges_of
from critbatch.campaigns.stock import Stock
from critbatch.campaigns.terms import Brief, Key
from critbatch.recipes import usual_rate
from critbatch.records.core import Setting
from critbatch.records.study import Question

# From one rung to the next: the best rung is within a factor 1.4 of the best rate, which costs at most 6 % more steps
# by the law of `records.Law`.
RUNG = 2.0
# Rungs on either side of the usual rate. One further away is reached by nothing but a mistake in task or recipe.
MOST_RUNGS = 14


def widened(
    question: Question, batch_size: int, options: tuple[tuple[str, Setting], ...], stock: Stock
) -> tuple[list[Key], int]:
    """The runs that are needed at one batch size, and how many more are sure to come.

    The first seed looks for the best rung: three in the middle first, then one more at the side of the best until that
    has a neighbour on either side. The other seeds make the runs of the best and its neighbours. Where the median over
    seeds then prefers another rung, its neighbours are made too. Runs that go on after the target have two bests: by
    the steps to it, and by what they end with.

    Every answer follows from the runs at their end alone, so that it does not matter who made them in which order.
    """

    def key(rung: int, seed: int) -> Key:
        return Key(batch_size=batch_size, learning_rate=rate_of(question, batch_size, rung), seed=seed, options=options)

    def ended(rungs: list[int], seeds: tuple[int, ...]) -> dict[int, list[Brief]] | None:
        """The ends of all these runs; None while one is not there."""
        keys = {rung: [key(rung, seed) for seed in seeds] for rung in rungs}
        if not all(one in stock.finished for many in keys.values() for one in many):
            return None
        return {rung: [stock.finished[one] for one in many] for rung, many in keys.items()}

    judges = judges_of(question)
    first, others = question.seeds[:1], question.seeds[1:]
    tried = [-1, 0, 1]
    while True:
        found = ended(tried, first)
        if found is None:
            return [key(rung, first[0]) for rung in tried], 3 * len(others)
        best = _best(judges, found)
        wider = [rung for one in best if (rung := _beyond(one, tried)) is not None]
        if not wider:
            break
        tried = sorted({*tried, *wider})
    sure = _around(best)
    while others:
        found = ended(sure, question.seeds)
        if found is None:
            break
        best = _best(judges, found)
        if set(_around(best)) <= set(sure):
            break
        sure = sorted({*sure, *_around(best)})
    searched = [key(rung, first[0]) for rung in sorted({*tried, *sure})]
    return searched + [key(rung, seed) for seed in others for rung in sure], 0


def rate_of(question: Question, batch_size: int, rung: int) -> float:
    """The learning rate of a rung, with two digits. Rung 0 is the usual rate of the recipe at this batch size."""
    return float(f"{usual_rate(question.recipe, batch_size) * RUNG**rung:.2g}")


def _best(judges: list[Judge], found: dict[int, list[Brief]]) -> list[int]:
    """By each judge the rung whose runs did best; of equals the one with the smallest rate, which is the safer one."""
    ranks = [{rung: (judge(briefs), rung) for rung, briefs in found.items()} for judge in judges]
    return [min(ranked, key=ranked.__getitem__) for ranked in ranks]


def _beyond(best: int, tried: list[int]) -> int | None:
    """The next rung at the side where the best one is at the edge; None where it has both neighbours."""
    for neighbour in (best - 1, best + 1):
        if neighbour not in tried and abs(neighbour) <= MOST_RUNGS:
            return neighbour
    return None


def _around(best: list[int]) -> list[int]:
    return sorted({rung for one in best for rung in (one - 1, one, one + 1) if abs(rung) <= MOST_RUNGS})
