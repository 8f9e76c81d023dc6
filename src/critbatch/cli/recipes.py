"""The commands about recipes: which there are, and a run by one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from critbatch.cli import options as o
from critbatch.cli.app import app


@app.command()
def train(
    task: o.TaskName,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Examples in one step, over all processes.")],
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="The peak.  [default: a usual one of the recipe]")
    ] = None,
    recipe: o.Recipe = None,
    epochs: Annotated[float, typer.Option("--epochs", help="How long, unless the target comes first.")] = 10.0,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="End sooner.")] = None,
    decay: Annotated[
        str | None,
        typer.Option("--decay", help="constant, linear, cosine, step or polynomial.  [default: the recipe's own]"),
    ] = None,
    warm_up_epochs: Annotated[
        float | None, typer.Option("--warm-up-epochs", min=0.0, help="Of the learning rate.  [default: the recipe's]")
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option("--weight-decay", min=0.0, help="[default: the recipe's own]")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Another option of the recipe; may be given several times."),
    ] = None,
    zero_gamma: Annotated[
        bool | None,
        typer.Option("--zero-gamma/--no-zero-gamma", help="Residual blocks begin as their shortcut."),
    ] = None,
    ghost_batch: Annotated[
        int | None, typer.Option("--ghost-batch", min=2, help="Batch norm over so many examples at a time.")
    ] = None,
    sam_rho: Annotated[
        float | None,
        typer.Option("--sam-rho", help="Sharpness-aware minimization, by such as 0.05: two gradients a step."),
    ] = None,
    norm_statistics: Annotated[
        str | None,
        typer.Option("--norm-statistics", help="Of batch norm in evaluations: running or last_batch (Akiba)."),
    ] = None,
    shard_weights: Annotated[
        bool, typer.Option("--shard-weights", help="Under torchrun each process holds a part of the model (FSDP2).")
    ] = False,
    start_from: Annotated[
        Path | None, typer.Option("--start-from", metavar="RUN", help="Begin with the weights that another run kept.")
    ] = None,
    micro_batch_size: Annotated[
        int | None, typer.Option("--micro-batch-size", min=1, help="Examples in one forward pass.  [default: all]")
    ] = None,
    order: Annotated[
        str, typer.Option("--order", help="reshuffle, shuffle_once, sequential or with_replacement.")
    ] = "reshuffle",
    drop_last: Annotated[bool, typer.Option("--drop-last", help="Leave out what does not fill a batch.")] = False,
    target: o.TargetValue = None,
    to_the_end: Annotated[bool, typer.Option("--to-the-end", help="Go on when the target is reached.")] = False,
    compiled: Annotated[
        bool, typer.Option("--compiled/--not-compiled", help="Compile the model with torch.compile.")
    ] = False,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Of the DataLoader, for data that are files.")] = 0,
    out: o.Out = None,
    seed: o.Seed = 0,
    device: o.Device = None,
    threads: o.Threads = None,
    budget: o.BudgetSeconds = None,
    language: o.Language = "en",
    as_json: o.AsJson = False,
) -> None:
    """Train once, to the target, the end of the epochs or of the budget. The same command again goes on.

    \b
        critbatch train mnist-mlp --batch-size 256 --learning-rate 0.2
        critbatch train my_task.py:task --batch-size 4096 --micro-batch-size 512 --decay cosine
        critbatch train mnist-mlp --batch-size 4096 --recipe lars2017 --set trust_coefficient=0.01
        torchrun --nproc-per-node 2 -m critbatch train mnist-mlp --batch-size 256
    """
    from critbatch.cli.doing import Setting, show
    from critbatch.cli.single_run import single_run
    from critbatch.runtime.distributed import joined_processes

    setting = Setting(
        task, target=target, out=out, device=device, threads=threads, language=language, as_json=as_json, processes=True
    )
    with joined_processes(setting.device), setting.display() as display:
        record = single_run(
            setting,
            display,
            recipe=recipe,
            batch_size=batch_size,
            learning_rate=learning_rate,
            epochs=epochs,
            steps=steps,
            lr_decay=decay,
            warmup_epochs=warm_up_epochs,
            weight_decay=weight_decay,
            settings=settings or (),
            changes={
                "zero_gamma": zero_gamma,
                "ghost_batch": ghost_batch,
                "sam_rho": sam_rho,
                "norm_statistics": norm_statistics,
            },
            shard_weights=shard_weights,
            start_from=start_from,
            micro_batch_size=micro_batch_size,
            order=order,
            drop_last=drop_last,
            to_the_end=to_the_end,
            compiled=compiled,
            workers=workers,
            seed=seed,
            budget=o.seconds_left(budget),
        )
    show(record, setting)


@app.command()
def recipes(
    name: Annotated[
        str | None, typer.Argument(metavar="RECIPE", help="One of them, with its options.  [default: all]")
    ] = None,
    as_json: o.AsJson = False,
) -> None:
    """List the recipes: the paper, what each changes, and what it needs.

    \b
        critbatch recipes
        critbatch recipes lamb2020
    """
    from critbatch.cli.doing import list_recipes

    list_recipes(name, as_json)
