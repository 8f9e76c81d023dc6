"""The weights that a run ended with, kept beside its record, so that minima can be measured and compared later."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from critbatch.arguments import as_path, checked_call
from critbatch.checkpoint import load_file, save_checkpoint
from critbatch.errors import UserError
from critbatch.records.core import Run
from critbatch.records.loss_surface import Solution
from critbatch.runtime.device import as_device
from critbatch.tasks.registry import as_task
from critbatch.tasks.task import Task

SUFFIX = ".weights.pt"


def solution_of(run: Run) -> Solution:
    """The run's weights, named by what tells it from others."""
    return Solution(
        label=f"{run.recipe}, B={run.batch_size}, lr={run.learning_rate:g}, seed {run.seed}",
        recipe=run.recipe,
        batch_size=run.batch_size,
        learning_rate=run.learning_rate,
        seed=run.seed,
        steps=run.steps,
    )


def save_solution(path: Path, weights: dict[str, Any], *, task_name: str, solution: Solution) -> Path:
    """Write the weights to `path`, whole or not at all.

    Args:
        weights: the state of the model.
        task_name: the word by which `critbatch.find_task` finds the task again.
    """
    save_checkpoint(path, {"task": task_name, "solution": solution.to_json(), "model": weights})
    return path


def load_solution(path: Path, device: torch.device) -> tuple[str, Solution, dict[str, Any]]:
    """The task's name, the solution, and the weights of a file that `save_solution` wrote, or of the record beside it.

    Raises:
        UserError: if there is no such file, or it holds something else.
    """
    file = path.with_name(path.stem + SUFFIX) if path.suffix == ".json" else path
    if not file.is_file():
        raise UserError(
            f"There is no {file}: give the {SUFFIX} file, or the run-….json beside it, that `critbatch train` wrote."
        )
    remedy = f"give a {SUFFIX} file that `critbatch train` wrote"
    state = load_file(file, device, remedy=remedy)
    name, solution, weights = (state.get(key) for key in ("task", "solution", "model"))
    if not isinstance(name, str) or not isinstance(solution, str) or not _is_state(weights):
        raise UserError(f"{file} holds no weights of a run: {remedy}.")
    return name, _solution(solution, file, remedy), weights


def _is_state(weights: object) -> TypeGuard[dict[str, Any]]:
    """Whether it is a dict of tensors by name. A module's own extra state may be anything."""
    return isinstance(weights, dict) and all(
        isinstance(name, str) and (isinstance(part, Tensor) or name.endswith("_extra_state"))
        for name, part in weights.items()
    )


def _solution(text: str, file: Path, remedy: str) -> Solution:
    try:
        return Solution.from_json(text)
    except ValueError as error:
        raise UserError(f"{file} does not say which run its weights are of: {remedy}.") from error


def model_with(task: Task, weights: dict[str, Any], device: torch.device) -> nn.Module:
    """A model of the task with these weights.

    Raises:
        UserError: if they belong to another model, or are not finite.
    """
    model = task.new_model(0, device)
    try:
        model.load_state_dict(weights)
    except Exception as error:
        raise UserError(
            f"The weights do not fit the model of task {task.name!r}: use the task that the run was made with."
        ) from error
    for name, weight in model.named_parameters():
        if not weight.detach().isfinite().all():
            raise UserError(
                f"The weights of {name} hold NaN or infinity, as those of a run that diverged do: use another run."
            )
    for name, buffer in model.named_buffers():
        if buffer.isnan().any():  # infinity may be meant, in a mask of attention
            raise UserError(f"The buffer {name} beside the weights holds NaN: use another run.")
    return model


@checked_call
def load_model(path: str | Path, task: Task | str, device: torch.device | str | None = None) -> nn.Module:
    """The model that a run of `task` ended with, from the file that `critbatch train` kept beside its record.

    Raises:
        UserError: if there is no such file, or its weights belong to another model.
    """
    place = as_device(device) if device is not None else torch.device("cpu")
    return model_with(as_task(task), load_solution(as_path(path), place)[2], place)
