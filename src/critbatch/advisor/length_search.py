"""The search for a learning rate that decays: runs of planned lengths, after a search at a constant rate.

At the best batch size by the law, three rates are tried at one planned length. If one of them reaches the target, the
next length is a factor 1.41 shorter, otherwise longer. Then the law is fitted to these runs, with the search at a
constant rate as its prior. If the best size has moved by more than a factor of two, the same follows there.
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

RATE_FACTORS = (0.5, 1.0, 2.0)  # of the recommended rate
MAX_RACED_SIZES = 3
MAX_LENGTHS = 10  # lengths tried at one size
MAX_RETRIES = 3  # longer plans that a check may try
SAME_SIZE_FACTOR = 2.0


class LengthSearch:
    """Finds batch size, peak rate and length of runs whose learning rate decays.

    Args:
        cache: Runs of the folder with this schedule, judged by the target.
        config: The question.
        context: Folder, device and deadline.
    """

    def __init__(self, cache: RunCache, config: AdviseConfig, context: RunContext) -> None:
        self.cache, self.config, self.context = cache, config, context
        self.interrupted = False
        self.runs_by_place: dict[Place, dict[int, Run]] = {}
        self._requested_sizes: list[int] = []
        self._constant: SearchResult | None = None

    def run(self, result: SearchResult, accuracy: Sequence[AccuracyCheck] = ()) -> SearchResult:
        """Make the runs that are worth their cost. `result` is that of the search at a constant rate.

        A second call with the same result makes no further runs.
        """
        self._constant, self.runs_by_place = result, {}
        posterior = with_decay(result.posterior)
        prior, raced_sizes = prior_from(posterior), list[int]()
        while not self.interrupted:
            clock = allowed(result.speed, self.config.objective, posterior, accuracy)
            size = best_size(posterior, clock)
            if len(raced_sizes) == MAX_RACED_SIZES or any(
                1 / SAME_SIZE_FACTOR <= size / other <= SAME_SIZE_FACTOR for other in raced_sizes
            ):
                break
            raced_sizes.append(size)
            self._race(size, posterior)
            posterior = fit(observations(self.runs_by_place), prior=prior, use_measured_noise=False)
            for offset in self.config.checks:
                if posterior.reached and not self.interrupted:
                    self._check(size, posterior, self.config.seed + offset)
                    posterior = fit(observations(self.runs_by_place), prior=prior, use_measured_noise=False)
        for size in self._requested_sizes:
            if posterior.reached and not self.interrupted and size not in raced_sizes:
                self._race(size, posterior)
                posterior = fit(observations(self.runs_by_place), prior=prior, use_measured_noise=False)
        runs = tuple(run for lengths in self.runs_by_place.values() for run in lengths.values())
        if not runs:
            return replace(result, runs=(), interrupted=True, posterior=replace(posterior, reached=0))
        return replace(result, posterior=posterior, runs=runs, interrupted=self.interrupted)

    def rerun(self, result: SearchResult, accuracy: Sequence[AccuracyCheck]) -> SearchResult:
        """Search again with all runs made so far."""
        assert self._constant is not None
        return self.run(replace(self._constant, interrupted=result.interrupted), accuracy)

    def race_at(self, result: SearchResult, size: int) -> SearchResult:
        """Also race at this batch size, which need not be the best."""
        self._requested_sizes.append(size)
        return self.rerun(result, ())

    def length_of(self, result: SearchResult, accuracy: Sequence[AccuracyCheck]) -> float | None:
        """Epochs to plan at the recommended batch size, so that the checks with all seeds reach the target.

        A check that missed the target needs the next longer plan. Without checks at this size, it is the length that
        is enough for four of five runs by the law. None if there is no answer.
        """
        posterior = result.posterior
        if not posterior.reached:
            return None
        size = best_size(posterior, allowed(result.speed, self.config.objective, posterior, accuracy))
        checked = [
            runs_by_length
            for (other, _, seed), runs_by_length in self.runs_by_place.items()
            if other == size and seed != self.config.seed
        ]
        lengths = [shortest(runs_by_length) or rung_near(max(runs_by_length) * RUNG) for runs_by_length in checked]
        expected = float(np.quantile(posterior.next_run(size, recommended_rate(posterior, size)), 0.8))
        return self._epochs(max(lengths, default=rung_near(expected)), size)

    def _race(self, size: int, posterior: Posterior) -> None:
        rate = recommended_rate(posterior, size)
        live = [two_digits(factor * rate) for factor in RATE_FACTORS]
        steps = rung_near(float(np.median(posterior.next_run(size, rate))))
        too_short = reached_steps = 0
        for _ in range(MAX_LENGTHS):
            runs = {rate: self._run(size, rate, steps, self.config.seed) for rate in live if not self.interrupted}
            if self.interrupted:
                return
            if reached_rates := [rate for rate, run in runs.items() if run.crossing is not None]:
                live, reached_steps = reached_rates, steps
            else:
                too_short = max(too_short, steps)
                live = [rate for rate in live if runs[rate].outcome is not Outcome.DIVERGED] or [
                    two_digits(min(live) / 2)
                ]
            if (reached_steps and too_short) or (reached_steps and self._is_shortest(steps, size)):
                break
            steps = rung_near(steps / RUNG if reached_steps else steps * RUNG)

    def _check(self, size: int, posterior: Posterior, seed: int) -> None:
        """Run the recommended rate with another seed, with a longer plan if it misses the target."""
        rate = recommended_rate(posterior, size)
        steps = rung_near(float(np.median(posterior.next_run(size, rate))))
        for _ in range(MAX_RETRIES):
            if self.interrupted or self._run(size, rate, steps, seed).crossing is not None:
                return
            steps = rung_near(steps * RUNG)

    def _is_shortest(self, steps: int, size: int) -> bool:
        return steps == 1 or self._epochs(rung_near(steps / RUNG), size) == self._epochs(steps, size)

    def _epochs(self, steps: int, size: int) -> float:
        return max(epochs_of_steps(steps, size, self.config.task.examples), self.config.least_epochs)

    def _run(self, size: int, rate: float, steps: int, seed: int) -> Run:
        cache = self.cache
        key = cache.key(size, rate, seed, epochs=self._epochs(steps, size))
        run = cache.find(key)
        if run is None:
            self.context.progress.update(
                stage=f"{self.config.task.name}: runs of planned lengths", trying=str(key), part=0.0
            )
            training = cache.start_run(key, 0)
            self.interrupted = training.advance(pause_at=self.context.deadline) is Outcome.INTERRUPTED
            if self.interrupted:
                return training.record()
            run = cache.keep(key, training)
        self.runs_by_place.setdefault((size, rate, seed), {})[steps] = run
        return run
