"""The commands that measure the minima that runs ended in: curvature, sharpness, a line between, shifted data."""

from __future__ import annotations

from typing import Annotated

import typer

from critbatch.cli import options as o
from critbatch.cli.app import app
from critbatch.cli.run_options import Chunk, Double, Examples, ModeOption, OneRun, OtherTask, OutOfRuns, Runs


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
    from critbatch.measure.curvature import curvature as measure
    from critbatch.records.loss_surface import Matrix, Mode

    setting = RunsSetting([run], task=task, out=out, device=device, threads=threads, language=language, as_json=as_json)
    model, solution = setting.only
    with setting.display() as display:
        record = measure(
            setting.task,
            model,
            solution=solution,
            data=data,  # type: ignore[arg-type]
            examples=examples,
            mode=known(Mode, mode, "--mode"),
            double=double,
            matrix=known(Matrix, matrix, "--matrix"),
            by=by,  # type: ignore[arg-type]
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
    from critbatch.measure.sharpness import sharpness as measure
    from critbatch.records.loss_surface import Mode

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
    from critbatch.measure.distribution_shift import shift as measure
    from critbatch.records.loss_surface import Mode

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
