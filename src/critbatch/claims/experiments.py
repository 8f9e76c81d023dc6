"""The experiments behind the claims, as jobs for other processes: runs, studies, escapes, minima, recipes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from critbatch.claims.gd_paths import paths
from critbatch.claims.pool import Job, cached_record
from critbatch.claims.sizing import STUDY_SEEDS, Sizes
from critbatch.claims.tables import recipe_row, untuned_row
from critbatch.errors import UserError
from critbatch.measure.distribution_shift import shift
from critbatch.measure.escape import escape
from critbatch.measure.landscape import landscape
from critbatch.measure.noise_scale import noise
from critbatch.recipes import options_of, plan_of, usual_rate
from critbatch.records.claims import Paths, RecipeRow
from critbatch.records.core import Noise, Outcome, Run
from critbatch.records.io import file_stem, save_record
from critbatch.records.loss_surface import Box, Escape, Landscape, Shift
from critbatch.records.study import Study
from critbatch.runtime.device import pick_device
from critbatch.studies.sweep import sweep
from critbatch.tasks.data import Examples
from critbatch.tasks.registry import find_task
from critbatch.tasks.sampler import Order
from critbatch.tasks.task import Task
from critbatch.training.checkpoint import SUFFIX, load_model, save_solution, solution_of
from critbatch.training.evaluation import Evaluation
from critbatch.training.trainer import Training

EVALUATION = Evaluation(growth=1.25, train_examples=2000, validation_examples=5000)
# Budget in seconds of a study that starts too late: it only reports the runs that there are.
LEAST_BUDGET = 0.05
# The boxes that the claims need; the random subspace is not among them.
BOXES = (Box.FULL, Box.ADAPTIVE)


@dataclass(frozen=True)
class TaskSubset:
    """A task, or a task with the first examples of its training set.

    Args:
        task: Task, or its name.
        examples: Number of training examples. None: all.
        device: Device that it is trained on.
    """

    task: Task | str
    examples: int | None = None
    device: str = "cpu"

    def build(self) -> Task:
        task = find_task(self.task) if isinstance(self.task, str) else self.task
        if self.examples is None or self.examples >= task.examples:
            return task
        if not isinstance(task.train, Examples):
            raise UserError(
                f"Task {task.name!r} has its examples in a Dataset, from which no part can be taken: use tensors."
            )
        return replace(task, train=Examples(*task.train.span(0, self.examples)))


def make_run(
    part: TaskSubset,
    *,
    folder: Path,
    recipe: str,
    batch_size: int,
    epochs: float,
    seed: int,
    pause_at: float | None,
    evaluation: Evaluation = EVALUATION,
) -> Run:
    """Make a run at the recipe's usual rate, and save its record and weights, or read them from the folder."""
    task, rate = part.build(), usual_rate(recipe, batch_size)
    name = f"run-{recipe}-b{batch_size}-lr{rate:g}-seed{seed}"
    record = folder / f"{name}.json"
    if record.is_file() and record.with_name(f"{name}{SUFFIX}").is_file():
        return Run.from_json(record.read_bytes())
    training = Training(
        task,
        plan_of(recipe, batch_size=batch_size, learning_rate=rate, epochs=epochs),
        seed=seed,
        device=pick_device(part.device),
        evaluation=evaluation,
        checkpoint=folder / f"{name}.checkpoint",
    )
    if training.advance(pause_at=pause_at) is Outcome.INTERRUPTED:
        if pause_at is None:
            raise KeyboardInterrupt
        return training.record()
    run = training.record()
    assert file_stem(run) == name
    save_solution(
        folder / f"{name}{SUFFIX}", training.model.state_dict(), task_name=task.name, solution=solution_of(run)
    )
    save_record(run, folder)
    return run


def make_study(part: TaskSubset, *, until: float | None, **settings: Any) -> Study:
    """Make a sweep. Several processes that make the same one share its runs.

    Args:
        part: Task to train.
        until: Value of `time.monotonic()`, which all processes of a machine share. A job that had to wait has only the
            time that is left when it starts.
        settings: Other arguments of `sweep`.
    """
    task = part.task if part.examples is None else part.build()
    budget = None if until is None else max(LEAST_BUDGET, until - time.monotonic())
    return sweep(task, evaluation=EVALUATION, device=pick_device(part.device), budget=budget, **settings)


