"""A study: batch sizes with learning rates that are given or searched for, and seeds, by one worker or many."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

import torch

from critbatch.arguments import checked_call, output_folder
from critbatch.errors import UserError
from critbatch.law.clock_check import untimed
from critbatch.measure.step_timer import Clock
from critbatch.records.core import Machine, Setting, Speed, Target
from critbatch.records.study import Question, Study
from critbatch.runtime.device import as_device
from critbatch.runtime.progress import Display
from critbatch.runtime.provenance import Stopwatch
from critbatch.studies.run_key import Terms
from critbatch.studies.spec import lengths_of, pose
from critbatch.studies.store import MACHINE, Store
from critbatch.studies.stored import concluded
from critbatch.studies.supervisor import Crew
from critbatch.studies.worker import Order, tell, work
from critbatch.tasks.registry import as_task
from critbatch.tasks.task import Task
from critbatch.training.evaluation import Evaluation, check_target_on_data
from critbatch.training.state import seconds_to_tell

# Of the clock that turns seconds into steps.
CLOCK_BUDGET = 150.0
LENGTHS = "lengths"


@checked_call
def sweep(
    task: Task | str,
    *,
    out: str | Path | None = None,
    batch_sizes: Sequence[int] | None = None,
    learning_rates: Sequence[float] | None = None,
    search: str | None = None,
    trials: int | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    recipe: str | None = None,
    epochs: float | None = None,
    steps: int | None = None,
    seconds: float | None = None,
    target: Target | Literal["task"] | None = "task",
    stops_at_target: bool = True,
    stops_early: bool = False,
    fixed: Mapping[str, Setting] | None = None,
    varied: Mapping[str, Sequence[Setting]] | None = None,
    workers: int = 1,
    threads: int | None = None,
    storage: str | None = None,
    ray: str | None = None,
    gpus_per_worker: float | None = None,
    device: torch.device | str | None = None,
    budget: float | None = None,
    evaluation: Evaluation | None = None,
    compiled: bool | None = None,
    progress: Display | None = None,
    command: str = "",
) -> Study:
    """Train at every batch size with learning rates tuned there, and with every seed.

    The same call again goes on where the last one ended, however that was: by itself, by Ctrl-C, by the end of its
    budget or of the machine. A call that asks for more makes what is missing. Several calls with one folder or one
    database share the work, on one machine or many, and never make the same run.

    Args:
        task: what is trained, or its name.
        out: the study's folder, `critbatch-out/TASK` unless given: its runs lie there, and the checkpoints of those
            that were broken off.
        batch_sizes: None for steps of a factor 4, from 4 (from 16, above 10,000 examples) to the whole data set,
            as far as the recipe fits the data.
        learning_rates: at every batch size; None searches for the best at each. With a search by widening, both.
        search: "widening" (`critbatch.studies.search`), or a sampler of Optuna's: "tpe", "gp", "cmaes", "qmc",
            "random".
        trials: settings that a sampler tries at each batch size.
        seeds: of the weights and of the order of the examples.
        recipe: its name; None for the task's own.
        epochs, steps, seconds: how long a run is: as long as the longest of those given. Steps and seconds give the
            batch sizes other numbers of epochs. Seconds are those of training alone on this machine.
        target: "task" for the task's own, None for none.
        stops_at_target: a run ends there; else it goes on to its end, and can be judged by any target.
        stops_early: runs that are far behind others of their batch size are ended: `critbatch.studies.early_stopping`.
        fixed: options of the recipe (`critbatch.recipes.options_of`) or of plans, such as `ghost_batch`, for all runs.
        varied: options with several values each, all of which are tried.
        workers: processes that make runs. More than one use one thread each unless `threads` says otherwise.
        threads: of torch.
        storage: the URL of another database than the SQLite file in `out`: PostgreSQL or MySQL, or a file on a shared
            disk as `journal:///path/file.log`.
        ray: the address of a Ray cluster whose nodes make the runs: "auto", "local", `host:port` or `ray://host:port`.
            They want one database: `storage`, or `out` on a disk that all share.
        gpus_per_worker: of Ray, also a part of one. As many cores as `threads` go with it.
        device: the accelerator where there is one, unless given; with `gpus_per_worker` CUDA.
        budget: seconds of wall clock for this call; the runs that it leaves are counted in `Study.left`.
        evaluation: when a run is evaluated, and on what.
        compiled: as that of `Training`. None decides by the clock, so that runs are equal to rounding, not to the bit.
        progress: where to show how far it is.
        command: as the user gave it, for the record.

    Returns:
        The runs that there are by now, those of earlier calls too, and what they say together.

    Raises:
        UserError: if the question cannot be asked of this task, no model can reach the target, the store cannot be
            used, or a worker fails.
    """
    if budget is not None and budget <= 0:
        raise UserError(f"A budget of {budget} seconds allows nothing: use a number above 0.")
    if workers < 1:
        raise UserError(f"workers={workers} is not possible: use 1 or more.")
    if gpus_per_worker is not None and (ray is None or not gpus_per_worker > 0):
        raise UserError(f"gpus_per_worker={gpus_per_worker} is not possible: use a number above 0, and a Ray cluster.")
    watch = Stopwatch()
    device = as_device("cuda" if gpus_per_worker and device is None else device)
    evaluation, show = evaluation or Evaluation(), progress or Display()
    deadline = None if budget is None else watch.began + budget - seconds_to_tell(budget)
    here = as_task(task)
    out = output_folder(out, here.name)
    question = pose(
        here,
        batch_sizes=batch_sizes,
        learning_rates=learning_rates,
        search=search,
        trials=trials,
        seeds=seeds,
        recipe=recipe or here.recipe,
        epochs=epochs,
        steps=steps,
        seconds=seconds,
        target=here.target if target == "task" else target,
        stops_at_target=stops_at_target,
        stops_early=stops_early,
        fixed=fixed,
        varied=varied,
    )
    if question.target is not None:
        at = device if ray is None else torch.device("cpu")  # that of the nodes need not be here
        check_target_on_data(here, question.target, evaluation=evaluation, device=at, seed=question.seeds[0])
    terms = terms_of(here, question, evaluation, device)
    with Store.open(out, terms, url=storage) as store:
        speed = None
        if seconds is not None:
            # Where the lengths of runs are agreed on, their clock stays what it is.
            anew = any(store.agreed(f"{LENGTHS} {size}") is None for size in question.batch_sizes)
            speed = _clock(here, question, out, device, deadline, show, command, anew=anew)
        lengths = _agreed_lengths(store, question, here.examples, speed)
        order = Order(
            task=task,
            question=question,
            terms=terms,
            lengths=lengths,
            evaluation=evaluation,
            device=str(device),
            folder=out,
            url=storage,
            threads=threads if threads is not None or (workers == 1 and ray is None) else 1,
            compiled=compiled,
        )

        def study() -> Study:
            own = device if ray is None else torch.device("cpu")
            provenance = watch.provenance(command=command, seed=question.seeds[0], device=own)
            if ray is not None and (theirs := store.agreed(MACHINE)) is not None:
                provenance = replace(provenance, machine=Machine.from_json(theirs))
            return Study(question=question, unit=here.unit, examples=here.examples, speed=speed, provenance=provenance)

        store.tell(study(), ended=False)
        show.update(stage=f"sweep of {here.name}", deadline=deadline)
        if workers == 1 and ray is None:
            work(order, store, pause_at=deadline, show=show)
        else:
            crew = _crew_of(order, workers, ray, gpus_per_worker, store, here.examples, deadline, show)
            crew.work()
        told = concluded(study(), store)
        store.tell(told, ended=True)
    show.update(trying="", part=None, running=None, done=len(told.runs))
    return told


def terms_of(task: Task, question: Question, evaluation: Evaluation, device: torch.device) -> Terms:
    """What the runs of this question share. Those of another kind of device have other seconds: they are kept apart."""
    return Terms(
        task=question.task,
        fingerprint=question.fingerprint,
        parts=task.fingerprints(),
        recipe=question.recipe,
        target=question.target if question.stops_at_target else None,
        judged_by=question.target,
        epochs=question.epochs,
        settings={
            **asdict(evaluation),
            **question.fixed,
            "device": device.type,
            "length in steps": question.steps,
            "length in seconds": question.seconds,
            "stops early": question.stops_early,
        },
    )


def _clock(
    task: Task,
    question: Question,
    out: Path,
    device: torch.device,
    deadline: float | None,
    show: Display,
    command: str,
    *,
    anew: bool,
) -> Speed:
    left = CLOCK_BUDGET if deadline is None else min(CLOCK_BUDGET, max(1e-3, deadline - time.monotonic()))
    clock = Clock(
        task,
        recipe=question.recipe,
        device=as_device(str(device)),
        seed=question.seeds[0],
        folder=out,
        budget=left,
        deadline=deadline,
        show=show,
        command=command,
    )
    speed = clock.take(question.batch_sizes, anew=anew)
    if lacking := untimed(speed, question.batch_sizes):
        raise UserError(
            f"The budget ended before a step of batch size {lacking[0]} was timed: give the same command again, which "
            "goes on from there, or more time with --budget."
        )
    return speed


def _agreed_lengths(store: Store, question: Question, examples: int, speed: Speed | None) -> dict[int, float]:
    """Epochs of a run by its batch size. Lengths by a clock are those of whoever measured first."""
    lengths = lengths_of(question, examples, speed)
    if question.seconds is None:
        return lengths
    agreed = {
        size: json.loads(store.agree(f"{LENGTHS} {size}", json.dumps(length))) for size, length in lengths.items()
    }
    return {size: float(length) for size, length in agreed.items()}


def _crew_of(
    order: Order,
    workers: int,
    ray: str | None,
    gpus: float | None,
    store: Store,
    examples: int,
    deadline: float | None,
    show: Display,
) -> Crew:
    most = {size: length * examples for size, length in order.lengths.items()}

    def now() -> int:
        return tell(order, store.look(), most, show, trying=None)

    if ray is None:
        return Crew(order, workers, store, pause_at=deadline, tell=now)
    from critbatch.studies.ray_backend import RayCrew

    return RayCrew(order, workers, store, pause_at=deadline, tell=now, address=ray, gpus=gpus)
