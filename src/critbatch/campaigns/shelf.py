"""The runs of the same terms as they lie in a database, to read: also for who does not work on them."""

from __future__ import annotations

from collections.abc import Iterable

from critbatch.campaigns.database import Database, explained
from critbatch.campaigns.stock import Row, Rows, Stock
from critbatch.campaigns.terms import Key, Terms, brief_of
from critbatch.campaigns.trials import read_records
from critbatch.records.core import Run
from critbatch.records.study import Study

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
