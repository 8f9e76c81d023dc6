"""The runs of a study as a table for other programs."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from enum import StrEnum
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

from critbatch.arguments import as_path, checked_call
from critbatch.errors import UserError
from critbatch.records.core import Advice, CurvePoint, Record, Run
from critbatch.records.io import atomic_replacement, blamed_on_records, load_records, reason_of
from critbatch.records.study import Study
from critbatch.studies.optuna_export import ExportedRun, write_optuna
from critbatch.studies.run_key import summary_of
from critbatch.studies.store import RunReader
from critbatch.studies.stored import is_url, open_readers, store_of

# --- rows: one for each run, or one for each evaluation --------------------------------------------------------------

Row = dict[str, Any]
OPTION = "option_"
LAST = ("train_loss", "train_metric", "validation_loss", "validation_metric")
# Fields of a run that are records, or that other columns hold.
LEFT_OUT = ("target", "crossing", "curve", "noise", "replicas", "options")
OF_CURVES = ("run", "study", "task", "recipe", "batch_size", "learning_rate", "seed")
POINT = tuple(field.name for field in fields(CurvePoint))
# Fields of a curve point that have the name of a field of the run.
CLASHES = {"learning_rate": "learning_rate_now", "batch_size": "batch_size_now"}
# Types of columns that may be empty; other empty columns hold floats.
KINDS: dict[str, type[Any]] = {"diverged_at": int, "batch_size_now": int, "target_quantity": str}


def run_rows(sources: Iterable[ExportedRun]) -> list[Row]:
    """One row for each run, all with the same columns."""
    rows = [_run_row(source) for source in sources]
    options = sorted({name for row in rows for name in row if name.startswith(OPTION)})
    return [{**{k: v for k, v in row.items() if k not in options}, **{k: row.get(k) for k in options}} for row in rows]


def curve_rows(sources: Iterable[ExportedRun]) -> Iterator[Row]:
    """One row for each evaluation; its `run` is that of the table of runs."""
    for source in sources:
        row = _run_row(source)
        own = {name: row[name] for name in OF_CURVES}
        for point in source.run.curve:
            yield {**own, **{CLASHES.get(name, name): getattr(point, name) for name in POINT}}


def _run_row(source: ExportedRun) -> Row:
    run, summary = source.run, summary_of(source.run, target=source.run.target)
    row: Row = {"study": source.study, "stage": source.stage}
    row |= {field.name: _plain(getattr(run, field.name)) for field in fields(run) if field.name not in LEFT_OUT}
    target, crossing = run.target, run.crossing
    row |= {
        "target_quantity": str(target.quantity) if target is not None else None,
        "target_value": target.value if target is not None else None,
        "crossing_step": crossing.step if crossing is not None else None,
        "crossing_epoch": crossing.epoch if crossing is not None else None,
        "crossing_seconds": crossing.seconds if crossing is not None else None,
        "score": summary.score,
        "lowest_validation_loss": summary.loss,
        "highest_validation_metric": summary.metric,
        "wall_seconds": summary.wall_seconds,
        "evaluations": len(run.curve),
    }
    row |= {f"last_{name}": getattr(run.curve[-1], name) if run.curve else None for name in LAST}
    row |= {f"{OPTION}{name}": _plain(value) for name, value in run.options.items()}
    # The id is a hash of the content, so it does not depend on where the run was read from.
    content = repr([item for item in sorted(row.items()) if item[0] not in ("study", "stage")])
    return {"run": hashlib.sha256(content.encode()).hexdigest()[:16], **row}


def _plain(value: Any) -> Any:
    """The value of a cell: lists and enums become text."""
    if isinstance(value, StrEnum):
        return str(value)
    return " ".join(map(str, value)) if isinstance(value, tuple) else value


def finite(row: Mapping[str, Any]) -> Row:
    """The row with null for numbers that are not finite, which JSON does not have."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()
    }


# --- files: CSV, JSON lines or Parquet -------------------------------------------------------------------------------

ROWS_AT_A_TIME = 50_000
# Some spreadsheets also accept the full-width forms.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def write_csv(rows: Iterable[Row], columns: Sequence[str], path: Path) -> None:
    """Commas, UTF-8; an empty cell where there is no value, `inf` and `nan` for numbers that are not finite.

    Text that a spreadsheet would run as a formula begins with an apostrophe: see `without_formula`.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows({name: without_formula(value) for name, value in row.items()} for row in rows)


def without_formula(value: Any) -> Any:
    """The value of a cell; text that a spreadsheet would run gets an apostrophe before it, as OWASP advises.

    Names of tasks and options come from other people's files: `=HYPERLINK(...)` must stay text when the table is
    opened. Numbers stay numbers, also where they are text.

    >>> without_formula("=1+1"), without_formula(-0.5), without_formula("-0.5")
    ("'=1+1", -0.5, '-0.5')
    """
    if not isinstance(value, str) or not value.lstrip(" ").startswith(FORMULA_STARTS):
        return value
    return value if re.fullmatch(r"[+-](\d+\.?\d*|\.\d+)(e[+-]?\d+)?|-inf", value, re.IGNORECASE) else f"'{value}"


def write_jsonl(rows: Iterable[Row], columns: Sequence[str], path: Path) -> None:
    """One object per line; null for missing values and for numbers that are not finite."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(finite(row), ensure_ascii=False) + "\n" for row in rows)


