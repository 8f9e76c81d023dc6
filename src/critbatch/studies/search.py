"""Chooses the next runs of a study, given the runs that it has. Every worker does so before each run."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import product
from statistics import median
from typing import Any

from critbatch.errors import UserError
from critbatch.recipes import usual_rate
from critbatch.records.core import OptionValue, Quantity
from critbatch.records.study import SearchMethod, StudySpec
from critbatch.studies.database import quiet
from critbatch.studies.run_key import RunKey, RunSummary
from critbatch.studies.run_table import StudyState

# --- ranks of settings at one batch size, from training and validation alone -----------------------------------------

Rank = tuple[float, float, float, float]
Judge = Callable[[Sequence[RunSummary]], Rank]
"""Ranks runs that differ only in the seed; smaller is better."""


def judges_of(question: StudySpec) -> list[Judge]:
    """Judges by steps to the target, if there is one, and by the final value, if runs continue after the target.

    Both count the share of failed runs first.
    """
    by_end = _by_end(question)
    if question.target is None:
        return [by_end]
    by_target = _by_target(question)
    return [by_target] if question.stops_at_target else [by_target, by_end]


def _by_target(question: StudySpec) -> Judge:
    """Compare the share that missed the target, then the median steps to it, then the best value."""

    def judge(summaries: Sequence[RunSummary]) -> Rank:
        missed = sum(summary.missed for summary in summaries) / len(summaries)
        steps = median(summary.steps_to_target for summary in summaries)
        return (_failed(summaries), missed, steps, median(_value(question, summary) for summary in summaries))

    return judge


def _by_end(question: StudySpec) -> Judge:
    """Compare the median over seeds of the best validation metric, if that is the target, else of the loss."""

    def judge(summaries: Sequence[RunSummary]) -> Rank:
        return (_failed(summaries), 0.0, 0.0, median(_value(question, summary) for summary in summaries))

    return judge


def _failed(summaries: Sequence[RunSummary]) -> float:
    return sum(summary.failed for summary in summaries) / len(summaries)


def _value(question: StudySpec, summary: RunSummary) -> float:
    if question.target is not None and question.target.quantity is Quantity.VALIDATION_METRIC:
        return -summary.metric
    return summary.loss


# --- settings chosen by Optuna's samplers, at each batch size on its own ---------------------------------------------

# The range of learning rates is the usual rate divided and multiplied by this.
REACH = 100.0
# Values that a sampler gets for settings that failed or missed the target; log(steps) is below both.
FAILED, MISSED = 60.0, 40.0


def sampled_keys(question: StudySpec, batch_size: int, state: StudyState) -> tuple[list[RunKey], int]:
    """The runs needed at one batch size, and how many more will certainly follow.

    The first seed tries as many settings as the study has trials; the sampler sees the earlier ones. The best setting
    is then run with the other seeds.
    """
    assert question.trials is not None
    first, others = question.seeds[0], question.seeds[1:]
    keys = [key for key in (*state.finished, *state.running, *state.broken) if key.batch_size == batch_size]
    tried = [key for key in keys if key.seed == first]
    if len(tried) < question.trials:
        broken = [key for key in tried if key in state.broken]
        more = question.trials - len(tried)
        new = [] if broken else [_next(question, batch_size, first, state, tried)]
        return [*tried, *new], more - len(new) + len(others)
    if any(key not in state.finished for key in tried):
        return tried, len(others)
    judge = judges_of(question)[-1]
    best = min(tried, key=lambda key: judge([state.finished[key]]))
    return tried + [replace(best, seed=seed) for seed in others], 0


def _next(question: StudySpec, batch_size: int, seed: int, state: StudyState, tried: list[RunKey]) -> RunKey:
    """The setting that the sampler proposes next."""
    import optuna
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    middle = usual_rate(question.recipe, batch_size)
    space: dict[str, Any] = {"learning_rate": FloatDistribution(middle / REACH, middle * REACH, log=True)}
    space |= {
        name: CategoricalDistribution([repr(value) for value in values])
        for name, values in question.option_grid.items()
    }
    words = f"{question.recipe} {batch_size} {seed} {len(tried)}"
    number = int.from_bytes(hashlib.sha256(words.encode()).digest()[:4], "big")
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about experimental samplers, and samplers that ignore running trials
        study = optuna.create_study(sampler=_sampler(question.search, number))
        for key in tried:
            study.add_trial(_as_trial(question, key, state.finished.get(key), space))
        # The low-discrepancy sequence restarts with each study: skip what was used before.
        asks = len(tried) + 1 if question.search is SearchMethod.QMC else 1
        trial = [study.ask(space) for _ in range(asks)][-1]
    values = {repr(value): value for choices in question.option_grid.values() for value in choices}
    options = tuple((name, values[trial.params[name]]) for name in sorted(question.option_grid))
    rate = float(f"{trial.params['learning_rate']:.3g}")
    key = RunKey(batch_size=batch_size, learning_rate=rate, seed=seed, options=options)
    while key in tried:  # a repeated setting tells less than a neighbour
        rate = float(f"{rate * 1.05:.3g}")
        key = RunKey(batch_size=batch_size, learning_rate=rate, seed=seed, options=options)
    return key


def _as_trial(question: StudySpec, key: RunKey, summary: RunSummary | None, space: dict[str, Any]) -> Any:
    from optuna.trial import TrialState, create_trial

    rates = space["learning_rate"]
    options = dict(key.options)
    params = {"learning_rate": min(max(key.learning_rate, rates.low), rates.high)}
    params |= {name: repr(options[name]) for name in question.option_grid}
    if summary is None:
        return create_trial(state=TrialState.RUNNING, params=params, distributions=space)
    return create_trial(
        state=TrialState.COMPLETE,
        params=params,
        distributions=space,
        value=_score(judges_of(question)[-1]([summary]), question),
    )


def _score(ranked: Rank, question: StudySpec) -> float:
    """One number in the order of the ranks, in a range that a sampler's model can fit."""
    failed, missed, steps, value = ranked
    if failed:
        return FAILED
    if question.stops_at_target and not missed:
        return math.log(max(steps, 1.0))
    return (MISSED if question.stops_at_target else 0.0) + min(max(value, -10.0), 10.0)


