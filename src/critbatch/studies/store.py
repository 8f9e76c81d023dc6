"""Runs kept for good: each is made once, by one process, and one broken off goes on from there.

A run is one row of a table for its whole life (`run_table`): running while it is made, waiting when it was broken off,
finished when its record is kept (pruned where the study ended it early). Every end of a run but an interruption is a
result: it diverged, it ran out of memory, it missed its target.
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
from critbatch.studies.run_key import RunKey, StudyKey, brief_of
from critbatch.studies.run_table import AT_THEIR_END, RUNNING, RunRow, RunTable, StudyState
from critbatch.training.checkpoint import remove_checkpoint

if TYPE_CHECKING:
    from sqlalchemy import Connection

FILE = "runs.sqlite"
# What all that share the runs of a study go by.
STUDY, MACHINE = "study", "machine"


class RunReader:
    """The runs of one study.

    Args:
        study: its number in the database.
        terms: what its runs share.
    """

    def __init__(self, database: Database, study: int, terms: StudyKey) -> None:
        self._database, self._study, self.terms = database, study, terms
        self._table = RunTable(study)
        self._records: dict[RunKey, Run] = {}
        self.judge = terms.judged_by or terms.target

    @property
    def where(self) -> str:
        """How sentences call the database."""
        return self._database.location

    def look(self) -> StudyState:
        """What there is by now."""
        self._refresh()
        return self._stock()

    def rows(self) -> list[RunRow]:
        """The runs in the order in which they were begun, without their records."""
        self._refresh()
        return list(self._table.rows.values())

    def find(self, key: RunKey) -> Run | None:
        """The run of this key, or None if it has not been made to its end."""
        if key not in self._records:
            row = self._table.of_key.get(key)
            if row is None or row.brief is None:
                self._refresh()
                row = self._table.of_key.get(key)
            if row is None or row.brief is None:
                return None
            self._read([row])
        return self._records[key]

    def find_all(self, keys: Iterable[RunKey]) -> list[Run]:
        """Those of these runs that have been made to their end, as `look` saw it last."""
        rows = [row for key in keys if (row := self._table.of_key.get(key)) is not None and row.brief is not None]
        self._read([row for row in rows if row.key not in self._records])
        return [self._records[row.key] for row in rows]

    def runs(self) -> tuple[Run, ...]:
        """All the runs, in the order in which they were begun."""
        return tuple(run for _, run in self.keyed_runs())

    def keyed_runs(self) -> list[tuple[RunKey, Run]]:
        """As `runs`, each with what it is called by."""
        keys = [row.key for row in self.rows() if row.state in AT_THEIR_END]
        return list(zip(keys, self.find_all(keys), strict=True))

    def told(self) -> Study | None:
        """The study that the last sweep over these runs was to make, without its runs; None if there was no sweep."""
        text = self.agreed(STUDY)
        return None if text is None else Study.from_json(text)

    def agreed(self, name: str) -> str | None:
        """What all that share the runs go by, where it has been said."""
        with explained(self.where), self._database.read() as connection:
            return run_table.read_agreement(connection, self._study, name)

    def _refresh(self) -> None:
        with explained(self.where), self._database.read() as connection:
            self._table.refresh(connection)

    def _stock(self) -> StudyState:
        rows = self._table.rows.values()
        self._judge_again([row for row in rows if row.brief is not None and row.brief.judged_by != self.judge])
        stock = StudyState()
        for row in rows:
            if row.brief is not None:
                stock.finished.setdefault(row.key, row.brief)
            elif self._is_being_made(row):
                stock.running.add(row.key)
            else:
                stock.broken.add(row.key)
        return stock

    def _is_being_made(self, row: RunRow) -> bool:
        return row.state == RUNNING

    def _judge_again(self, rows: list[RunRow]) -> None:
        """Runs that were judged by another target than is asked for now have all that is needed in their curves."""
        self._read([row for row in rows if row.key not in self._records])
        for row in rows:
            row.brief = brief_of(self._records[row.key], target=self.judge)

    def _read(self, rows: list[RunRow]) -> None:
        if rows:
            with explained(self.where), self._database.read() as connection:
                self._records.update(run_table.read_records(connection, rows))


@dataclass(frozen=True)
class RunLease:
    """A run that this process and no other makes."""

    key: RunKey
    id: int


class Store(RunReader):
    """The runs of the same terms, shared by all processes that opened it, on one machine or many.

    with Store.open(folder, terms) as store:
        run = store.run(key, make)    # from the store, or made now and kept
    """

    def __init__(self, database: Database, study: int, terms: StudyKey, presence: WorkerIdentity, folder: Path) -> None:
        super().__init__(database, study, terms)
        self._presence, self._folder = presence, folder
        self._closing = ExitStack()
        self._mine: set[int] = set()

    @classmethod
    def open(
        cls, folder: Path, terms: StudyKey, *, url: str | None = None, alone: bool = False, name: str | None = None
    ) -> Store:
        """Open the runs of `terms`, and make the store if there is none.

        The runs that an earlier version kept there, in `store.sqlite` or in tables of Optuna's, are taken over.

        Args:
            folder: for the checkpoints, and for the database unless `url` is given.
            terms: what its runs share.
            url: of another database, in SQLAlchemy's form: `postgresql+psycopg://user@host/name`.
            alone: no other process works in the folder as long as this one does.
            name: of this process, as `Presence` takes it.

        Raises:
            UserError: if the folder cannot be written or a command works in it that does not share; if the database
                cannot be opened; if it holds runs of this task as it was before its model or data changed, or, in a
                folder, of another task.
        """
        with ExitStack() as closing:
            closing.callback(FolderLock(folder, alone=alone).release)
            database = open_database(folder, FILE, url)
            closing.callback(database.close)
            presence = closing.enter_context(WorkerIdentity(folder / "workers", name))
            migrate(database, folder, url)
            with explained(database.location), database.write() as connection:
                refuse_other_tasks(run_table.studies(connection), terms, database.location, shared=url is not None)
                study = run_table.study_of(connection, terms)
            store = cls(database, study, terms, presence, folder)
            store._closing = closing.pop_all()
        return store

    def checkpoint(self, key: RunKey) -> Path:
        """Where the checkpoint of this run lies while it is not at its end."""
        return self._folder / "checkpoints" / f"{self.terms.digest}-{key.digest}.pt"

    # Working.

    def claim(self, choose: Callable[[StudyState], Iterable[RunKey]]) -> RunLease | None:
        """Take the first run that is free, in the order of `choose`, for this process to make; None if none is.

        Args:
            choose: the runs to be made, given what there is; those at their end may be among them.
        """
        with explained(self.where), self._database.write(self._study) as connection:
            self._table.refresh(connection)
            stock = self._stock()
            taken = stock.finished.keys() | stock.running
            free = next((key for key in choose(stock) if key not in taken), None)
            if free is None:
                return None
            claim = RunLease(free, self._take(connection, free))
        self._mine.add(claim.id)
        return claim

    def keep(self, claim: RunLease, run: Run) -> bool:
        """Write the record and the state, which make it a result, in one step.

        Returns:
            False if another process has taken the run over meanwhile, which had reason to think this one dead.
        """
        brief = brief_of(run, target=self.judge)
        with explained(self.where), self._database.change() as connection:
            is_kept = run_table.finish(connection, claim.id, self._presence.name, run, brief)
        self._mine.discard(claim.id)
        if is_kept:
            self._records[claim.key] = run
            remove_checkpoint(self.checkpoint(claim.key))
        return is_kept

    def release(self, claim: RunLease) -> None:
        """Give a run back that is not at its end: whoever comes next goes on with it."""
        with explained(self.where), self._database.change() as connection:
            run_table.give_back(connection, claim.id, self._presence.name)
        self._mine.discard(claim.id)

    def making(self, name: str) -> RunLease | None:
        """The run that the process called `name` is, or was, making."""
        return next(
            (RunLease(row.key, row.id) for row in self.rows() if row.state == RUNNING and row.owner == name), None
        )

    def run(self, key: RunKey, make: Callable[[Path], Run]) -> Run:
        """The run of this key: from the store, or made now and kept.

        Args:
            key: which one.
            make: makes it, given the path of its checkpoint, and goes on from there if the file exists. An interrupted
                run is given back but not kept: the next time goes on with it.

        Raises:
            UserError: if the database does not take the record, or another process is making this run.
        """
        if (found := self.find(key)) is not None:
            return found
        claim = self.claim(lambda stock: [key])
        if claim is None:
            raise UserError(
                f"The run of {key} is being made by another process with {self.where}: wait until it is done there."
            )
        return self.make(claim, make)

    def make(self, claim: RunLease, make: Callable[[Path], Run]) -> Run:
        """Make a run that was claimed, and keep it, or give it back if it is interrupted or fails."""
        run = None
        try:
            with Heartbeat(partial(self.beat, claim)):
                run = make(self.checkpoint(claim.key))
        finally:
            if run is None or run.outcome is Outcome.INTERRUPTED:
                self.release(claim)
        if run.outcome is not Outcome.INTERRUPTED:
            self.keep(claim, run)
        return run

    def note(self, claim: RunLease, part: int, value: float) -> None:
        """Leave with a run how it stands at a part of its way, for others to compare theirs with."""
        with explained(self.where), self._database.change() as connection:
            run_table.write_intermediate(connection, claim.id, part, value)

    def notes(self, claims: Iterable[RunLease]) -> dict[int, dict[int, float]]:
        """What was noted with runs, by their ids."""
        with explained(self.where), self._database.read() as connection:
            return run_table.read_intermediates(connection, [claim.id for claim in claims])

    def peers(self, claim: RunLease) -> list[RunLease]:
        """The other runs of the same batch size and seed."""
        mine = (claim.key.batch_size, claim.key.seed, claim.key.stage)
        alike = [row for row in self.rows() if (row.key.batch_size, row.key.seed, row.key.stage) == mine]
        return [RunLease(row.key, row.id) for row in alike if row.id != claim.id]

    def agree(self, name: str, value: str) -> str:
        """What all that share the store go by: the value of whoever came first."""
        with explained(self.where), self._database.write(self._study) as connection:
            agreed = run_table.read_agreement(connection, self._study, name)
            if agreed is None:
                run_table.write_agreement(connection, self._study, name, value)
        return value if agreed is None else agreed

    def tell(self, study: Study, *, ended: bool) -> None:
        """Keep what the study is to be, for `told`. Where it has not `ended`, nobody knows yet how long it took."""
        seconds = study.provenance.wall_seconds if ended else 0.0
        head = replace(study, runs=(), analysis=None, provenance=replace(study.provenance, wall_seconds=seconds))
        with explained(self.where), self._database.write(self._study) as connection:
            run_table.write_agreement(connection, self._study, STUDY, head.to_json())

    def beat(self, claim: RunLease, number: int) -> None:
        """Leave a sign of life with the run that is being made."""
        with explained(self.where), self._database.change() as connection:
            run_table.beat(connection, claim.id, self._presence.name, number)

    def close(self) -> None:
        """Leave the store. A run that could not be given back, as on a full disk, is found to be free all the same."""
        self._presence.leaves_runs = bool(self._mine)
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take(self, connection: Connection, key: RunKey) -> int:
        """The one row of this key, running for this process from now on. Returns its id."""
        row = self._table.of_key.get(key)
        if row is None:
            return self._table.insert(connection, key, self._presence.name)
        if row.state == RUNNING:
            self._presence.bury(row.owner)
        run_table.take_over(connection, row.id, self._presence.name)
        return row.id

    def _is_being_made(self, row: RunRow) -> bool:
        """A run that a dead process was making is broken off."""
        if row.id in self._mine:
            return True
        mine = row.owner == self._presence.name
        return row.state == RUNNING and not mine and not self._presence.is_dead(row.owner, row.heartbeat)


def refuse_other_tasks(studies: Iterable[tuple[int, StudyKey]], terms: StudyKey, where: str, *, shared: bool) -> None:
    """Raise a UserError for runs of the task as it was before it changed; and in a folder, which is one task's, for
    those of another.

    Args:
        studies: of the database, by their numbers.
        shared: the database may hold other tasks too.
    """
    for _, theirs in studies:
        if theirs.task == terms.task and theirs.fingerprint != terms.fingerprint:
            raise UserError(
                f"The runs in {where} are of the task {terms.task!r} as it was before {_what_changed(theirs, terms)} "
                f"changed (fingerprint {theirs.fingerprint} there, {terms.fingerprint} now): give another --out, or "
                "the task as it was."
            )
        if theirs.task != terms.task and not shared:
            raise UserError(
                f"The runs in {where} are of the task {theirs.task!r}, not of {terms.task!r}: give another --out."
            )


def _what_changed(theirs: StudyKey, ours: StudyKey) -> str:
    names = [name for name, part in ours.parts.items() if theirs.parts.get(name) != part]
    if not theirs.parts or not names:
        return "its model, data, loss or metric"
    return "its " + " and its ".join(names)
