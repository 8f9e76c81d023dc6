"""Decide the first batch size, the next runs and the final advice. `advisor/` makes the runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from critbatch.errors import UserError
from critbatch.law.clock_check import is_usable, leeway
from critbatch.law.model import log_saturation
from critbatch.law.objective import (
    best_size,
    candidate_sizes,
    find_cautions,
    log_costs,
    recommended_rate,
    time_points,
    two_digits,
    within,
)
from critbatch.law.posterior import Posterior
from critbatch.law.prior import WIDE_PRIOR
from critbatch.law.step_time import step_seconds_at
from critbatch.records.core import Advice, Outcome, Provenance, Run, Speed, Target

FIRST_SIZES = (16, 256)
"""Range of the first batch size. Smaller ones are nearly all noise; larger ones work at fewer rates and cost more."""

FACTORS = (0.5, 1.0, 2.0)
"""Multiples of the recommended rate that a race tries."""

PATIENCE = 1.25
"""A race continues up to this many times the steps of the first run that reaches the target."""

WORTH, ENOUGH = 0.05, 8.0
"""A race must lower log(time to target) by at least WORTH for each best run that it costs, once the runs of that target
have cost ENOUGH best runs. The more has been spent, the larger the reduction must be, in proportion."""

SAME = 1.25
"""Rates within this factor of each other count as the same when rates are chosen to try."""

MOST_RUNS = 24
"""More runs of one target than this are a sweep: three more runs would not resolve what they leave open."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A race that is worth its cost: one batch size and one run for each rate. None is dropped before one finishes."""

    batch_size: int
    learning_rates: tuple[float, ...]


def first_size(speed: Speed, examples: int) -> int:
    """The batch size of the first race: the one with the lowest expected log(time) when only step times are known.

    The noise scale has its prior, the steps follow from it, and the seconds per step are measured. The size is at most
    a tenth of the examples, so that an epoch has enough steps to distinguish rates.

    Raises:
        UserError: if no size fits.
    """
    sizes = _sizes(speed)
    mean, spread = WIDE_PRIOR.log_noise
    log_noise = mean + spread * ndtri((np.arange(64) + 0.5) / 64)

    def cost(size: int) -> float:
        return float(log_saturation(log_noise, math.log(size)).mean()) + math.log(step_seconds_at(speed, size).value)

    low, high = FIRST_SIZES
    small = [size for size in sizes if size <= min(high, examples / 10)] or [sizes[0]]
    return min([size for size in small if size >= low] or small[-1:], key=cost)


def next_races(posterior: Posterior, speed: Speed, runs: Sequence[Run]) -> Proposal | None:
    """The race that lowers the expected log(time to target) most for its cost; None if no race is worth its cost.

    If a draw of the posterior is the truth, a race finds the best of its three rates, if that is better than the
    recommendation now. The mean over the draws is the expected gain. It ignores the luck of single runs, so it is
    slightly too optimistic. The more the runs have cost, the larger the gain must be. Rates near those already judged
    at that size are left out. A rate that was tried but dropped early is raised by a tenth, because the same run would
    end in the same way.

    Args:
        posterior: fitted to `runs`.
        speed: of the machine.
        runs: all runs of one target.
    """
    finished = [run for run in runs if run.outcome is not Outcome.INTERRUPTED]
    if not posterior.reached or len(finished) > MOST_RUNS:
        return None
    seconds = {size: step_seconds_at(speed, size).value for size in _sizes(speed)}
    rates = {size: recommended_rate(posterior, size) for size in seconds}
    costs = {size: log_costs(posterior, size, rates[size], seconds[size]) for size in seconds}
    now = min(costs.values(), key=lambda draws: float(draws.mean()))
    best_run = float(np.exp(np.median(now)))
    price = WORTH / ENOUGH * sum(_seconds_of(run, seconds) for run in finished) / best_run

    def gain(proposal: Proposal) -> float:
        size = proposal.batch_size
        race_costs = [log_costs(posterior, size, rate, seconds[size]) for rate in proposal.learning_rates]
        expected = float((now - np.min([now, *race_costs], axis=0)).mean())
        patience = PATIENCE * np.median(posterior.steps(size, rates[size]))
        steps = sum(min(patience, np.median(posterior.steps(size, rate))) for rate in proposal.learning_rates)
        return expected - price * float(steps) * seconds[size] / best_run

    proposals = [proposal for size in seconds if (proposal := _race_at(size, rates[size], runs)) is not None]
    best = max(proposals, key=gain, default=None)
    return best if best is not None and gain(best) > 0 else None


