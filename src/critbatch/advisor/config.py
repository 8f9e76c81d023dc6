"""The question of an advice, and what it is answered with: two objects that are made once and handed on whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import torch

from critbatch.errors import UserError
from critbatch.law.objective import checked_objective
from critbatch.recipes import options_of, recipe_info
from critbatch.recipes.base import RecipeInfo
from critbatch.recipes.plan import Plan
from critbatch.records.core import Objective, OptionValue, Run, Speed, Target
from critbatch.runtime.device import pick_device
from critbatch.runtime.progress import Display
from critbatch.runtime.provenance import RunTimer
from critbatch.studies.run_key import StudyKey
from critbatch.studies.spec import OF_PLANS, make_plan
from critbatch.tasks.task import MODEL, Task
from critbatch.training.evaluation import Evaluation

EPOCHS = 200.0
# A sample as large as this moves an accuracy of 0.97 by 0.4 % (one standard error), the same way at every batch size.
EVALUATION = Evaluation(growth=1.1, validation_examples=2000, train_examples=1000)
CHECKS = (1, 2)  # added to the seed

TimeAgain = Callable[[Speed, int], Speed]
Compare = Callable[[Speed, Sequence[Run]], Speed]


@dataclass(frozen=True, kw_only=True)
class AdviseConfig:
    """The question: what is trained, towards which target, and what else counts.

    Args:
        task: Task to train. The options that belong to its model are applied to it.
        recipe: Name of the recipe.
        target: Target to reach.
        objective: What to optimize, and the limits to keep.
        options: Options of the recipe, of plans and of the model, for all runs. With `lr_decay="cosine"` the answer is
            for that schedule.
        current_batch_size: Batch size in use today, to compare with. None: no comparison.
        seed: Seed of the first runs.
        checks: Numbers that are added to the seed for the runs that check the recommendation.
        evaluation: When a run is evaluated, and on what.
        epochs: Length of a run that does not reach the target.
        max_run_time: Seconds of training after which a run ends that has not reached the target. None: no limit.

    Raises:
        UserError: if the settings are not possible, or the law does not cover the recipe.
    """

    task: Task
    recipe: str
    target: Target
    objective: Objective = field(default_factory=Objective)
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    current_batch_size: int | None = None
    seed: int = 0
    checks: Sequence[int] = CHECKS
    evaluation: Evaluation = EVALUATION
    epochs: float = EPOCHS
    max_run_time: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "task", self.task.with_options(self.options))
        object.__setattr__(self, "objective", checked_objective(self.objective))
        _ = self.plan

    @cached_property
    def plan(self) -> Plan:
        """A plan of these options, to see what kind it is."""
        return checked_plan(self.recipe, self.options, examples=self.task.examples, epochs=self.epochs)

    @cached_property
    def recipe_info(self) -> RecipeInfo:
        return recipe_info(self.recipe)

    @cached_property
    def decays(self) -> bool:
        """Whether the learning rate decays over a run, so that its length must be planned."""
        return decays(self.plan)

    @cached_property
    def least_epochs(self) -> float:
        """Epochs that the schedule needs."""
        return least_epochs(self.options)

    @cached_property
    def constant_options(self) -> Mapping[str, OptionValue]:
        """The options of the same recipe at a constant learning rate."""
        return without_decay(self.recipe, self.options) if self.decays else self.options

    def study_key(self, options: Mapping[str, OptionValue]) -> StudyKey:
        """What all runs with these options share. Runs with another limit of time are other runs."""
        limit = {} if self.max_run_time is None else {"max_run_time": self.max_run_time}
        return StudyKey(
            task=self.task.name,
            fingerprint=self.task.fingerprint(),
            parts=self.task.fingerprints(),
            recipe=self.recipe,
            target=None,
            judged_by=self.target,
            epochs=self.epochs,
            settings={**asdict(self.evaluation), **options, **limit, "seed": self.seed},
        )


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """Where the question is answered, until when, and who is told.

    Args:
        folder: Folder of the store. Runs of this task, recipe, options and seed that it has are not made again,
            whatever target, machine or budget they were made for.
        device: Device of the runs. Default: an accelerator if there is one, else cpu.
        deadline: Value of `time.monotonic()` at which the search stops with what it knows by then. None: no limit.
        time_again: Measures the step times around a batch size again. None: the step times stay as they are.
        compare: Compares the step times with those of runs. None: the step times stay as they are.
        progress: Progress display.
        command: Command that the user gave, kept in the record.
        timer: Started when the work began.
    """

    folder: Path
    device: torch.device = field(default_factory=pick_device)
    deadline: float | None = None
    time_again: TimeAgain | None = None
    compare: Compare | None = None
    progress: Display = field(default_factory=Display)
    command: str = ""
    timer: RunTimer = field(default_factory=RunTimer)


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
