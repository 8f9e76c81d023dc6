"""The commands that measure the loss around the weights that runs ended with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from critbatch.cli import options as o
from critbatch.cli.app import app

Runs = Annotated[
    list[Path],
    typer.Argument(metavar="RUN...", help="Files that `critbatch train` wrote: run-….json, or its .weights.pt."),
]
OneRun = Annotated[
    Path, typer.Argument(metavar="RUN", help="A file that `critbatch train` wrote: run-….json, or its .weights.pt.")
]
OtherTask = Annotated[
    str | None, typer.Option("--task", metavar="TASK", help="Where the runs' task is now, if it was moved.")
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


@app.command()
def curvature(
    run: OneRun,
    largest: Annotated[int, typer.Option("--largest", min=1, help="Eigenvalues at the upper end.")] = 3,
    smallest: Annotated[int, typer.Option("--smallest", min=0, help="Eigenvalues at the lower end.")] = 1,
    matrix: Annotated[str, typer.Option("--matrix", help="hessian or gauss_newton.")] = "hessian",
    by: Annotated[
        str | None, typer.Option("--by", help="autograd or differences.  [default: the first the model allows]")
    ] = None,
    trace_products: Annotated[
        int, typer.Option("--trace-products", min=0, help="Spent on the trace; 0 leaves it out.")
    ] = 60,
    density: Annotated[bool, typer.Option("--density/--no-density", help="The spectral density.")] = True,
    data: Annotated[str, typer.Option("--data", help="train or validation.")] = "train",
    examples: Examples = None,
    mode: ModeOption = "eval",
    double: Double = False,
    chunk: Chunk = 1000,
    task: OtherTask = None,
    out: OutOfRuns = None,
    seed: o.Seed = 0,
    device: o.Device = None,
    threads: o.Threads = None,
    language: o.Language = "en",
    as_json: o.AsJson = False,
) -> None:
    """Eigenvalues, trace and spectral density of the Hessian of the loss, each with its error.

    \b
        critbatch curvature critbatch-out/digits-mlp/run-sgd-b64-lr0.025-seed0.json
    """
    from critbatch.cli.doing import show
    from critbatch.cli.found_runs import RunsSetting, known
    from critbatch.loss_records import Matrix, Mode
    from critbatch.measure.curvature import curvature as measure

    setting = RunsSetting([run], task=task, out=out, device=device, threads=threads, language=language, as_json=as_json)
    model, solution = setting.only
    with setting.display() as display:
        record = measure(
            setting.task,
            model,
            solution=solution,
            data=data,
            examples=examples,
            mode=known(Mode, mode, "--mode"),
            double=double,
            matrix=known(Matrix, matrix, "--matrix"),
            by=by,
            largest=largest,
            smallest=smallest,
            trace_products=trace_products,
            density=density,
            chunk=chunk,
            seed=seed,
            device=setting.device,
            progress=lambda stage, done, total: display.update(stage=stage, done=done, total=total),
            command=setting.command,
        )
    show(record, setting)


@app.command()
def sharpness(
    runs: Runs,
    epsilons: Annotated[str, typer.Option("--epsilons", metavar="LIST", help="Sizes of the box.")] = "0.001,0.0005",
    subspace: Annotated[int, typer.Option("--subspace", min=1, help="Dimensions of a random subspace.")] = 100,
    draws: Annotated[int, typer.Option("--draws", min=1, help="Random subspaces.")] = 1,
    iterations: Annotated[int, typer.Option("--iterations", min=1, help="Of L-BFGS-B.")] = 10,
    curvature: Annotated[
        bool, typer.Option("--curvature/--no-curvature", help="Largest eigenvalue and trace too.")
    ] = True,
    examples: Examples = None,
    mode: ModeOption = "eval",
    double: Double = False,
    chunk: Chunk = 1000,
    task: OtherTask = None,
    out: OutOfRuns = None,
    seed: o.Seed = 0,
    device: o.Device = None,
    threads: o.Threads = None,
    language: o.Language = "en",
    as_json: o.AsJson = False,
) -> None:
    """How sharp the minima are that runs ended in: Keskar's measure, and one that does not depend on scale.

    \b
        critbatch sharpness out/run-adam-b256-lr0.001-seed0.json out/run-adam-b6000-lr0.001-seed0.json
    """
    from critbatch.cli.doing import show
    from critbatch.cli.found_runs import RunsSetting, known
    from critbatch.loss_records import Mode
    from critbatch.measure.sharpness import sharpness as measure

    setting = RunsSetting(runs, task=task, out=out, device=device, threads=threads, language=language, as_json=as_json)
    with setting.display() as display:
        record = measure(
            setting.task,
            setting.models,
            solutions=setting.solutions,
            epsilons=tuple(o.numbers(epsilons, "--epsilons") or ()),
            subspace=subspace,
            draws=draws,
            iterations=iterations,
            curvature=curvature,
            examples=examples,
            mode=known(Mode, mode, "--mode"),
            double=double,
            chunk=chunk,
            seed=seed,
            device=setting.device,
            progress=lambda stage, done, total: display.update(stage=stage, done=done, total=total),
            command=setting.command,
        )
    show(record, setting)


@app.command()
def landscape(
    runs: Runs,
    points: Annotated[
        int | None,
        typer.Option("--points", min=3, help="On the line, or a side of the plane.  [default: 25; 15]"),
    ] = None,
    low: Annotated[float, typer.Option("--low", help="Where the line begins; the first run is at 0.")] = -1.0,
    high: Annotated[float, typer.Option("--high", help="Where the line ends; the second run is at 1.")] = 2.0,
    span: Annotated[float, typer.Option("--span", help="Half the side of the plane, in norms of the filters.")] = 1.0,
    examples: Examples = None,
    double: Double = False,
    chunk: Chunk = 1000,
    task: OtherTask = None,
    out: OutOfRuns = None,
    seed: o.Seed = 0,
    device: o.Device = None,
    threads: o.Threads = None,
    language: o.Language = "en",
    as_json: o.AsJson = False,
) -> None:
    """The loss and accuracy along the line through two runs' weights, or on a plane through those of one run.

    \b
        critbatch landscape out/run-adam-b256-lr0.001-seed0.json out/run-adam-b6000-lr0.001-seed0.json
        critbatch landscape out/run-adam-b256-lr0.001-seed0.json --span 0.5
    """
    from critbatch.cli.doing import show
    from critbatch.cli.found_runs import RunsSetting
    from critbatch.measure.landscape import landscape as measure

    setting = RunsSetting(runs, task=task, out=out, device=device, threads=threads, language=language, as_json=as_json)
    with setting.display() as display:
        record = measure(
            setting.task,
            setting.models,
            solutions=setting.solutions,
            points=points,
            low=low,
            high=high,
            span=span,
            examples=examples,
            double=double,
            chunk=chunk,
            seed=seed,
            device=setting.device,
            progress=lambda stage, done, total: display.update(stage=stage, done=done, total=total),
            command=setting.command,
        )
    show(record, setting)


@app.command()
def shift(
    runs: Runs,
    epsilons: Annotated[str, typer.Option("--epsilons", metavar="LIST", help="Of the sharpness.")] = "0.001",
    examples: Examples = None,
    mode: ModeOption = "eval",
    chunk: Chunk = 1000,
    task: OtherTask = None,
    out: OutOfRuns = None,
    seed: o.Seed = 0,
    device: o.Device = None,
    threads: o.Threads = None,
    language: o.Language = "en",
    as_json: o.AsJson = False,
) -> None:
    """How much the loss rises when the training set is replaced by a shifted or resampled one, run by run.

    \b
        critbatch shift out/run-adam-b256-lr0.001-seed0.json out/run-adam-b6000-lr0.001-seed0.json
    """
    from critbatch.cli.doing import show
    from critbatch.cli.found_runs import RunsSetting, known
    from critbatch.loss_records import Mode
    from critbatch.measure.shift import shift as measure

    setting = RunsSetting(runs, task=task, out=out, device=device, threads=threads, language=language, as_json=as_json)
    with setting.display() as display:
        record = measure(
            setting.task,
            setting.models,
            solutions=setting.solutions,
            epsilons=tuple(o.numbers(epsilons, "--epsilons") or ()),
            examples=examples,
            mode=known(Mode, mode, "--mode"),
            chunk=chunk,
            seed=seed,
            device=setting.device,
            progress=lambda stage, done, total: display.update(stage=stage, done=done, total=total),
            command=setting.command,
        )
    show(record, setting)


@app.command()
def critical_point(
    run: OneRun,
    batch_sizes: o.BatchSizes = None,
    batches: Annotated[int, typer.Option("--batches", min=8, help="Single batches of each size to look at.")] = 64,
    examples: Examples = None,
    mode: ModeOption = "eval",
    double: Double = False,
    chunk: Chunk = 1000,
    task: OtherTask = None,
    out: OutOfRuns = None,
    seed: o.Seed = 0,
    device: o.Device = None,
    threads: o.Threads = None,
    language: o.Language = "en",
    as_json: o.AsJson = False,
) -> None:
    """Is training stuck: at a minimum, a saddle, a plateau, or not at all? And what to try.

    \b
        critbatch critical-point critbatch-out/digits-mlp/run-sgd-b64-lr0.025-seed0.json
    """
    from critbatch.cli.doing import show
    from critbatch.cli.found_runs import RunsSetting, known
    from critbatch.loss_records import Mode
    from critbatch.measure.critical_point import critical_point as measure

    setting = RunsSetting([run], task=task, out=out, device=device, threads=threads, language=language, as_json=as_json)
    model, solution = setting.only
    sizes = o.whole_numbers(batch_sizes, "--batch-sizes")
    with setting.display() as display:
        record = measure(
            setting.task,
            model,
            solution=solution,
            batch_sizes=None if sizes is None else tuple(sizes),
            batches=batches,
            examples=examples,
            mode=known(Mode, mode, "--mode"),
            double=double,
            chunk=chunk,
            seed=seed,
            device=setting.device,
            progress=lambda stage, done, total: display.update(stage=stage, done=done, total=total),
            command=setting.command,
        )
    show(record, setting)


@app.command()
def escape(
    task: o.TaskName,
    starts: Annotated[int, typer.Option("--starts", min=2, help="Initial weights.")] = 50,
    batch_sizes: o.BatchSizes = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="Of all steps.  [default: a usual one of sgd]")
    ] = None,
    descent_steps: Annotated[
        int, typer.Option("--descent-steps", min=1, help="Of full-batch descent, until it counts as stopped.")
    ] = 2000,
    steps: Annotated[int, typer.Option("--steps", min=1, help="After that, at every batch size.")] = 2000,
    drop: Annotated[float, typer.Option("--drop", help="An escape is a fall of the loss by this share.")] = 0.05,
    out: o.Out = None,
    seed: o.Seed = 0,
    device: o.Device = None,
    threads: o.Threads = None,
    language: o.Language = "en",
    as_json: o.AsJson = False,
) -> None:
    """The lecture's experiment: full-batch descent is stuck; do small batches get on where full ones do not?

    \b
        critbatch escape digits-narrow
        critbatch escape surface-saddle --batch-sizes 1,4,16
    """
    from critbatch.cli.doing import Setting, show
    from critbatch.measure.escape import escape as measure

    setting = Setting(task, out=out, device=device, threads=threads, language=language, as_json=as_json)
    sizes = o.whole_numbers(batch_sizes, "--batch-sizes")
    with setting.display() as display:
        record = measure(
            setting.task,
            starts=starts,
            batch_sizes=None if sizes is None else tuple(sizes),
            learning_rate=learning_rate,
            descent_steps=descent_steps,
            steps=steps,
            drop=drop,
            seed=seed,
            device=setting.device,
            progress=lambda stage, done, total: display.update(stage=stage, done=done, total=total),
            command=setting.command,
        )
    show(record, setting)
