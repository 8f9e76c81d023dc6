"""A worker: it chooses the next run, makes it and stores it, until no run is left."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from critbatch.errors import UserError
from critbatch.records.core import Outcome, Run
from critbatch.records.study import StudySpec
from critbatch.runtime.device import describe_machine, pick_device, use_threads
from critbatch.runtime.process import Interruption
from critbatch.runtime.progress import Display, Progress
from critbatch.studies.early_stopping import PARTS, WHOLE, Report, hopeless, standing
from critbatch.studies.forecast import best_of_each_size, forecast
from critbatch.studies.liveness import host
from critbatch.studies.run_key import RunKey, RunSummary, StudyKey
from critbatch.studies.run_table import StudyState
from critbatch.studies.search import choose
from critbatch.studies.spec import make_plan
from critbatch.studies.store import MACHINE, RunLease, Store
from critbatch.tasks.registry import find_task
from critbatch.tasks.task import Task
from critbatch.training.evaluation import Evaluation
from critbatch.training.state import Budget
from critbatch.training.trainer import Training


@dataclass(frozen=True)
class RunExecutor:
    """Makes the runs of a study.

    Args:
        lengths: Epochs of a run by batch size.
        compiled: As `compile` of `Training`.
    """

    task: Task
    question: StudySpec
    lengths: dict[int, float]
    evaluation: Evaluation
    device: torch.device
    compiled: bool

    def make(
        self,
        key: RunKey,
        checkpoint: Path,
        *,
        pause_at: float | None,
        progress: Callable[[Progress], None],
        report: Report | None,
    ) -> Run:
        """Make the run of `key`, from its checkpoint if there is one.

        Args:
            pause_at: Value of `time.monotonic()` at which the run is interrupted.
            report: Decides on the way whether to prune the run; None if the study does not prune.
        """
        question, options = self.question, {**self.question.fixed_options, **dict(key.options)}
        length = self.lengths[key.batch_size]
        plan = make_plan(
            question.recipe,
            batch_size=key.batch_size,
            learning_rate=key.learning_rate,
            epochs=length,
            options=options,
        )
        training = Training(
            self.task.with_options(options),
            plan,
            seed=key.seed,
            device=self.device,
            target=question.target if question.stops_at_target else None,
            evaluation=self.evaluation,
            checkpoint=checkpoint,
            keeps_checkpoint=True,
            compile=self.compiled,
            progress=progress,
        )
        is_pruned = report is not None and self._is_pruned(training, length, report, pause_at)
        if not is_pruned and not training.interrupted:
            training.advance(pause_at=pause_at)
        return replace(training.record(), options=dict(options), pruned=is_pruned)

    def _is_pruned(self, training: Training, length: float, report: Report, pause_at: float | None) -> bool:
        for part in PARTS:
            examples = max(1, int(length * self.task.examples * part / WHOLE))
            if training.advance(Budget(examples=examples), pause_at=pause_at) is not None:
                return False
            if report(part, standing(self.question, training.record())):
                return True
        return False


@dataclass(frozen=True, kw_only=True)
class WorkerJob:
    """All that a worker needs to take part in a study.

    Args:
        task: The task, or its name, which the worker looks up.
        terms: Study key of the store.
        lengths: Epochs of a run by batch size.
        device: Name of the device; with several accelerators of one kind each worker takes the next.
        folder, url: Location of the store.
        threads: Threads of torch; None for its own choice.
        compiled: As `compile` of `Training`.
    """

    task: Task | str
    question: StudySpec
    terms: StudyKey
    lengths: dict[int, float]
    evaluation: Evaluation
    device: str
    folder: Path
    url: str | None
    threads: int | None
    compiled: bool

    def executor(self) -> RunExecutor:
        """Look up the task and pick the device, in the process that will make the runs."""
        use_threads(self.threads)
        return RunExecutor(
            task=find_task(self.task) if isinstance(self.task, str) else self.task,
            question=self.question,
            lengths=self.lengths,
            evaluation=self.evaluation,
            device=pick_device(self.device),
            compiled=self.compiled,
        )

    def serialized(self) -> bytes:
        """Serialize the job for another process. A task from a notebook or script is sent with its code.

        Raises:
            UserError: if the task cannot be sent.
        """
        import cloudpickle

        try:
            return bytes(cloudpickle.dumps(self))
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise UserError(
                f"The task {self.question.task!r} cannot be sent to other processes ({error}): give its name, such as "
                "path/to/file.py:task, or use one worker."
            ) from error


# Between checks, while other workers make the last runs.
SECONDS_TO_WAIT = 0.5


def work(job: WorkerJob, store: Store, *, pause_at: float | None, display: Display) -> None:
    """Make runs until none is left, Ctrl-C, or `pause_at`, a value of `time.monotonic()`.

    While other workers make the last runs, it waits for them, and resumes a run if its worker dies.
    """
    question, executor = job.question, job.executor()
    examples = {size: length * executor.task.examples for size, length in job.lengths.items()}
    with Interruption(pause_at) as stop:
        while not stop.asked:
            states: list[StudyState] = []

            def choose_keys(state: StudyState, states: list[StudyState] = states) -> list[RunKey]:
                states.append(state)
                return choose(question, state).keys

            lease = store.claim(choose_keys)
            state = states[-1]
            left = report_progress(job, state, examples, display, trying=lease.key if lease is not None else None)
            if lease is None:
                if left == 0:
                    return
                time.sleep(SECONDS_TO_WAIT)
                continue
            run = store.make(lease, partial(_make_run, executor, lease, store, pause_at, display))
            if run.outcome is Outcome.INTERRUPTED:
                return


def _make_run(
    executor: RunExecutor, lease: RunLease, store: Store, pause_at: float | None, display: Display, checkpoint: Path
) -> Run:
    report = _pruning_report(lease, store) if executor.question.prune else None
    return executor.make(lease.key, checkpoint, pause_at=pause_at, progress=display.watch, report=report)


def _pruning_report(lease: RunLease, store: Store) -> Report:
    """Stores intermediate values of a run and compares them with other runs of its batch size and seed."""

    def report(part: int, standing: float) -> bool:
        if part in store.intermediate_values([lease])[lease.id]:
            return False  # it passed this comparison before it was interrupted
        store.report_intermediate(lease, part, standing)
        competitors = store.competitors(lease)
        values = store.intermediate_values([lease, *competitors])
        return hopeless(values.pop(lease.id), {number: values[number] for number in sorted(values)})

    return report


def report_progress(
    job: WorkerJob, state: StudyState, examples: Mapping[int, float], display: Display, *, trying: RunKey | None
) -> int:
    """Show the progress of the study. Returns the number of runs left."""
    choice = choose(job.question, state)
    finished = {key: state.finished[key] for key in choice.keys if key in state.finished}
    missing = [key for key in choice.keys if key not in finished]
    left = len(missing) + choice.later
    display.update(
        trying=str(trying) if trying is not None else "",
        part=0.0 if trying is not None else None,
        done=len(finished),
        total=len(finished) + left,
        running=len(state.running),
        best=_best_of(finished),
        left=forecast(
            finished, [key.batch_size for key in missing], examples=examples, workers=max(1, len(state.running))
        ),
    )
    return left


def _best_of(finished: Mapping[RunKey, RunSummary]) -> str:
    """The best run of each batch size, in words."""
    lines = [
        f"{size}: {summary.steps_to_target:.0f} steps at {key.learning_rate:g}"
        if summary.crossing_seconds is not None
        else f"{size}: loss {summary.loss:.3g} at {key.learning_rate:g}"
        for size, (key, summary) in best_of_each_size(finished).items()
    ]
    return ", ".join(lines)


def run_worker(serialized: bytes, name: str, pause_at: float | None) -> None:
    """Make runs of a study in this worker process.

    Args:
        serialized: The job, from `WorkerJob.serialized`.
        name: Name of this worker in the store.
        pause_at: Value of `time.monotonic()` at which it stops.

    Raises:
        UserError: if the database of the study cannot be reached from this machine, or the store cannot be used.
    """
    job = pickle.loads(serialized)
    assert isinstance(job, WorkerJob)
    with Store.open(job.folder, job.terms, url=job.url, name=name) as store:
        if store.saved_study() is None:
            raise UserError(
                f"The machine {host()} finds another database at {store.location} than the sweep was started with: "
                "give --storage with the URL of one that all machines reach, or an --out on a disk that they share."
            )
        use_threads(job.threads)
        store.set_shared(MACHINE, describe_machine(pick_device(job.device)).to_json())
        work(job, store, pause_at=pause_at, display=Display())
