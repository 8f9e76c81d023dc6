"""What a command does around its one call: find the task and the device before it, save and show the record after it.

Each class below documents the options that all commands with this context have. Importing this module imports no torch,
so that `critbatch fit` starts at once.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from critbatch.arguments import output_folder
from critbatch.errors import UserError
from critbatch.records.core import Record, Target
from critbatch.records.io import blamed_on_records, load_records, save_record, writable
from critbatch.reports.translator import Translator
from critbatch.runtime.progress import Display, display_on

if TYPE_CHECKING:
    import torch
    from torch import nn

    from critbatch.records.loss_surface import Solution

Result = TypeVar("Result", bound=Record)

MANY_PROCESSES = ("train", "noise", "scale")


class OutputContext:
    """Where the record goes, and how the command speaks.

    Args:
        name: Name of the folder below critbatch-out, unless `out` is given.
        out: Folder for the record and the report. Default: critbatch-out/NAME.
        language: Language of the answer and of the report.
        json: Print the record as JSON, and nothing else.
        quiet: Print only the answer: no progress, no notes.
        verbose: Print each step of the progress on a line of its own.
    """

    def __init__(
        self,
        name: str,
        *,
        out: str | None = None,
        language: str = "en",
        json: bool = False,
        quiet: bool = False,
        verbose: bool = False,
    ) -> None:
        if quiet and verbose:
            raise UserError("--quiet and --verbose exclude each other: give one of them.")
        self.translator = Translator(language)
        self.out = writable(output_folder(out, name))
        self.json, self.quiet, self.verbose = json, quiet, verbose
        self.command = f"critbatch {shlex.join(sys.argv[1:])}"
        self.is_main_process = True

    def display(self) -> Display:
        """Progress on standard error."""
        silent = self.json or self.quiet or not self.is_main_process
        return display_on(sys.stderr, silent=silent, every_line=self.verbose)

    def show(self, record: Record) -> None:
        """Save the record, write the report of all records in the folder, and print the answer."""
        from critbatch.reports.views.chapters import summary
        from critbatch.reports.write import report

        if not self.is_main_process:
            return
        save_record(record, self.out)
        with blamed_on_records(self.out):
            path = report(load_records(self.out), self.out / "report.html", language=self.translator.language)
        if self.json:
            print(record.to_json(indent=1))
        else:
            print(summary(record, self.translator.language))
            if not self.quiet:
                print(f"\n{path}")


class TaskContext(OutputContext):
    """The task, the device, and where the record goes.

    Args:
        task: A built-in task, or your own: path/to/file.py:task or package.module:task.
        out: Folder for runs, records and report. Default: critbatch-out/TASK.
        device: Device, such as cpu, cuda or cuda:1. Default: an accelerator if there is one, else cpu.
        threads: Threads of torch in this process. Default: torch's choice.
    """

    def __init__(
        self,
        task: str,
        *,
        out: str | None = None,
        device: str | None = None,
        threads: int | None = None,
        **output: Any,
    ) -> None:
        from critbatch.runtime.device import pick_device, use_threads
        from critbatch.runtime.distributed import rank_by_torchrun, started_by_torchrun
        from critbatch.tasks.registry import find_task

        if started_by_torchrun() and sys.argv[1:2] and sys.argv[1] not in MANY_PROCESSES:
            *others, last = MANY_PROCESSES
            raise UserError(
                f"This command runs in one process: start it without torchrun. {', '.join(others)} and {last} run in "
                "many."
            )
        use_threads(threads)
        self.threads = threads
        self.device: torch.device = pick_device(device)
        self.device_is_given = device is not None
        self.task_name, self.task = task, find_task(task)
        super().__init__(self.task.name, out=out, **output)
        self.is_main_process = rank_by_torchrun() == 0

    def set_target(self, value: float | None) -> None:
        """Another value for the target of the task."""
        if value is not None:
            self.task = replace(self.task, target=Target(quantity=self.task.target.quantity, value=value))

    def measure(self, call: Callable[..., Result], **options: Any) -> Result:
        """Call a measurement that reports its stage, the work done and the work in all."""
        with self.display() as display:
            return call(
                self.task,
                device=self.device,
                progress=lambda stage, done, total: display.update(stage=stage, done=done, total=total),
                command=self.command,
                **options,
            )


class RunsContext(TaskContext):
    """The runs that a command measures, their task, and where the record goes.

    Args:
        runs: Files that `critbatch train` wrote: run-….json, or its .weights.pt.
        task: Task of the runs, if it is not a built-in one. Default: as the runs say.
        out: Folder for record and report. Default: beside the first run.
    """

    def __init__(
        self,
        runs: Sequence[str],
        *,
        task: str | None = None,
        out: str | None = None,
        device: str | None = None,
        **settings: Any,
    ) -> None:
        from critbatch.runtime.device import pick_device
        from critbatch.tasks.builtin import TASKS
        from critbatch.training.checkpoint import load_solution, model_with

        paths = [Path(run) for run in runs]
        loaded = [load_solution(path, pick_device(device)) for path in paths]
        names = {name for name, _, _ in loaded} if task is None else {task}
        if len(names) > 1:
            raise UserError(f"The runs are of different tasks ({', '.join(sorted(names))}): give runs of one task.")
        # The file may come from anybody: it does not decide which code runs here.
        if task is None and (foreign := names - TASKS.keys()):
            raise UserError(
                f"{paths[0]} is of the task {foreign.pop()!r}, which is not built in: give your task with --task, as "
                "in --task path/to/file.py:task."
            )
        super().__init__(names.pop(), out=out or str(paths[0].parent), device=device, **settings)
        self.solutions: dict[str, Solution] = {}
        self.models: dict[str, nn.Module] = {}
        for path, (_, solution, weights) in zip(paths, loaded, strict=True):
            label = solution.label if solution.label not in self.solutions else f"{solution.label} ({path.parent.name})"
            if label in self.solutions:
                raise UserError(f"{path} was given twice: give each run once.")
            self.solutions[label] = solution
            self.models[label] = model_with(self.task, weights, self.device)


class RunContext(RunsContext):
    """The run that a command measures, its task, and where the record goes.

    Args:
        run: File that `critbatch train` wrote: run-….json, or its .weights.pt.
        task: Task of the run, if it is not a built-in one. Default: as the run says.
        out: Folder for record and report. Default: beside the run.
    """

    def __init__(self, run: str, *, task: str | None = None, out: str | None = None, **settings: Any) -> None:
        super().__init__([run], task=task, out=out, **settings)
        (label,) = self.models
        self.model, self.solution = self.models[label], self.solutions[label]


class ClaimsContext(TaskContext):
    """As TaskContext, with a folder of its own.

    Args:
        task: A built-in task, or your own: path/to/file.py:task or package.module:task. Default: digits-mlp.
        out: Folder for runs, records and report. Default: critbatch-out/claims-TASK.
    """

    def __init__(self, task: str = "digits-mlp", *, out: str | None = None, **settings: Any) -> None:
        from critbatch.claims.run import claims_folder

        super().__init__(task, out=str(claims_folder(out, task)), **settings)
