"""The lecture, live: every one of its claims measured on a task, and told whether it held."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from critbatch.arguments import as_file_name, checked_call, output_folder, process_limit
from critbatch.campaigns.lecture_campaign import LectureCampaign
from critbatch.campaigns.lecture_jobs import EVALUATION
from critbatch.campaigns.lecture_networks import refuse_unknown
from critbatch.campaigns.lecture_size import LARGE_SET_SECONDS, SMALL_SET_SECONDS, two_sizes
from critbatch.errors import UserError
from critbatch.records.claims import ClaimName, Lecture
from critbatch.runtime.device import as_device
from critbatch.runtime.progress import Display
from critbatch.studies.liveness import FolderLock
from critbatch.studies.spec import LARGE_SET
from critbatch.tasks.registry import as_task
from critbatch.tasks.task import Task
from critbatch.training.evaluation import check_target_on_data


@checked_call
def lecture(
    task: Task | str = "digits-mlp",
    *,
    out: str | Path | None = None,
    claims: Sequence[int] | None = None,
    seeds: int = 5,
    small: int | None = None,
    large: int | None = None,
    networks: Sequence[str] | None = None,
    full: bool = False,
    workers: int | None = None,
    device: torch.device | str | None = None,
    budget: float | None = None,
    progress: Display | None = None,
    command: str = "",
) -> Lecture:
    """Measure each claim of the lecture on mini-batches on this task and machine, and say whether it held.

    The ten claims are those of `critbatch.records.claims.ClaimName`, in their order. Each is judged by effects with
    intervals over seeds: held, not held, or undecided. Experiments are as long as the clock of the task allows within
    the time. Everything that was measured is in the folder: the same call again goes on where the last one ended.

    Args:
        task: what is trained, or its name.
        out: the folder; `critbatch-out/lecture-TASK` unless given.
        claims: their numbers, 1 to 10; all unless given.
        seeds: of the runs that are compared. One decides nothing.
        small, large: the two batch sizes that are compared; 64 and a tenth of the data set as a power of two, or 16 and
            a third of it below 10,000 examples.
        networks: of Keskar et al. 2016 beside the task's own: "keskar-f1" to "keskar-c4". Unless given none for a
            small task, else F1 and C1 at reduced size where their data are at hand.
        full: all six of them, whole.
        workers: processes that make runs, one thread each; as many as there are cores, one where there is an
            accelerator.
        device: the accelerator where there is one, unless given.
        budget: seconds of wall clock; unless given the runs are planned for 4 minutes, or 35 for a large task, and all
            are made.
        progress: where to show how far it is.
        command: as the user gave it, for the record.

    Returns:
        What was measured, and the verdicts.

    Raises:
        UserError: if a setting is not possible, or the folder cannot be used.
        KeyboardInterrupt: at Ctrl-C; what was measured is in the folder.
    """
    here = as_task(task)
    out = lecture_folder(out, task)
    first, last = two_sizes(here.examples, small, large)
    if seeds < 1:
        raise UserError(f"seeds={seeds} is not possible: use 1 or more; with one, claims stay undecided.")
    if budget is not None and not budget > 0:
        raise UserError(f"A budget of {budget} seconds allows nothing: use a number above 0.")
    device = as_device(device)
    if workers is None:
        workers = min(os.cpu_count() or 1, process_limit().most) if device.type == "cpu" else 1
    if workers < 1:
        raise UserError(f"workers={workers} is not possible: use 1 or more.")
    planned = LARGE_SET_SECONDS if here.examples >= LARGE_SET else SMALL_SET_SECONDS
    asked = asked_claims(claims)
    refuse_unknown(networks or ())
    check_target_on_data(here, here.target, evaluation=EVALUATION, device=device)
    campaign = LectureCampaign(
        task=task,
        here=here,
        folder=out,
        asked=asked,
        seeds=seeds,
        small=first,
        large=last,
        networks=networks,
        full=full,
        workers=workers,
        device=device,
        planned=planned if budget is None else budget,
        budget=budget,
        show=progress or Display(),
        command=command,
    )
    lock = FolderLock(out, alone=True)
    try:
        return campaign.lecture()
    finally:
        lock.release()


def lecture_folder(out: str | Path | None, task: Task | str) -> Path:
    """The folder `out`, or `critbatch-out/lecture-TASK` where it is None."""
    name = task.rpartition(":")[2] or task if isinstance(task, str) else task.name
    return output_folder(out, f"lecture-{as_file_name(name)}")


def asked_claims(numbers: Sequence[int] | None) -> tuple[ClaimName, ...]:
    """The claims with these numbers, in the lecture's order; all where None.

    >>> asked_claims([9, 3])
    (<ClaimName.TIME: 'time'>, <ClaimName.CHOICE: 'choice'>)
    """
    names = list(ClaimName)
    if numbers is None:
        return tuple(names)
    strange = [number for number in numbers if not 1 <= number <= len(names)]
    if strange or not numbers:
        raise UserError(f"claims={list(numbers)} is not possible: give numbers from 1 to {len(names)}.")
    return tuple(names[number - 1] for number in sorted(set(numbers)))
