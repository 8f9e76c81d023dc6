"""Which runs a study needs, given those that it has: the question that every worker asks before each run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

from critbatch.campaigns.samplers import sampled
from critbatch.campaigns.stock import Stock
from critbatch.campaigns.terms import Key
from critbatch.campaigns.widening import widened
from critbatch.records.core import Setting
from critbatch.records.study import Question, Search

Options = tuple[tuple[str, Setting], ...]


@dataclass(frozen=True)
class Choice:
    """Runs that a study needs.

    Args:
        keys: in the order in which to make them; those at their end are among them.
        later: how many more are sure to come whose settings are not known yet.
    """

    keys: list[Key]
    later: int = 0


def choose(question: Question, stock: Stock) -> Choice:
    """The runs that are needed as far as that can be said by now.

    What is needed follows from the runs at their end alone, not from who made them in which order: a study that was
    broken off, or made by many, ends with the same runs. A sampler of Optuna's is the exception: it learns from the
    order.
    """
    if question.search is Search.GIVEN:
        return Choice(given(question))
    if question.search is Search.WIDENING:
        keys, later = _by_size(question, lambda size, options: widened(question, size, options, stock))
        keys = list(dict.fromkeys([*given(question), *keys]))
    else:
        keys, later = _by_size(question, lambda size, options: sampled(question, size, stock), varied=False)
    return Choice(keys, later)


def given(question: Question) -> list[Key]:
    """The runs at the learning rates of the question, in an order in which a study half done is of use already.

    The first seed goes over the whole grid before the second begins. Within it the large batches come first, whose runs
    have the fewest steps, and each batch size gets all of its rates, since only a tuned one can be compared: those in
    the middle first, so that others can be told from them to be far behind.
    """
    middle = (len(question.learning_rates) - 1) / 2
    outward = sorted(range(len(question.learning_rates)), key=lambda place: abs(place - middle))
    return [
        Key(batch_size=size, learning_rate=rate, seed=seed, options=options)
        for seed in question.seeds
        for size in sorted(question.batch_sizes, reverse=True)
        for options in combinations(question)
        for rate in (question.learning_rates[place] for place in outward)
    ]


def combinations(question: Question) -> list[Options]:
    """Of the options that are varied, each with each; one that is empty where none is."""
    names = sorted(question.varied)
    return [tuple(zip(names, values, strict=True)) for values in product(*(question.varied[name] for name in names))]


def _by_size(
    question: Question, at: Callable[[int, Options], tuple[list[Key], int]], *, varied: bool = True
) -> tuple[list[Key], int]:
    keys: list[Key] = []
    later = 0
    for size in sorted(question.batch_sizes, reverse=True):
        for options in combinations(question) if varied else [()]:
            needed, more = at(size, options)
            keys += needed
            later += more
    first = {seed: place for place, seed in enumerate(question.seeds)}
    return sorted(keys, key=lambda key: first[key.seed]), later
