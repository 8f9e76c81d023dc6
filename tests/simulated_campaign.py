"""The whole search in a simulated world: time the steps, race, fit, race where that is worth it, answer."""

from __future__ import annotations

import math
from dataclasses import dataclass

from critbatch.law.acquisition import Proposal, advise_record, first_rates, first_size, next_races
from critbatch.law.model import Prior
from critbatch.law.posterior import fit
from critbatch.records.core import Advice, Outcome, Run
from simulated_world import FIRST_LOSS, PROVENANCE, TARGET, World

DRAWS = 256


@dataclass(frozen=True)
class Campaign:
    """What the policy answered, and what that is worth in truth."""

    world: World
    advice: Advice
    proposals: tuple[Proposal, ...]  # of races after the first

    @property
    def regret(self) -> float:
        """Time at the recommendation over the best that is possible."""
        assert self.advice.best is not None
        best = self.advice.best
        return self.world.time(best.batch_size, best.learning_rate.value) / self.world.best_time()

    @property
    def cost(self) -> float:
        """Seconds of all its runs over the best that is possible."""
        return sum(run.seconds for run in self.advice.runs) / self.world.best_time()

    @property
    def covers(self) -> bool:
        """Whether a fresh run at the recommendation falls into the interval that was stated."""
        assert self.advice.best is not None
        best = self.advice.best
        run = self.world.run(best.batch_size, best.learning_rate.value, steps=10**9, seed=99)
        seconds = best.seconds
        assert seconds.low is not None and seconds.high is not None
        return run.crossing is not None and seconds.low < run.crossing.seconds < seconds.high


def campaign(world: World, *, prior: Prior | None = None, local_races: bool = True) -> Campaign:
    speed = world.speed()
    runs = race(world, first_size(speed, world.examples), first_rates(world.recipe), seed=0)
    proposals: tuple[Proposal, ...] = ()
    while local_races and (proposal := next_races(fit(runs, prior=prior, draws=DRAWS), speed, runs)) is not None:
        proposals += (proposal,)
        runs += race(world, proposal.batch_size, proposal.learning_rates, seed=len(proposals), halving=False)
    posterior = fit(runs, prior=prior, draws=DRAWS)
    advice = advise_record(
        posterior, speed, runs, target=TARGET, recipe=world.recipe, provenance=PROVENANCE, current=64
    )
    return Campaign(world, advice, proposals)


def race(world: World, size: int, rates: tuple[float, ...], *, seed: int, halving: bool = True) -> list[Run]:
    """Successive halving, once the leader has come a quarter of the way; the first at the target ends it.

    Where the last one left stalls or diverges, half of its rate joins.
    """
    runs: dict[float, Run] = {}
    live, steps, joined = list(rates), 32, 0
    while True:
        before, smallest = dict(runs), min(live)
        runs |= {rate: world.run(size, rate, steps=steps, seed=seed) for rate in live}
        came = [run.steps for run in runs.values() if run.outcome is Outcome.REACHED]
        if came:
            last = math.ceil(1.5 * min(came))
            return list((runs | {rate: world.run(size, rate, steps=last, seed=seed) for rate in live}).values())
        live = sorted(
            (rate for rate in live if runs[rate].outcome is Outcome.FINISHED), key=lambda rate: loss(runs[rate])
        )
        if halving and live and math.log(FIRST_LOSS / loss(runs[live[0]])) > math.log(FIRST_LOSS / TARGET.value) / 4:
            live = live[: math.ceil(len(live) / 2)]
        if not live or (len(live) == 1 and live[0] in before and loss(runs[live[0]]) > 0.97 * loss(before[live[0]])):
            if joined == 4:
                return list(runs.values())
            joined += 1
            live = [smallest / 2]
        elif steps > 10**7:
            return list(runs.values())
        else:
            steps *= 2


def loss(run: Run) -> float:
    return run.curve[-1].validation_loss
