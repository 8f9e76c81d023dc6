"""A race over learning rates at one batch size, by successive halving: most steps go to the rates that do well."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from critbatch.advisor.run_cache import RunCache
from critbatch.law.acquisition import PATIENCE
from critbatch.law.objective import two_digits
from critbatch.law.posterior import Posterior
from critbatch.law.target_progress import progress_to_target, truncate
from critbatch.records.core import Outcome, Quantity, Run, Target
from critbatch.studies.run_key import RunKey
from critbatch.training.state import Budget
from critbatch.training.trainer import Training

# Early on the largest rates lead that will not last: nobody is dropped before the leader has come this part of the way.
PART_OF_THE_WAY = 0.5
FEWEST_STEPS = 16
# All go by strides of this factor in steps, so that nobody is far ahead when the first comes to the target. After each
# the better half goes on.
STRIDE = 1.42
# In a race that drops nobody: over the steps that nine of ten runs at the best of its rates are expected to take.
OVERTIME = 3.0
# A survivor that is most of the way and closes hardly any of the rest while its steps double is stuck: its rate
# is too large: one of half the rate takes its place, as it does when all have diverged; so often at the most.
STUCK_FROM, CLOSES = 0.75, 0.2
REPLACEMENTS = 3

Score = tuple[float, float]


class Race:
    """Runs of one batch size and seed at several learning rates, advanced in turn.

    Jamieson and Talwalkar 2016, arXiv:1502.07943: at each rung, `STRIDE` times the steps of the one before, the better
    half goes on. The one that comes to the target first ends the race, after some patience with those that are still in
    it. Every run becomes a record in the store as soon as it is over, also one that was dropped, whose steps are a
    bound.

    Args:
        known: keeps the runs; those that it has already are not made again. Its target is what the race is to.
        pause_at: a value of `time.monotonic()` at which the race stops, to go on another time.
        tell: called with each key before it is advanced.
    """

    def __init__(
        self,
        known: RunCache,
        *,
        pause_at: float | None,
        tell: Callable[[RunKey], None],
    ) -> None:
        self.known, self.target = known, known.target
        self.pause_at, self.tell = pause_at, tell
        self.interrupted = False
        self._over: dict[RunKey, Run] = {}
        self._live: dict[RunKey, Training] = {}
        self._noise_every = 0
        self._rung = self._at = 0

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
                self._enter_half_of(max(self._over, key=self._lasted))
                continue
            before = {key: self._part(key) for key in self._live}
            self._rung = steps
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
                steps = 2 * steps if len(self._live) == 1 else math.ceil(STRIDE * steps)
        return self._runs()

    def run_all(self, batch_size: int, rates: Sequence[float], *, last: int, seed: int) -> list[Run]:
        """Run these rates until the first comes to the target; none is dropped before, and none goes beyond `last`."""
        self._begin(batch_size, rates, seed=seed)
        steps = FEWEST_STEPS
        while self._live and not self.interrupted and not self._advance(min(steps, last)):
            if steps >= last:
                self._drop_all_but(0)
            steps *= 2
        return self._runs()

    def _begin(self, batch_size: int, rates: Sequence[float], *, seed: int, noise_every: int = 0) -> None:
        self._over, self._live, self._noise_every, self._rung, self._at = {}, {}, noise_every, 0, 0
        for rate in rates:
            self._enter(self.known.key(batch_size, rate, seed))

    def live_runs(self) -> list[Run]:
        """Those that are in the race, as they are now: none but where it was interrupted."""
        return [replace(training.record(), outcome=Outcome.INTERRUPTED) for training in self._live.values()]

    def _runs(self) -> list[Run]:
        return [*self._over.values(), *self.live_runs()]

    def _enter(self, key: RunKey) -> None:
        if (run := self.known.find(key)) is not None:
            self._over[key] = run
        else:
            self._live[key] = self.known.enter(key, self._noise_every)
            self._at = 0

    def _enter_half_of(self, key: RunKey) -> None:
        self._enter(self.known.key(key.batch_size, two_digits(key.learning_rate / 2), key.seed))

    def _lasted(self, key: RunKey) -> tuple[int, float]:
        return self._over[key].steps, -key.learning_rate

    def _more_rates_may_help(self) -> bool:
        return not any(run.outcome in (Outcome.REACHED, Outcome.OUT_OF_MEMORY) for run in self._over.values())

    def _advance(self, steps: int) -> bool:
        """Each run that is in the race, to so many steps. True if one has come to the target: then the race is over."""
        while self._at < steps and not self.interrupted:
            self._at = min(steps, max(FEWEST_STEPS, math.ceil(STRIDE * self._at)))
            if self._stride(self._at):
                return True
        return False

    def _stride(self, steps: int) -> bool:
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

    def _advance_one(self, key: RunKey, training: Training, steps: int) -> bool:
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
            ranked = sorted(self._live, key=lambda key: _score(self._seen(key), self.target))
            for key in ranked[places:]:
                self._keep(key)

    def _keep(self, key: RunKey) -> None:
        training = self._live.pop(key)
        self._over[key] = self.known.keep(key, training)

    def _stuck(self, before: dict[RunKey, float]) -> RunKey | None:
        """The one survivor, if twice the steps brought it hardly any closer."""
        if len(self._live) != 1:
            return None
        (key,) = self._live
        then, now = before[key], self._part(key)
        return key if then >= STUCK_FROM and now - then < CLOSES * (1 - then) else None

    def _part(self, key: RunKey) -> float:
        return progress_to_target(self._seen(key), self.target)

    def _seen(self, key: RunKey) -> Run:
        """As it is at this rung: one that another target had brought further is not compared by what came later."""
        return truncate(self._live[key].record(), self._rung)


def last_steps(posterior: Posterior, batch_size: int, rates: Sequence[float]) -> int:
    """Where no run of a rate as good as these are thought to be should still be on its way."""
    expected = min(float(np.quantile(posterior.next_run(batch_size, rate), 0.9)) for rate in rates)
    return math.ceil(OVERTIME * expected)


def _score(run: Run, target: Target) -> Score:
    """Smaller is better: the best so far of what the target is set on, then the lowest validation loss."""
    losses = [point.validation_loss for point in run.curve] or [math.inf]
    if target.quantity is Quantity.VALIDATION_LOSS:
        return min(losses), 0.0
    return -max((point.validation_metric for point in run.curve), default=-math.inf), min(losses)
