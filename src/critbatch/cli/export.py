"""The command that hands runs to other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from critbatch.cli.app import app


@app.command()
def export(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help="A study's folder, one of its records, or the URL of a --storage.")
    ],
    format: Annotated[
        str | None, typer.Option("--format", help="csv, parquet or jsonl.  [default: that of --out, or csv]")
    ] = None,
    curves: Annotated[bool, typer.Option("--curves", help="One row an evaluation, not one a run.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="[default: runs.csv or curves.csv in the folder]")
    ] = None,
) -> None:
    """Write the runs of a study as a table, one row a run: as CSV, Parquet or JSON lines. It may be half done.

    \b
        critbatch export critbatch-out/digits-mlp
        critbatch export critbatch-out/digits-mlp --curves --format parquet
        critbatch export postgresql+psycopg://user@host/name --out runs.jsonl
    """
    from critbatch.studies.export import export as run

    typer.echo(
        run(
            study,
            out=out,
            format=format,  # type: ignore[arg-type]
            curves=curves,
        )
    )
