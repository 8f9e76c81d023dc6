"""The runs behind an advice, given the clock: a search, planned lengths where the rate decays, and the answer."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import torch

from critbatch.campaigns.accuracy_runs import AccuracyRuns, Search
from critbatch.campaigns.answering import Asked, answered
from critbatch.campaigns.known_runs import TO_THE_END, KnownRuns, added
from critbatch.campaigns.planned_search import PlannedSearch
from critbatch.campaigns.race import Race
from critbatch.campaigns.rate_search import Compare, Found, RateSearch, TimeAgain
from critbatch.campaigns.schedule import checked_plan, decays, least_epochs, without_decay
from critbatch.law.objective import checked_objective
from critbatch.records.core import AccuracyCheck, Advice, Goal, Objective, Setting, Speed, Target
from critbatch.runtime.device import pick_device
from critbatch.runtime.progress import Display
from critbatch.runtime.provenance import Stopwatch
from critbatch.studies.run_key import Key, Terms
from critbatch.studies.spec import planned
from critbatch.studies.store import Store
from critbatch.tasks.task import Task
from critbatch.training.evaluation import Evaluation
from critbatch.training.trainer import Training

EPOCHS = 200.0
# A sample as large as this moves an accuracy of 0.97 by 0.4 % (one standard error), the same way at every batch size.
EVALUATION = Evaluation(growth=1.1, validation_examples=2000, train_examples=1000)
CHECKS = (1, 2)  # added to the seed


@dataclass(kw_only=True)
class AdviceCampaign:
    """All that an advice runs, once the seconds per step are known. The clock is read for the deadline alone.

    Args:
        task: what is trained.
        speed: seconds per step of a machine: of this one, or as they might be.
        folder: of the store. What it holds of this task, recipe, options and seed is not run again, whatever target,
            machine or budget it was for.
        recipe: its name; None for the task's own.
        target: None for the task's own.
        current: the batch size in use today, to compare with.
        seed: of the first runs.
        checks: added to it for the runs that check the recommendation.
        evaluation: when a run is evaluated, and on what.
        epochs: of a run that does not reach the target.
        options: of the recipe or of plans, for all runs: with `decay="cosine"` the answer is for that schedule.
        objective: what is asked beside the target.
        device: the accelerator where there is one, unless given.
        deadline: a value of `time.monotonic()`, when the campaign stops with what it knows by then.
        time_again: times the sizes around one anew, as `Clock.take_again`; None to leave the clock as it is.
        compare: holds the clock against the steps of runs, as `Clock.compare`; None to leave it as it is.
        show: where to show how far it is.
        command: as the user gave it, for the record.
        watch: started when the work began.

    Raises:
        UserError: if the settings are not possible, or the law says nothing of the recipe.
    """

    task: Task
    speed: Speed
    folder: Path
    recipe: str | None = None
    target: Target | None = None
    current: int | None = None
    seed: int = 0
    checks: Sequence[int] = CHECKS
    evaluation: Evaluation = EVALUATION
    epochs: float = EPOCHS
    options: Mapping[str, Setting] = field(default_factory=dict)
    objective: Objective = field(default_factory=Objective)
    device: torch.device | None = None
    deadline: float | None = None
    time_again: TimeAgain | None = None
    compare: Compare | None = None
    show: Display = field(default_factory=Display)
    command: str = ""
    watch: Stopwatch = field(default_factory=Stopwatch)

    def __post_init__(self) -> None:
        self._device = self.device or pick_device()
        self.objective = checked_objective(self.objective)
        self._recipe, self._goal = self.recipe or self.task.recipe, self.target or self.task.target
        plan = checked_plan(self._recipe, self.options, examples=self.task.examples, epochs=self.epochs)
        self._decays = decays(plan)

    def run(self) -> Advice:
        """Make the runs that are worth it, and answer. All of them are in the answer's `runs`.

        Raises:
            UserError: if the folder cannot be used.
            KeyboardInterrupt: at Ctrl-C; what was learned is in the store.
        """
        constant = without_decay(self._recipe, self.options) if self._decays else self.options
        accuracy: tuple[AccuracyCheck, ...] = ()
        with Store.open(self.folder, self._terms(constant), alone=True) as store:
            known = self._known(store, constant)
            search = self._search(known)
            found = search.run(self.speed)
            if not self._decays:
                found, accuracy = self._accurate(known, search, found)
            cost, asked = known.cost(), known.targets()
        length = None
        if self._decays and found.posterior.reached and not found.interrupted:
            with Store.open(self.folder, self._terms(self.options), alone=True) as store:
                known = self._known(store, self.options)
                planner = self._planner(known)
                found, accuracy = self._accurate(known, planner, planner.run(found))
                cost = added(cost, known.cost())
                length = planner.length_of(found, accuracy)
        if found.interrupted and (self.deadline is None or time.monotonic() < self.deadline):
            raise KeyboardInterrupt
        asks = Asked(
            task=self.task,
            recipe=self._recipe,
            target=self._goal,
            objective=self.objective,
            options=self.options,
            current=self.current,
            evaluation=self.evaluation,
            targets=tuple(dict.fromkeys((*asked, self._goal))),
            decays=self._decays,
            device=self._device,
            seed=self.seed,
            command=self.command,
            watch=self.watch,
        )
        return answered(found, asks, accuracy=accuracy, planned_epochs=length, cost=cost)

    def _known(self, store: Store, options: Mapping[str, Setting]) -> KnownRuns:
        return KnownRuns(store, partial(self._start, options), target=self._goal, folder=self.folder)

    def _search(self, known: KnownRuns) -> RateSearch:
        show = self.show
        show.update(deadline=self.deadline)
        race = Race(known, pause_at=self.deadline, tell=lambda key: show.update(trying=str(key), part=0.0))
        return RateSearch(
            known,
            race,
            task=self.task,
            recipe=self._recipe,
            seed=self.seed,
            checks=() if self._decays else self.checks,
            objective=self.objective,
            time_again=self.time_again,
            compare=self.compare,
            show=show,
        )

    def _planner(self, known: KnownRuns) -> PlannedSearch:
        return PlannedSearch(
            known,
            task=self.task,
            seed=self.seed,
            checks=self.checks,
            least_epochs=least_epochs(self.options),
            objective=self.objective,
            pause_at=self.deadline,
            show=self.show,
        )

    def _accurate(self, known: KnownRuns, search: Search, found: Found) -> tuple[Found, tuple[AccuracyCheck, ...]]:
        """The same, or what is left of it where the validation metric in the end must not fall."""
        if self.objective.goal is not Goal.ACCURACY:
            return found, ()
        runs = AccuracyRuns(
            known,
            search,
            task=self.task,
            objective=self.objective,
            seed=self.seed,
            current=self.current,
            least_epochs=least_epochs(self.options),
            pause_at=self.deadline,
            show=self.show,
        )
        return runs.run(found)

    def _terms(self, options: Mapping[str, Setting]) -> Terms:
        return Terms(
            task=self.task.name,
            fingerprint=self.task.fingerprint(),
            parts=self.task.fingerprints(),
            recipe=self._recipe,
            target=None,
            judged_by=self._goal,
            epochs=self.epochs,
            settings={**asdict(self.evaluation), **options, "seed": self.seed},
        )

    def _start(self, options: Mapping[str, Setting], key: Key, checkpoint: Path, noise_every: int) -> Training:
        """Begin a run, or go on with it."""
        own = dict(key.options)
        plan = planned(
            self._recipe,
            batch_size=key.batch_size,
            learning_rate=key.learning_rate,
            epochs=float(str(own.get("epochs", self.epochs))),
            options=options,
        )
        return Training(
            self.task,
            plan,
            seed=key.seed,
            device=self._device,
            target=None if key.stage == TO_THE_END else self._goal,
            evaluation=self.evaluation,
            noise_every=noise_every,
            checkpoint=checkpoint,
            compiled=False,
            progress=self.show.watch,
        )
