"""The commands that ask whether training is stuck, and whether small batches go on."""

from __future__ import annotations

from typing import Annotated

import typer

from critbatch.cli import options as o
from critbatch.cli.app import app
from critbatch.cli.run_options import Chunk, Double, Examples, ModeOption, OneRun, OtherTask, OutOfRuns


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
    from critbatch.measure.critical_point import critical_point as measure
    from critbatch.records.loss_surface import Mode

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
