"""The command that measures the lecture's claims."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from critbatch.cli import options as o
from critbatch.cli.app import app


@app.command()
def lecture(
    task: Annotated[
        str, typer.Argument(metavar="TASK", help="A built-in task, or your own: path/to/file.py:task.")
    ] = "digits-mlp",
    claims: Annotated[
        str | None, typer.Option("--claims", metavar="NUMBERS", help="A list, 3,4,8.  [default: all ten]")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Of runs that are compared; one decides nothing.")] = 5,
    small: Annotated[
        int | None, typer.Option("--small", min=1, help="The small batch size.  [default: 64, or 16 for small data]")
    ] = None,
    large: Annotated[
        int | None,
        typer.Option("--large", min=2, help="The large one.  [default: a tenth of the data, a third of small data]"),
    ] = None,
    networks: Annotated[
        str | None,
        typer.Option("--networks", metavar="NAMES", help="Of Keskar et al., keskar-f1,keskar-c1; or none."),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="All six of their networks, on all their data: days.")] = False,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes that make runs.  [default: one a core]")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="Where all goes.  [default: critbatch-out/lecture-TASK]"),
    ] = None,
    device: o.Device = None,
    budget: o.BudgetSeconds = None,
    language: o.Language = "en",
    as_json: o.AsJson = False,
) -> None:
    """Measure every claim of the lecture on batch size, and say whether it held. The same command again goes on.

    \b
        critbatch lecture
        critbatch lecture mnist-mlp --language zh
        critbatch lecture my_task.py:task --claims 3,4,9 --small 32 --large 2048 --budget 1800

    Claims: 1 batches and shuffling, 2 steady and noisy steps, 3 time, 4 larger batches train worse, 5 noise helps where
    training is stuck, 6 generalization, 7 sharp minima, 8 the summary, 9 batch size is worth choosing, 10 having both.
    """
    from critbatch.claims.run import check_claims as run
    from critbatch.claims.run import lecture_folder
    from critbatch.cli.doing import Setting, show

    setting = Setting(task, out=lecture_folder(out, task), device=device, language=language, as_json=as_json)
    with setting.display() as display:
        record = run(
            task,
            out=setting.out,
            claims=o.whole_numbers(claims, "--claims"),
            seeds=seeds,
            small=small,
            large=large,
            networks=[] if networks == "none" else networks.split(",") if networks is not None else None,
            full=full,
            workers=workers,
            device=setting.device,
            budget=o.seconds_left(budget),
            progress=display,
            command=setting.command,
        )
    show(record, setting)
