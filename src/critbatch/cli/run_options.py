"""The options of commands that measure around the weights that runs ended with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Runs = Annotated[
    list[Path],
    typer.Argument(metavar="RUN...", help="Files that `critbatch train` wrote: run-….json, or its .weights.pt."),
]
OneRun = Annotated[
    Path, typer.Argument(metavar="RUN", help="A file that `critbatch train` wrote: run-….json, or its .weights.pt.")
]
OtherTask = Annotated[
    str | None, typer.Option("--task", metavar="TASK", help="The runs' task, where it is not built in.")
]
Examples = Annotated[
    int | None, typer.Option("--examples", min=1, help="Of the training set, always the same.  [default: all]")
]
ModeOption = Annotated[
    str, typer.Option("--mode", help="Batch norm: eval, running statistics, or batch, those of each chunk.")
]
Double = Annotated[bool, typer.Option("--double", help="Compute in float64.")]
Chunk = Annotated[int, typer.Option("--chunk", min=1, help="Examples in one pass.")]
OutOfRuns = Annotated[
    Path | None, typer.Option("--out", metavar="FOLDER", help="Where records and report go.  [default: beside RUN]")
]
