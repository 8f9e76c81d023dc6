"""Configuration of an advice: `AdviseConfig` is the question, `RunContext` holds folder, device and deadline."""

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
    """The question: task, recipe, target, objective and limits.

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
        """An example plan with these options; its schedule and phases show what kind of plan it is."""
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
        """Key of the study that holds the runs with these options. Another time limit gives another study."""
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
    """Where runs are made and kept, until when, and where progress is shown.

    Args:
        folder: Folder of the store. Its runs of this task, recipe, options and seed are used again, whatever target,
            machine or budget they were made for.
        device: Device of the runs. Default: an accelerator if there is one, else cpu.
        deadline: Value of `time.monotonic()` at which the search stops with what it knows by then. None: no limit.
        time_again: Measures the step times around a batch size again. None: the step times stay as they are.
        compare: Compares the step times with those of runs. None: the step times stay as they are.
        progress: Progress display.
        command: The user's command, for the record.
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


# Plans that advice can be given for.

# Options that an advice sets, and how the error message explains it.
RESERVED_OPTIONS = {
    "batch_size": "is what advice finds",
    "learning_rate": "is what advice finds",
    "epochs": "is set by advise",
}
# A schedule decays if its last rate is below this share of its peak.
DECAYED_SHARE = 0.99


def checked_plan(recipe: str, options: Mapping[str, OptionValue], *, examples: int, epochs: float) -> Plan:
    """Build an example plan with these options.

    Raises:
        UserError: if there is no such recipe or option, or the law does not cover the plan.
    """
    names = [name for name in (*options_of(recipe), *OF_PLANS) if name not in RESERVED_OPTIONS]
    for name in options:
        if name in RESERVED_OPTIONS:
            raise UserError(f"{name} {RESERVED_OPTIONS[name]}: leave it out.")
        if name not in names and not name.startswith(MODEL):
            raise UserError(f"Recipe {recipe} has no option {name}: it has {', '.join(names)}; or use another recipe.")
    plan = make_plan(recipe, batch_size=min(examples, 64), learning_rate=0.01, epochs=epochs, options=options)
    if any(phase.copies > 1 for phase in plan.phases):
        raise UserError(
            f"Recipe {recipe} averages the weights of several copies, which the law of steps against batch size does "
            "not cover: ask for advice with --recipe sgd or adam, and compare recipes with `critbatch sweep`."
        )
    if plan.needs_noise or len({phase.batch_size for phase in plan.phases}) > 1:
        raise UserError(
            f"Recipe {recipe} changes its batch size during the run, which the law of steps against batch size does "
            "not cover: ask for advice with --recipe sgd or adam, and compare recipes with `critbatch sweep`."
        )
    return plan


def decays(plan: Plan) -> bool:
    """Whether the learning rate ends below its peak, so that a run's length must be planned.

    >>> from critbatch.recipes import sgd
    >>> [decays(sgd(batch_size=8, learning_rate=0.1, epochs=9, lr_decay=decay)) for decay in ("constant", "cosine")]
    [False, True]
    """
    phase = plan.phases[-1]
    return phase.learning_rate(phase.epochs * (1 - 1e-9)) < DECAYED_SHARE * plan.peak


def without_decay(recipe: str, options: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
    """The same options with a constant learning rate after warm-up, if the recipe has that option.

    A recipe that always decays is then the start of a very long run, during which its rate hardly decays.
    """
    constant = {"lr_decay": "constant"} if "lr_decay" in options_of(recipe) else {}
    return {**options, **constant}


def least_epochs(options: Mapping[str, OptionValue]) -> float:
    """Fewest epochs of a plan with these options: the warm-up and a little more, up to the first step of a decay."""
    warm_up = options.get("warmup_epochs") or 0.0
    if isinstance(warm_up, (str, tuple)):
        return 0.0
    return float(warm_up) * (3.0 if options.get("lr_decay") == "step" else 1.25)
