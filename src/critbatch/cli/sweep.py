"""The command of the full study."""

from __future__ import annotations

from typing import Annotated

import typer

from critbatch.cli import options as o
from critbatch.cli.app import app


@app.command()
def sweep(
    task: o.TaskName,
    batch_sizes: o.BatchSizes = None,
    learning_rates: Annotated[
        str | None, typer.Option("--learning-rates", metavar="RATES", help="A list, 0.03,0.1,0.3.  [default: searched]")
    ] = None,
    search: Annotated[
        str | None,
        typer.Option("--search", help="widening (a grid that widens), or Optuna's tpe, gp, cmaes, qmc, random."),
    ] = None,
    trials: Annotated[
        int | None, typer.Option("--trials", min=1, help="Settings that a sampler tries at each batch size.")
    ] = None,
    seeds: Annotated[str, typer.Option("--seeds", metavar="SEEDS", help="A list, 0,1,2.")] = "0,1,2",
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", metavar="RECIPES", help="One or more, sgd,adam.  [default: the task's]"),
    ] = None,
    epochs: Annotated[
        float | None, typer.Option("--epochs", help="Of a run that does not reach the target.  [default: 20]")
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Equal steps for all; with --epochs, whichever is longer.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", help="Equal seconds of training for all; likewise.")
    ] = None,
    target: o.TargetValue = None,
    to_the_end: Annotated[bool, typer.Option("--to-the-end", help="Runs go on when the target is reached.")] = False,
    early_stopping: Annotated[
        bool, typer.Option("--early-stopping", help="End runs that are far behind, by successive halving.")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="An option of the recipe, for all runs; several times."),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option("--vary", metavar="NAME=VALUES", help="One that is tried too, momentum=0.0,0.9; several times."),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes that make runs, one thread each.")] = 1,
    storage: Annotated[
        str | None,
        typer.Option("--storage", metavar="URL", help="Another database than the file in --out, for several machines."),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option("--ray", metavar="ADDRESS", help="Workers on a Ray cluster: auto, local, host:port, ray://..."),
    ] = None,
    gpus_per_worker: Annotated[
        float | None, typer.Option("--gpus-per-worker", help="Of Ray, also a part of one.  [default: 1 with CUDA]")
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compiled/--not-compiled", help="Compile the model with torch.compile.")
    ] = False,
    out: o.Out = None,
    device: o.Device = None,
    threads: o.Threads = None,
    budget: o.BudgetSeconds = None,
    language: o.Language = "en",
    as_json: o.AsJson = False,
) -> None:
    """Train at every batch size, the learning rate tuned at each, with every seed. The same command again goes on.

    \b
        critbatch sweep digits-mlp --workers 2
        critbatch sweep mnist-mlp --batch-sizes 16..4096 --learning-rates 0.03,0.1,0.3 --seeds 0,1
        critbatch sweep my_task.py:task --recipe sgd,lars2017,lamb2020 --batch-sizes 256..8192
        critbatch sweep my_task.py:task --epochs 20 --steps 2000 --seconds 10 --to-the-end
        critbatch sweep my_task.py:task --vary momentum=0.0,0.9 --search tpe --trials 20 --early-stopping
        critbatch sweep my_task.py:task --storage postgresql+psycopg://user@host/name    # on each machine
        critbatch sweep my_task.py:task --ray auto --workers 8 --gpus-per-worker 0.5
    """
    from critbatch.cli.doing import Setting, show
    from critbatch.recipes import settings_from
    from critbatch.runtime.device import use_threads
    from critbatch.studies.sweep import sweep as run

    setting = Setting(task, target=target, out=out, device=device, threads=threads, language=language, as_json=as_json)
    if (workers > 1 or ray is not None) and threads is None:
        use_threads(1)  # as its workers, so that a clock read here is theirs
    for name in recipe.split(",") if recipe is not None else [None]:
        with setting.display() as display:
            study = run(
                setting.task_name,
                out=setting.out,
                batch_sizes=o.whole_numbers(batch_sizes, "--batch-sizes"),
                learning_rates=o.numbers(learning_rates, "--learning-rates"),
                search=search,  # type: ignore[arg-type]
                trials=trials,
                seeds=o.whole_numbers(seeds, "--seeds") or (),
                recipe=name.strip() if name is not None else None,
                epochs=epochs,
                steps=steps,
                seconds=seconds,
                target=setting.task.target,
                stop_at_target=not to_the_end,
                prune=early_stopping,
                fixed_options=settings_from(settings or ()),
                option_grid=o.lists(vary or (), "--vary"),
                workers=workers,
                threads=threads,
                storage=storage,
                ray=ray,
                gpus_per_worker=gpus_per_worker,
                device=setting.device if device is not None or not gpus_per_worker else None,
                budget=o.seconds_left(budget),
                compile=compiled,
                progress=display,
                command=setting.command,
            )
        show(study, setting)