def make_escape(part: TaskSubset, *, folder: Path, key: str, settings: dict[str, Any], command: str) -> Escape:
    """The escape experiment, cached."""
    key_data = {"task": key, "examples": part.examples, **settings}
    return cached_record(
        folder,
        Escape,
        key_data,
        lambda: escape(part.build(), **settings, device=pick_device(part.device), command=command),
    )


def make_paths(*, folder: Path, draws: int, seed: int, command: str) -> Paths:
    """The paths of two weights on twenty examples, cached."""
    key_data = {"draws": draws, "seed": seed}
    return cached_record(folder, Paths, key_data, lambda: paths(draws=draws, seed=seed, command=command))


def make_noise(part: TaskSubset, *, folder: Path, key: str, settings: dict[str, Any], command: str) -> Noise:
    """The noise scale during a short run, cached."""
    return cached_record(
        folder,
        Noise,
        {"task": key, **settings},
        lambda: noise(part.build(), **settings, device=pick_device(part.device), command=command),
    )


def make_shift(
    part: TaskSubset,
    *,
    folder: Path,
    runs: Path,
    ends: list[Run],
    key: str,
    seed: int,
    examples: int,
    curvature: bool,
    command: str,
) -> Shift:
    """Sharpness of the minima that runs ended in, and the effect of data shifts on them, cached."""
    settings: dict[str, Any] = {"examples": examples, "seed": seed, "curvature": curvature}
    key_data = {"task": key, "runs": [[solution_of(run).label, run.steps] for run in ends], **settings}

    def measure() -> Shift:
        task = part.build()
        models, solutions = _models(task, runs, ends)
        return shift(task, models, solutions=solutions, boxes=BOXES, **settings, command=command)

    return cached_record(folder, Shift, key_data, measure)


def make_line(
    part: TaskSubset, *, folder: Path, runs: Path, ends: list[Run], key: str, examples: int, command: str
) -> Landscape:
    """The loss between the minima of two runs, cached."""
    key_data = {"task": key, "runs": [[solution_of(run).label, run.steps] for run in ends], "examples": examples}

    def measure() -> Landscape:
        task = part.build()
        models, solutions = _models(task, runs, ends)
        return landscape(task, models, solutions=solutions, examples=examples, command=command)

    return cached_record(folder, Landscape, key_data, measure)


def _models(task: Task, folder: Path, ends: list[Run]) -> tuple[dict[str, nn.Module], dict[str, Any]]:
    runs_by_label = {solution_of(run).label: run for run in ends}
    models = {label: load_model(folder / f"{file_stem(run)}.json", task) for label, run in runs_by_label.items()}
    return models, {label: solution_of(run) for label, run in runs_by_label.items()}


# Escapes from where full-batch descent stopped: on surfaces with a known answer, and on examples of the task.

SURFACES = ("surface-saddle", "surface-double-well", "surface-two-weights")
SURFACE = {"starts": 50, "learning_rate": 0.1, "descent_steps": 1000, "steps": 1000}
# If none of 40 starts escapes at either size, the interval of the difference lies below 0.1.
OWN = {"starts": 40, "learning_rate": 0.1, "descent_steps": 1500, "steps": 500, "batch_sizes": (4, 16)}
# All starts move at the same time: a larger full batch would take too long.
EXAMPLES = 128


def escapes(own: TaskSubset, *, name: str, examples: int, folder: Path, key: str, command: str) -> list[Job]:
    """Jobs of the escape experiments. The task's own may fail, if its model cannot be vectorized.

    Args:
        own: The task.
        name: Its name.
        examples: Number of its training examples.
        folder: Folder of the cache.
        key: Fingerprint of the task's model and data.
        command: The user's command, for the record.
    """
    common = {"folder": folder, "command": command}
    surface_jobs = [
        Job(surface, make_escape, {**common, "part": TaskSubset(surface), "key": surface, "settings": SURFACE})
        for surface in SURFACES
    ]
    part = TaskSubset(own.task, min(EXAMPLES, examples))
    return [
        *surface_jobs,
        Job(f"escapes of {name}", make_escape, {**common, "part": part, "key": key, "settings": OWN}, may_fail=True),
    ]


# Recipes with large batches against plain training with small batches, all with the same tuning.

# Recipes of five papers on large batches, and growing batches.
RECIPES = ("goyal2017", "lars2017", "akiba2017", "lamb2020", "swap2020", "smith2017")


