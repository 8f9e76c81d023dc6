"""The tables of a store: studies, values that the workers of a study share, and runs, one row each.

Other programs may read `critbatch_runs`: key, state, owner, summary and record of each run; key, summary and record are
JSON. The names begin with `critbatch_`, so that a database can hold other tables.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from critbatch.errors import UserError
from critbatch.records.core import SCHEMA_VERSION, Run
from critbatch.studies.run_key import RunKey, RunSummary, StudyKey

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, MetaData, Table

# Version of the tables. A store of a later version is refused, since its locking rules may differ.
STORE_VERSION = 1
VERSION = "version"
RUNNING, WAITING, FINISHED, PRUNED = "running", "waiting", "finished", "pruned"
AT_THEIR_END = (FINISHED, PRUNED)
ROW_COLUMNS = ("id", "state", "key", "owner", "heartbeat", "started", "ended", "summary")
MOST_IDS = 500  # in one statement


@cache
def metadata() -> MetaData:
    from sqlalchemy import Column, Float, ForeignKey, Index, Integer, MetaData, String, Table, Text, UniqueConstraint
    from sqlalchemy.dialects.mysql import LONGTEXT

    text = Text().with_variant(LONGTEXT(), "mysql", "mariadb")
    tables = MetaData()
    Table("critbatch_store", tables, Column("name", String(120), primary_key=True), Column("value", text))
    Table(
        "critbatch_studies",
        tables,
        Column("id", Integer, primary_key=True),
        Column("study_key", String(64), nullable=False, unique=True),
        Column("task", String(255), nullable=False),
        Column("recipe", String(255), nullable=False),
        Column("terms", text, nullable=False),
        Column("created", Float(53), nullable=False),  # seconds since 1970
    )
    Table(
        "critbatch_agreements",
        tables,
        Column("study_id", ForeignKey("critbatch_studies.id"), primary_key=True),
        Column("name", String(120), primary_key=True),
        Column("value", text, nullable=False),
    )
    Table(
        "critbatch_runs",
        tables,
        Column("id", Integer, primary_key=True),
        Column("study_id", ForeignKey("critbatch_studies.id"), nullable=False),
        Column("run_key", String(64), nullable=False),
        Column("state", String(16), nullable=False),
        Column("owner", String(120), nullable=False),
        Column("heartbeat", Integer, nullable=False),
        Column("schema_version", Integer, nullable=False),  # of summary and record
        Column("started", Float(53)),  # seconds since 1970
        Column("ended", Float(53)),
        Column("key", text, nullable=False),
        Column("intermediate", text, nullable=False),  # standings on the way, for early stopping
        Column("summary", text),
        Column("record", text),  # last, so that a list of runs need not read it
        UniqueConstraint("study_id", "run_key"),
        Index("critbatch_runs_by_state", "study_id", "state"),
    )
    return tables


def _table(name: str) -> Table:
    return metadata().tables[f"critbatch_{name}"]


# --- the store as a whole --------------------------------------------------------------------------------------------


def is_there(connection: Connection) -> bool:
    """Whether the tables have been made. The version is written last."""
    from sqlalchemy import inspect

    return inspect(connection).has_table(_table("store").name) and read_note(connection, VERSION) is not None


def create(connection: Connection) -> None:
    metadata().create_all(connection)
    if read_note(connection, VERSION) is None:
        write_note(connection, VERSION, str(STORE_VERSION))


def check_version(connection: Connection, location: str) -> None:
    """Raise a UserError for a store of a later version."""
    version = int(read_note(connection, VERSION) or 0)
    if version > STORE_VERSION:
        raise UserError(
            f"The store {location} was written by a later version of critbatch (format {version}, known here is "
            f"{STORE_VERSION}): use that version, or give another --out."
        )


def lock(connection: Connection, study: int | None) -> None:
    """Keep others out until the end of the transaction. SQLite has locked the file already."""
    from sqlalchemy import select

    if connection.dialect.name != "sqlite":
        store, studies = _table("store"), _table("studies")
        row = select(store.c.name).where(store.c.name == VERSION)
        if study is not None:
            row = select(studies.c.id).where(studies.c.id == study)
        connection.execute(row.with_for_update()).all()


def read_note(connection: Connection, name: str) -> str | None:
    """A value stored for the store as a whole."""
    from sqlalchemy import select

    table = _table("store")
    value: str | None = connection.execute(select(table.c.value).where(table.c.name == name)).scalar()
    return value


def write_note(connection: Connection, name: str, value: str) -> None:
    table = _table("store")
    if connection.execute(table.update().where(table.c.name == name).values(value=value)).rowcount == 0:
        connection.execute(table.insert().values(name=name, value=value))


# --- studies ---------------------------------------------------------------------------------------------------------


def studies(connection: Connection) -> list[tuple[int, StudyKey]]:
    """All studies with their numbers, in order of creation."""
    from sqlalchemy import select

    table = _table("studies")
    rows = connection.execute(select(table.c.id, table.c.terms).order_by(table.c.id)).all()
    return [(number, StudyKey.from_json(text)) for number, text in rows]


def study_of(connection: Connection, terms: StudyKey) -> int:
    """The number of the study of this key; the study is created if missing."""
    from sqlalchemy import select

    table = _table("studies")
    number = connection.execute(select(table.c.id).where(table.c.study_key == terms.digest)).scalar()
    if number is None:
        values = {
            "study_key": terms.digest,
            "task": terms.task[:255],
            "recipe": terms.recipe[:255],
            "terms": terms.to_json(),
            "created": time.time(),
        }
        number = _inserted(connection, table, values)
    return int(number)


def read_agreement(connection: Connection, study: int, name: str) -> str | None:
    from sqlalchemy import select

    table = _table("agreements")
    which = (table.c.study_id == study) & (table.c.name == name)
    value: str | None = connection.execute(select(table.c.value).where(which)).scalar()
    return value


def write_agreement(connection: Connection, study: int, name: str, value: str) -> None:
    table = _table("agreements")
    which = (table.c.study_id == study) & (table.c.name == name)
    if connection.execute(table.update().where(which).values(value=value)).rowcount == 0:
        connection.execute(table.insert().values(study_id=study, name=name, value=value))


# --- runs ------------------------------------------------------------------------------------------------------------


@dataclass
class RunRow:
    """A row of the table of runs, without the record."""

    id: int
    state: str
    key: RunKey
    owner: str
    heartbeat: int
    started: float | None  # seconds since 1970
    ended: float | None
    summary: RunSummary | None


@dataclass
class StudyState:
    """The runs of a study by state.

    Args:
        finished: Runs that have ended, with their summaries.
        running: Runs that a living process is making.
        broken: Interrupted runs; a checkpoint may exist.
    """

    finished: dict[RunKey, RunSummary] = field(default_factory=dict)
    running: set[RunKey] = field(default_factory=set)
    broken: set[RunKey] = field(default_factory=set)


class RunTable:
    """The runs of a study; a refresh reads only rows that may have changed.

    Ids grow in starting order, since only one process at a time adds a run to a study.
    """

    def __init__(self, study: int) -> None:
        self.study = study
        self.rows: dict[int, RunRow] = {}
        self.of_key: dict[RunKey, RunRow] = {}

    def refresh(self, connection: Connection) -> dict[int, RunRow]:
        """Read new and changed rows. Returns all rows by id, in starting order."""
        from sqlalchemy import select

        table = _table("runs")
        columns = select(*(table.c[name] for name in ROW_COLUMNS))
        open_ids = [row.id for row in self.rows.values() if row.state not in AT_THEIR_END]
        conditions: list[ColumnElement[bool]] = [table.c.id.in_(chunk) for chunk in _chunks(open_ids)]
        conditions.append((table.c.study_id == self.study) & (table.c.id > max(self.rows, default=-1)))
        for condition in conditions:
            for values in connection.execute(columns.where(condition).order_by(table.c.id)):
                row = _row_of(*values)
                self.rows[row.id] = row
                self.of_key[row.key] = row
        return self.rows

    def insert(self, connection: Connection, key: RunKey, owner: str) -> int:
        """Insert a running run of this owner. Returns its id."""
        values = {
            "study_id": self.study,
            "run_key": key.digest,
            "state": RUNNING,
            "owner": owner,
            "heartbeat": 0,
            "schema_version": SCHEMA_VERSION,
            "started": time.time(),
            "key": key.to_json(),
            "intermediate": "{}",
        }
        return _inserted(connection, _table("runs"), values)


def take_over(connection: Connection, number: int, owner: str) -> None:
    table = _table("runs")
    connection.execute(table.update().where(table.c.id == number).values(state=RUNNING, owner=owner, heartbeat=0))


def finish(connection: Connection, number: int, owner: str, run: Run, summary: RunSummary) -> bool:
    """Store the result of a run if `owner` still makes it. Returns whether it does."""
    values = {
        "state": PRUNED if run.pruned else FINISHED,
        "summary": summary.to_json(),
        "record": run.to_json(),
        "schema_version": SCHEMA_VERSION,
        "ended": time.time(),
    }
    return connection.execute(_of_owner(number, owner).values(values)).rowcount > 0


def give_back(connection: Connection, number: int, owner: str) -> None:
    connection.execute(_of_owner(number, owner).values(state=WAITING))


def write_heartbeat(connection: Connection, number: int, owner: str, heartbeat: int) -> None:
    connection.execute(_of_owner(number, owner).values(heartbeat=heartbeat))


def _of_owner(number: int, owner: str) -> Any:
    table = _table("runs")
    return table.update().where((table.c.id == number) & (table.c.owner == owner) & (table.c.state == RUNNING))


def write_intermediate(connection: Connection, number: int, part: int, value: float) -> None:
    """Add an intermediate value. Only the owner of a run writes them, so no lock is needed."""
    table = _table("runs")
    values = read_intermediates(connection, [number])[number]
    text = json.dumps({**values, part: value})
    connection.execute(table.update().where(table.c.id == number).values(intermediate=text))


def read_intermediates(connection: Connection, numbers: Sequence[int]) -> dict[int, dict[int, float]]:
    """Intermediate values of runs, by run id and part of the length."""
    from sqlalchemy import select

    table, values = _table("runs"), {}
    for chunk in _chunks(numbers):
        for number, text in connection.execute(select(table.c.id, table.c.intermediate).where(table.c.id.in_(chunk))):
            values[number] = {int(part): float(value) for part, value in json.loads(text).items()}
    return values


def read_records(connection: Connection, rows: Sequence[RunRow]) -> dict[RunKey, Run]:
    """The records of runs that have ended, by key."""
    from sqlalchemy import select

    table, keys, records = _table("runs"), {row.id: row.key for row in rows}, {}
    for chunk in _chunks(list(keys)):
        for number, text in connection.execute(select(table.c.id, table.c.record).where(table.c.id.in_(chunk))):
            records[keys[number]] = Run.from_json(text)
    return records


def merge_runs(connection: Connection, study: int, rows: Iterable[Mapping[str, Any]]) -> None:
    """Add runs of another store: missing runs, and results of runs that have not ended here.

    Args:
        rows: All columns but the ids.
    """
    from sqlalchemy import select

    table = _table("runs")
    query = select(table.c.run_key, table.c.id, table.c.state).where(table.c.study_id == study)
    existing = {key: (number, state) for key, number, state in connection.execute(query)}
    added = []
    for row in rows:
        number, state = existing.get(row["run_key"], (None, ""))
        if number is None:
            added.append({"study_id": study, **row})
        elif row["state"] in AT_THEIR_END and state not in AT_THEIR_END:
            connection.execute(table.update().where(table.c.id == number).values(row))
    if added:
        connection.execute(table.insert(), added)


def _inserted(connection: Connection, table: Table, values: Mapping[str, Any]) -> int:
    """Insert a row. Returns its id."""
    key = connection.execute(table.insert().values(values)).inserted_primary_key
    assert key is not None
    return int(key[0])


def _row_of(
    number: int,
    state: str,
    key: str,
    owner: str,
    heartbeat: int,
    started: float | None,
    ended: float | None,
    summary: str | None,
) -> RunRow:
    return RunRow(
        id=number,
        state=state,
        key=RunKey.from_json(key),
        owner=owner,
        heartbeat=heartbeat,
        started=started,
        ended=ended,
        summary=RunSummary.from_json(summary) if summary is not None and state in AT_THEIR_END else None,
    )


def _chunks(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(numbers), MOST_IDS):
        yield numbers[start : start + MOST_IDS]