def write_parquet(rows: Iterable[Row], columns: Sequence[str], path: Path) -> None:
    """Columns of the type of their values; those of several types, as options may be, are text."""
    try:
        import pyarrow as arrow
        from pyarrow.parquet import ParquetWriter
    except ImportError as error:
        raise UserError(
            f"Parquet needs the package pyarrow ({error}): pip install 'critbatch[parquet]', or use csv or jsonl."
        ) from error
    rest = iter(rows)
    first = list(islice(rest, ROWS_AT_A_TIME))
    kinds = {name: _kind_of(first, name) for name in columns}
    types = {str: arrow.string(), bool: arrow.bool_(), int: arrow.int64(), float: arrow.float64()}
    schema = arrow.schema([(name, types[kinds[name]]) for name in columns])
    with ParquetWriter(str(path), schema) as writer:
        for chunk in chain([first], _chunks(rest)):
            cells = {name: [_converted(kinds[name], row[name]) for row in chunk] for name in columns}
            writer.write_table(arrow.table(cells, schema=schema))


WRITERS: dict[str, Callable[[Iterable[Row], Sequence[str], Path], None]] = {
    "csv": write_csv,
    "parquet": write_parquet,
    "jsonl": write_jsonl,
}


def write_table(rows: Iterable[Row], columns: Sequence[str], path: Path, kind: str) -> None:
    """Write the rows in a format of `WRITERS`.

    Raises:
        UserError: if the file cannot be written, or the format needs a package that is not installed.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_replacement(path) as part:
            WRITERS[kind](rows, columns, part)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({reason_of(error)}): give another --out.") from error


def _kind_of(rows: Sequence[Row], name: str) -> type[Any]:
    kinds = {type(row[name]) for row in rows} - {type(None)}
    if not kinds:
        return KINDS.get(name, float)
    if len(kinds) == 1:
        return kinds.pop()
    return float if kinds <= {int, float} else str


def _converted(kind: type[Any], value: Any) -> Any:
    return None if value is None else kind(value)


def _chunks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while chunk := list(islice(rows, ROWS_AT_A_TIME)):
        yield chunk


SUFFIXES = {f".{kind}": kind for kind in WRITERS}
OPTUNA, OPTUNA_FILE = "optuna", "optuna.sqlite"
FORMATS = (*WRITERS, OPTUNA)


@checked_call
def export(
    study: Study | Path | str,
    *,
    format: Literal["csv", "parquet", "jsonl", "optuna"] | None = None,
    curves: bool = False,
    out: str | Path | None = None,
) -> Path:
    """Write the runs of a study as a table, or for optuna-dashboard.

    Each run that has ended is one row; with `curves` each evaluation is one row. The study may still be running.

    Args:
        study: Folder of a study, one of its records, or the URL of its database. If a folder has a store, the store is
            read.
        format: Format of the table, or optuna for an SQLite file that optuna-dashboard shows. Default: that of the
            file's suffix, else csv.
        curves: Write one row for each evaluation. Its column `run` is that of the table of runs.
        out: File to write. Default: runs.csv, curves.csv or optuna.sqlite in the folder.

    Returns:
        The file.

    Raises:
        UserError: if there is no run, the format is not known, or the file cannot be written.
    """
    if format is not None and format not in FORMATS:
        raise UserError(f"The format {format!r} is not known: use {', '.join(FORMATS)}.")
    if curves and format == OPTUNA:
        raise UserError("The curves are always in a study of Optuna's: leave --curves out.")
    study = study if isinstance(study, Study) or is_url(study) else as_path(study)
    out = as_path(out) if out is not None else None
    kind = format or SUFFIXES.get(out.suffix.lower() if out is not None else "", "csv")
    name = OPTUNA_FILE if kind == OPTUNA else f"{'curves' if curves else 'runs'}.{kind}"
    path = out or _folder_of(study) / name
    sources = list(_sources(study))
    with blamed_on_records(_name_of(study)):
        return _write(sources, path, kind, study, curves=curves)


def _write(sources: list[ExportedRun], path: Path, kind: str, study: Study | Path | str, *, curves: bool) -> Path:
    if not sources:
        raise UserError(f"{_name_of(study)} holds no run that has come to its end: make some with `critbatch sweep`.")
    if kind == OPTUNA:
        write_optuna(sources, path)
    elif curves:
        columns = [*OF_CURVES, *(CLASHES.get(name, name) for name in POINT)]
        write_table(curve_rows(sources), columns, path, kind)
    else:
        rows = run_rows(sources)
        write_table(rows, list(rows[0]), path, kind)
    return path


def _sources(study: Study | Path | str) -> Iterator[ExportedRun]:
    if isinstance(study, Study):
        yield from _runs_of_records([study])
    elif (store := store_of(study)) is not None:
        with open_readers(store) as readers:
            for reader in reversed(readers):
                yield from _runs_of_store(reader)
    else:
        yield from _runs_of_records(load_records(Path(study)))


def _runs_of_store(reader: RunReader) -> Iterator[ExportedRun]:
    runs = dict(reader.keyed_runs())
    for row in reader.rows():
        if row.key in runs:
            yield ExportedRun(
                runs[row.key],
                study=reader.terms.digest,
                stage=row.key.stage,
                target=reader.target,
                started=row.started,
                ended=row.ended,
            )


def _runs_of_records(records: list[Record]) -> Iterator[ExportedRun]:
    for record in records:
        if isinstance(record, Run):
            yield ExportedRun(record, target=record.target)
        elif isinstance(record, (Study, Advice)):
            target = record.question.target if isinstance(record, Study) else record.target
            yield from (ExportedRun(run, target=target) for run in record.runs)


def _folder_of(study: Study | Path | str) -> Path:
    if isinstance(study, Study) or is_url(study):
        return Path()
    return Path(study) if Path(study).is_dir() else Path(study).parent


def _name_of(study: Study | Path | str) -> str:
    return "The study" if isinstance(study, Study) else str(study)
