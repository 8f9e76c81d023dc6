"""Runs beyond the target: does the recommended batch size end at a worse metric than a small one?"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from critbatch.advisor.config import AdviseConfig, RunContext
from critbatch.advisor.rate_search import SearchResult
from critbatch.advisor.run_cache import RunCache
from critbatch.law.noninferiority import compared
from critbatch.law.objective import allowed, best_size, candidate_sizes, recommended_rate
from critbatch.law.step_time import step_seconds_at
from critbatch.records.core import AccuracyCheck, Outcome, Run
from critbatch.studies.spec import epochs_of_steps

SEEDS = (3, 5)  # pairs of runs; the second number where the first leaves the comparison undecided
LENGTH_FACTOR = 2.0  # length of a run, relative to the longer of both times to target
SMALL_SIZE = 32


class SupportsSearch(Protocol):
    """A search that can race at another size and search again."""

    def rerun(self, result: SearchResult, accuracy: Sequence[AccuracyCheck]) -> SearchResult: ...

    def race_at(self, result: SearchResult, size: int) -> SearchResult: ...


class AccuracyRuns:
    """Compares the recommended batch size with a small one, and recommends smaller ones until the metric is as good.

    Both train for the same predicted time: twice the time to target of the slower one. A learning rate that decays
    does so over that time.

    Args:
        cache: Runs of the folder.
        search: Makes the races that the small size and a smaller recommendation need.
        config: The question. The current batch size is the small one, if it is below the recommended one.
        context: Folder, device and deadline.
    """

    def __init__(self, cache: RunCache, search: SupportsSearch, config: AdviseConfig, context: RunContext) -> None:
        self.cache, self.search, self.config, self.context = cache, search, config, context

    def run(self, result: SearchResult) -> tuple[SearchResult, tuple[AccuracyCheck, ...]]:
        """Return the search result after the checks, and the checks. The last check is the one of the answer."""
        checks: list[AccuracyCheck] = []
        while result.posterior.reached and not result.interrupted:
            clock = allowed(result.speed, self.config.objective, result.posterior, checks)
            size = best_size(result.posterior, clock)
            small = self._small(size, candidate_sizes(clock))
            if small >= size or any(check.batch_size == size for check in checks):
                break
            # Tune the small batch's rate too: any batch size looks good against a badly tuned one.
            result = self.search.race_at(result, small)
            check = self._check(result, size, small) if not result.interrupted else None
            if check is None:
                return replace(result, interrupted=True), tuple(checks)
            checks.append(check)
            # Search again: the new runs inform the law, and a failed check excludes this size.
            result = self.search.rerun(result, checks)
        return result, tuple(checks)

    def _small(self, size: int, sizes: Sequence[int]) -> int:
        if self.config.current_batch_size is not None and self.config.current_batch_size < size:
            return self.config.current_batch_size
        return max(min(sizes), min(SMALL_SIZE, size // 4))

    def _check(self, result: SearchResult, size: int, small: int) -> AccuracyCheck | None:
        seconds, rate, small_rate = self._shared_plan(result, size, small)
        margin = self.config.objective.accuracy_margin
        assert margin is not None
        large_runs: list[Run] = []
        small_runs: list[Run] = []
        check = None
        for count in SEEDS:
            for seed in range(self.config.seed + len(large_runs), self.config.seed + count):
                for batch_size, with_rate, runs in ((size, rate, large_runs), (small, small_rate, small_runs)):
                    run = self._run(result, batch_size, with_rate, seed, seconds)
                    if run.outcome is Outcome.INTERRUPTED:
                        return None
                    runs.append(run)
            check = compared(large_runs, small_runs, margin=margin, train_seconds=seconds)
            if check.falls is not None:
                break
        return check

    def _shared_plan(self, result: SearchResult, size: int, small: int) -> tuple[float, float, float]:
        """Seconds per run and both rates, as stored at the first call, so that its runs are used again."""
        posterior = result.posterior
        rates = [recommended_rate(posterior, each) for each in (size, small)]
        times = [
            float(posterior.estimate(posterior.steps(each, rate)).value) * step_seconds_at(result.speed, each).value
            for each, rate in zip((size, small), rates, strict=True)
        ]
        name = f"accuracy at {size} against {small}, target {self.cache.target.value!r}"
        seconds, rate, small_rate = json.loads(
            self.cache.store.set_shared(name, json.dumps([LENGTH_FACTOR * max(times), *rates]))
        )
        return float(seconds), float(rate), float(small_rate)

    def _run(self, result: SearchResult, size: int, rate: float, seed: int, seconds: float) -> Run:
        steps = math.ceil(seconds / step_seconds_at(result.speed, size).value)
        epochs = max(epochs_of_steps(steps, size, self.config.task.examples), self.config.least_epochs)
        key = self.cache.full_length_key(size, rate, seed, epochs=epochs)
        self.context.progress.update(
            stage=f"{self.config.task.name}: is the accuracy as good?", trying=str(key), part=0.0
        )
        return self.cache.run_full_length(key, pause_at=self.context.deadline)
