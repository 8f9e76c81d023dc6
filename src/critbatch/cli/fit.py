"""The command that analyses runs that were made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from critbatch.cli import options as o
from critbatch.cli.app import app

if TYPE_CHECKING:
    from critbatch.reports.translator import Translator


class FitSetting:
    """Where the record of a table goes, and how it is told."""

    speaks = True

    def __init__(self, points: Path, out: Path | None, language: str, *, as_json: bool) -> None:
        from critbatch.arguments import output_folder
        from critbatch.records.io import writable
        from critbatch.reports.translator import Translator

        self.translator: Translator = Translator(language)
        self.out = writable(output_folder(out, points.stem))
        self.as_json = as_json


@app.command()
def fit(
    points: Annotated[
        Path,
        typer.Argument(
            metavar="POINTS.csv", help="One run a row: batch_size, and steps, epochs or examples to target."
        ),
    ],
    at: Annotated[
        str | None, typer.Option("--at", metavar="SIZES", help="Predict at these: a list, 2048,8192, or 16..4096.")
    ] = None,
    examples: Annotated[
        int | None, typer.Option("--examples", min=1, help="In the training set.  [default: as the points say]")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="Where record and report go.  [default: critbatch-out/POINTS]"),
    ] = None,
    language: o.Language = "en",
    as_json: o.AsJson = False,
) -> None:
    """Fit the law of steps against examples to runs made elsewhere: critical batch size, regimes, where it fails.

    \b
        critbatch fit points.csv
        critbatch fit points.csv --at 2048,8192 --examples 1281167 --json

    Other columns: learning_rate, seed, censored (yes where the target was missed), step_seconds, devices.
    """
    import shlex
    import sys

    from critbatch.cli.showing import show
    from critbatch.law.csv_points import fit as run

    record = run(
        points,
        at=o.whole_numbers(at, "--at") or (),
        examples=examples,
        command=f"critbatch {shlex.join(sys.argv[1:])}",
    )
    show(record, FitSetting(points, out, language, as_json=as_json))
