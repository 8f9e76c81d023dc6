"""Watches the runs of a store without taking part: the progress of each run, and whether its worker is alive."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from statistics import fmean
from types import TracebackType
from typing import Self

from critbatch.errors import UserError
from critbatch.records.core import Quantity, Run
from critbatch.records.monitor import RunningRun, SizeStatus, StudyStatus, WatchSnapshot
from critbatch.records.study import Study
from critbatch.runtime.progress import Forecast
from critbatch.studies import run_table
from critbatch.studies.database import Database, explained
from critbatch.studies.forecast import best_of_each_size, forecast
from critbatch.studies.liveness import SECONDS_BETWEEN_HEARTBEATS, WorkerIdentity, is_held
from critbatch.studies.migration import open_store_to_read
from critbatch.studies.run_key import RunKey, RunSummary, StudyKey
from critbatch.studies.run_table import RUNNING, RunRow
from critbatch.studies.search import choose
from critbatch.studies.spec import lengths_of
from critbatch.studies.store import RunReader
from critbatch.studies.stored import store_of


class LivenessProbe(WorkerIdentity):
    """Checks which workers are alive; has no name and no lock file of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._heartbeats: dict[str, tuple[int, float]] = {}


class LiveRunReader(RunReader):
    """The runs of a study, and whether the workers that make them are alive."""

    def __init__(self, database: Database, study: int, terms: StudyKey, probe: LivenessProbe) -> None:
        super().__init__(database, study, terms)
        self._probe = probe

    def _is_running(self, row: RunRow) -> bool:
        return row.state == RUNNING and not self._probe.is_dead(row.owner, row.heartbeat)

    def status(self) -> StudyStatus | None:
        """The present status of the study; None if no run was started and no sweep was saved."""
        study = self.saved_study()
        if study is not None:
            self.target = study.question.target
        state = self.state()
        finished, left, missing = state.finished, None, [key.batch_size for key in state.running]
        if study is not None:
            choice = choose(study.question, state)
            finished = {key: state.finished[key] for key in choice.keys if key in state.finished}
            missing = [key.batch_size for key in choice.keys if key not in finished]
            left = len(missing) + choice.later
        elif not (finished or state.running or state.broken):
            return None
        best = best_of_each_size(finished)
        runs = {size: run for size, (key, _) in best.items() if (run := self.find(key)) is not None}
        loss = self.target is not None and self.target.quantity is Quantity.VALIDATION_LOSS
        curves_of = (Quantity.VALIDATION_LOSS if loss or not _have_metric(runs) else Quantity.VALIDATION_METRIC).value
        sizes = sorted(
            {key.batch_size for key in finished} | set(study.question.batch_sizes if study is not None else ())
        )
        time_left = self._forecast(study, finished, missing, workers=max(1, len(state.running))) if missing else None
        return StudyStatus(
            where=self.location,
            task=self.terms.task,
            recipe=self.terms.recipe,
            target=self.target,
            metric_name=next((run.metric_name for run in runs.values()), "metric"),
            question=study.question if study is not None else None,
            done=len(finished),
            failed=sum(summary.failed for summary in finished.values()),
            broken_off=len(state.broken),
            left=left,
            seconds_left=None if time_left is None else time_left.seconds,
            at_most=time_left is not None and time_left.at_most,
            at_work=self._running_runs(state.running, finished),
            curves_of=curves_of,
            sizes=tuple(_size_status(size, finished, best.get(size), runs.get(size), curves_of) for size in sizes),
        )

    def _forecast(
        self, study: Study | None, finished: dict[RunKey, RunSummary], missing: list[int], *, workers: int
    ) -> Forecast | None:
        if study is None:
            return None
        question = study.question
        lengths = {size: self.get_shared(f"lengths {size}") for size in question.batch_sizes}
        if question.seconds is None:
            epochs = lengths_of(question, study.examples, None)
        elif all(lengths.values()):
            epochs = {size: float(json.loads(text)) for size, text in lengths.items() if text}
        else:
            return None
        return forecast(
            finished,
            missing,
            examples={size: length * study.examples for size, length in epochs.items()},
            workers=workers,
        )

    def _running_runs(self, running: set[RunKey], finished: dict[RunKey, RunSummary]) -> tuple[RunningRun, ...]:
        durations: defaultdict[int, list[float]] = defaultdict(list)
        for key, summary in finished.items():
            if not summary.failed:
                durations[key.batch_size].append(summary.wall_seconds)
        rows = [row for row in self._table.rows.values() if row.key in running]
        return tuple(
            RunningRun(
                batch_size=row.key.batch_size,
                learning_rate=row.key.learning_rate,
                seed=row.key.seed,
                options=dict(row.key.options),
                host=row.owner.rpartition(".")[0],
                at_least_seconds=row.heartbeat * SECONDS_BETWEEN_HEARTBEATS,
                expected_seconds=fmean(seconds) if (seconds := durations[row.key.batch_size]) else None,
            )
            for row in rows
        )


