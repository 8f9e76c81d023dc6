"""The runs of a folder as they are worth for one target, and the ends that they go on from.

A run that went to an easier target tells when it came to it, and for a harder one goes on where it stopped: beside the
store the last state of each run is kept, as long as all of them take no more than `KEPT_BYTES`. They are for this
alone: the folder `resume` can be removed at any time, and runs that would have gone on from there are then begun anew.
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

RESUME_DIR, TO_THE_END = "resume", "to the end"
# What the folder was called in version 0.1.
OLD_RESUME_DIR = "ends"
KEPT_BYTES = 1 << 30
LOST = (Outcome.DIVERGED, Outcome.OUT_OF_MEMORY)

Start = Callable[[RunKey, Path, int], Training]


class RunCache:
    """What a store holds, judged by one target.

    Args:
        store: its terms name no target: one ends the runs, but is no part of what they are.
        start: begins the run of a key, or goes on with it from the checkpoint; the last argument is `noise_every`.
        target: what they are judged by, and what ends those that are made now.
        folder: of the store, where the ends of runs are kept.
    """

    def __init__(self, store: Store, start: Start, *, target: Target, folder: Path) -> None:
        self.store, self.start, self.target = store, start, target
        self._ends = folder / RESUME_DIR
        take_over_folder(folder / OLD_RESUME_DIR, self._ends)
        # Begun and ended by this process: their seconds are of this machine, and of now.
        self.made_here: list[Run] = []
        self._begun_here: set[RunKey] = set()
        self._stored: dict[tuple[int, float, int, tuple[tuple[str, OptionValue], ...]], dict[str, Run]] = {}
        for key, run in store.keyed_runs():
            self._stored.setdefault(_place(key), {})[key.stage] = run

    def key(self, batch_size: int, learning_rate: float, seed: int, *, epochs: float | None = None) -> RunKey:
        """What a run to this target is called. `epochs` where its length is planned."""
        stage = f"to {self.target.quantity} {self.target.value!r}"
        options = () if epochs is None else (("epochs", epochs),)
        return RunKey(batch_size=batch_size, learning_rate=learning_rate, seed=seed, stage=stage, options=options)

    def key_to_the_end(self, batch_size: int, learning_rate: float, seed: int, *, epochs: float) -> RunKey:
        """What a run of so many epochs is called that no target ends."""
        return replace(self.key(batch_size, learning_rate, seed, epochs=epochs), stage=TO_THE_END)

    def runs(self) -> list[Run]:
        """All of them, each once, at its furthest."""
        return [self._furthest(stages) for stages in self._stored.values()]

    def find(self, key: RunKey) -> Run | None:
        """The run of this key, if it is at its end as far as this target goes; None if it is to be begun or to go on.

        One that another target ended before it came to this one goes on from its kept end. If that is not there, a run
        that had come to its own target is begun anew, and any other stays as it is: it was behind.
        """
        stages = self._stored.get(_place(key))
        if stages is None:
            return None
        run = self._furthest(stages)
        if run.outcome is not Outcome.INTERRUPTED:
            return run
        goes_on = _is_whole(self.end_of(key)) or self.store.checkpoint(key).is_file()
        came = any(other.outcome is Outcome.REACHED for other in stages.values())
        return None if goes_on or came else run

    def enter(self, key: RunKey, noise_every: int) -> Training:
        """Begin the run of this key, or go on where it was broken off, or where another target ended it."""
        checkpoint, end = self.store.checkpoint(key), self.end_of(key)
        if not checkpoint.is_file() and not end.is_file():
            self._begun_here.add(key)
        if not checkpoint.is_file() and _is_whole(end):
            checkpoint.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(end, checkpoint)
        return self.start(key, checkpoint, noise_every)

    def keep(self, key: RunKey, training: Training) -> Run:
        """Keep the run that is over as far as this target goes, and where it ended."""
        run = self.store.run(key, lambda path: training.record())
        remove_checkpoint(self.store.checkpoint(key))
        if key in self._begun_here:
            self.made_here.append(run)
        self._stored.setdefault(_place(key), {})[key.stage] = run
        end = self.end_of(key)
        if run.outcome in LOST or (key.options and run.outcome is Outcome.FINISHED):  # at the end of its plan
            end.unlink(missing_ok=True)
        elif self.resume_bytes < KEPT_BYTES:
            save_checkpoint(end, _state_to_go_on_from(training))
        return self._furthest(self._stored[_place(key)])

    def make_to_the_end(self, key: RunKey, *, pause_at: float | None) -> Run:
        """A run that no target ends, from the store, or made now, or interrupted at `pause_at`."""

        def make(checkpoint: Path) -> Run:
            training = self.start(key, checkpoint, 0)
            training.advance(pause_at=pause_at)
            return training.record()

        run = self.store.run(key, make)
        if run.outcome is not Outcome.INTERRUPTED:
            self._stored.setdefault(_place(key), {})[key.stage] = run
        return run

    def targets(self) -> tuple[Target, ...]:
        """All that runs went to, each once."""
        return tuple(dict.fromkeys(run.target for runs in self._stored.values() for run in runs.values() if run.target))

    def cost(self) -> AdviceCost:
        """What all of the runs took."""
        furthest = [max(stages.values(), key=lambda run: run.steps) for stages in self._stored.values()]
        return AdviceCost(
            runs=len(furthest),
            steps=sum(run.steps for run in furthest),
            train_seconds=sum(run.seconds for run in furthest),
            evaluation_seconds=sum(run.evaluation_seconds for run in furthest),
            resume_bytes=self.resume_bytes,
        )

    def end_of(self, key: RunKey) -> Path:
        """Where the end of this run is kept, whatever target ended it."""
        return self._ends / f"{self.store.terms.digest}-{replace(key, stage='').digest}.pt"

    @property
    def resume_bytes(self) -> int:
        """On the disk."""
        return sum(path.stat().st_size for path in self._ends.glob("*.pt"))

    def _furthest(self, stages: dict[str, Run]) -> Run:
        run = rejudge(max(stages.values(), key=lambda run: run.steps), self.target)
        own = any(other.target == self.target for other in stages.values())
        # A race to this very target has dropped it: others were better.
        return replace(run, outcome=Outcome.FINISHED) if own and run.outcome is Outcome.INTERRUPTED else run


def added(first: AdviceCost, second: AdviceCost) -> AdviceCost:
    """Of two stores in one folder."""
    return AdviceCost(
        runs=first.runs + second.runs,
        steps=first.steps + second.steps,
        train_seconds=first.train_seconds + second.train_seconds,
        evaluation_seconds=first.evaluation_seconds + second.evaluation_seconds,
        resume_bytes=max(first.resume_bytes, second.resume_bytes),
    )


def _is_whole(end: Path) -> bool:
    """Whether a run can go on from there. It is begun anew from the start where its end is damaged."""
    return end.is_file() and not fault_of(end)


def _place(key: RunKey) -> tuple[int, float, int, tuple[tuple[str, OptionValue], ...]]:
    return key.batch_size, key.learning_rate, key.seed, key.options


def _state_to_go_on_from(training: Training) -> dict[str, object]:
    ended, training.run_state.outcome = training.run_state.outcome, None
    try:
        return state_of(training)
    finally:
        training.run_state.outcome = ended
