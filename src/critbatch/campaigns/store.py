"""Runs kept for good, in Optuna storage: each is made once, and one that was broken off goes on from its checkpoint.

A run is one Optuna trial for its whole life: RUNNING while it is made, WAITING when it was broken off, COMPLETE when
its record is kept. Every end of a run but an interruption is a result: it diverged, it ran out of memory, it missed its
target (then its value is infinite). `optuna-dashboard` opens the same database.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from critbatch.campaigns.database import explained, open_file, open_url, quiet, shown
from critbatch.campaigns.lock import FolderLock
from critbatch.campaigns.terms import Key, Terms, score
from critbatch.errors import UserError
from critbatch.records import Outcome, Run

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial

FILE = "store.sqlite"
# MySQL holds 65,535 bytes in an attribute, and JSON doubles a quotation mark.
PIECE = 30_000


class Store:
    """The runs of the same terms.

    One command at a time works in a folder. A lock sees to it, which the system takes back from a killed process: what
    that process left RUNNING is then known to be broken off.

        with Store.open(folder, terms) as store:
            run = store.run(key, make)    # from the store, or made now and kept
    """

    def __init__(self, storage: RDBStorage, terms: Terms, lock: FolderLock, where: str) -> None:
        self._storage, self._terms, self._lock, self._where = storage, terms, lock, where
        self._closing = ExitStack()
        self._study = self._enter_study()
        self._kept: dict[Key, FrozenTrial] = {}
        self._read: dict[Key, Run] = {}
        self._unfinished: dict[Key, int] = {}
        self._elsewhere: set[Key] = set()
        self._take_stock()

    @classmethod
    def open(cls, folder: Path, terms: Terms, *, url: str | None = None) -> Store:
        """Open the runs of `terms`, and make the store if there is none.

        Args:
            folder: for the checkpoints, and for the database unless `url` is given.
            terms: what its runs share.
            url: of another database, in SQLAlchemy's form: `postgresql+psycopg://user@host/name`.

        Raises:
            UserError: if the folder cannot be written or another command works in it; if the database cannot be opened;
                if it holds runs of this task as it was before its model or data changed, or, in a folder, of another
                task.
        """
        where = str(folder / FILE) if url is None else shown(url)
        with ExitStack() as closing:
            lock = FolderLock(folder)
            closing.callback(lock.release)
            storage = open_file(folder / FILE) if url is None else open_url(url)
            closing.callback(storage.engine.dispose)
            with explained(where), quiet():
                _check_task(storage, terms, where, shared=url is not None)
                store = cls(storage, terms, lock, where)
            store._closing = closing.pop_all()
        return store

    def find(self, key: Key) -> Run | None:
        """The run of this key, or None if it has not been made to its end."""
        if key not in self._read and key in self._kept:
            self._read[key] = _record_of(self._kept[key])
        return self._read.get(key)

    def runs(self) -> tuple[Run, ...]:
        """All the runs, in the order in which they were begun."""
        return tuple(run for key in self._kept if (run := self.find(key)) is not None)

    def checkpoint(self, key: Key) -> Path:
        """Where the checkpoint of this run lies while it is not at its end."""
        return self._lock.folder / "checkpoints" / f"{self._terms.digest}-{key.digest}.pt"

    def run(self, key: Key, make: Callable[[Path], Run]) -> Run:
        """The run of this key: from the store, or made now and kept.

        Args:
            key: which one.
            make: makes it, given the path of its checkpoint, and goes on from there if the file exists. An interrupted
                run is given back but not kept: the next time goes on with it.

        Raises:
            UserError: if the database does not take the record, or another folder's command is making this run.
        """
        if (found := self.find(key)) is not None:
            return found
        from optuna.trial import TrialState

        with explained(self._where):
            trial = self._claim(key)
        try:
            run = make(self.checkpoint(key))
            if run.outcome is not Outcome.INTERRUPTED:
                with explained(self._where):
                    self._keep(trial, run)
                    self._kept[key] = self._storage.get_trial(trial)
                del self._unfinished[key]
        finally:
            if key in self._unfinished:
                with explained(self._where):
                    self._storage.set_trial_state_values(trial, TrialState.WAITING)
        return run

    def close(self) -> None:
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _enter_study(self) -> int:
        from optuna.exceptions import DuplicatedStudyError
        from optuna.study import StudyDirection

        name = f"{self._terms.task} {self._terms.recipe} {self._terms.digest}"
        try:
            study = self._storage.create_new_study([StudyDirection.MINIMIZE], name)
        except DuplicatedStudyError:
            study = self._storage.get_study_id_from_name(name)
        self._storage.set_study_user_attr(study, "terms", self._terms.to_json())
        return study

    def _take_stock(self) -> None:
        """Sort the trials into kept, broken off, and running from another folder."""
        from optuna.trial import TrialState

        for trial in self._storage.get_all_trials(self._study, deepcopy=False):
            key = Key(stage=trial.user_attrs["stage"], **trial.params)
            match trial.state:
                case TrialState.COMPLETE:
                    self._kept[key] = trial
                case TrialState.RUNNING if trial.user_attrs["owner"] != self._lock.owner:
                    self._elsewhere.add(key)
                case TrialState.RUNNING:
                    self._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)
                    self._unfinished[key] = trial._trial_id
                case TrialState.WAITING:
                    self._unfinished[key] = trial._trial_id

    def _claim(self, key: Key) -> int:
        """The id of the one trial of this key, now RUNNING for this process."""
        from optuna.trial import TrialState, create_trial

        if key in self._unfinished:
            trial = self._unfinished[key]
            if self._storage.set_trial_state_values(trial, TrialState.RUNNING):
                self._storage.set_trial_user_attr(trial, "owner", self._lock.owner)
                return trial
            self._elsewhere.add(key)
        if key in self._elsewhere:
            raise UserError(
                f"The run of {key} is being made from another folder with {self._where}: wait until it is done there, "
                "or give the command there once more if it was killed."
            )
        new = create_trial(
            state=TrialState.RUNNING,
            params={"batch_size": key.batch_size, "learning_rate": float(key.learning_rate), "seed": key.seed},
            distributions=_distributions(),
            user_attrs={"stage": key.stage, "owner": self._lock.owner},
        )
        self._unfinished[key] = self._storage.create_new_trial(self._study, new)
        return self._unfinished[key]

    def _keep(self, trial: int, run: Run) -> None:
        """Write the record, then the state, which is what makes it a result."""
        from optuna.trial import TrialState

        text = run.to_json()
        pieces = [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
        for number, piece in enumerate(pieces):
            self._storage.set_trial_user_attr(trial, _piece_name(number), piece)
        summary = {"outcome": run.outcome.value, "steps": run.steps, "seconds": run.seconds, "pieces": len(pieces)}
        self._storage.set_trial_user_attr(trial, "summary", summary)
        self._storage.set_trial_state_values(trial, TrialState.COMPLETE, [score(run)])


def _check_task(storage: RDBStorage, terms: Terms, where: str, *, shared: bool) -> None:
    """Refuse runs of the task as it was before it changed; and in a folder, which is one task's, those of another."""
    for study in storage.get_all_studies():
        if "terms" not in study.user_attrs:
            continue
        theirs = Terms.from_json(study.user_attrs["terms"])
        if theirs.task == terms.task and theirs.fingerprint != terms.fingerprint:
            raise UserError(
                f"The runs in {where} are of the task {terms.task!r} as it was before its model, data, loss, metric or "
                f"target changed (fingerprint {theirs.fingerprint} there, {terms.fingerprint} now): give another "
                "--out, or the task as it was."
            )
        if theirs.task != terms.task and not shared:
            raise UserError(
                f"The runs in {where} are of the task {theirs.task!r}, not of {terms.task!r}: give another --out."
            )


def _record_of(trial: FrozenTrial) -> Run:
    names = map(_piece_name, range(trial.user_attrs["summary"]["pieces"]))
    return Run.from_json("".join(trial.user_attrs[name] for name in names))


def _piece_name(number: int) -> str:
    return f"run {number + 1}"


def _distributions() -> dict[str, Any]:
    """The same for all trials, as Optuna's samplers want it."""
    from optuna.distributions import FloatDistribution, IntDistribution

    return {
        "batch_size": IntDistribution(1, 2**40, log=True),
        "learning_rate": FloatDistribution(1e-12, 1e6, log=True),
        "seed": IntDistribution(0, 2**32 - 1),
    }
