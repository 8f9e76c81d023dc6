"""The runs that a command measures: their files found, their task made, their models given their weights."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from torch import nn

from critbatch.cli.doing import Setting
from critbatch.errors import UserError
from critbatch.records.loss_surface import Solution
from critbatch.runtime.device import pick_device
from critbatch.tasks.builtin import TASKS
from critbatch.training.checkpoint import load_solution, model_with

Word = TypeVar("Word", bound=StrEnum)


def known(words: type[Word], given: str, option: str) -> Word:
    """The word among those of an enumeration. Raises UserError if it is none of them."""
    if given not in list(words):
        raise UserError(f"{option} {given!r} is not known: use {' or '.join(words)}.")
    return words(given)


class RunsSetting(Setting):
    """As `Setting`, for the task that some runs were made with. Records go beside the first run unless told otherwise.

    Raises:
        UserError: if a file holds no weights, or the runs are of different tasks, or of one that is not built in and
            not given.
    """

    def __init__(
        self,
        runs: list[Path],
        *,
        task: str | None = None,
        out: Path | None = None,
        device: str | None = None,
        threads: int | None = None,
        language: str = "en",
        as_json: bool = False,
    ) -> None:
        found = [load_solution(path, pick_device(device)) for path in runs]
        names = {name for name, _, _ in found} if task is None else {task}
        if len(names) > 1:
            raise UserError(f"The runs are of different tasks ({', '.join(sorted(names))}): give runs of one task.")
        # The file may be anybody's: it does not decide which code runs here.
        if task is None and (foreign := names - TASKS.keys()):
            raise UserError(
                f"{runs[0]} is of the task {foreign.pop()!r}, which is not built in: give your task with --task, as in "
                "--task path/to/file.py:task."
            )
        super().__init__(
            names.pop(), out=out or runs[0].parent, device=device, threads=threads, language=language, as_json=as_json
        )
        self.solutions: dict[str, Solution] = {}
        self.models: dict[str, nn.Module] = {}
        for path, (_, solution, weights) in zip(runs, found, strict=True):
            label = solution.label if solution.label not in self.solutions else f"{solution.label} ({path.parent.name})"
            if label in self.solutions:
                raise UserError(f"{path} was given twice: give each run once.")
            self.solutions[label] = solution
            self.models[label] = model_with(self.task, weights, self.device)

    @property
    def only(self) -> tuple[nn.Module, Solution]:
        """The model and solution of a command that takes one run."""
        (label,) = self.models
        return self.models[label], self.solutions[label]
