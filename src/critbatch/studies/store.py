"""The store of runs: one process makes each run, once, and an interrupted run resumes from its checkpoint.

A run is one row of a table (`run_table`). Its state is running, waiting after an interruption, finished once its record
is stored, or pruned if the study stopped it early. A run that diverged, ran out of memory or missed its target is a
result too; only an interrupted run is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from critbatch.errors import UserError
from critbatch.records.core import Outcome, Run
from critbatch.records.study import Study
from critbatch.studies import run_table
from critbatch.studies.database import Database, explained, open_database
from critbatch.studies.liveness import FolderLock, Heartbeat, WorkerIdentity
from critbatch.studies.migration import migrate
from critbatch.studies.run_key import RunKey, StudyKey, summary_of
from critbatch.studies.run_table import AT_THEIR_END, RUNNING, RunRow, RunTable, StudyState
from critbatch.training.checkpoint import remove_checkpoint

if TYPE_CHECKING:
    from sqlalchemy import Connection

FILE = "runs.sqlite"
# Names of values that all workers of a study share.
STUDY, MACHINE = "study", "machine"


class RunReader:
    """The runs of one study.

    Args:
        study: Its number in the database.
        terms: What its runs share.
    """

    def __init__(self, database: Database, study: int, terms: StudyKey) -> None:
        self._database, self._study, self.terms = database, study, terms
        self._table = RunTable(study)
        self._records: dict[RunKey, Run] = {}
        self.target = terms.judged_by or terms.target

    @property
    def location(self) -> str:
        """The location of the database, as messages name it."""
        return self._database.location

    def state(self) -> StudyState:
        """The runs of the study by their present state."""
        self._refresh()
        return self._read_state()

    def rows(self) -> list[RunRow]:
        """The rows of the runs in starting order, without their records."""
        self._refresh()
        return list(self._table.rows.values())

    def find(self, key: RunKey) -> Run | None:
        """The run of this key, or None if it has not ended."""
        if key not in self._records:
            row = self._table.of_key.get(key)
            if row is None or row.summary is None:
                self._refresh()
                row = self._table.of_key.get(key)
            if row is None or row.summary is None:
                return None
            self._read([row])
        return self._records[key]

    def find_all(self, keys: Iterable[RunKey]) -> list[Run]:
        """Those of these runs that have ended, as of the last `state()`."""
        rows = [row for key in keys if (row := self._table.of_key.get(key)) is not None and row.summary is not None]
        self._read([row for row in rows if row.key not in self._records])
        return [self._records[row.key] for row in rows]

    def runs(self) -> tuple[Run, ...]:
        """All runs that have ended, in starting order."""
        return tuple(run for _, run in self.keyed_runs())

    def keyed_runs(self) -> list[tuple[RunKey, Run]]:
        """As `runs`, each with its key."""
        keys = [row.key for row in self.rows() if row.state in AT_THEIR_END]
        return list(zip(keys, self.find_all(keys), strict=True))

    def saved_study(self) -> Study | None:
        """The study that the last sweep saved, without its runs; None if there was no sweep."""
        text = self.get_shared(STUDY)
        return None if text is None else Study.from_json(text)

    def get_shared(self, name: str) -> str | None:
        """The value that all workers of the study share under this name; None if none was set."""
        with explained(self.location), self._database.read() as connection:
            return run_table.read_agreement(connection, self._study, name)

    def _refresh(self) -> None:
        with explained(self.location), self._database.read() as connection:
            self._table.refresh(connection)

    def _read_state(self) -> StudyState:
        rows = self._table.rows.values()
        self._summarize_again([row for row in rows if row.summary is not None and row.summary.judged_by != self.target])
        state = StudyState()
        for row in rows:
            if row.summary is not None:
                state.finished.setdefault(row.key, row.summary)
            elif self._is_running(row):
                state.running.add(row.key)
            else:
                state.broken.add(row.key)
        return state

    def _is_running(self, row: RunRow) -> bool:
        return row.state == RUNNING

    def _summarize_again(self, rows: list[RunRow]) -> None:
        """Summarize runs by the present target that were summarized by another one."""
        self._read([row for row in rows if row.key not in self._records])
        for row in rows:
            row.summary = summary_of(self._records[row.key], target=self.target)

    def _read(self, rows: list[RunRow]) -> None:
        if rows:
            with explained(self.location), self._database.read() as connection:
                self._records.update(run_table.read_records(connection, rows))


@dataclass(frozen=True)
class RunLease:
    """The right of one process to make a run."""

    key: RunKey
    id: int


class Store(RunReader):
    """The runs of one study, shared by all processes that open the store, on one machine or many.

    with Store.open(folder, terms) as store:
        run = store.run(key, make)    # read from the store, or made now and stored
    """

    def __init__(self, database: Database, study: int, terms: StudyKey, identity: WorkerIdentity, folder: Path) -> None:
        super().__init__(database, study, terms)
        self._identity, self._folder = identity, folder
        self._closing = ExitStack()
        self._own_ids: set[int] = set()

    @classmethod
    def open(
        cls, folder: Path, terms: StudyKey, *, url: str | None = None, alone: bool = False, name: str | None = None
    ) -> Store:
        """Open the runs of `terms`, and create the store if there is none.

        Runs that an earlier version stored there, in `store.sqlite` or in tables of Optuna, are copied.

        Args:
            folder: Folder of the checkpoints, and of the database unless `url` is given.
            terms: What its runs share.
            url: URL of another database, in SQLAlchemy's form: `postgresql+psycopg://user@host/name`.
            alone: Refuse other processes in the folder while this one works there.
            name: Name of this process, as for `WorkerIdentity`.

        Raises:
            UserError: if the folder cannot be written or a command works in it that does not share; if the database
                cannot be opened; if it holds runs of this task as it was before its model or data changed, or, in a
                folder, of another task.
        """
        with ExitStack() as closing:
            closing.callback(FolderLock(folder, alone=alone).release)
            database = open_database(folder, FILE, url)
            closing.callback(database.close)
            identity = closing.enter_context(WorkerIdentity(folder / "workers", name))
            migrate(database, folder, url)
            with explained(database.location), database.write() as connection:
                refuse_other_tasks(run_table.studies(connection), terms, database.location, shared=url is not None)
                study = run_table.study_of(connection, terms)
            store = cls(database, study, terms, identity, folder)
            store._closing = closing.pop_all()
        return store

    def checkpoint(self, key: RunKey) -> Path:
        """The path of the checkpoint of this run until it ends."""
        return self._folder / "checkpoints" / f"{self.terms.digest}-{key.digest}.pt"

    def claim(self, choose: Callable[[StudyState], Iterable[RunKey]]) -> RunLease | None:
        """Lease the first free run, in the order of `choose`, to this process; None if no run is free.

        Args:
            choose: Returns the needed runs for the present state; they may include runs that have ended.
        """
        with explained(self.location), self._database.write(self._study) as connection:
            self._table.refresh(connection)
            state = self._read_state()
            taken = state.finished.keys() | state.running
            free = next((key for key in choose(state) if key not in taken), None)
            if free is None:
                return None
            lease = RunLease(free, self._take(connection, free))
        self._own_ids.add(lease.id)
        return lease

    def keep(self, lease: RunLease, run: Run) -> bool:
        """Store the record and the final state of a run in one transaction.

        Returns:
            False if another process has taken over the run because it considered this one dead.
        """
        summary = summary_of(run, target=self.target)
        with explained(self.location), self._database.change() as connection:
            is_kept = run_table.finish(connection, lease.id, self._identity.name, run, summary)
        self._own_ids.discard(lease.id)
        if is_kept:
            self._records[lease.key] = run
            remove_checkpoint(self.checkpoint(lease.key))
        return is_kept

    def release(self, lease: RunLease) -> None:
        """Give back a run that has not ended, so that another process can resume it."""
        with explained(self.location), self._database.change() as connection:
            run_table.give_back(connection, lease.id, self._identity.name)
        self._own_ids.discard(lease.id)

    def lease_of(self, worker: str) -> RunLease | None:
        """The lease of the run that the worker of this name is making, or was making when it died."""
        return next(
            (RunLease(row.key, row.id) for row in self.rows() if row.state == RUNNING and row.owner == worker), None
        )

    def run(self, key: RunKey, make: Callable[[Path], Run]) -> Run:
        """The run of this key: read from the store, or made now and stored.

        Args:
            key: The run.
            make: Makes the run, given the path of its checkpoint, and resumes from there if the file exists. An
                interrupted run is released and not stored; the next call resumes it.

        Raises:
            UserError: if the database does not take the record, or another process is making this run.
        """
        if (run := self.find(key)) is not None:
            return run
        lease = self.claim(lambda state: [key])
        if lease is None:
            raise UserError(
                f"The run of {key} is being made by another process with {self.location}: wait until it is done there."
            )
        return self.make(lease, make)

    def make(self, lease: RunLease, make: Callable[[Path], Run]) -> Run:
        """Make a leased run and store it, or release it if it is interrupted or fails."""
        run = None
        try:
            with Heartbeat(partial(self.send_heartbeat, lease)):
                run = make(self.checkpoint(lease.key))
        finally:
            if run is None or run.outcome is Outcome.INTERRUPTED:
                self.release(lease)
        if run.outcome is not Outcome.INTERRUPTED:
            self.keep(lease, run)
        return run

    def report_intermediate(self, lease: RunLease, part: int, value: float) -> None:
        """Store the validation value of a run after a part of its length, for the pruner."""
        with explained(self.location), self._database.change() as connection:
            run_table.write_intermediate(connection, lease.id, part, value)

    def intermediate_values(self, leases: Iterable[RunLease]) -> dict[int, dict[int, float]]:
        """The intermediate values of runs, by run id and part of the length."""
        with explained(self.location), self._database.read() as connection:
            return run_table.read_intermediates(connection, [lease.id for lease in leases])

    def competitors(self, lease: RunLease) -> list[RunLease]:
        """The other runs of the same batch size and seed."""
        group = (lease.key.batch_size, lease.key.seed, lease.key.stage)
        rows = [row for row in self.rows() if (row.key.batch_size, row.key.seed, row.key.stage) == group]
        return [RunLease(row.key, row.id) for row in rows if row.id != lease.id]

    def set_shared(self, name: str, value: str) -> str:
        """Set a value for all workers of the study, unless one is set. Returns the value that holds: the first one."""
        with explained(self.location), self._database.write(self._study) as connection:
            shared = run_table.read_agreement(connection, self._study, name)
            if shared is None:
                run_table.write_agreement(connection, self._study, name, value)
        return value if shared is None else shared

    def save_study(self, study: Study, *, ended: bool) -> None:
        """Store the study without its runs, for `saved_study`. Its duration is stored only once it has `ended`."""
        seconds = study.provenance.wall_seconds if ended else 0.0
        head = replace(study, runs=(), analysis=None, provenance=replace(study.provenance, wall_seconds=seconds))
        with explained(self.location), self._database.write(self._study) as connection:
            run_table.write_agreement(connection, self._study, STUDY, head.to_json())

    def send_heartbeat(self, lease: RunLease, number: int) -> None:
        """Write a heartbeat for the run that this process is making."""
        with explained(self.location), self._database.change() as connection:
            run_table.write_heartbeat(connection, lease.id, self._identity.name, number)

    def close(self) -> None:
        """Close the store. Runs that could not be released become free when this process ends."""
        self._identity.keep_file = bool(self._own_ids)
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take(self, connection: Connection, key: RunKey) -> int:
        """Mark the row of this key as running for this process. Returns its id."""
        row = self._table.of_key.get(key)
        if row is None:
            return self._table.insert(connection, key, self._identity.name)
        if row.state == RUNNING:
            self._identity.forget(row.owner)
        run_table.take_over(connection, row.id, self._identity.name)
        return row.id

    def _is_running(self, row: RunRow) -> bool:
        """Whether a living process makes this run. A run of a dead process counts as interrupted."""
        if row.id in self._own_ids:
            return True
        is_own = row.owner == self._identity.name
        return row.state == RUNNING and not is_own and not self._identity.is_dead(row.owner, row.heartbeat)


def refuse_other_tasks(
    studies: Iterable[tuple[int, StudyKey]], terms: StudyKey, location: str, *, shared: bool
) -> None:
    """Raise a UserError if there are runs of the task from before it changed, or, in a folder, runs of another task.

    Args:
        studies: Studies of the database with their numbers.
        shared: Whether the database may hold other tasks too.
    """
    for _, stored in studies:
        if stored.task == terms.task and stored.fingerprint != terms.fingerprint:
            raise UserError(
                f"The runs in {location} are of the task {terms.task!r} as it was before "
                f"{_what_changed(stored, terms)} changed (fingerprint {stored.fingerprint} there, "
                f"{terms.fingerprint} now): give another --out, or the task as it was."
            )
        if stored.task != terms.task and not shared:
            raise UserError(
                f"The runs in {location} are of the task {stored.task!r}, not of {terms.task!r}: give another --out."
            )


def _what_changed(stored: StudyKey, current: StudyKey) -> str:
    names = [name for name, fingerprint in current.parts.items() if stored.parts.get(name) != fingerprint]
    if not stored.parts or not names:
        return "its model, data, loss or metric"
    return "its " + " and its ".join(names)