def _have_metric(runs: dict[int, Run]) -> bool:
    return any(math.isfinite(point.validation_metric) for run in runs.values() for point in run.curve)


def _size_status(
    size: int,
    finished: dict[RunKey, RunSummary],
    best: tuple[RunKey, RunSummary] | None,
    run: Run | None,
    curves_of: str,
) -> SizeStatus:
    summaries = [summary for key, summary in finished.items() if key.batch_size == size]
    failed = sum(summary.failed for summary in summaries)
    if best is None or run is None:
        return SizeStatus(batch_size=size, made=len(summaries), failed=failed)
    key, summary = best
    curve = tuple(
        (point.epoch, value) for point in run.curve if math.isfinite(value := float(getattr(point, curves_of)))
    )
    values = [value for _, value in curve]
    lowest = curves_of == Quantity.VALIDATION_LOSS
    return SizeStatus(
        batch_size=size,
        made=len(summaries),
        failed=failed,
        learning_rate=key.learning_rate,
        options=dict(key.options),
        seed=key.seed,
        outcome=summary.outcome,
        reached=not summary.missed,
        steps=summary.steps if summary.missed else summary.steps_to_target,
        seconds=summary.seconds if summary.crossing_seconds is None else summary.crossing_seconds,
        best_value=(min(values) if lowest else max(values)) if values else None,
        curve=curve,
    )


# Studies are at most this many folders deep: `claims` writes each study to its own folder.
MAX_DEPTH = 3


def stores_in(place: str) -> list[Path | str]:
    """The store in a folder, the stores in its subfolders, or the URL unchanged.

    Raises:
        UserError: if there is none.
    """
    if (store := store_of(place)) is not None:
        return [store]
    folder = Path(place)
    if not folder.exists():
        raise UserError(
            f"There is no folder {place}: give the --out of `critbatch sweep` or `advise`, or the URL of a --storage."
        )
    folders_by_depth = [folder.glob("*/" * depth) for depth in range(1, MAX_DEPTH + 1)]
    stores = [
        store for folders in folders_by_depth for path in sorted(folders) if (store := store_of(path)) is not None
    ]
    if not stores:
        raise UserError(
            f"{place} holds no study: give the --out of `critbatch sweep` or `advise`, once it has begun to make runs, "
            "or the URL of a --storage."
        )
    return [*stores]


class StudyWatcher:
    """Repeated snapshots of the same stores; runs that have ended are read once. Nothing is written or locked.

    with StudyWatcher("critbatch-out/digits-mlp") as watch:
        watch.look()

    Raises:
        UserError: if there is no study, or a database cannot be read.
    """

    def __init__(self, place: str | Path) -> None:
        self.places: dict[str, str] = {}  # from the location of a database to its folder or URL
        self._place = str(place)
        self._stores: dict[Path | str, tuple[Database, LivenessProbe]] = {}
        self._readers: dict[tuple[str, int], LiveRunReader] = {}
        self._closing = ExitStack()
        with ExitStack() as closing:
            closing.callback(self.close)
            self._open_new()
            closing.pop_all()

    def _open_new(self) -> None:
        """Open stores that were created since: one command may make several studies."""
        for store in stores_in(self._place):
            if store not in self._stores:
                database = open_store_to_read(store)
                self._closing.callback(database.close)
                folder = Path() if isinstance(store, str) else store.parent
                self._stores[store] = database, LivenessProbe(folder / "workers")
                self.places[database.location] = store if isinstance(store, str) else str(folder)

    def look(self) -> WatchSnapshot:
        """A snapshot of all studies.

        Raises:
            UserError: if a database cannot be read.
        """
        self._open_new()
        studies = []
        for database, probe in self._stores.values():
            with explained(database.location), database.read() as connection:
                stored = run_table.studies(connection)
            for study, terms in reversed(stored):
                place = (database.location, study)
                if place not in self._readers:
                    self._readers[place] = LiveRunReader(database, study, terms, probe)
                if (status := self._readers[place].status()) is not None:
                    studies.append(status)
        return WatchSnapshot(
            at=datetime.now().astimezone().isoformat(timespec="seconds"),
            studies=tuple(studies),
            held=any(is_held(Path(place) / "store.lock") for place in {self._place, *self.places.values()}),
        )

    def close(self) -> None:
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
