"""The commands: each reads its words, calls one room, and shows what it returns."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from critbatch.cli import options as o
from critbatch.cli.app import app


@app.command()
def speed(
    task: o.TaskName,
    batch_sizes: o.BatchSizes = None,
    micro_batch_size: Annotated[
        int | None, typer.Option("--micro-batch-size", min=1, help="Examples in one forward pass.  [default: all]")
    ] = None,
    recipe: o.Recipe = None,
    out: o.Out = None,
    seed: o.Seed = 0,
    device: o.Device = None,
    threads: o.Threads = None,
    budget: o.BudgetSeconds = None,
    language: o.Language = "en",
    as_json: o.AsJson = False,
) -> None:
    """Time one training step, and the memory it takes, at each batch size.

    \b
        critbatch speed mnist-mlp --batch-sizes 1,10,100,1000,10000,60000
        critbatch speed my_task.py:task --batch-sizes 16..4096
    """
    from critbatch.cli.doing import Setting, show
    from critbatch.measure.step_time import speed as run

    setting = Setting(task, out=out, device=device, threads=threads, language=language, as_json=as_json)
    with setting.display() as display:
        display.update(stage=f"timing steps of {setting.task.name}")
        record = run(
            setting.task,
            o.whole_numbers(batch_sizes, "--batch-sizes"),
            recipe=recipe,
            micro_batch_size=micro_batch_size,
            seed=seed,
            device=setting.device,
            budget=o.seconds_left(budget),
            progress=lambda at: display.update(trying=f"batch size {at.batch_size}", done=at.done, total=at.total),
            command=setting.command,
        )
    show(record, setting)


@app.command()
def noise(
    task: o.TaskName,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", min=2, help="Of the run.  [default: 128, less for small data]")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="Of the run.  [default: a usual one of the recipe]")
    ] = None,
    recipe: o.Recipe = None,
    epochs: Annotated[float, typer.Option("--epochs", help="How long the run is.")] = 3.0,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="End the run sooner.")] = None,
    every: Annotated[int, typer.Option("--every", min=1, help="Measure at every n-th step.")] = 1,
    method: Annotated[
        str, typer.Option("--method", help="micro_batches or examples: whose gradients are compared with the batch's.")
    ] = "micro_batches",
    curvature: Annotated[
        bool, typer.Option("--curvature", help="Also the noise scale weighted by the Hessian, at each point.")
    ] = False,
    out: o.Out = None,
    seed: o.Seed = 0,
    device: o.Device = None,
    threads: o.Threads = None,
    budget: o.BudgetSeconds = None,
    language: o.Language = "en",
    as_json: o.AsJson = False,
) -> None:
    """Measure the gradient noise scale along a short training run, with its interval.

    \b
        critbatch noise mnist-mlp
        critbatch noise my_task.py:task --batch-size 256 --learning-rate 0.1 --method examples
    """
    from critbatch.cli.doing import Setting, show
    from critbatch.measure.noise_scale import noise as run
    from critbatch.runtime.distributed import joined_processes

    setting = Setting(task, out=out, device=device, threads=threads, language=language, as_json=as_json, processes=True)
    with joined_processes(setting.device), setting.display() as display:
        display.update(stage=f"noise scale of {setting.task.name}")
        record = run(
            setting.task,
            batch_size=batch_size,
            learning_rate=learning_rate,
            recipe=recipe,
            epochs=epochs,
            steps=steps,
            every=every,
            method=method,  # type: ignore[arg-type]
            curvature=curvature,
            seed=seed,
            device=setting.device,
            budget=o.seconds_left(budget),
            progress=display.watch,
            command=setting.command,
        )
    show(record, setting)


@app.command()
def report(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help="A command's folder, one of its records, or the URL of a --storage.")
    ],
    format: Annotated[
        str | None,
        typer.Option("--format", help="html, md, pdf or json.  [default: that of --out's suffix, else html]"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="[default: report.FORMAT beside the records]")
    ] = None,
    language: o.Language = "en",
) -> None:
    """Write a report from the records of a folder: one self-contained HTML file, Markdown with pictures, PDF, or JSON.

    \b
        critbatch report critbatch-out/digits-mlp --language zh
        critbatch report critbatch-out/digits-mlp --format md
        critbatch report critbatch-out/digits-mlp --out paper/appendix.pdf
    """
    from critbatch.reports.write import report as write_report

    typer.echo(write_report(study, out, language=language, format=format))  # type: ignore[arg-type]


@app.command()
def tasks(as_json: o.AsJson = False) -> None:
    """List the built-in tasks.

    \b
        critbatch tasks
    """
    from critbatch.cli.doing import list_tasks

    list_tasks(as_json)
