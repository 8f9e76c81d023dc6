"""The search at a constant schedule: a race over rates, then whatever race or check the law says is worth it."""

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
# A run with another seed checks the recommendation if its size is within this factor, and its rate within the second
# one of what is recommended at that size.
SAME_SIZE, SAME_RATE = 2.0, 1.3
# Checks that fail move the recommendation, and the next ones are made there: so often, for each seed, at the most.
MOVES = 3
BEGUN, OVER = "begun", "over"

# A clock that the steps of the runs did not agree with was taken again: so often the search goes on with the new one.
COMPARED = 2


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """What is known at the end of a search.

    Args:
        posterior: of the law.
        speed: the clock, with the sizes near the answer timed again.
        runs: all that bear on the target.
        interrupted: it ended before it was done.
    """

    posterior: Posterior
    speed: Speed
    runs: tuple[Run, ...]
    interrupted: bool


class RateSearch:
    """Goes on from whatever runs are known until neither a race nor a check is worth its cost.

    Args:
        known: the runs of the folder, judged by the target.
        race: makes more.
        config: the question.
        context: where and until when it is answered.
    """

    def __init__(self, known: RunCache, race: Race, config: AdviseConfig, context: RunContext) -> None:
        self.known, self.race, self.config, self.context = known, race, config, context
        # Where the rate decays, the runs of planned lengths are checked instead.
        self.check_seeds = [] if config.decays else [config.seed + more for more in config.checks]

    def run(self, speed: Speed, accuracy: Sequence[AccuracyCheck] = ()) -> SearchResult:
        """Make the runs that are worth it."""
        race, show, name = self.race, self.context.progress, self.config.task.name
        if self._is_racing() or not any(run.crossing is not None for run in self.known.runs()):
            self._race(speed)
        made = self._raced(speed)
        compared = 0
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
            if proposal is not None and proposal not in made:
                made.append(proposal)
                self._race_of(proposal, len(made), last_steps(posterior, proposal.batch_size, proposal.learning_rates))
            elif (seed := self._unchecked(posterior, size, runs)) is not None:
                show.update(stage=f"{name}: checking the answer with other seeds")
                rates = [_rate_to_check(posterior, size, runs, seed)]
                race.run_all(size, rates, last=last_steps(posterior, size, rates), seed=seed)
            elif compared < COMPARED and (again := self._compared(speed)).points != speed.points:
                speed, compared = again, compared + 1
            else:
                break
        speed = self._compared(speed)
        return SearchResult(posterior=posterior, speed=speed, runs=tuple(runs), interrupted=race.interrupted)

    def _compared(self, speed: Speed) -> Speed:
        return speed if self.context.compare is None else self.context.compare(speed, self.known.made_here)

    def again(self, found: SearchResult, accuracy: Sequence[AccuracyCheck]) -> SearchResult:
        """With what is known by now."""
        return self.run(found.speed, accuracy)

    def race_at(self, found: SearchResult, size: int) -> SearchResult:
        """Make the rates of a race known at this batch size too, which need not be the best."""
        rate = recommended_rate(found.posterior, size)
        if not any(_is_near(run, found.posterior, size, of_size=1.0) for run in found.runs if run.crossing is not None):
            rates = [two_digits(factor * rate) for factor in FACTORS]
            self.race.run_all(size, rates, last=last_steps(found.posterior, size, rates), seed=self.config.seed)
        return self.again(found, ())

    def _race(self, speed: Speed) -> None:
        """The first one, unless it went to its end in vain before: it would end the same."""
        if not self._is(OVER, 0):
            self._agree(BEGUN, 0)
            self.context.progress.update(stage=f"{self.config.task.name}: race over learning rates", total=None)
            rates = self.config.recipe_info.first_learning_rates
            self.race.run(self._first_size(speed), rates, seed=self.config.seed, noise_every=NOISE_EVERY)
            if not self.race.interrupted:
                self._agree(OVER, 0)

    def _is_racing(self) -> bool:
        """Whether the first race was broken off: it may have been after one had come to the target."""
        return self._is(BEGUN, 0) and not self._is(OVER, 0)

    def _race_of(self, proposal: Proposal, number: int, last: int) -> None:
        """A race that the law has proposed. It is kept what it is, so that one that is broken off goes on as it was."""
        self.context.progress.update(stage=f"{self.config.task.name}: race at batch size {proposal.batch_size}")
        plan = {"batch_size": proposal.batch_size, "learning_rates": proposal.learning_rates, "last": last}
        self._agree(BEGUN, number, json.dumps(plan))
        self.race.run_all(proposal.batch_size, proposal.learning_rates, last=last, seed=self.config.seed)
        if not self.race.interrupted:
            self._agree(OVER, number)

    def _raced(self, speed: Speed) -> list[Proposal]:
        """The races that were proposed in earlier calls. One that was broken off is ended first."""
        made: list[Proposal] = []
        while not self.race.interrupted:
            told = self.known.store.agreed(self._mark(BEGUN, len(made) + 1))
            if told is None:
                break
            plan = json.loads(told)
            made.append(Proposal(batch_size=plan["batch_size"], learning_rates=tuple(plan["learning_rates"])))
            if not self._is(OVER, len(made)) and plan["batch_size"] <= speed.largest_that_fits:
                self._race_of(made[-1], len(made), plan["last"])
        return made

    def _mark(self, state: str, number: int) -> str:
        """Under which a store knows that a race to this target is begun or over; the first race is number 0."""
        return f"race {number} to {self.known.target.quantity} {self.known.target.value!r} is {state}"

    def _is(self, state: str, number: int) -> bool:
        return self.known.store.agreed(self._mark(state, number)) is not None

    def _agree(self, state: str, number: int, value: str = "yes") -> None:
        self.known.store.agree(self._mark(state, number), value)

    def _runs(self) -> list[Run]:
        """All that are known, and those in a race that was interrupted."""
        live = self.race.live_runs()
        on_their_way = {(run.batch_size, run.learning_rate, run.seed) for run in live}
        known = self.known.runs()
        return [*(run for run in known if (run.batch_size, run.learning_rate, run.seed) not in on_their_way), *live]

    def _first_size(self, speed: Speed) -> int:
        """That of the first call with the folder, if it fits on this machine: its runs are those to go on with."""
        size = first_size(speed, self.config.task.examples)
        agreed = int(self.known.store.agree("first size", str(size)))
        return agreed if agreed <= speed.largest_that_fits else size

    def _is_timed_near(self, speed: Speed, size: int) -> bool:
        """Whether the sizes around this one have been timed again already, by this clock; if not, they are from now."""
        store, clock = self.known.store, f"timed by the clock of {speed.provenance.started} near"
        near = (other for other in candidate_sizes(speed) if 1 / SAME_SIZE <= other / size <= SAME_SIZE)
        if any(store.agreed(f"{clock} {other}") is not None for other in near):
            return True
        store.agree(f"{clock} {size}", "yes")
        return False

    def _unchecked(self, posterior: Posterior, size: int, runs: Sequence[Run]) -> int | None:
        """A seed with which the recommendation is yet to be checked."""
        seeds = self.check_seeds
        made = [run for run in runs if run.seed in seeds and run.outcome is not Outcome.INTERRUPTED]
        near = {run.seed for run in made if _is_near(run, posterior, size)}
        left = [seed for seed in seeds if seed not in near]
        return left[0] if left and len(made) < MOVES * len(seeds) else None


def _rate_to_check(posterior: Posterior, size: int, runs: Sequence[Run], seed: int) -> float:
    """The recommended rate, or one as good with which a run is on its way, that went to an easier target."""
    here = (run for run in runs if (run.batch_size, run.seed, run.outcome) == (size, seed, Outcome.INTERRUPTED))
    return next(
        (run.learning_rate for run in here if _is_near(run, posterior, size)), recommended_rate(posterior, size)
    )


def _is_near(run: Run, posterior: Posterior, size: int, *, of_size: float = SAME_SIZE) -> bool:
    rate = run.learning_rate / recommended_rate(posterior, run.batch_size)
    return 1 / of_size <= run.batch_size / size <= of_size and 1 / SAME_RATE <= rate <= SAME_RATE
