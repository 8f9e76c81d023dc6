"""What every command does around its one call: the setting before it, the showing after it."""

from __future__ import annotations

import inspect
import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import torch

from critbatch.arguments import output_folder
from critbatch.cli.showing import show as show
from critbatch.errors import UserError
from critbatch.recipes import RECIPES, options_of, told_of
from critbatch.records.core import Target
from critbatch.records.io import writable
from critbatch.reports.translator import Translator
from critbatch.runtime.device import pick_device, use_threads
from critbatch.runtime.distributed import rank_by_torchrun, started_by_torchrun
from critbatch.runtime.progress import Display, display_on
from critbatch.tasks.builtin import TASKS
from critbatch.tasks.registry import find_task


class Setting:
    """The task, the device, and where records go.

    Args:
        processes: whether the command can run in several processes that `torchrun` started.
    """

    def __init__(
        self,
        task: str,
        *,
        target: float | None = None,
        out: Path | None = None,
        device: str | None = None,
        threads: int | None = None,
        language: str = "en",
        as_json: bool = False,
        processes: bool = False,
    ) -> None:
        self.translator = Translator(language)
        self.speaks = rank_by_torchrun() == 0
        if started_by_torchrun() and not processes:
            raise UserError(
                "This command runs in one process: start it without torchrun. train, noise and scale run in many."
            )
        use_threads(threads)
        self.device: torch.device = pick_device(device)
        self.task_name, self.task = task, find_task(task)
        if target is not None:
            self.task = replace(self.task, target=Target(quantity=self.task.target.quantity, value=target))
        self.out = writable(output_folder(out, self.task.name))
        self.as_json = as_json
        self.command = f"critbatch {shlex.join(sys.argv[1:])}"

    def display(self) -> Display:
        return display_on(sys.stderr, silent=self.as_json or not self.speaks)


def list_tasks(as_json: bool) -> None:
    """The built-in tasks on standard output."""
    if as_json:
        rows = {name: {"description": entry.description, "model": entry.model} for name, entry in TASKS.items()}
        print(json.dumps(rows, indent=1))
        return
    width = max(map(len, TASKS))
    for name, entry in TASKS.items():
        print(f"{name:<{width}}  {entry.model}; {entry.description}")
    print("\nYour own: path/to/file.py:task or package.module:task, where `task` is a critbatch.Task or makes one.")


def list_recipes(name: str | None, as_json: bool) -> None:
    """The recipes on standard output, or all that is to be said of one."""
    names = list(RECIPES) if name is None else [name]
    rows = {one: {"options": options_of(one), **told_of(one)} for one in names}
    if as_json:
        print(json.dumps(rows, indent=1))
    elif name is not None:
        about = rows[name]
        print(f"{name}: {about['paper']}\n  changes  {about['changes']}\n  needs    {about['needs']}\n")
        print(inspect.getdoc(RECIPES[name]))
        print(f"\nOptions: {', '.join(f'{key}={value}' for key, value in options_of(name).items())}")
    else:
        width = max(map(len, names))
        for one in names:
            about = rows[one]
            print(f"{one:<{width}}  {about['paper']}")
            print(f"{'':<{width}}  {about['changes']}; needs {about['needs']}")
        print("\n`critbatch recipes NAME` tells its options; `critbatch train TASK --recipe NAME` trains by it.")