@dataclass(frozen=True, kw_only=True)
class RecipeComparison:
    """Studies of one batch size and one recipe each.

    Args:
        part: Task to train.
        plain: The task's own recipe, for the small and the large batch size.
        recipes: Other recipes, for the large batch size.
        small: Small batch size.
        large: Large batch size.
        examples: Number of training examples, the largest size of batches that grow.
        epochs: Length of every run.
        seeds: Seeds of the runs.
        folder: Folder of the studies.
        command: The user's command, for the records.
    """

    part: TaskSubset
    plain: str
    recipes: tuple[str, ...]
    small: int
    large: int
    examples: int
    epochs: float
    seeds: tuple[int, ...]
    folder: Path
    command: str

    def baseline(self, until: float | None) -> Job:
        """The study of the small batch size."""
        return self._study(self.plain, self.small, "small", until, may_fail=False)

    def others(self, baseline: Study | UserError, until: float | None) -> list[Job]:
        """The studies of the large batch size: plain, also with the small size's rate, and each recipe."""
        rate = rate_of(baseline)
        plain = self._study(self.plain, self.large, "large", until, learning_rates=[rate] if rate else None)
        return [plain, *(self._study(name, self.large, "large", until) for name in self.recipes)]

    def rows(self, baseline: Study | UserError | None, others: Sequence[Study | UserError]) -> tuple[RecipeRow, ...]:
        """Table rows, the baseline first. A failed study has no row."""
        studies = [baseline, *others]
        rows = [recipe_row(study) if isinstance(study, Study) else None for study in studies]
        rate, plain = rate_of(baseline), others[0] if others else None
        if rate is not None and isinstance(plain, Study):
            rows.insert(1, untuned_row(plain, rate))
        return tuple(row for row in rows if row is not None)

    def _study(
        self, recipe: str, size: int, place: str, until: float | None, *, may_fail: bool = True, **more: object
    ) -> Job:
        settings = {
            "part": self.part,
            "out": self.folder / f"{place}-{self.epochs:g}",
            "recipe": recipe,
            "batch_sizes": [size],
            "search": "widening",
            "seeds": self.seeds,
            "epochs": self.epochs,
            "stop_at_target": False,
            "fixed_options": {"largest_batch": self.examples} if "largest_batch" in options_of(recipe) else {},
            "until": until,
            "command": self.command,
            **more,
        }
        return Job(f"{recipe}, batch size {size}", make_study, settings, may_fail=may_fail)


def rate_of(study: Study | UserError | None) -> float | None:
    """Best learning rate of a study of one batch size, by steps to target or by the final metric."""
    row = recipe_row(study) if isinstance(study, Study) else None
    return row.learning_rate if row is not None else None


# Two studies: batch sizes at three budgets, and orders of examples.


def study_of_sizes(
    part: TaskSubset,
    sizes: Sizes,
    *,
    recipe: str,
    seeds: tuple[int, ...],
    folder: Path,
    until: float | None,
    command: str,
) -> Job:
    """Study with the rate tuned at each size, and the smallest size's usual rate at all sizes, with all seeds.

    Several processes can share this job.
    """
    learning_rate = float(f"{usual_rate(recipe, sizes.study_sizes[0]):.2g}")  # a rung of the search at that size
    settings = {
        "part": part,
        "out": folder,
        "batch_sizes": sizes.study_sizes,
        "search": "widening",
        "learning_rates": [learning_rate],
        "seeds": seeds[:STUDY_SEEDS],
        "epochs": sizes.study_epochs,
        "steps": sizes.study_steps,
        "seconds": sizes.study_seconds,
        "stop_at_target": False,
        "until": until,
        "command": command,
    }
    return Job("study of batch sizes", make_study, settings)


def study_of_orders(
    part: TaskSubset,
    sizes: Sizes,
    study: Study,
    *,
    seeds: tuple[int, ...],
    folder: Path,
    until: float | None,
    command: str,
) -> Job:
    """Study of steps to target with every order, at the study's tuned size that is nearest to the small one."""
    tuned_sizes = [size for size in (study.analysis.sizes if study.analysis is not None else ()) if size.learning_rate]
    nearest = min(tuned_sizes, key=lambda size: abs(size.batch_size - sizes.small), default=None)
    settings = {
        "part": part,
        "out": folder,
        "batch_sizes": [nearest.batch_size if nearest is not None else sizes.small],
        "learning_rates": [nearest.learning_rate] if nearest is not None else None,
        "seeds": seeds,
        "epochs": sizes.order_epochs,
        "option_grid": {"order": [str(order) for order in Order]},
        "until": until,
        "command": command,
    }
    return Job("ways of shuffling", make_study, settings)