def _sampler(search: SearchMethod, seed: int) -> Any:
    from optuna import samplers

    if search is SearchMethod.TPE:
        return samplers.TPESampler(seed=seed, n_startup_trials=4, multivariate=True, constant_liar=True)
    if search is SearchMethod.GP:
        return samplers.GPSampler(seed=seed, n_startup_trials=4)
    if search is SearchMethod.QMC:
        return samplers.QMCSampler(seed=0, scramble=True)
    if search is SearchMethod.RANDOM:
        return samplers.RandomSampler(seed=seed)
    if find_spec("cmaes") is None:
        raise UserError("The search by cmaes needs the package cmaes: pip install cmaes, or use tpe.")
    return samplers.CmaEsSampler(seed=seed)


# --- a grid of learning rates that widens until the best rate is not at its edge -------------------------------------

# From one rung to the next: the best rung is within a factor 1.4 of the best rate, which costs at most 6 % more steps
# by the law of `records.Law`.
RUNG = 2.0
# Rungs on either side of the usual rate. Only a mistake in task or recipe leads further away.
MOST_RUNGS = 14


def widened_keys(
    question: StudySpec, batch_size: int, options: tuple[tuple[str, OptionValue], ...], state: StudyState
) -> tuple[list[RunKey], int]:
    """The runs needed at one batch size, and how many more will certainly follow.

    The first seed searches for the best rung: first three rungs in the middle, then one more beside the best rung
    until that has a neighbour on either side. The other seeds run the best rung and its neighbours. If the median over
    seeds then prefers another rung, its neighbours are run too. If runs continue after the target, there are two best
    rungs: by steps to the target, and by final value.

    The result depends only on the runs that have ended, not on their order or on the workers that made them.
    """

    def key(rung: int, seed: int) -> RunKey:
        return RunKey(
            batch_size=batch_size, learning_rate=rate_of(question, batch_size, rung), seed=seed, options=options
        )

    def finished_runs(rungs: list[int], seeds: tuple[int, ...]) -> dict[int, list[RunSummary]] | None:
        """Summaries of all these runs; None while one is missing."""
        keys = {rung: [key(rung, seed) for seed in seeds] for rung in rungs}
        if not all(one in state.finished for seed_keys in keys.values() for one in seed_keys):
            return None
        return {rung: [state.finished[one] for one in seed_keys] for rung, seed_keys in keys.items()}

    judges = judges_of(question)
    first, others = question.seeds[:1], question.seeds[1:]
    tried = [-1, 0, 1]
    while True:
        summaries_by_rung = finished_runs(tried, first)
        if summaries_by_rung is None:
            return [key(rung, first[0]) for rung in tried], 3 * len(others)
        best = _best(judges, summaries_by_rung)
        wider = [rung for one in best if (rung := _beyond(one, tried)) is not None]
        if not wider:
            break
        tried = sorted({*tried, *wider})
    needed_rungs = _around(best)
    while others:
        summaries_by_rung = finished_runs(needed_rungs, question.seeds)
        if summaries_by_rung is None:
            break
        best = _best(judges, summaries_by_rung)
        if set(_around(best)) <= set(needed_rungs):
            break
        needed_rungs = sorted({*needed_rungs, *_around(best)})
    searched = [key(rung, first[0]) for rung in sorted({*tried, *needed_rungs})]
    return searched + [key(rung, seed) for seed in others for rung in needed_rungs], 0


