"""The real advice with a given clock, where a run that was made once is not trained again.

Training is a function of task, batch size, rate, seed and length. So the runs of an advice for one clock or target are
shared with those for others: each campaign has a store of its own and sees a run as it was after as many steps as it
asked for, and is charged for these.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from advisor_tasks import CPU, case_of, task_of
from critbatch.advisor import run_cache as known_runs
from critbatch.advisor.advise import AdviceCampaign
from critbatch.advisor.config import AdviseConfig, RunContext
from critbatch.advisor.race import FEWEST_STEPS
from critbatch.law.posterior import Posterior, fit
from critbatch.law.prior import LawPrior
from critbatch.law.step_time import step_seconds_at
from critbatch.records.core import Advice, OptionValue, Outcome, Run, Speed, Target
from critbatch.studies.run_key import RunKey
from critbatch.studies.spec import make_plan
from critbatch.tasks.task import Task
from critbatch.training.evaluation import Evaluation
from critbatch.training.state import NO_BUDGET, Budget
from critbatch.training.trainer import Training

# As `advise` evaluates, but for the training set, which nothing here looks at.
EVALUATION = Evaluation(growth=1.1, validation_examples=2000, train_examples=1)
# What a step at which the noise scale is measured takes, over one at which it is not: two micro-batches.
NOISE_COST = 1.16
MOST_STEPS = 200_000
Place = tuple[Any, ...]


def begin(task: Task, key: RunKey, options: Mapping[str, OptionValue], noise_every: int, epochs: float) -> Training:
    plan = make_plan(
        task.recipe, batch_size=key.batch_size, learning_rate=key.learning_rate, epochs=epochs, options=options
    )
    return Training(
        task, plan, seed=key.seed, device=CPU, evaluation=EVALUATION, noise_every=noise_every, compile=False
    )


class Trajectories:
    """All runs of a task, each as far as it was ever asked for, kept in a file.

    Runs go in pieces to 16, 32, 64 ... steps, so that evaluations come where a race makes them.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.task, self.path = task_of(name), folder / f"{name}.pickle"
        self._known: dict[Place, Run] = pickle.loads(self.path.read_bytes()) if self.path.is_file() else {}
        self._live: dict[Place, Training] = {}

    def run(
        self, key: RunKey, options: Mapping[str, OptionValue], noise_every: int, epochs: float, steps: float
    ) -> Run:
        """The run with at least so many steps, or as many as it has."""
        place = (key.batch_size, key.learning_rate, key.seed, tuple(sorted(options.items())), noise_every, epochs)
        known = self._known.get(place)
        if known is not None and (known.steps >= steps or known.outcome is not Outcome.INTERRUPTED):
            return known
        if place not in self._live:
            self._live[place] = begin(self.task, key, options, noise_every, epochs)
        training, until = self._live[place], FEWEST_STEPS
        ended = None
        while ended is None and training.run_state.step < steps:
            until = until if training.run_state.step < until else 2 * until
            ended = training.advance(Budget(steps=until))
        record = training.record()
        self._known[place] = record if ended is not None else replace(record, outcome=Outcome.INTERRUPTED)
        return self._known[place]

    def save(self) -> None:
        part = self.path.with_suffix(".part")
        part.write_bytes(pickle.dumps(self._known))
        part.replace(self.path)


def cut(run: Run, steps: float, target: Target | None) -> Run:
    """The run as it was after so many steps, or when it came to the target."""
    curve = [point for point in run.curve if point.step <= steps]
    if not curve:
        return replace(run, target=target, outcome=Outcome.FINISHED)
    came = next((n for n, point in enumerate(curve, 1) if target is not None and target.reached_by(point)), None)
    curve = curve[:came]
    ended = came is None and run.outcome is not Outcome.INTERRUPTED and run.steps <= steps
    last = curve[-1].step if came is not None else int(min(steps, run.steps))
    outcome = Outcome.REACHED if came is not None else run.outcome if ended else Outcome.FINISHED
    return replace(
        run,
        target=target,
        outcome=outcome,
        crossing=target.crossing(curve) if came is not None and target is not None else None,
        steps=last,
        examples=curve[-1].examples,
        epochs=curve[-1].epoch,
        seconds=curve[-1].seconds,
        diverged_at=run.diverged_at if outcome is Outcome.DIVERGED else None,
        curve=tuple(curve),
        noise=tuple(point for point in run.noise if point.step <= last),
    )


class Replay:
    """What a race takes for a `Training`."""

    def __init__(self, campaign: Campaign, key: RunKey, options: Mapping[str, OptionValue], noise_every: int) -> None:
        own = dict(key.options)
        self.campaign, self.key, self.options, self.noise_every = campaign, key, options, noise_every
        self.epochs = float(str(own["epochs"])) if "epochs" in own else campaign.config.epochs
        self.goal = None if "epochs" in own else campaign.config.target
        self.steps = 0.0

    def advance(self, until: Budget = NO_BUDGET, *, pause_at: float | None = None) -> Outcome | None:
        if until.steps is None or until.steps > self.steps:
            self.steps = until.steps or MOST_STEPS
        run = self.record()
        over = run.outcome is not Outcome.FINISHED or run.steps < self.steps
        return run.outcome if over else None

    def record(self) -> Run:
        whole = self.campaign.trajectories.run(self.key, self.options, self.noise_every, self.epochs, self.steps)
        return cut(whole, self.steps, self.goal)

    def save(self) -> None:
        pass


@dataclass(frozen=True, kw_only=True)
class Campaign(AdviceCampaign):
    """The advice of the product with its runs from `trajectories`."""

    trajectories: Trajectories
    begun: list[Replay] = field(default_factory=list)

    def _start(self, options: Mapping[str, OptionValue], key: RunKey, checkpoint: Path, noise_every: int) -> Any:
        self.begun.append(Replay(self, key, options, noise_every))
        return self.begun[-1]

    def seconds(self) -> float:
        """Of all its runs, by the clock."""
        total = 0.0
        for replay in self.begun:
            run = replay.record()
            share = (1 + (NOISE_COST - 1) / replay.noise_every) if replay.noise_every else 1.0
            total += share * run.steps * step_seconds_at(self.speed, run.batch_size).value
        return total


def advise(
    trajectories: Trajectories, name: str, *, target: int, speed: Speed, seed: int, noise: float | None = None
) -> tuple[Advice, float]:
    """The advice, and the seconds of its runs by the clock.

    Args:
        noise: instead of what is measured, a constant B_noise.
    """
    task = task_of(name, target=target)

    def fitted(runs: Any, *, prior: LawPrior, **rest: Any) -> Posterior:
        if noise is not None:
            prior = replace(prior, log_noise=(math.log(noise), 1e-3))
            rest["use_measured_noise"] = False
        return fit(runs, prior=prior, **rest)

    with (
        TemporaryDirectory() as folder,
        patch.object(known_runs, "MAX_RESUME_BYTES", 0),
        patch("critbatch.advisor.rate_search.fit", fitted),
        patch("critbatch.advisor.length_search.fit", fitted),
    ):
        config = AdviseConfig(
            task=task,
            recipe=task.recipe,
            target=task.target,
            seed=seed,
            evaluation=EVALUATION,
            options=case_of(name).options,
        )
        context = RunContext(folder=Path(folder), device=CPU)
        campaign = Campaign(config=config, context=context, speed=speed, trajectories=trajectories)
        return campaign.run(), campaign.seconds()
