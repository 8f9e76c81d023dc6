"""Learning rates, and options that are varied, chosen by Optuna's samplers: at each batch size on its own."""

from __future__ import annotations

import hashlib
import math
import warnings
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from critbatch.campaigns.database import quiet
from critbatch.campaigns.ranking import Rank, judges_of
from critbatch.campaigns.stock import Stock
from critbatch.campaigns.terms import Brief, Key
from critbatch.errors import UserError
from critbatch.recipes import usual_rate
from critbatch.records.study import Question, Search

# The range of learning rates: the usual one times and over this.
REACH = 100.0
# What a sampler hears of settings whose runs failed, and of those that missed the target: log(steps) is below both.
FAILED, MISSED = 60.0, 40.0


def sampled(question: Question, batch_size: int, stock: Stock) -> tuple[list[Key], int]:
    """The runs that are needed at one batch size, and how many more are sure to come.

    With the first seed as many settings are tried as the question has trials, each chosen in view of the others. The
    best one is then run with the other seeds.
    """
    assert question.trials is not None
    first, others = question.seeds[0], question.seeds[1:]
    here = [key for key in (*stock.finished, *stock.running, *stock.broken) if key.batch_size == batch_size]
    tried = [key for key in here if key.seed == first]
    if len(tried) < question.trials:
        broken = [key for key in tried if key in stock.broken]
        more = question.trials - len(tried)
        new = [] if broken else [_next(question, batch_size, first, stock, tried)]
        return [*tried, *new], more - len(new) + len(others)
    if any(key not in stock.finished for key in tried):
        return tried, len(others)
    judge = judges_of(question)[-1]
    best = min(tried, key=lambda key: judge([stock.finished[key]]))
    return tried + [replace(best, seed=seed) for seed in others], 0


def _next(question: Question, batch_size: int, seed: int, stock: Stock, tried: list[Key]) -> Key:
    """The setting that the sampler wants to know next."""
    import optuna
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    middle = usual_rate(question.recipe, batch_size)
    space: dict[str, Any] = {"learning_rate": FloatDistribution(middle / REACH, middle * REACH, log=True)}
    space |= {
        name: CategoricalDistribution([repr(value) for value in values]) for name, values in question.varied.items()
    }
    words = f"{question.recipe} {batch_size} {seed} {len(tried)}"
    number = int.from_bytes(hashlib.sha256(words.encode()).digest()[:4], "big")
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of samplers that are experimental, or cannot use what is not finished
        study = optuna.create_study(sampler=_sampler(question.search, number))
        for key in tried:
            study.add_trial(_as_trial(question, key, stock.finished.get(key), space))
        # A sequence that is spread evenly begins anew with each study: this one's place in it is further on.
        asks = len(tried) + 1 if question.search is Search.QMC else 1
        trial = [study.ask(space) for _ in range(asks)][-1]
    values = {repr(value): value for many in question.varied.values() for value in many}
    options = tuple((name, values[trial.params[name]]) for name in sorted(question.varied))
    rate = float(f"{trial.params['learning_rate']:.3g}")
    key = Key(batch_size=batch_size, learning_rate=rate, seed=seed, options=options)
    while key in tried:  # of equal settings, the neighbour says more
        rate = float(f"{rate * 1.05:.3g}")
        key = Key(batch_size=batch_size, learning_rate=rate, seed=seed, options=options)
    return key


def _as_trial(question: Question, key: Key, brief: Brief | None, space: dict[str, Any]) -> Any:
    from optuna.trial import TrialState, create_trial

    rates = space["learning_rate"]
    told = dict(key.options)
    params = {"learning_rate": min(max(key.learning_rate, rates.low), rates.high)}
    params |= {name: repr(told[name]) for name in question.varied}
    if brief is None:
        return create_trial(state=TrialState.RUNNING, params=params, distributions=space)
    return create_trial(
        state=TrialState.COMPLETE,
        params=params,
        distributions=space,
        value=_worth(judges_of(question)[-1]([brief]), question),
    )


def _worth(ranked: Rank, question: Question) -> float:
    """One number in the order of the ranks, of a size that a model of it can do with."""
    failed, missed, steps, value = ranked
    if failed:
        return FAILED
    if question.stops_at_target and not missed:
        return math.log(max(steps, 1.0))
    return (MISSED if question.stops_at_target else 0.0) + min(max(value, -10.0), 10.0)


def _sampler(search: Search, seed: int) -> Any:
    from optuna import samplers

    if search is Search.TPE:
        return samplers.TPESampler(seed=seed, n_startup_trials=4, multivariate=True, constant_liar=True)
    if search is Search.GP:
        return samplers.GPSampler(seed=seed, n_startup_trials=4)
    if search is Search.QMC:
        return samplers.QMCSampler(seed=0, scramble=True)
    if search is Search.RANDOM:
        return samplers.RandomSampler(seed=seed)
    if find_spec("cmaes") is None:
        raise UserError("The search by cmaes needs the package cmaes: pip install cmaes, or use tpe.")
    return samplers.CmaEsSampler(seed=seed)
