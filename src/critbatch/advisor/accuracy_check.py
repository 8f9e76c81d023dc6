"""Runs that go on beyond the target, to see whether the recommended batch size ends worse than a small one."""

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

SEEDS = (3, 5)  # pairs of runs, and as many where those do not tell
BEYOND = 2.0  # times the longer of both times to target
SMALL = 32


class SupportsSearch(Protocol):
    """What found the answer, and can go on."""

    def again(self, found: SearchResult, accuracy: Sequence[AccuracyCheck]) -> SearchResult: ...

    def race_at(self, found: SearchResult, size: int) -> SearchResult: ...


class AccuracyRuns:
    """Compares the recommended batch size with a small one, and recommends a smaller one until it ends no worse.

    Both are trained for the same time, by the clock of the advice: twice as long as the slower one of them takes to the
    target. Where the rate decays it does so over that time.

    Args:
        known: the runs of the folder.
        search: makes the races that the small size and a smaller recommendation need.
        config: the question. The batch size in use today is the small one, if it is below the recommended one.
        context: where and until when it is answered.
    """

    def __init__(self, known: RunCache, search: SupportsSearch, config: AdviseConfig, context: RunContext) -> None:
        self.known, self.search, self.config, self.context = known, search, config, context

    def run(self, found: SearchResult) -> tuple[SearchResult, tuple[AccuracyCheck, ...]]:
        """The answer that the checks leave, and the checks, the last one that of the answer."""
        checks: list[AccuracyCheck] = []
        while found.posterior.reached and not found.interrupted:
            clock = allowed(found.speed, self.config.objective, found.posterior, checks)
            size = best_size(found.posterior, clock)
            small = self._small(size, candidate_sizes(clock))
            if small >= size or any(check.batch_size == size for check in checks):
                break
            # The rate of the small batch is tuned as well: against a badly tuned one all is as good.
            found = self.search.race_at(found, small)
            check = self._check(found, size, small) if not found.interrupted else None
            if check is None:
                return replace(found, interrupted=True), tuple(checks)
            checks.append(check)
            # With what these runs say of the law, and where they forbid the size, with races below it.
            found = self.search.again(found, checks)
        return found, tuple(checks)

    def _small(self, size: int, sizes: Sequence[int]) -> int:
        if self.config.current_batch_size is not None and self.config.current_batch_size < size:
            return self.config.current_batch_size
        return max(min(sizes), min(SMALL, size // 4))

    def _check(self, found: SearchResult, size: int, small: int) -> AccuracyCheck | None:
        seconds, rate, small_rate = self._agreed(found, size, small)
        margin = self.config.objective.accuracy_margin
        assert margin is not None
        large_runs: list[Run] = []
        small_runs: list[Run] = []
        check = None
        for count in SEEDS:
            for seed in range(self.config.seed + len(large_runs), self.config.seed + count):
                for at, with_rate, runs in ((size, rate, large_runs), (small, small_rate, small_runs)):
                    run = self._make(found, at, with_rate, seed, seconds)
                    if run.outcome is Outcome.INTERRUPTED:
                        return None
                    runs.append(run)
            check = compared(large_runs, small_runs, margin=margin, train_seconds=seconds)
            if check.falls is not None:
                break
        return check

    def _agreed(self, found: SearchResult, size: int, small: int) -> tuple[float, float, float]:
        """Seconds of a run and both rates, as they were when this was first asked: its runs are used again."""
        posterior = found.posterior
        rates = [recommended_rate(posterior, each) for each in (size, small)]
        times = [
            float(posterior.estimate(posterior.steps(each, rate)).value) * step_seconds_at(found.speed, each).value
            for each, rate in zip((size, small), rates, strict=True)
        ]
        name = f"accuracy at {size} against {small}, target {self.known.target.value!r}"
        seconds, rate, small_rate = json.loads(self.known.store.agree(name, json.dumps([BEYOND * max(times), *rates])))
        return float(seconds), float(rate), float(small_rate)

    def _make(self, found: SearchResult, size: int, rate: float, seed: int, seconds: float) -> Run:
        steps = math.ceil(seconds / step_seconds_at(found.speed, size).value)
        epochs = max(epochs_of_steps(steps, size, self.config.task.examples), self.config.least_epochs)
        key = self.known.key_to_the_end(size, rate, seed, epochs=epochs)
        self.context.progress.update(
            stage=f"{self.config.task.name}: is the accuracy as good?", trying=str(key), part=0.0
        )
        return self.known.make_to_the_end(key, pause_at=self.context.deadline)
