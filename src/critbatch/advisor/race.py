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

# Early in a race, rates that are too large often lead. No run is dropped before the leader's progress is this large.
MIN_PROGRESS_TO_DROP = 0.5
FEWEST_STEPS = 16
# The runs advance in turn by this factor in steps, so that none is far ahead when the first reaches the target. After
# each rung the better half goes on.
STRIDE = 1.42
# Step limit of a race that drops no run, relative to the steps that nine of ten runs at its best rate should need.
STEP_LIMIT_FACTOR = 3.0
# A last run is stuck if its progress is above the first number, and doubling its steps closes less than the second
# share of the rest. Its rate is then too large: half the rate replaces it, as it does if all runs have diverged.
STUCK_PROGRESS, MIN_CLOSED_SHARE = 0.75, 0.2
MAX_REPLACEMENTS = 3

Score = tuple[float, float]


class Race:
    """Runs of one batch size and seed at several learning rates, advanced in turn.

    Jamieson and Talwalkar 2016, arXiv:1502.07943: at each rung, `STRIDE` times the steps of the one before, the better
    half goes on. The first run to reach the target ends the race, once the others have had a few more steps. Every run
    becomes a record in the store as soon as it is over. A dropped run is a record too: its steps are a lower bound.

    Args:
        cache: Keeps the runs, and has those that need not be made again. The race is to its target.
        pause_at: Value of `time.monotonic()` at which the race pauses. A later call resumes it.
        report_progress: Called with each key before its run advances.
    """

    def __init__(
        self,
        cache: RunCache,
        *,
        pause_at: float | None,
        report_progress: Callable[[RunKey], None],
    ) -> None:
        self.cache, self.target = cache, cache.target
        self.pause_at, self.report_progress = pause_at, report_progress
        self.interrupted = False
        self._over: dict[RunKey, Run] = {}
        self._live: dict[RunKey, Training] = {}
        self._noise_every = 0
        self._rung = self._at = 0

    def run(self, batch_size: int, rates: Sequence[float], *, seed: int, noise_every: int = 0) -> list[Run]:
        """Race these rates by successive halving, and return all runs, including those that were dropped.

        `interrupted` is True afterwards if the race was paused: the runs that were still in it have ended early.
        The noise scale is measured at every `noise_every`-th step, which takes longer.
        """
        self._begin(batch_size, rates, seed=seed, noise_every=noise_every)
        steps, places, replacements = FEWEST_STEPS, len(rates), 0
        while not self.interrupted:
            if not self._live:
                if replacements == MAX_REPLACEMENTS or not self._more_rates_may_help():
                    break
                replacements += 1
                self._enter_half_rate(max(self._over, key=self._survival))
                continue
            before = {key: self._progress(key) for key in self._live}
            self._rung = steps
            if self._advance(steps) or self.interrupted:
                break
            if self._may_drop():
                places = math.ceil(places / 2)
                self._drop_all_but(places)
            if replacements < MAX_REPLACEMENTS and (stuck := self._stuck(before)):
                replacements += 1
                self._drop_all_but(0)
                self._enter_half_rate(stuck)
            else:
                steps = 2 * steps if len(self._live) == 1 else math.ceil(STRIDE * steps)
        return self._runs()

    def run_until_first_success(self, batch_size: int, rates: Sequence[float], *, last: int, seed: int) -> list[Run]:
        """Run these rates until the first reaches the target. None is dropped earlier or exceeds `last` steps."""
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
            self._enter(self.cache.key(batch_size, rate, seed))

    def live_runs(self) -> list[Run]:
        """Runs that are still in the race, as they are now; empty unless it was interrupted."""
        return [replace(training.record(), outcome=Outcome.INTERRUPTED) for training in self._live.values()]

    def _runs(self) -> list[Run]:
        return [*self._over.values(), *self.live_runs()]

    def _enter(self, key: RunKey) -> None:
        if (run := self.cache.find(key)) is not None:
            self._over[key] = run
        else:
            self._live[key] = self.cache.start_run(key, self._noise_every)
            self._at = 0

    def _enter_half_rate(self, key: RunKey) -> None:
        self._enter(self.cache.key(key.batch_size, two_digits(key.learning_rate / 2), key.seed))

    def _survival(self, key: RunKey) -> tuple[int, float]:
        return self._over[key].steps, -key.learning_rate

    def _more_rates_may_help(self) -> bool:
        return not any(run.outcome in (Outcome.REACHED, Outcome.OUT_OF_MEMORY) for run in self._over.values())

    def _advance(self, steps: int) -> bool:
        """Advance each run in the race to this step. True if one has reached the target, which ends the race."""
        while self._at < steps and not self.interrupted:
            self._at = min(steps, max(FEWEST_STEPS, math.ceil(STRIDE * self._at)))
            if self._stride(self._at):
                return True
        return False

    def _stride(self, steps: int) -> bool:
        for key, training in list(self._live.items()):
            self.report_progress(key)
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

    def _may_drop(self) -> bool:
        return any(self._progress(key) >= MIN_PROGRESS_TO_DROP for key in self._live)

    def _drop_all_but(self, places: int) -> None:
        if not self.interrupted:
            ranked = sorted(self._live, key=lambda key: _score(self._run_at_rung(key), self.target))
            for key in ranked[places:]:
                self._keep(key)

    def _keep(self, key: RunKey) -> None:
        training = self._live.pop(key)
        self._over[key] = self.cache.keep(key, training)

    def _stuck(self, before: dict[RunKey, float]) -> RunKey | None:
        """The last run in the race, if doubling its steps made hardly any progress."""
        if len(self._live) != 1:
            return None
        (key,) = self._live
        then, now = before[key], self._progress(key)
        return key if then >= STUCK_PROGRESS and now - then < MIN_CLOSED_SHARE * (1 - then) else None

    def _progress(self, key: RunKey) -> float:
        return progress_to_target(self._run_at_rung(key), self.target)

    def _run_at_rung(self, key: RunKey) -> Run:
        """The run up to this rung. One that another target had taken further is compared by its first part alone."""
        return truncate(self._live[key].record(), self._rung)


def last_steps(posterior: Posterior, batch_size: int, rates: Sequence[float]) -> int:
    """Step limit of a race at these rates: a run at a good rate has reached the target well before it."""
    expected = min(float(np.quantile(posterior.next_run(batch_size, rate), 0.9)) for rate in rates)
    return math.ceil(STEP_LIMIT_FACTOR * expected)


def _score(run: Run, target: Target) -> Score:
    """Sort key of a run, smaller is better: its best value of the target's quantity, then its lowest loss."""
    losses = [point.validation_loss for point in run.curve] or [math.inf]
    if target.quantity is Quantity.VALIDATION_LOSS:
        return min(losses), 0.0
    return -max((point.validation_metric for point in run.curve), default=-math.inf), min(losses)
