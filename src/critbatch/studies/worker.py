"""What a worker does: ask which run is needed next, make it, keep it, until nothing is left."""

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

# Makes the run of a key: its plan, its length, its checkpoint, and its end if it is far behind others.


@dataclass(frozen=True)
class RunExecutor:
    """All that the runs of a study have in common.

    Args:
        lengths: epochs of a run by its batch size.
        compiled: as that of `Training`.
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
        """The run of `key`, from its checkpoint where there is one.

        Args:
            pause_at: a value of `time.monotonic()` at which it stops, to go on another time.
            report: where the study stops runs early: asked on the way whether this one is hopeless.
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
        behind = report is not None and self._falls_behind(training, length, report, pause_at)
        if not behind and not training.interrupted:
            training.advance(pause_at=pause_at)
        return replace(training.record(), options=dict(options), pruned=behind)

    def _falls_behind(self, training: Training, length: float, report: Report, pause_at: float | None) -> bool:
        for part in PARTS:
            examples = max(1, int(length * self.task.examples * part / WHOLE))
            if training.advance(Budget(examples=examples), pause_at=pause_at) is not None:
                return False
            if report(part, standing(self.question, training.record())):
                return True
        return False


# What a worker is told, wherever it is: the task, the question, and where the runs are kept.


@dataclass(frozen=True, kw_only=True)
class WorkerJob:
    """All that is needed to take part in a study.

    Args:
        task: or its name, which a worker finds again.
        terms: of the store.
        lengths: epochs of a run by its batch size.
        device: its name; of several accelerators of one kind each worker takes the next.
        folder, url: of the store.
        threads: of torch; None for its own choice.
        compiled: as that of `Training`.
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

    def maker(self) -> RunExecutor:
        """The task found and the device picked, in the process that will make runs."""
        use_threads(self.threads)
        return RunExecutor(
            task=find_task(self.task) if isinstance(self.task, str) else self.task,
            question=self.question,
            lengths=self.lengths,
            evaluation=self.evaluation,
            device=pick_device(self.device),
            compiled=self.compiled,
        )

    def packed(self) -> bytes:
        """For another process. A task of a notebook or script goes with its code.

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


# What a worker does until nothing is left: ask which run is needed next, make it, keep it.

# Until the next look, where all that is left is being made by others.
SECONDS_TO_WAIT = 0.5


def work(order: WorkerJob, store: Store, *, pause_at: float | None, show: Display) -> None:
    """Make runs until none is left, Ctrl-C, or `pause_at`, a value of `time.monotonic()`.

    Where others make the last ones it waits for them, and takes over what one of them leaves.
    """
    question, maker = order.question, order.maker()
    examples = {size: length * maker.task.examples for size, length in order.lengths.items()}
    with Interruption(pause_at) as stop:
        while not stop.asked:
            seen: list[StudyState] = []

            def wanted(stock: StudyState, seen: list[StudyState] = seen) -> list[RunKey]:
                seen.append(stock)
                return choose(question, stock).keys

            claim = store.claim(wanted)
            stock = seen[-1]
            left = tell(order, stock, examples, show, trying=claim.key if claim is not None else None)
            if claim is None:
                if left == 0:
                    return
                time.sleep(SECONDS_TO_WAIT)
                continue
            run = store.make(claim, partial(_make, maker, claim, store, pause_at, show))
            if run.outcome is Outcome.INTERRUPTED:
                return


def _make(
    maker: RunExecutor, claim: RunLease, store: Store, pause_at: float | None, show: Display, checkpoint: Path
) -> Run:
    report = _reporter(claim, store) if maker.question.prune else None
    return maker.make(claim.key, checkpoint, pause_at=pause_at, progress=show.watch, report=report)


def _reporter(claim: RunLease, store: Store) -> Report:
    """Notes how a run stands, and compares it with the others of its batch size and seed."""

    def report(part: int, standing: float) -> bool:
        if part in store.notes([claim])[claim.id]:
            return False  # it went on from here before it was broken off
        store.note(claim, part, standing)
        peers = store.peers(claim)
        notes = store.notes([claim, *peers])
        return hopeless(notes.pop(claim.id), {number: notes[number] for number in sorted(notes)})

    return report


def tell(
    order: WorkerJob, stock: StudyState, examples: Mapping[int, float], show: Display, *, trying: RunKey | None
) -> int:
    """Show how far the study is. Returns how many runs are not at their end."""
    choice = choose(order.question, stock)
    made = {key: stock.finished[key] for key in choice.keys if key in stock.finished}
    missing = [key for key in choice.keys if key not in made]
    left = len(missing) + choice.later
    show.update(
        trying=str(trying) if trying is not None else "",
        part=0.0 if trying is not None else None,
        done=len(made),
        total=len(made) + left,
        running=len(stock.running),
        best=_best_of(made),
        left=forecast(made, [key.batch_size for key in missing], examples=examples, workers=max(1, len(stock.running))),
    )
    return left


def _best_of(made: Mapping[RunKey, RunSummary]) -> str:
    """At each batch size, in words."""
    told = [
        f"{size}: {brief.steps_to_target:.0f} steps at {key.learning_rate:g}"
        if brief.crossing_seconds is not None
        else f"{size}: loss {brief.loss:.3g} at {key.learning_rate:g}"
        for size, (key, brief) in best_of_each_size(made).items()
    ]
    return ", ".join(told)


def take_part(packed: bytes, name: str, pause_at: float | None) -> None:
    """Make runs of the study that an order names, in a process of its own.

    Args:
        packed: the order, as `Order.packed` gives it.
        name: of this worker, by which the store knows it.
        pause_at: a value of `time.monotonic()` at which it stops, to go on another time.

    Raises:
        UserError: if the database of the study is not reached from here, or the store cannot be used.
    """
    order = pickle.loads(packed)
    assert isinstance(order, WorkerJob)
    with Store.open(order.folder, order.terms, url=order.url, name=name) as store:
        if store.told() is None:
            raise UserError(
                f"The machine {host()} finds another database at {store.where} than the sweep was started with: give "
                "--storage with the URL of one that all machines reach, or an --out on a disk that they share."
            )
        use_threads(order.threads)
        store.agree(MACHINE, describe_machine(pick_device(order.device)).to_json())
        work(order, store, pause_at=pause_at, show=Display())
