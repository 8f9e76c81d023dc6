"""The search at a constant learning rate: a first race over rates, then the races and checks that the law proposes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from critbatch.advisor.config import AdviseConfig, RunContext
from critbatch.advisor.race import Race, last_steps
from critbatch.advisor.run_cache import RunCache
from critbatch.law.acquisition import FACTORS, Proposal, first_size, next_races
from critbatch.law.objective import allowed, best_size, candidate_sizes, recommended_rate, two_digits
from critbatch.law.posterior import Posterior, fit
from critbatch.records.core import AccuracyCheck, Outcome, Run, Speed

NOISE_EVERY = 4
# A run with another seed checks the recommendation if its size is within the first factor of it, and its rate within
# the second factor of the recommended rate at that size.
SAME_SIZE_FACTOR, SAME_RATE_FACTOR = 2.0, 1.3
# A failed check may move the recommendation, and the next check is made there: at most this many checks per seed.
MAX_CHECKS_PER_SEED = 3
# States of a race, as the store's marks name them.
BEGUN, OVER = "begun", "over"
# If the step times of the runs contradict the measured ones, these are measured again: at most this often in a search.
MAX_CLOCK_COMPARISONS = 2


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """Result of a search.

    Args:
        posterior: Posterior of the law.
        speed: Seconds per step. The sizes near the answer are timed again.
        runs: All runs that the posterior is fitted to.
        interrupted: Whether the search ended early.
    """

    posterior: Posterior
    speed: Speed
    runs: tuple[Run, ...]
    interrupted: bool


class RateSearch:
    """Starts from the runs in the cache, and goes on until neither a race nor a check is worth its cost.

    Args:
        cache: Runs of the folder, judged by the target.
        race: Makes further runs.
        config: The question.
        context: Folder, device and deadline.
    """

    def __init__(self, cache: RunCache, race: Race, config: AdviseConfig, context: RunContext) -> None:
        self.cache, self.race, self.config, self.context = cache, race, config, context
        # If the rate decays, `LengthSearch` makes the checks.
        self.check_seeds = [] if config.decays else [config.seed + more for more in config.checks]

    def run(self, speed: Speed, accuracy: Sequence[AccuracyCheck] = ()) -> SearchResult:
        """Make the runs that are worth their cost."""
        race, progress, name = self.race, self.context.progress, self.config.task.name
        if self._is_racing() or not any(run.crossing is not None for run in self.cache.runs()):
            self._race(speed)
        proposals = self._raced(speed)
        comparisons = 0
        while True:
            runs = self._runs()
            posterior = fit(runs, prior=self.config.recipe_info.law_prior)
            if race.interrupted or not posterior.reached:
                break
            clock = allowed(speed, self.config.objective, posterior, accuracy)
            size = best_size(posterior, clock)
            if self.context.time_again is not None and not self._is_timed_near(speed, size):
                speed = self.context.time_again(speed, size)
                continue
            proposal = next_races(posterior, clock, runs)
            if proposal is not None and proposal not in proposals:
                proposals.append(proposal)
                self._race_of(
                    proposal, len(proposals), last_steps(posterior, proposal.batch_size, proposal.learning_rates)
                )
            elif (seed := self._unchecked(posterior, size, runs)) is not None:
                progress.update(stage=f"{name}: checking the answer with other seeds")
                rates = [_rate_to_check(posterior, size, runs, seed)]
                race.run_until_first_success(size, rates, last=last_steps(posterior, size, rates), seed=seed)
            elif (
                comparisons < MAX_CLOCK_COMPARISONS and (retimed := self._compared_speed(speed)).points != speed.points
            ):
                speed, comparisons = retimed, comparisons + 1
            else:
                break
        speed = self._compared_speed(speed)
        return SearchResult(posterior=posterior, speed=speed, runs=tuple(runs), interrupted=race.interrupted)

    def _compared_speed(self, speed: Speed) -> Speed:
        return speed if self.context.compare is None else self.context.compare(speed, self.cache.completed_here)

    def rerun(self, result: SearchResult, accuracy: Sequence[AccuracyCheck]) -> SearchResult:
        """Search again with all runs made so far."""
        return self.run(result.speed, accuracy)

    def race_at(self, result: SearchResult, size: int) -> SearchResult:
        """Also race at this batch size, which need not be the best."""
        rate = recommended_rate(result.posterior, size)
        if not any(
            _is_near(run, result.posterior, size, of_size=1.0) for run in result.runs if run.crossing is not None
        ):
            rates = [two_digits(factor * rate) for factor in FACTORS]
            self.race.run_until_first_success(
                size, rates, last=last_steps(result.posterior, size, rates), seed=self.config.seed
            )
        return self.rerun(result, ())

    def _race(self, speed: Speed) -> None:
        """Run the first race, unless an earlier call finished it without success: it would end the same."""
        if not self._is_marked(OVER, 0):
            self._set_mark(BEGUN, 0)
            self.context.progress.update(stage=f"{self.config.task.name}: race over learning rates", total=None)
            rates = self.config.recipe_info.first_learning_rates
            self.race.run(self._first_size(speed), rates, seed=self.config.seed, noise_every=NOISE_EVERY)
            if not self.race.interrupted:
                self._set_mark(OVER, 0)

    def _is_racing(self) -> bool:
        """Whether the first race was interrupted; one of its runs may have reached the target already."""
        return self._is_marked(BEGUN, 0) and not self._is_marked(OVER, 0)

    def _race_of(self, proposal: Proposal, number: int, last: int) -> None:
        """Run a race that the law has proposed. The store keeps its plan, so that a later call can resume it."""
        self.context.progress.update(stage=f"{self.config.task.name}: race at batch size {proposal.batch_size}")
        plan = {"batch_size": proposal.batch_size, "learning_rates": proposal.learning_rates, "last": last}
        self._set_mark(BEGUN, number, json.dumps(plan))
        self.race.run_until_first_success(
            proposal.batch_size, proposal.learning_rates, last=last, seed=self.config.seed
        )
        if not self.race.interrupted:
            self._set_mark(OVER, number)

    def _raced(self, speed: Speed) -> list[Proposal]:
        """The races that earlier calls proposed. An interrupted one is finished first."""
        proposals: list[Proposal] = []
        while not self.race.interrupted:
            plan_json = self.cache.store.get_shared(self._mark(BEGUN, len(proposals) + 1))
            if plan_json is None:
                break
            plan = json.loads(plan_json)
            proposals.append(Proposal(batch_size=plan["batch_size"], learning_rates=tuple(plan["learning_rates"])))
            if not self._is_marked(OVER, len(proposals)) and plan["batch_size"] <= speed.largest_that_fits:
                self._race_of(proposals[-1], len(proposals), plan["last"])
        return proposals

    def _mark(self, state: str, number: int) -> str:
        """Key in the store for the state of a race to this target. The first race has number 0."""
        return f"race {number} to {self.cache.target.quantity} {self.cache.target.value!r} is {state}"

    def _is_marked(self, state: str, number: int) -> bool:
        return self.cache.store.get_shared(self._mark(state, number)) is not None

    def _set_mark(self, state: str, number: int, value: str = "yes") -> None:
        self.cache.store.set_shared(self._mark(state, number), value)

    def _runs(self) -> list[Run]:
        """All runs in the cache, and those of an interrupted race."""
        live = self.race.live_runs()
        live_places = {(run.batch_size, run.learning_rate, run.seed) for run in live}
        finished = self.cache.runs()
        return [*(run for run in finished if (run.batch_size, run.learning_rate, run.seed) not in live_places), *live]

    def _first_size(self, speed: Speed) -> int:
        """The first size of the first call with this folder, whose runs can be used again, if it fits in memory."""
        size = first_size(speed, self.config.task.examples)
        agreed = int(self.cache.store.set_shared("first size", str(size)))
        return agreed if agreed <= speed.largest_that_fits else size

    def _is_timed_near(self, speed: Speed, size: int) -> bool:
        """Whether sizes near this one have been timed again in this timing; marks this one as timed if not."""
        store, clock = self.cache.store, f"timed by the clock of {speed.provenance.started} near"
        near = (other for other in candidate_sizes(speed) if 1 / SAME_SIZE_FACTOR <= other / size <= SAME_SIZE_FACTOR)
        if any(store.get_shared(f"{clock} {other}") is not None for other in near):
            return True
        store.set_shared(f"{clock} {size}", "yes")
        return False

    def _unchecked(self, posterior: Posterior, size: int, runs: Sequence[Run]) -> int | None:
        """A seed with which the recommendation has not been checked yet."""
        seeds = self.check_seeds
        checks = [run for run in runs if run.seed in seeds and run.outcome is not Outcome.INTERRUPTED]
        near = {run.seed for run in checks if _is_near(run, posterior, size)}
        unchecked_seeds = [seed for seed in seeds if seed not in near]
        return unchecked_seeds[0] if unchecked_seeds and len(checks) < MAX_CHECKS_PER_SEED * len(seeds) else None


def _rate_to_check(posterior: Posterior, size: int, runs: Sequence[Run], seed: int) -> float:
    """The recommended rate, or a close one at which a run to an easier target can be resumed."""
    unfinished = (run for run in runs if (run.batch_size, run.seed, run.outcome) == (size, seed, Outcome.INTERRUPTED))
    return next(
        (run.learning_rate for run in unfinished if _is_near(run, posterior, size)), recommended_rate(posterior, size)
    )


def _is_near(run: Run, posterior: Posterior, size: int, *, of_size: float = SAME_SIZE_FACTOR) -> bool:
    rate = run.learning_rate / recommended_rate(posterior, run.batch_size)
    return 1 / of_size <= run.batch_size / size <= of_size and 1 / SAME_RATE_FACTOR <= rate <= SAME_RATE_FACTOR