def _seconds_of(run: Run, seconds: Mapping[int, float]) -> float:
    """Seconds of a run by these step times. A run from elsewhere may have another size: the nearest size counts."""
    return run.steps * seconds[min(seconds, key=lambda size: abs(size - run.batch_size))]


def _race_at(size: int, rate: float, runs: Sequence[Run]) -> Proposal | None:
    here = [run for run in runs if run.batch_size == size]
    fewest = min((run.crossing.step for run in here if run.crossing is not None), default=math.inf)
    judged = [run.learning_rate for run in here if run.outcome is Outcome.DIVERGED or run.steps >= fewest]
    tried = {run.learning_rate for run in here if run.outcome is not Outcome.INTERRUPTED}
    interrupted = [run.learning_rate for run in here if run.outcome is Outcome.INTERRUPTED]

    def untried(wanted: float) -> float:
        return wanted if wanted not in tried else untried(two_digits(1.1 * wanted))

    def begun_near(wanted: float) -> float:
        """A nearby rate of an interrupted run, if any: a run that stopped at an easier target continues."""
        near = min(interrupted, key=lambda other: abs(math.log(other / wanted)), default=wanted)
        return near if 1 / SAME < near / wanted < SAME else wanted

    wanted = [begun_near(two_digits(factor * rate)) for factor in FACTORS]
    new = {untried(one) for one in wanted if not any(1 / SAME < one / other < SAME for other in judged)}
    return Proposal(batch_size=size, learning_rates=tuple(sorted(new))) if new else None


def advise_record(
    posterior: Posterior,
    speed: Speed,
    runs: Sequence[Run],
    *,
    target: Target,
    recipe: str,
    provenance: Provenance,
    current: int | None = None,
    chosen: int | None = None,
    micro_batch_size: int | None = None,
    cautions: Sequence[str] = (),
) -> Advice:
    """The advice from all runs, or the reason why there is none, such as step times that vary too much to rank sizes.

    Args:
        posterior: fitted to `runs`.
        speed: of the machine.
        runs: all runs of this target.
        target, recipe, provenance: of the answer.
        current: the batch size in use today. If it is outside the timed sizes, it gets a caution and no point.
        chosen: the batch size to recommend; by default the one with the lowest expected log(time).
        micro_batch_size: examples in one forward pass, if fewer than the batch.
        cautions: of the campaign, such as "budget_ended".

    Raises:
        UserError: if no size fits.
    """
    sizes = _sizes(speed)
    answered = posterior.reached > 0 and is_usable(speed)
    points = time_points(posterior, speed, sizes, runs=runs) if answered else ()
    best = points[sizes.index(chosen or best_size(posterior, speed))] if answered else None
    known = current is not None and sizes[0] <= current <= sizes[-1]
    today = [current] if current is not None and known and answered else []
    own = [*cautions, "current_not_timed"] if current is not None and not known else cautions
    return Advice(
        task=speed.task,
        unit=speed.unit,
        examples=speed.examples,
        recipe=recipe,
        target=target,
        answered=answered,
        best=best,
        near_optimal_range=within(points, best, leeway(speed)) if best else None,
        current=next(iter(time_points(posterior, speed, today, runs=runs)), None),
        largest=points[-1] if points else None,
        points=points,
        law=posterior.record() if answered else None,
        speed=speed,
        runs=tuple(runs),
        micro_batch_size=micro_batch_size,
        cautions=tuple(dict.fromkeys([*own, *find_cautions(posterior, speed, runs, best)])),
        provenance=provenance,
    )


def _sizes(speed: Speed) -> tuple[int, ...]:
    if not speed.fitting:
        raise UserError("No batch size fits into memory: use a smaller model or smaller examples.")
    return candidate_sizes(speed)
