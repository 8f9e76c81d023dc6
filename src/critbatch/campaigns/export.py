"""The runs of a study as a table for other programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from critbatch.arguments import as_path, checked_call
from critbatch.campaigns.rows import CLASHES, OF_CURVES, POINT, Source, curve_rows, run_rows
from critbatch.campaigns.stored_studies import is_url, shelves, store_of
from critbatch.campaigns.tables import WRITERS, write_table
from critbatch.errors import UserError
from critbatch.records.core import Advice, Record, Run
from critbatch.records.io import blamed_on_records, load_records
from critbatch.records.study import Study

SUFFIXES = {f".{kind}": kind for kind in WRITERS}


@checked_call
def export(
    study: Study | Path | str, *, out: str | Path | None = None, format: str | None = None, curves: bool = False
) -> Path:
    """Write one row a run, or with `curves` one row an evaluation, of all runs that have come to their end.

    Args:
        study: a folder with a store or with records, a record or its file, or the URL of a database. Of a folder the
            store is what counts, so that a study that is half done can be looked at while it goes on.
        out: the file; runs.csv or curves.csv in the folder unless given.
        format: "csv", "parquet" or "jsonl"; None is that of `out`, or csv.
        curves: one row an evaluation. Its column `run` is that of the other table.

    Returns:
        The file.

    Raises:
        UserError: if there is no run, the format is not known, or the file cannot be written.
    """
    if format is not None and format not in WRITERS:
        raise UserError(f"The format {format!r} is not known: use {', '.join(WRITERS)}.")
    study = study if isinstance(study, Study) or is_url(study) else as_path(study)
    out = as_path(out) if out is not None else None
    kind = format or SUFFIXES.get(out.suffix.lower() if out is not None else "", "csv")
    path = out or _folder_of(study) / f"{'curves' if curves else 'runs'}.{kind}"
    sources = list(_sources(study))
    with blamed_on_records(_name_of(study)):
        return _write(sources, path, kind, study, curves=curves)


def _write(sources: list[Source], path: Path, kind: str, study: Study | Path | str, *, curves: bool) -> Path:
    if not sources:
        raise UserError(f"{_name_of(study)} holds no run that has come to its end: make some with `critbatch sweep`.")
    if curves:
        columns = [*OF_CURVES, *(CLASHES.get(name, name) for name in POINT)]
        write_table(curve_rows(sources), columns, path, kind)
    else:
        rows = run_rows(sources)
        write_table(rows, list(rows[0]), path, kind)
    return path


def _sources(study: Study | Path | str) -> Iterator[Source]:
    if isinstance(study, Study):
        yield from _of_records([study])
    elif (store := store_of(study)) is not None:
        with shelves(store) as found:
            for shelf in reversed(found):
                for key, run in shelf.keyed_runs():
                    yield Source(run, study=shelf.terms.digest, stage=key.stage)
    else:
        yield from _of_records(load_records(Path(study)))


def _of_records(records: list[Record]) -> Iterator[Source]:
    for record in records:
        if isinstance(record, Run):
            yield Source(record)
        elif isinstance(record, (Study, Advice)):
            yield from map(Source, record.runs)


def _folder_of(study: Study | Path | str) -> Path:
    if isinstance(study, Study) or is_url(study):
        return Path()
    return Path(study) if Path(study).is_dir() else Path(study).parent


def _name_of(study: Study | Path | str) -> str:
    return "The study" if isinstance(study, Study) else str(study)
