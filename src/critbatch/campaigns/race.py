"""A race over learning rates at one batch size, by successive halving: most steps go to the rates that do well."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from critbatch.budget import Budget
from critbatch.campaigns.store import Store
from critbatch.campaigns.terms import Key
from critbatch.predict.choice import two_digits
from critbatch.predict.time_to_target import Posterior
from critbatch.records import Outcome, Quantity, Run, Target
from critbatch.training import Training

# Early on the largest rates lead that will not last: nobody is dropped before the leader has come this part of the way.
PART_OF_THE_WAY = 0.5
FEWEST_STEPS = 32
# When the first comes to the target, those still in the race may take so many times its steps.
PATIENCE = 1.5
# In a race that drops nobody: over the steps that nine of ten runs at the best of its rates are expected to take.
OVERTIME = 3.0
STAGE = "race"
# A survivor that is most of the way and closes hardly any of the rest while its steps double is stuck: its rate
# is too large: one of half the rate takes its place, as it does when all have diverged; so often at the most.
STUCK_FROM, CLOSES = 0.75, 0.2
REPLACEMENTS = 3

Start = Callable[[Key, Path, int], Training]
Score = tuple[float, float]


class Race:
    """Runs of one batch size and seed at several learning rates, advanced in turn.

    Jamieson and Talwalkar 2016, arXiv:1502.07943: at each rung, twice as many steps as the one before, the better half
    goes on. The one that comes to the target first ends the race, after some patience with those that are still in it.
    Every run becomes a record in the store as soon as it is over, also one that was dropped, whose steps are a bound.

    Args:
        store: keeps the runs; those that it has already are not made again.
        start: begins the run of a key, or goes on with it from the checkpoint; the last argument is `noise_every`.
        target: what the race is to.
        pause_at: a value of `time.monotonic()` at which the race stops, to go on another time.
        tell: called with each key before it is advanced.
    """

    def __init__(
        self,
        store: Store,
        start: Start,
        *,
        target: Target,
        pause_at: float | None,
        tell: Callable[[Key], None],
    ) -> None:
        self.store, self.start, self.target = store, start, target
        self.pause_at, self.tell = pause_at, tell
        self.interrupted = False
        self._over: dict[Key, Run] = {}
        self._live: dict[Key, Training] = {}
        self._noise_every = 0

    def run(self, batch_size: int, rates: Sequence[float], *, seed: int, noise_every: int = 0) -> list[Run]:
        """Race these rates by successive halving, and return all the runs, those that were dropped too.

        `interrupted` is then True if it was stopped half way: the runs that were in the race have ended early.
        The noise scale is measured at every `noise_every`-th step, which then takes longer.
        """
        self._begin(batch_size, rates, seed=seed, noise_every=noise_every)
        steps, places, replacements = FEWEST_STEPS, len(rates), 0
        while not self.interrupted:
            if not self._live:
                if replacements == REPLACEMENTS or not self._more_rates_may_help():
                    break
                replacements += 1
                self._enter_half_of(list(self._over)[-1])
                continue
            before = {key: self._part(key) for key in self._live}
            if self._advance(steps) or self.interrupted:
                break
            if self._on_the_way():
                places = math.ceil(places / 2)
                self._drop_all_but(places)
            if replacements < REPLACEMENTS and (stuck := self._stuck(before)):
                replacements += 1
                self._drop_all_but(0)
                self._enter_half_of(stuck)
            else:
                steps *= 2
        return self._runs()

    def run_all(self, batch_size: int, rates: Sequence[float], posterior: Posterior, *, seed: int) -> list[Run]:
        """Run these rates until the first comes to the target; none is dropped before.

        They end where no run of a rate as good as these are thought to be should still be on its way.
        """
        self._begin(batch_size, rates, seed=seed)
        expected = min(float(np.quantile(posterior.next_run(batch_size, rate), 0.9)) for rate in rates)
        steps, last = FEWEST_STEPS, math.ceil(OVERTIME * expected)
        while self._live and not self.interrupted and not self._advance(min(steps, last)):
            if steps >= last:
                self._drop_all_but(0)
            steps *= 2
        return self._runs()

    def _begin(self, batch_size: int, rates: Sequence[float], *, seed: int, noise_every: int = 0) -> None:
        self._over, self._live, self._noise_every = {}, {}, noise_every
        for rate in rates:
            self._enter(Key(batch_size=batch_size, learning_rate=rate, seed=seed, stage=STAGE))

    def _runs(self) -> list[Run]:
        return [*self._over.values(), *(training.record() for training in self._live.values())]

    def _enter(self, key: Key) -> None:
        if (run := self.store.find(key)) is not None:
            self._over[key] = run
        else:
            self._live[key] = self.start(key, self.store.checkpoint(key), self._noise_every)

    def _enter_half_of(self, key: Key) -> None:
        self._enter(replace(key, learning_rate=two_digits(key.learning_rate / 2)))

    def _more_rates_may_help(self) -> bool:
        return not any(run.outcome in (Outcome.REACHED, Outcome.OUT_OF_MEMORY) for run in self._over.values())

    def _advance(self, steps: int) -> bool:
        """Each run that is in the race, to so many steps. True if one has come to the target: then the race is over."""
        for key, training in list(self._live.items()):
            self.tell(key)
            if not self._advance_one(key, training, steps):
                return False
        reached = [run.steps for run in self._over.values() if run.outcome is Outcome.REACHED]
        if not reached:
            return False
        for key, training in list(self._live.items()):
            if not self._advance_one(key, training, math.ceil(PATIENCE * min(reached))):
                return False
        self._drop_all_but(0)
        return True

    def _advance_one(self, key: Key, training: Training, steps: int) -> bool:
        outcome = training.advance(Budget(steps=steps), pause_at=self.pause_at)
        if outcome is Outcome.INTERRUPTED:
            self.interrupted = True
            for other in self._live.values():
                other.save()
        elif outcome is not None:
            self._keep(key)
        return not self.interrupted

    def _on_the_way(self) -> bool:
        return any(self._part(key) >= PART_OF_THE_WAY for key in self._live)

    def _drop_all_but(self, places: int) -> None:
        if not self.interrupted:
            ranked = sorted(self._live, key=lambda key: _score(self._live[key].record(), self.target))
            for key in ranked[places:]:
                self._keep(key)

    def _keep(self, key: Key) -> None:
        training = self._live.pop(key)
        self._over[key] = self.store.run(key, lambda path: training.record())
        self.store.checkpoint(key).unlink(missing_ok=True)

    def _stuck(self, before: dict[Key, float]) -> Key | None:
        """The one survivor, if twice the steps brought it hardly any closer."""
        if len(self._live) != 1:
            return None
        (key,) = self._live
        then, now = before[key], self._part(key)
        return key if then >= STUCK_FROM and now - then < CLOSES * (1 - then) else None

    def _part(self, key: Key) -> float:
        return part_of_the_way(self._live[key].record(), self.target)


def part_of_the_way(run: Run, target: Target) -> float:
    """How far a run has come: 0 at its first evaluation, 1 at the target, in the logarithm of the loss or of the error.

    The error is 1 minus the metric, where that is a share; any other metric counts as it is.
    """
    if len(run.curve) < 2:
        return 0.0
    if target.quantity is Quantity.VALIDATION_LOSS:
        values = [point.validation_loss for point in run.curve]
        first, best, goal = values[0], min(values), target.value
    else:
        values = [point.validation_metric for point in run.curve]
        first, best, goal = values[0], max(values), target.value
        if 0 <= first <= 1 and 0 <= best <= 1 and goal < 1:
            first, best, goal = 1 - first, 1 - best, 1 - goal
    if min(first, best, goal) > 0:
        first, best, goal = math.log(first), math.log(best), math.log(goal)
    return (first - best) / (first - goal) if first != goal else 1.0


def _score(run: Run, target: Target) -> Score:
    """Smaller is better: the best so far of what the target is set on, then the lowest validation loss."""
    losses = [point.validation_loss for point in run.curve] or [math.inf]
    if target.quantity is Quantity.VALIDATION_LOSS:
        return min(losses), 0.0
    return -max((point.validation_metric for point in run.curve), default=-math.inf), min(losses)