def rate_of(question: StudySpec, batch_size: int, rung: int) -> float:
    """The learning rate of a rung, with two digits. Rung 0 is the usual rate of the recipe at this batch size."""
    return float(f"{usual_rate(question.recipe, batch_size) * RUNG**rung:.2g}")


def _best(judges: list[Judge], summaries_by_rung: dict[int, list[RunSummary]]) -> list[int]:
    """The best rung by each judge; on a tie the smallest rate, which is the safer one."""
    ranks = [{rung: (judge(summaries), rung) for rung, summaries in summaries_by_rung.items()} for judge in judges]
    return [min(ranked, key=ranked.__getitem__) for ranked in ranks]


def _beyond(best: int, tried: list[int]) -> int | None:
    """The next rung beside the best one if that is at the edge; None if it has both neighbours."""
    for neighbour in (best - 1, best + 1):
        if neighbour not in tried and abs(neighbour) <= MOST_RUNGS:
            return neighbour
    return None


def _around(best: list[int]) -> list[int]:
    return sorted({rung for one in best for rung in (one - 1, one, one + 1) if abs(rung) <= MOST_RUNGS})


Options = tuple[tuple[str, OptionValue], ...]


@dataclass(frozen=True)
class Choice:
    """Runs that a study needs.

    Args:
        keys: Needed runs, in the order to make them, including those that have ended.
        later: Number of further runs whose settings are not known yet.
    """

    keys: list[RunKey]
    later: int = 0


def choose(question: StudySpec, state: StudyState) -> Choice:
    """The runs that are known to be needed so far.

    They depend only on the runs that have ended, not on their order or on the workers that made them: a study that
    was interrupted, or shared by many workers, ends with the same runs. Optuna's samplers are the exception: their
    proposals depend on the order.
    """
    if question.search is SearchMethod.GIVEN:
        return Choice(given_keys(question))
    if question.search is SearchMethod.WIDENING:
        keys, later = _by_size(question, lambda size, options: widened_keys(question, size, options, state))
        keys = list(dict.fromkeys([*given_keys(question), *keys]))
    else:
        keys, later = _by_size(question, lambda size, options: sampled_keys(question, size, state), varied=False)
    return Choice(keys, later)


def given_keys(question: StudySpec) -> list[RunKey]:
    """The runs at the given learning rates, in an order that makes a half-finished study useful.

    The first seed covers the whole grid before the second starts. Within a seed the large batches come first, since
    their runs have the fewest steps. Each batch size gets all its rates, since only tuned sizes can be compared. The
    rates in the middle come first, so that pruning can compare others with them.
    """
    middle = (len(question.learning_rates) - 1) / 2
    outward = sorted(range(len(question.learning_rates)), key=lambda place: abs(place - middle))
    return [
        RunKey(batch_size=size, learning_rate=rate, seed=seed, options=options)
        for seed in question.seeds
        for size in sorted(question.batch_sizes, reverse=True)
        for options in combinations(question)
        for rate in (question.learning_rates[place] for place in outward)
    ]


def combinations(question: StudySpec) -> list[Options]:
    """All combinations of the varied options; one empty combination if there are none."""
    names = sorted(question.option_grid)
    return [
        tuple(zip(names, values, strict=True)) for values in product(*(question.option_grid[name] for name in names))
    ]


def _by_size(
    question: StudySpec, runs_at: Callable[[int, Options], tuple[list[RunKey], int]], *, varied: bool = True
) -> tuple[list[RunKey], int]:
    keys: list[RunKey] = []
    later = 0
    for size in sorted(question.batch_sizes, reverse=True):
        for options in combinations(question) if varied else [()]:
            needed, more = runs_at(size, options)
            keys += needed
            later += more
    first = {seed: place for place, seed in enumerate(question.seeds)}
    return sorted(keys, key=lambda key: first[key.seed]), later
