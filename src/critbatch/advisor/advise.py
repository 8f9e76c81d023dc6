"""The main job: measure, race, predict, check, and say which batch size and learning rate reach the target soonest."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import torch

from critbatch.advisor.accuracy_check import AccuracyRuns, SupportsSearch
from critbatch.advisor.length_search import LengthSearch
from critbatch.advisor.race import Race
from critbatch.advisor.rate_search import Compare, RateSearch, SearchResult, TimeAgain
from critbatch.advisor.result import Asked, advice_for_devices, build_advice
from critbatch.advisor.run_cache import TO_THE_END, RunCache, added
from critbatch.arguments import checked_call, current_options, output_folder, renamed_arguments
from critbatch.errors import UserError
from critbatch.law.objective import checked_objective
from critbatch.measure.step_timer import StepTimer
from critbatch.recipes import options_of, recipe_info
from critbatch.recipes.plan import Plan
from critbatch.records.core import AccuracyCheck, Advice, Goal, Objective, OptionValue, Speed, Target
from critbatch.runtime.device import as_device, pick_device
from critbatch.runtime.progress import Display
from critbatch.runtime.provenance import RunTimer
from critbatch.studies.run_key import RunKey, StudyKey
from critbatch.studies.spec import OF_PLANS, make_plan
from critbatch.studies.store import Store
from critbatch.tasks.registry import as_task
from critbatch.tasks.task import MODEL, Task
from critbatch.training.evaluation import Evaluation, check_target_on_data
from critbatch.training.state import seconds_to_tell
from critbatch.training.trainer import Training

# The schedule that advice is for: which plans the law of steps against batch size speaks of, and which decay.

GIVEN = {"batch_size": "is what is asked for", "learning_rate": "is what is asked for", "epochs": "follows"}
# Beyond the warm-up, so much below the peak: a schedule that decays.
DECAYED = 0.99


def checked_plan(recipe: str, options: Mapping[str, OptionValue], *, examples: int, epochs: float) -> Plan:
    """A plan of these options, to see what kind it is.

    Raises:
        UserError: if there is no such recipe or option, or the law does not apply to it.
    """
    known = [name for name in (*options_of(recipe), *OF_PLANS) if name not in GIVEN]
    for name in options:
        if name in GIVEN:
            raise UserError(f"{name} {GIVEN[name]} here: leave it out.")
        if name not in known and not name.startswith(MODEL):
            raise UserError(f"Recipe {recipe} has no option {name}: it has {', '.join(known)}; or use another recipe.")
    plan = make_plan(recipe, batch_size=min(examples, 64), learning_rate=0.01, epochs=epochs, options=options)
    if any(phase.copies > 1 for phase in plan.phases):
        raise UserError(
            f"Recipe {recipe} trains copies and takes their mean, of which the law of steps against batch size says "
            "nothing: ask for advice with --recipe sgd or adam, and compare recipes with `critbatch sweep`."
        )
    if plan.needs_noise or len({phase.batch_size for phase in plan.phases}) > 1:
        raise UserError(
            f"Recipe {recipe} changes its batch size along the run, of which the law of steps against batch size says "
            "nothing: ask for advice with --recipe sgd or adam, and compare recipes with `critbatch sweep`."
        )
    return plan


def decays(plan: Plan) -> bool:
    """Whether the learning rate ends below its peak, so that a run's length must be planned.

    >>> from critbatch.recipes import sgd
    >>> [decays(sgd(batch_size=8, learning_rate=0.1, epochs=9, lr_decay=decay)) for decay in ("constant", "cosine")]
    [False, True]
    """
    phase = plan.phases[-1]
    return phase.learning_rate(phase.epochs * (1 - 1e-9)) < DECAYED * plan.peak


def without_decay(recipe: str, options: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
    """The options of the same recipe at a constant rate, as far as it can be told to; the warm-up stays.

    A recipe whose decay is its own is then run as the start of a very long run, where its rate has hardly decayed.
    """
    constant = {"lr_decay": "constant"} if "lr_decay" in options_of(recipe) else {}
    return {**options, **constant}


def least_epochs(options: Mapping[str, OptionValue]) -> float:
    """That a plan with these options needs: its warm-up and a little more, and the first stair after it."""
    warm_up = options.get("warmup_epochs") or 0.0
    if isinstance(warm_up, (str, tuple)):
        return 0.0
    return float(warm_up) * (3.0 if options.get("lr_decay") == "step" else 1.25)


# The runs behind an advice, given the clock: a search, planned lengths where the rate decays, and the answer.

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
        options: of the recipe or of plans, for all runs: with `lr_decay="cosine"` the answer is for that schedule.
        objective: what is asked beside the target.
        device: the accelerator where there is one, unless given.
        max_run_time: seconds of training after which a run ends that has not come to the target; None for no limit.
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
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    objective: Objective = field(default_factory=Objective)
    device: torch.device | None = None
    deadline: float | None = None
    max_run_time: float | None = None
    time_again: TimeAgain | None = None
    compare: Compare | None = None
    show: Display = field(default_factory=Display)
    command: str = ""
    watch: RunTimer = field(default_factory=RunTimer)

    def __post_init__(self) -> None:
        self._device = self.device or pick_device()
        self.task = self.task.with_options(self.options)
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
        return build_advice(found, asks, accuracy=accuracy, planned_epochs=length, cost=cost)

    def _known(self, store: Store, options: Mapping[str, OptionValue]) -> RunCache:
        return RunCache(store, partial(self._start, options), target=self._goal, folder=self.folder)

    def _search(self, known: RunCache) -> RateSearch:
        show = self.show
        show.update(deadline=self.deadline)
        race = Race(known, pause_at=self.deadline, tell=lambda key: show.update(trying=str(key), part=0.0))
        return RateSearch(
            known,
            race,
            task=self.task,
            recipe=recipe_info(self._recipe),
            seed=self.seed,
            checks=() if self._decays else self.checks,
            objective=self.objective,
            time_again=self.time_again,
            compare=self.compare,
            show=show,
        )

    def _planner(self, known: RunCache) -> LengthSearch:
        return LengthSearch(
            known,
            task=self.task,
            seed=self.seed,
            checks=self.checks,
            least_epochs=least_epochs(self.options),
            objective=self.objective,
            pause_at=self.deadline,
            show=self.show,
        )

    def _accurate(
        self, known: RunCache, search: SupportsSearch, found: SearchResult
    ) -> tuple[SearchResult, tuple[AccuracyCheck, ...]]:
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

    def _terms(self, options: Mapping[str, OptionValue]) -> StudyKey:
        return StudyKey(
            task=self.task.name,
            fingerprint=self.task.fingerprint(),
            parts=self.task.fingerprints(),
            recipe=self._recipe,
            target=None,
            judged_by=self._goal,
            epochs=self.epochs,
            settings={**asdict(self.evaluation), **options, **self._time_limit(), "seed": self.seed},
        )

    def _time_limit(self) -> dict[str, OptionValue]:
        """Runs with another limit are other runs."""
        return {} if self.max_run_time is None else {"max_run_time": self.max_run_time}

    def _start(self, options: Mapping[str, OptionValue], key: RunKey, checkpoint: Path, noise_every: int) -> Training:
        """Begin a run, or go on with it."""
        own = dict(key.options)
        plan = make_plan(
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
            compile=False,
            progress=self.show.watch,
            max_seconds=None if key.stage == TO_THE_END else self.max_run_time,
        )


BUDGET = 600.0


@renamed_arguments(current="current_batch_size")
@checked_call
def advise(
    task: Task | str,
    *,
    recipe: str | None = None,
    target: Target | None = None,
    objective: Objective | None = None,
    current_batch_size: int | None = None,
    options: Mapping[str, OptionValue] | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    budget: float = BUDGET,
    max_run_time: float | None = None,
    progress: Display | None = None,
    command: str = "",
) -> Advice:
    """Recommend the batch size and learning rate for your target.

    It measures seconds per step at every batch size. At one small batch size it compares learning rates until one
    reaches the target, and measures the gradient noise scale on the way. A law of steps to target is fitted to all
    runs. Steps times measured seconds gives the best batch size. Runs at three learning rates correct the answer
    there, and again if the best size has moved. Runs with other seeds check it. `benchmarks/advisor.py` measures how
    good such advice is; `critbatch.records.Law` states the law.

    If other work on the machine disturbs the timing, sizes are timed again. If times still vary, the answer says so in
    its first sentences and its intervals are wider. If they vary by a factor of 4 or more, no batch size is
    recommended. The runs are kept, and the same call on a quiet machine measures the times again.

    All runs are kept in the folder. The same call again continues where the last one stopped. A call with another
    target uses all runs, and continues those that an easier target ended. On another machine the steps are reused and
    the times are measured again.

    Args:
        task: Task, or its name: a built-in task, path/to/file.py:task or package.module:task.
        recipe: Recipe; `critbatch recipes` lists them. Default: the task's own.
        target: Validation metric or validation loss to reach. Default: the task's own.
        objective: What to optimize, and the limits to keep: `critbatch.Objective`. Default: the time to target.
        current_batch_size: Batch size that you use today, to compare with. Default: no comparison.
        options: Option of the recipe, for all runs. `critbatch recipes NAME` lists them; options of
            plans, such as `ghost_batch`, work too. Where the learning rate decays, the length of a run is searched
            as well. Default: the recipe's own values.
        out: Folder for runs, records and report. Default: critbatch-out/TASK.
        seed: Seed of weights and example order of the first runs. The checks use other seeds.
        device: Device, such as cpu, cuda or cuda:1. Default: an accelerator if there is one, else cpu.
        budget: Wall-clock limit in seconds. When it ends, the answer uses what is known by then, and says so.
        max_run_time: Limit of one run, in seconds of training. A run that has not reached the target by then ends, and
            counts as one that needs more steps. Default: no limit.
        progress: Where progress is shown.
        command: Command that the user gave, kept in the record.

    Returns:
        The answer, or with `answered=False` the reason why there is none.

    Raises:
        UserError: if an argument is not possible, no model can reach the target, the law does not cover the recipe, or
            the folder cannot be used.
        KeyboardInterrupt: at Ctrl-C. What was learned stays in the folder.
    """
    task, watch, show = as_task(task), RunTimer(), progress or Display()
    out, device = output_folder(out, task.name), as_device(device)
    name, given = recipe or task.recipe, current_options(options or {}, notice=True)
    task = task.with_options(given)
    if not budget > 0:
        raise UserError(f"budget={budget} allows nothing: use a number of seconds above 0.")
    if max_run_time is not None and not max_run_time > 0:
        raise UserError(f"max_run_time={max_run_time} allows nothing: use a number of seconds above 0.")
    today = current_batch_size
    if today is not None and not 1 <= today <= task.examples:
        raise UserError(f"current_batch_size={today} is not possible: use a batch size from 1 to {task.examples}.")
    asked = checked_objective(objective or Objective())
    plan = checked_plan(name, given, examples=task.examples, epochs=EPOCHS)
    check_target_on_data(task, target or task.target, evaluation=EVALUATION, device=device, seed=seed)
    deadline = watch.began + budget - seconds_to_tell(budget)
    clock = StepTimer(
        task,
        recipe=name,
        micro_batch_size=plan.micro_batch_size,
        device=device,
        seed=seed,
        folder=out,
        budget=budget,
        deadline=deadline,
        show=show,
        command=command,
    )
    campaign = AdviceCampaign(
        task=task,
        speed=clock.take(),
        folder=out,
        recipe=name,
        target=target,
        current=today,
        seed=seed,
        options=given,
        objective=asked,
        device=device,
        deadline=deadline,
        max_run_time=max_run_time,
        time_again=clock.take_again,
        compare=clock.compare,
        show=show,
        command=command,
        watch=watch,
    )
    return advice_for_devices(task, campaign.run())
