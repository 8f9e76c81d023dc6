"""A study: batch sizes with learning rates that are given or searched for, and seeds, by one worker or many."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

import torch

from critbatch.arguments import checked_call, current_options, output_folder, renamed_arguments
from critbatch.errors import UserError
from critbatch.law.clock_check import untimed
from critbatch.measure.step_timer import StepTimer
from critbatch.records.core import Machine, OptionValue, Speed, Target
from critbatch.records.study import Study, StudySpec
from critbatch.runtime.device import as_device
from critbatch.runtime.progress import Display
from critbatch.runtime.provenance import RunTimer
from critbatch.studies.run_key import StudyKey
from critbatch.studies.spec import build_spec, lengths_of
from critbatch.studies.store import MACHINE, Store
from critbatch.studies.stored import study_from_store
from critbatch.studies.supervisor import WorkerSupervisor
from critbatch.studies.worker import WorkerJob, report_progress, work
from critbatch.tasks.registry import as_task
from critbatch.tasks.task import Task
from critbatch.training.evaluation import Evaluation, check_target_on_data
from critbatch.training.state import seconds_for_report

# Seconds for the timing that converts seconds into steps.
CLOCK_BUDGET = 150.0
LENGTHS = "lengths"


@renamed_arguments(
    stops_at_target="stop_at_target",
    stops_early="prune",
    fixed="fixed_options",
    varied="option_grid",
    compiled="compile",
)
@checked_call
def sweep(
    task: Task | str,
    *,
    batch_sizes: Sequence[int] | None = None,
    learning_rates: Sequence[float] | None = None,
    search: Literal["widening", "tpe", "gp", "cmaes", "qmc", "random"] | None = None,
    trials: int | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    recipe: str | None = None,
    epochs: float | None = None,
    steps: int | None = None,
    seconds: float | None = None,
    target: Target | Literal["task"] | None = "task",
    stop_at_target: bool = True,
    prune: bool = False,
    fixed_options: Mapping[str, OptionValue] | None = None,
    option_grid: Mapping[str, Sequence[OptionValue]] | None = None,
    workers: int = 1,
    threads: int | None = None,
    storage: str | None = None,
    ray: str | None = None,
    gpus_per_worker: float | None = None,
    compile: bool = False,
    out: str | Path | None = None,
    device: torch.device | str | None = None,
    budget: float | None = None,
    evaluation: Evaluation | None = None,
    progress: Display | None = None,
    command: str = "",
) -> Study:
    """Train at every batch size with tuned rates and several seeds.

    The same call again continues where the last one stopped: at its end, at Ctrl-C, at the end of its budget or when
    the machine failed. A call that asks for more runs what is missing. Several calls with the same folder or database
    share the work, on one machine or many, and never repeat a run.

    Args:
        task: Task, or its name: a built-in task, path/to/file.py:task or package.module:task.
        batch_sizes: Batch sizes to study. Default: steps of a factor 4 from 4 (from 16 above 10,000 examples) to the
            whole data set, as far as the recipe fits the data.
        learning_rates: Learning rates to try at every batch size. Together with search "widening", the search starts
            from them. Default: searched at each size.
        search: Search over learning rates: "widening", a grid that widens, or a sampler of Optuna.
            Default: widening, or only the given learning rates.
        trials: Settings that a sampler of Optuna tries at each batch size. Default: 10.
        seeds: Seeds of the weights and of the order of the examples.
        recipe: Recipe; `critbatch recipes` lists them. Default: the task's own.
        epochs: Length of a run that does not reach the target, in epochs. Of epochs, steps and seconds, the longest
            counts. Default: 20, unless steps or seconds are given.
        steps: Length of a run in steps, equal for all batch sizes. Default: no such length.
        seconds: Length of a run in seconds of training, equal for all batch sizes. They are measured with one run alone
            on this machine. Default: no such length.
        target: Validation metric or validation loss to reach; None for no target. Default: the task's own.
        stop_at_target: Stop a run at the target. Otherwise it runs to its end, and any target can be evaluated later.
        prune: Stop runs that are far behind others of their batch size, by successive halving.
        fixed_options: Option of the recipe, for all runs. `critbatch recipes NAME` lists them; options of plans, such
            as `ghost_batch`, work too. Default: the recipe's own values.
        option_grid: Option of the recipe with several values, all of which are tried. Default: no such option.
        workers: Processes that make runs. Several use one thread each, unless `threads` is given.
        threads: Threads of torch. Default: torch's choice, or 1 with several workers.
        storage: URL of a database, to share the study between machines: PostgreSQL or MySQL. Default: a SQLite file in
            the folder.
        ray: Address of a Ray cluster that makes the runs: auto, local, host:port or ray://host:port. Its nodes need
            one database: `storage`, or a folder on a disk that they share. Default: this machine.
        gpus_per_worker: GPUs of each Ray worker, also a part of one. It gets `threads` cores, too. Default: 1 with
            CUDA.
        compile: Compile the model of each run with `torch.compile`, as in `Training`.
        out: Folder for runs, records and report, and for checkpoints of runs that were interrupted. Default:
            critbatch-out/TASK.
        device: Device, such as cpu, cuda or cuda:1. With `gpus_per_worker` it is cuda. Default: an accelerator if there
            is one, else cpu.
        budget: Wall-clock limit in seconds for this call. `Study.left` counts the runs that are left. Default: no
            limit.
        evaluation: When a run is evaluated, and on how many examples. Default: `Evaluation()`.
        progress: Where progress is shown.
        command: Command that the user gave, kept in the record.

    Returns:
        All runs so far, also of earlier calls, and their analysis.

    Raises:
        UserError: if an argument does not fit the task, no model can reach the target, the store cannot be used, or a
            worker fails.
    """
    if budget is not None and budget <= 0:
        raise UserError(f"A budget of {budget} seconds allows nothing: use a number above 0.")
    if workers < 1:
        raise UserError(f"workers={workers} is not possible: use 1 or more.")
    if gpus_per_worker is not None and (ray is None or not gpus_per_worker > 0):
        raise UserError(f"gpus_per_worker={gpus_per_worker} is not possible: use a number above 0, and a Ray cluster.")
    timer = RunTimer()
    device = as_device("cuda" if gpus_per_worker and device is None else device)
    evaluation, display = evaluation or Evaluation(), progress or Display()
    deadline = None if budget is None else timer.began + budget - seconds_for_report(budget)
    study_task = as_task(task)
    out = output_folder(out, study_task.name)
    question = build_spec(
        study_task,
        batch_sizes=batch_sizes,
        learning_rates=learning_rates,
        search=search,
        trials=trials,
        seeds=seeds,
        recipe=recipe or study_task.recipe,
        epochs=epochs,
        steps=steps,
        seconds=seconds,
        target=study_task.target if target == "task" else target,
        stops_at_target=stop_at_target,
        prune=prune,
        fixed=current_options(fixed_options or {}, notice=True),
        varied=current_options(option_grid or {}, notice=True),
    )
    if question.target is not None:
        at = device if ray is None else torch.device("cpu")  # this machine may lack the device of the nodes
        check_target_on_data(study_task, question.target, evaluation=evaluation, device=at, seed=question.seeds[0])
    terms = terms_of(study_task, question, evaluation, device)
    with Store.open(out, terms, url=storage) as store:
        speed = None
        if seconds is not None:
            # Keep the old timing once the lengths of the runs are shared.
            anew = any(store.get_shared(f"{LENGTHS} {size}") is None for size in question.batch_sizes)
            speed = _measure_speed(study_task, question, out, device, deadline, display, command, anew=anew)
        lengths = _shared_lengths(store, question, study_task.examples, speed)
        job = WorkerJob(
            task=task,
            question=question,
            terms=terms,
            lengths=lengths,
            evaluation=evaluation,
            device=str(device),
            folder=out,
            url=storage,
            threads=threads if threads is not None or (workers == 1 and ray is None) else 1,
            compiled=compile,
        )

        def study() -> Study:
            own = device if ray is None else torch.device("cpu")
            provenance = timer.provenance(command=command, seed=question.seeds[0], device=own)
            if ray is not None and (ray_machine := store.get_shared(MACHINE)) is not None:
                provenance = replace(provenance, machine=Machine.from_json(ray_machine))
            return Study(
                question=question,
                unit=study_task.unit,
                examples=study_task.examples,
                speed=speed,
                provenance=provenance,
            )

        store.save_study(study(), ended=False)
        display.update(stage=f"sweep of {study_task.name}", deadline=deadline)
        if workers == 1 and ray is None:
            work(job, store, pause_at=deadline, display=display)
        else:
            supervisor = _make_supervisor(
                job, workers, ray, gpus_per_worker, store, study_task.examples, deadline, display
            )
            supervisor.work()
        result = study_from_store(study(), store)
        store.save_study(result, ended=True)
    display.update(trying="", part=None, running=None, done=len(result.runs))
    return result


def terms_of(task: Task, question: StudySpec, evaluation: Evaluation, device: torch.device) -> StudyKey:
    """The key that the runs of a study share. It holds the kind of device, since run times depend on it."""
    return StudyKey(
        task=question.task,
        fingerprint=question.fingerprint,
        parts=task.fingerprints(),
        recipe=question.recipe,
        target=question.target if question.stops_at_target else None,
        judged_by=question.target,
        epochs=question.epochs,
        settings={
            **asdict(evaluation),
            **question.fixed_options,
            "device": device.type,
            "length in steps": question.steps,
            "length in seconds": question.seconds,
            "stops early": question.prune,
        },
    )


def _measure_speed(
    task: Task,
    question: StudySpec,
    out: Path,
    device: torch.device,
    deadline: float | None,
    display: Display,
    command: str,
    *,
    anew: bool,
) -> Speed:
    left = CLOCK_BUDGET if deadline is None else min(CLOCK_BUDGET, max(1e-3, deadline - time.monotonic()))
    clock = StepTimer(
        task,
        recipe=question.recipe,
        device=as_device(str(device)),
        seed=question.seeds[0],
        folder=out,
        budget=left,
        deadline=deadline,
        show=display,
        command=command,
    )
    speed = clock.take(question.batch_sizes, anew=anew)
    if missing := untimed(speed, question.batch_sizes):
        raise UserError(
            f"The budget ended before a step of batch size {missing[0]} was timed: give the same command again, which "
            "goes on from there, or more time with --budget."
        )
    return speed


def _shared_lengths(store: Store, question: StudySpec, examples: int, speed: Speed | None) -> dict[int, float]:
    """Epochs of a run by batch size. Lengths that depend on timing are those of the worker that measured first."""
    lengths = lengths_of(question, examples, speed)
    if question.seconds is None:
        return lengths
    shared = {
        size: json.loads(store.set_shared(f"{LENGTHS} {size}", json.dumps(length))) for size, length in lengths.items()
    }
    return {size: float(length) for size, length in shared.items()}


def _make_supervisor(
    job: WorkerJob,
    workers: int,
    ray: str | None,
    gpus: float | None,
    store: Store,
    examples: int,
    deadline: float | None,
    display: Display,
) -> WorkerSupervisor:
    max_examples = {size: length * examples for size, length in job.lengths.items()}

    def report() -> int:
        return report_progress(job, store.state(), max_examples, display, trying=None)

    if ray is None:
        return WorkerSupervisor(job, workers, store, pause_at=deadline, report_progress=report)
    from critbatch.studies.ray_backend import RaySupervisor

    return RaySupervisor(job, workers, store, pause_at=deadline, report_progress=report, address=ray, gpus=gpus)
