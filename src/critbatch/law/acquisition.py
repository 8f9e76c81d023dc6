"""Where to begin, what to try next, and the answer. Decisions only: `campaigns/` makes the runs."""

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
"""Below, a gradient is nearly all noise; above, fewer rates work, and what is not known yet costs more to find out."""

FACTORS = (0.5, 1.0, 2.0)
"""Of the recommended rate, in a race."""

PATIENCE = 1.25
"""A race goes on for so many times the steps of its first run at the target."""

WORTH, ENOUGH = 0.05, 8.0
"""A race is made where it takes at least so much off log(time to target) for each best-run that it costs, once the runs
of that target have cost 8 best-runs. Before it may take less, and later it must take more, in proportion."""

SAME = 1.25
"""Rates within this factor of each other are one, for the purpose of trying them."""

MOST_RUNS = 24
"""With more runs of one target than this it is a sweep: what they leave open, three more will not settle."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A race that is worth its cost: one batch size, one run for each rate, none dropped before the first is home."""

    batch_size: int
    learning_rates: tuple[float, ...]


def first_size(speed: Speed, examples: int) -> int:
    """The batch size of the first race: with the lowest expected log(time) before anything but the clock is known.

    The noise scale is as uncertain as before any run, the steps follow from it, the seconds per step are measured. At
    most a tenth of the examples, so that an epoch has steps to tell rates apart.

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
    """The race that takes most off the expected log(time to target) for its cost; None where none is worth its cost.

    For each draw of the posterior taken as the truth, a race finds the best of its three rates, if better than what is
    recommended now: the mean over the draws is what it is expected to bring. That counts the luck of a run for nothing,
    so it promises a little too much. What it must bring for its cost grows with what the runs have cost. Rates like
    those whose worth is known at that size are left out; one that was tried but dropped early moves up by a tenth, as
    the same run would end the same.

    Args:
        posterior: fitted to `runs`.
        speed: of the machine.
        runs: of one target, all that were made.
    """
    made = [run for run in runs if run.outcome is not Outcome.INTERRUPTED]
    if not posterior.reached or len(made) > MOST_RUNS:
        return None
    seconds = {size: step_seconds_at(speed, size).value for size in _sizes(speed)}
    rates = {size: recommended_rate(posterior, size) for size in seconds}
    costs = {size: log_costs(posterior, size, rates[size], seconds[size]) for size in seconds}
    now = min(costs.values(), key=lambda draws: float(draws.mean()))
    best_run = float(np.exp(np.median(now)))
    price = WORTH / ENOUGH * sum(_seconds_of(run, seconds) for run in made) / best_run

    def gain(proposal: Proposal) -> float:
        size = proposal.batch_size
        raced = [log_costs(posterior, size, rate, seconds[size]) for rate in proposal.learning_rates]
        brings = float((now - np.min([now, *raced], axis=0)).mean())
        patience = PATIENCE * np.median(posterior.steps(size, rates[size]))
        steps = sum(min(patience, np.median(posterior.steps(size, rate))) for rate in proposal.learning_rates)
        return brings - price * float(steps) * seconds[size] / best_run

    proposals = [proposal for size in seconds if (proposal := _race_at(size, rates[size], runs)) is not None]
    best = max(proposals, key=gain, default=None)
    return best if best is not None and gain(best) > 0 else None


def _seconds_of(run: Run, seconds: Mapping[int, float]) -> float:
    """By this clock, whose sizes may be others than those of a run that was made elsewhere: the nearest one counts."""
    return run.steps * seconds[min(seconds, key=lambda size: abs(size - run.batch_size))]


def _race_at(size: int, rate: float, runs: Sequence[Run]) -> Proposal | None:
    here = [run for run in runs if run.batch_size == size]
    fewest = min((run.crossing.step for run in here if run.crossing is not None), default=math.inf)
    judged = [run.learning_rate for run in here if run.outcome is Outcome.DIVERGED or run.steps >= fewest]
    tried = {run.learning_rate for run in here if run.outcome is not Outcome.INTERRUPTED}
    on_their_way = [run.learning_rate for run in here if run.outcome is Outcome.INTERRUPTED]

    def untried(wanted: float) -> float:
        return wanted if wanted not in tried else untried(two_digits(1.1 * wanted))

    def begun(wanted: float) -> float:
        """A rate as good, with which a run is on its way: one that went to an easier target goes on."""
        near = min(on_their_way, key=lambda other: abs(math.log(other / wanted)), default=wanted)
        return near if 1 / SAME < near / wanted < SAME else wanted

    wanted = [begun(two_digits(factor * rate)) for factor in FACTORS]
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
    """The answer from all that is known, or why there is none: also where the clock swings too far to rank sizes.

    Args:
        posterior: fitted to `runs`.
        speed: of the machine.
        runs: all that were made for this target.
        target, recipe, provenance: of the answer.
        current: the batch size in use today; there is a caution and no point where it is outside of the timed sizes.
        chosen: the batch size to recommend; the one with the lowest expected log(time) unless given.
        micro_batch_size: examples in one forward pass, where they are fewer than the batch.
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
        raise UserError("Not one batch size fits into memory: use a smaller model, or examples that are smaller.")
    return candidate_sizes(speed)
