"""Runs kept for good, in Optuna storage: each is made once, by one process, and one broken off goes on from there.

A run is one Optuna trial for its whole life: RUNNING while it is made, WAITING when it was broken off, COMPLETE when
its record is kept (PRUNED where the study ended it early). Every end of a run but an interruption is a result: it
diverged, it ran out of memory, it missed its target (then its value is infinite). `optuna-dashboard` opens the same
database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from critbatch.errors import UserError
from critbatch.records.core import Outcome, Run
from critbatch.records.study import Study
from critbatch.studies.database import Database, explained, open_database, quiet
from critbatch.studies.liveness import FolderLock, Heart, Presence
from critbatch.studies.run_key import Key, Terms, brief_of
from critbatch.studies.trial_table import (
    BEAT,
    BRIEF,
    KEY,
    OWNER,
    TERMS,
    Row,
    Rows,
    Stock,
    new_trial,
    read_records,
    study_of,
    trial_states,
    write_record,
)
from critbatch.training.checkpoint import remove_checkpoint

# Refuses runs of another task, or of the task as it was before it changed, and says what has changed.


def refuse_other_tasks(storage: Any, terms: Terms, where: str, *, shared: bool) -> None:
    """Raise a UserError for runs of the task as it was before it changed; and in a folder, which is one task's, for
    those of another.

    Args:
        storage: of Optuna.
        shared: the database may hold other tasks too.
    """
    for study in storage.get_all_studies():
        if TERMS not in study.user_attrs:
            continue
        theirs = Terms.from_json(study.user_attrs[TERMS])
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


def _what_changed(theirs: Terms, ours: Terms) -> str:
    names = [name for name, part in ours.parts.items() if theirs.parts.get(name) != part]
    if not theirs.parts or not names:
        return "its model, data, loss or metric"
    return "its " + " and its ".join(names)


# The runs of the same terms as they lie in a database, to read: also for who does not work on them.

# Attributes of the Optuna study.
STUDY, MACHINE = "study", "machine"


class Shelf:
    """The runs of one Optuna study.

    Args:
        study: its number in the database.
        terms: what its runs share.
    """

    def __init__(self, database: Database, study: int, terms: Terms) -> None:
        self._database, self._study, self.terms = database, study, terms
        self._rows = Rows(database.storage, study)
        self._records: dict[Key, Run] = {}
        self.judge = terms.judged_by or terms.target

    @property
    def where(self) -> str:
        """How sentences call the database."""
        return self._database.where

    def look(self) -> Stock:
        """What there is by now."""
        with explained(self.where):
            rows = self._rows.look()
        self._judge_again([row for row in rows.values() if row.brief is not None and row.brief.judged_by != self.judge])
        stock = Stock()
        for row in rows.values():
            if row.brief is not None:
                stock.finished.setdefault(row.key, row.brief)
            elif self._is_being_made(row):
                stock.running.add(row.key)
            else:
                stock.broken.add(row.key)
        return stock

    def find(self, key: Key) -> Run | None:
        """The run of this key, or None if it has not been made to its end."""
        if key not in self._records:
            row = self._rows.of_key.get(key)
            row = row if row is not None and row.brief is not None else self._look_for(key)
            if row is None or row.brief is None:
                return None
            self._read([row])
        return self._records[key]

    def find_all(self, keys: Iterable[Key]) -> list[Run]:
        """Those of these runs that have been made to their end, as `look` saw it last."""
        rows = [row for key in keys if (row := self._rows.of_key.get(key)) is not None and row.brief is not None]
        self._read([row for row in rows if row.key not in self._records])
        return [self._records[row.key] for row in rows]

    def runs(self) -> tuple[Run, ...]:
        """All the runs, in the order in which they were begun."""
        with explained(self.where):
            keys = [row.key for row in self._rows.look().values()]
        return tuple(self.find_all(keys))

    def keyed_runs(self) -> list[tuple[Key, Run]]:
        """As `runs`, each with what it is called by."""
        runs = self.runs()
        keys = [row.key for row in self._rows.known.values() if row.brief is not None]
        return list(zip(keys, runs, strict=True))

    def told(self) -> Study | None:
        """The study that the last sweep over these runs was to make, without its runs; None if there was no sweep."""
        text = self.agreed(STUDY)
        return None if text is None else Study.from_json(text)

    def agreed(self, name: str) -> str | None:
        """What all that share the runs go by, where it has been said."""
        with explained(self.where):
            found: str | None = self._database.storage.get_study_user_attrs(self._study).get(name)
        return found

    def _is_being_made(self, row: Row) -> bool:
        return row.state == "RUNNING"

    def _judge_again(self, rows: list[Row]) -> None:
        """Runs that were judged by another target than is asked for now have all that is needed in their curves."""
        self._read([row for row in rows if row.key not in self._records])
        for row in rows:
            assert row.brief is not None
            row.brief = brief_of(self._records[row.key], target=self.judge, pieces=row.brief.pieces)

    def _look_for(self, key: Key) -> Row | None:
        with explained(self.where):
            self._rows.look()
        return self._rows.of_key.get(key)

    def _read(self, rows: list[Row]) -> None:
        if rows:
            with explained(self.where):
                self._records.update(read_records(self._database.storage, rows))


FILE = "store.sqlite"


@dataclass(frozen=True)
class Claim:
    """A run that this process and no other makes."""

    key: Key
    trial: int


class Store(Shelf):
    """The runs of the same terms, shared by all processes that opened it, on one machine or many.

    with Store.open(folder, terms) as store:
        run = store.run(key, make)    # from the store, or made now and kept
    """

    def __init__(self, database: Database, terms: Terms, presence: Presence, folder: Path) -> None:
        super().__init__(database, study_of(database.storage, terms), terms)
        self._presence, self._folder = presence, folder
        self._closing = ExitStack()
        self._mine: set[int] = set()

    @classmethod
    def open(
        cls, folder: Path, terms: Terms, *, url: str | None = None, alone: bool = False, name: str | None = None
    ) -> Store:
        """Open the runs of `terms`, and make the store if there is none.

        Args:
            folder: for the checkpoints, and for the database unless `url` is given.
            terms: what its runs share.
            url: of another database, in SQLAlchemy's form: `postgresql+psycopg://user@host/name`, or
                `journal:///path/file.log`.
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
            presence = closing.enter_context(Presence(folder / "workers", name))
            with explained(database.where), quiet(), database.exclusive():
                refuse_other_tasks(database.storage, terms, database.where, shared=url is not None)
                store = cls(database, terms, presence, folder)
            store._closing = closing.pop_all()
        return store

    def checkpoint(self, key: Key) -> Path:
        """Where the checkpoint of this run lies while it is not at its end."""
        return self._folder / "checkpoints" / f"{self.terms.digest}-{key.digest}.pt"

    # Working.

    def claim(self, choose: Callable[[Stock], Iterable[Key]]) -> Claim | None:
        """Take the first run that is free, in the order of `choose`, for this process to make; None if none is.

        Args:
            choose: the runs to be made, given what there is; those at their end may be among them.
        """
        with explained(self.where), self._database.exclusive():
            stock = self.look()
            taken = stock.finished.keys() | stock.running
            free = next((key for key in choose(stock) if key not in taken), None)
            return self._take(free) if free is not None else None

    def keep(self, claim: Claim, run: Run) -> bool:
        """Write the record, then the state, which is what makes it a result.

        Returns:
            False if another process has taken the run over meanwhile, which had reason to think this one dead.
        """
        states = trial_states()
        with explained(self.where), self._database.exclusive():
            row = self._rows.look()[claim.trial]
            if row.owner != self._presence.name or row.brief is not None:
                self._mine.discard(claim.trial)
                return False
            storage = self._database.storage
            brief = brief_of(run, target=self.judge, pieces=write_record(storage, claim.trial, run))
            storage.set_trial_user_attr(claim.trial, BRIEF, brief.to_json())
            state = states.PRUNED if run.stopped_early else states.COMPLETE
            storage.set_trial_state_values(claim.trial, state, [brief.score])
            self._mine.discard(claim.trial)
        self._records[claim.key] = run
        remove_checkpoint(self.checkpoint(claim.key))
        return True

    def release(self, claim: Claim) -> None:
        """Give a run back that is not at its end: whoever comes next goes on with it."""
        with explained(self.where), self._database.exclusive():
            if self._rows.look()[claim.trial].owner == self._presence.name:
                self._database.storage.set_trial_state_values(claim.trial, trial_states().WAITING)
            self._mine.discard(claim.trial)

    def making(self, name: str) -> Claim | None:
        """The run that the process called `name` is, or was, making."""
        rows = self._rows.look().values()
        return next((Claim(row.key, row.trial) for row in rows if row.state == "RUNNING" and row.owner == name), None)

    def run(self, key: Key, make: Callable[[Path], Run]) -> Run:
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

    def make(self, claim: Claim, make: Callable[[Path], Run]) -> Run:
        """Make a run that was claimed, and keep it, or give it back if it is interrupted or fails."""
        run = None
        try:
            with Heart(partial(self.beat, claim)):
                run = make(self.checkpoint(claim.key))
        finally:
            if run is None or run.outcome is Outcome.INTERRUPTED:
                self.release(claim)
        if run.outcome is not Outcome.INTERRUPTED:
            self.keep(claim, run)
        return run

    def note(self, claim: Claim, part: int, value: float) -> None:
        """Leave with a run how it stands at a part of its way, for others to compare theirs with."""
        with explained(self.where):
            self._database.storage.set_trial_intermediate_value(claim.trial, part, value)

    def notes(self, claims: Iterable[Claim]) -> dict[int, dict[int, float]]:
        """What was noted with runs, by their trials."""
        with explained(self.where):
            storage = self._database.storage
            return {claim.trial: dict(storage.get_trial(claim.trial).intermediate_values) for claim in claims}

    def peers(self, claim: Claim) -> list[Claim]:
        """The other runs of the same batch size and seed."""
        with explained(self.where):
            rows = self._rows.look().values()
        mine = (claim.key.batch_size, claim.key.seed, claim.key.stage)
        alike = [row for row in rows if (row.key.batch_size, row.key.seed, row.key.stage) == mine]
        return [Claim(row.key, row.trial) for row in alike if row.trial != claim.trial]

    def agree(self, name: str, value: str) -> str:
        """What all that share the store go by: the value of whoever came first."""
        with explained(self.where), self._database.exclusive():
            storage = self._database.storage
            found: str | None = storage.get_study_user_attrs(self._study).get(name)
            if found is None:
                storage.set_study_user_attr(self._study, name, found := value)
            return found

    def tell(self, study: Study, *, ended: bool) -> None:
        """Keep what the study is to be, for `told`. Where it has not `ended`, nobody knows yet how long it took."""
        seconds = study.provenance.wall_seconds if ended else 0.0
        head = replace(study, runs=(), analysis=None, provenance=replace(study.provenance, wall_seconds=seconds))
        with explained(self.where):
            self._database.storage.set_study_user_attr(self._study, STUDY, head.to_json())

    def beat(self, claim: Claim, number: int) -> None:
        """Leave a sign of life with the run that is being made."""
        with explained(self.where):
            self._database.storage.set_trial_user_attr(claim.trial, BEAT, number)

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

    # Trials.

    def _take(self, key: Key) -> Claim:
        """The one trial of this key, RUNNING for this process."""
        storage, me = self._database.storage, self._presence.name
        row = self._rows.of_key.get(key)
        if row is None:
            trial = storage.create_new_trial(self._study, new_trial(key, {KEY: key.to_json(), OWNER: me, BEAT: 0}))
        else:
            trial = row.trial
            if row.state == "RUNNING":
                storage.set_trial_state_values(trial, trial_states().WAITING)
                self._presence.bury(row.owner)
            # The name first: who finds the trial RUNNING finds who is making it.
            storage.set_trial_user_attr(trial, OWNER, me)
            storage.set_trial_state_values(trial, trial_states().RUNNING)
        self._mine.add(trial)
        return Claim(key, trial)

    def _is_being_made(self, row: Row) -> bool:
        """A run that a dead process was making is broken off."""
        if row.trial in self._mine:
            return True
        mine = row.owner == self._presence.name
        return row.state == "RUNNING" and not mine and not self._presence.is_dead(row.owner, row.beat)
