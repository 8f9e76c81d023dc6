"""The runs of a folder, judged by one target, and the final checkpoints from which they can resume.

A run to an easier target resumes where it stopped if the target is harder now. For this, the final checkpoint of each
run is kept in the folder `resume`, as long as all of them take at most `MAX_RESUME_BYTES`. The folder can be removed
at any time: runs that would have resumed from there then start again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from critbatch.law.target_progress import rejudge
from critbatch.records.core import AdviceCost, OptionValue, Outcome, Run, Target
from critbatch.studies.migration import take_over_folder
from critbatch.studies.run_key import RunKey
from critbatch.studies.store import Store
from critbatch.training.checkpoint import fault_of, remove_checkpoint, save_checkpoint, state_of
from critbatch.training.trainer import Training

RESUME_DIR, STAGE_FULL_LENGTH = "resume", "to the end"
# Name of the folder in version 0.1.
OLD_RESUME_DIR = "ends"
MAX_RESUME_BYTES = 1 << 30
FAILED_OUTCOMES = (Outcome.DIVERGED, Outcome.OUT_OF_MEMORY)

Start = Callable[[RunKey, Path, int], Training]


class RunCache:
    """The runs of a store, judged by one target.

    Args:
        store: Run store. Its key names no target, because runs to different targets share their first part.
        start: Starts the run of a key, or resumes it from the checkpoint. The last argument is `noise_every`.
        target: Target that the runs are judged by, and that ends new runs.
        folder: Folder of the store, for the final checkpoints.
    """

    def __init__(self, store: Store, start: Start, *, target: Target, folder: Path) -> None:
        self.store, self.start, self.target = store, start, target
        self._resume_folder = folder / RESUME_DIR
        take_over_folder(folder / OLD_RESUME_DIR, self._resume_folder)
        # Started and completed by this process: their times are comparable with today's step times.
        self.completed_here: list[Run] = []
        self._started_here: set[RunKey] = set()
        self._stored: dict[tuple[int, float, int, tuple[tuple[str, OptionValue], ...]], dict[str, Run]] = {}
        for key, run in store.keyed_runs():
            self._stored.setdefault(_run_place(key), {})[key.stage] = run

    def key(self, batch_size: int, learning_rate: float, seed: int, *, epochs: float | None = None) -> RunKey:
        """Key of a run to this target. `epochs`: its length, if it is planned."""
        stage = f"to {self.target.quantity} {self.target.value!r}"
        options = () if epochs is None else (("epochs", epochs),)
        return RunKey(batch_size=batch_size, learning_rate=learning_rate, seed=seed, stage=stage, options=options)

    def full_length_key(self, batch_size: int, learning_rate: float, seed: int, *, epochs: float) -> RunKey:
        """Key of a run of this many epochs that no target ends."""
        return replace(self.key(batch_size, learning_rate, seed, epochs=epochs), stage=STAGE_FULL_LENGTH)

    def runs(self) -> list[Run]:
        """All runs, each once, with its most steps."""
        return [self._furthest(stages) for stages in self._stored.values()]

    def find(self, key: RunKey) -> Run | None:
        """The run of this key if it is complete for this target; None if it must start or resume.

        A run that another target ended early resumes from its final checkpoint. Without that checkpoint, a run that
        had reached its own target starts again. Any other stays as it is, because its race had dropped it.
        """
        stages = self._stored.get(_run_place(key))
        if stages is None:
            return None
        run = self._furthest(stages)
        if run.outcome is not Outcome.INTERRUPTED:
            return run
        can_resume = _is_whole(self.resume_file_of(key)) or self.store.checkpoint(key).is_file()
        reached = any(other.outcome is Outcome.REACHED for other in stages.values())
        return None if can_resume or reached else run

    def start_run(self, key: RunKey, noise_every: int) -> Training:
        """Start the run of this key, or resume it where it was interrupted or where another target ended it."""
        checkpoint, resume_file = self.store.checkpoint(key), self.resume_file_of(key)
        if not checkpoint.is_file() and not resume_file.is_file():
            self._started_here.add(key)
        if not checkpoint.is_file() and _is_whole(resume_file):
            checkpoint.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(resume_file, checkpoint)
        return self.start(key, checkpoint, noise_every)

    def keep(self, key: RunKey, training: Training) -> Run:
        """Store a run that is complete for this target, with its final checkpoint."""
        run = self.store.run(key, lambda path: training.record())
        remove_checkpoint(self.store.checkpoint(key))
        if key in self._started_here:
            self.completed_here.append(run)
        self._stored.setdefault(_run_place(key), {})[key.stage] = run
        resume_file = self.resume_file_of(key)
        if run.outcome in FAILED_OUTCOMES or (
            key.options and run.outcome is Outcome.FINISHED
        ):  # at the end of its plan
            resume_file.unlink(missing_ok=True)
        elif self.resume_bytes < MAX_RESUME_BYTES:
            save_checkpoint(resume_file, _state_to_go_on_from(training))
        return self._furthest(self._stored[_run_place(key)])

    def run_full_length(self, key: RunKey, *, pause_at: float | None) -> Run:
        """Return a run that no target ends, from the store or trained now; interrupted at `pause_at`."""

        def make(checkpoint: Path) -> Run:
            training = self.start(key, checkpoint, 0)
            training.advance(pause_at=pause_at)
            return training.record()

        run = self.store.run(key, make)
        if run.outcome is not Outcome.INTERRUPTED:
            self._stored.setdefault(_run_place(key), {})[key.stage] = run
        return run

    def targets(self) -> tuple[Target, ...]:
        """Targets of all runs, each once."""
        return tuple(dict.fromkeys(run.target for runs in self._stored.values() for run in runs.values() if run.target))

    def cost(self) -> AdviceCost:
        """Cost of all runs."""
        furthest = [max(stages.values(), key=lambda run: run.steps) for stages in self._stored.values()]
        return AdviceCost(
            runs=len(furthest),
            steps=sum(run.steps for run in furthest),
            train_seconds=sum(run.seconds for run in furthest),
            evaluation_seconds=sum(run.evaluation_seconds for run in furthest),
            resume_bytes=self.resume_bytes,
        )

    def resume_file_of(self, key: RunKey) -> Path:
        """Path of this run's final checkpoint, whatever target ended it."""
        return self._resume_folder / f"{self.store.terms.digest}-{replace(key, stage='').digest}.pt"

    @property
    def resume_bytes(self) -> int:
        """Bytes that the final checkpoints take on disk."""
        return sum(path.stat().st_size for path in self._resume_folder.glob("*.pt"))

    def _furthest(self, stages: dict[str, Run]) -> Run:
        run = rejudge(max(stages.values(), key=lambda run: run.steps), self.target)
        own = any(other.target == self.target for other in stages.values())
        # An interrupted run to this same target was dropped by its race: it will not resume.
        return replace(run, outcome=Outcome.FINISHED) if own and run.outcome is Outcome.INTERRUPTED else run


def add_costs(first: AdviceCost, second: AdviceCost) -> AdviceCost:
    """Add up the cost of two stores in one folder, which share the checkpoints."""
    return AdviceCost(
        runs=first.runs + second.runs,
        steps=first.steps + second.steps,
        train_seconds=first.train_seconds + second.train_seconds,
        evaluation_seconds=first.evaluation_seconds + second.evaluation_seconds,
        resume_bytes=max(first.resume_bytes, second.resume_bytes),
    )


def _is_whole(resume_file: Path) -> bool:
    """Whether a run can resume from this checkpoint. If it is damaged, the run starts again."""
    return resume_file.is_file() and not fault_of(resume_file)


def _run_place(key: RunKey) -> tuple[int, float, int, tuple[tuple[str, OptionValue], ...]]:
    return key.batch_size, key.learning_rate, key.seed, key.options


def _state_to_go_on_from(training: Training) -> dict[str, object]:
    outcome, training.run_state.outcome = training.run_state.outcome, None
    try:
        return state_of(training)
    finally:
        training.run_state.outcome = outcome
