"""The search where the learning rate decays: runs of planned lengths, after a search at a constant rate.

At the batch size that the law makes best, three rates are tried at one planned length, a factor 1.41 shorter as long as
one of them comes to the target, or longer until one does. Then the law is fitted to these runs, with the search at a
constant rate as its prior, and if the best size has moved by more than a factor two, the same is done there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from critbatch.advisor.config import AdviseConfig, RunContext
from critbatch.advisor.rate_search import SearchResult
from critbatch.advisor.run_cache import RunCache
from critbatch.law.objective import allowed, best_size, recommended_rate, two_digits
from critbatch.law.posterior import Posterior, fit
from critbatch.law.schedule_length import RUNG, Place, observations, prior_from, rung_near, shortest, with_decay
from critbatch.records.core import AccuracyCheck, Outcome, Run
from critbatch.studies.spec import epochs_of_steps

FACTORS = (0.5, 1.0, 2.0)  # of the recommended rate
SIZES = 3  # at the most
ROUNDS = 10  # of lengths, at one size
LONGER = 3  # rungs by which a check may need more than the run that it checks
SAME_SIZE = 2.0


class LengthSearch:
    """Finds batch size, peak rate and length of runs whose rate decays over them.

    Args:
        known: the runs of the folder with this schedule, judged by the target.
        config: the question.
        context: where and until when it is answered.
    """

    def __init__(self, known: RunCache, config: AdviseConfig, context: RunContext) -> None:
        self.known, self.config, self.context = known, config, context
        self.interrupted = False
        self.made: dict[Place, dict[int, Run]] = {}
        self._asked_for: list[int] = []
        self._constant: SearchResult | None = None

    def run(self, found: SearchResult, accuracy: Sequence[AccuracyCheck] = ()) -> SearchResult:
        """Make the runs that are worth it; `found` is the search at a constant rate. Asked again it does the same."""
        self._constant, self.made = found, {}
        posterior = with_decay(found.posterior)
        prior, raced = prior_from(posterior), list[int]()
        while not self.interrupted:
            clock = allowed(found.speed, self.config.objective, posterior, accuracy)
            size = best_size(posterior, clock)
            if len(raced) == SIZES or any(1 / SAME_SIZE <= size / other <= SAME_SIZE for other in raced):
                break
            raced.append(size)
            self._race(size, posterior)
            posterior = fit(observations(self.made), prior=prior, use_measured_noise=False)
            for more in self.config.checks:
                if posterior.reached and not self.interrupted:
                    self._check(size, posterior, self.config.seed + more)
                    posterior = fit(observations(self.made), prior=prior, use_measured_noise=False)
        for size in self._asked_for:
            if posterior.reached and not self.interrupted and size not in raced:
                self._race(size, posterior)
                posterior = fit(observations(self.made), prior=prior, use_measured_noise=False)
        runs = tuple(run for lengths in self.made.values() for run in lengths.values())
        if not runs:
            return replace(found, runs=(), interrupted=True, posterior=replace(posterior, reached=0))
        return replace(found, posterior=posterior, runs=runs, interrupted=self.interrupted)

    def again(self, found: SearchResult, accuracy: Sequence[AccuracyCheck]) -> SearchResult:
        """With what is known by now."""
        assert self._constant is not None
        return self.run(replace(self._constant, interrupted=found.interrupted), accuracy)

    def race_at(self, found: SearchResult, size: int) -> SearchResult:
        """Also at this batch size, which need not be the best."""
        self._asked_for.append(size)
        return self.again(found, ())

    def length_of(self, found: SearchResult, accuracy: Sequence[AccuracyCheck]) -> float | None:
        """Epochs to plan at the recommended batch size: with which the checks of all seeds came to the target there.

        A check that missed needs more than it had. Where none was made there, as many as four of five runs need by the
        law. None where there is no answer.
        """
        posterior = found.posterior
        if not posterior.reached:
            return None
        size = best_size(posterior, allowed(found.speed, self.config.objective, posterior, accuracy))
        checked = [made for (other, _, seed), made in self.made.items() if other == size and seed != self.config.seed]
        lengths = [shortest(made) or rung_near(max(made) * RUNG) for made in checked]
        expected = float(np.quantile(posterior.next_run(size, recommended_rate(posterior, size)), 0.8))
        return self._epochs(max(lengths, default=rung_near(expected)), size)

    def _race(self, size: int, posterior: Posterior) -> None:
        rate = recommended_rate(posterior, size)
        live = [two_digits(factor * rate) for factor in FACTORS]
        steps = rung_near(float(np.median(posterior.next_run(size, rate))))
        too_short = came_at = 0
        for _ in range(ROUNDS):
            runs = {rate: self._make(size, rate, steps, self.config.seed) for rate in live if not self.interrupted}
            if self.interrupted:
                return
            if came := [rate for rate, run in runs.items() if run.crossing is not None]:
                live, came_at = came, steps
            else:
                too_short = max(too_short, steps)
                live = [rate for rate in live if runs[rate].outcome is not Outcome.DIVERGED] or [
                    two_digits(min(live) / 2)
                ]
            if (came_at and too_short) or (came_at and self._is_shortest(steps, size)):
                break
            steps = rung_near(steps / RUNG if came_at else steps * RUNG)

    def _check(self, size: int, posterior: Posterior, seed: int) -> None:
        """The recommended rate with another seed, with a longer plan where that one needs it."""
        rate = recommended_rate(posterior, size)
        steps = rung_near(float(np.median(posterior.next_run(size, rate))))
        for _ in range(LONGER):
            if self.interrupted or self._make(size, rate, steps, seed).crossing is not None:
                return
            steps = rung_near(steps * RUNG)

    def _is_shortest(self, steps: int, size: int) -> bool:
        return steps == 1 or self._epochs(rung_near(steps / RUNG), size) == self._epochs(steps, size)

    def _epochs(self, steps: int, size: int) -> float:
        return max(epochs_of_steps(steps, size, self.config.task.examples), self.config.least_epochs)

    def _make(self, size: int, rate: float, steps: int, seed: int) -> Run:
        known = self.known
        key = known.key(size, rate, seed, epochs=self._epochs(steps, size))
        run = known.find(key)
        if run is None:
            self.context.progress.update(
                stage=f"{self.config.task.name}: runs of planned lengths", trying=str(key), part=0.0
            )
            training = known.enter(key, 0)
            self.interrupted = training.advance(pause_at=self.context.deadline) is Outcome.INTERRUPTED
            if self.interrupted:
                return training.record()
            run = known.keep(key, training)
        self.made.setdefault((size, rate, seed), {})[steps] = run
        return run
