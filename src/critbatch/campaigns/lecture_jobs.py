"""What the lecture measures in other processes: pairs of runs, studies, escapes, the minima that runs ended in."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from critbatch.campaigns.kept import kept
from critbatch.errors import UserError
from critbatch.measure.distribution_shift import shift
from critbatch.measure.escape import escape
from critbatch.measure.landscape import landscape
from critbatch.measure.noise_scale import noise
from critbatch.measure.paths import paths
from critbatch.recipes import plan_of, usual_rate
from critbatch.records.claims import Paths
from critbatch.records.core import Noise, Outcome, Run
from critbatch.records.io import file_stem, save_record
from critbatch.records.loss_surface import Box, Escape, Landscape, Shift
from critbatch.records.study import Study
from critbatch.runtime.device import pick_device
from critbatch.studies.sweep import sweep
from critbatch.tasks.data import Examples
from critbatch.tasks.registry import find_task
from critbatch.tasks.task import Task
from critbatch.training.checkpoint import SUFFIX, load_model, save_solution, solution_of
from critbatch.training.evaluation import Evaluation
from critbatch.training.trainer import Training

EVALUATION = Evaluation(growth=1.25, train_examples=2000, validation_examples=5000)
# Seconds of a study that began too late: it tells what there is.
LEAST_BUDGET = 0.05
# What the claims ask for, without the random subspace.
BOXES = (Box.FULL, Box.ADAPTIVE)


@dataclass(frozen=True)
class Part:
    """A task, or the first examples of its training set.

    Args:
        task: or its name.
        examples: of the training set; None for all.
        device: where it is trained.
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
                f"Task {task.name!r} has its examples in a Dataset, of which no part can be taken here: give tensors."
            )
        return replace(task, train=Examples(*task.train.span(0, self.examples)))


def make_run(
    part: Part,
    *,
    folder: Path,
    recipe: str,
    batch_size: int,
    epochs: float,
    seed: int,
    pause_at: float | None,
    evaluation: Evaluation = EVALUATION,
) -> Run:
    """A run at the recipe's usual rate, with its record and weights in the folder; made once."""
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


def make_study(part: Part, *, until: float | None, **settings: Any) -> Study:
    """A sweep; several processes that make the same one share its runs.

    Args:
        until: a value of `time.monotonic()`, which the processes of a machine share. The job may have waited for
            others: what it has is the time that is left when it begins.
    """
    whole = part.task if part.examples is None else part.build()
    budget = None if until is None else max(LEAST_BUDGET, until - time.monotonic())
    return sweep(whole, evaluation=EVALUATION, device=pick_device(part.device), budget=budget, **settings)


def make_escape(part: Part, *, folder: Path, key: str, settings: dict[str, Any], command: str) -> Escape:
    """The escape experiment; made once."""
    asked = {"task": key, "examples": part.examples, **settings}
    return kept(
        folder,
        Escape,
        asked,
        lambda: escape(part.build(), **settings, device=pick_device(part.device), command=command),
    )


def make_paths(*, folder: Path, draws: int, seed: int, command: str) -> Paths:
    """Two weights and twenty examples; made once."""
    asked = {"draws": draws, "seed": seed}
    return kept(folder, Paths, asked, lambda: paths(draws=draws, seed=seed, command=command))


def make_noise(part: Part, *, folder: Path, key: str, settings: dict[str, Any], command: str) -> Noise:
    """The noise scale along a short run; made once."""
    return kept(
        folder,
        Noise,
        {"task": key, **settings},
        lambda: noise(part.build(), **settings, device=pick_device(part.device), command=command),
    )


def make_shift(
    part: Part,
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
    """Sharpness of the ends of runs, and what shifts of the data do to them; made once."""
    settings: dict[str, Any] = {"examples": examples, "seed": seed, "curvature": curvature}
    asked = {"task": key, "runs": [[solution_of(run).label, run.steps] for run in ends], **settings}

    def measure() -> Shift:
        task = part.build()
        models, solutions = _models(task, runs, ends)
        return shift(task, models, solutions=solutions, boxes=BOXES, **settings, command=command)

    return kept(folder, Shift, asked, measure)


def make_line(
    part: Part, *, folder: Path, runs: Path, ends: list[Run], key: str, examples: int, command: str
) -> Landscape:
    """The loss between the ends of two runs; made once."""
    asked = {"task": key, "runs": [[solution_of(run).label, run.steps] for run in ends], "examples": examples}

    def measure() -> Landscape:
        task = part.build()
        models, solutions = _models(task, runs, ends)
        return landscape(task, models, solutions=solutions, examples=examples, command=command)

    return kept(folder, Landscape, asked, measure)


def _models(task: Task, folder: Path, ends: list[Run]) -> tuple[dict[str, nn.Module], dict[str, Any]]:
    found = {solution_of(run).label: run for run in ends}
    models = {label: load_model(folder / f"{file_stem(run)}.json", task) for label, run in found.items()}
    return models, {label: solution_of(run) for label, run in found.items()}
