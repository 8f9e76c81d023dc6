"""The main command."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from critbatch.cli import options as o
from critbatch.cli.app import app


@app.command()
def advise(
    task: o.TaskName,
    current_batch_size: Annotated[
        int | None, typer.Option("--current", metavar="SIZE", help="The batch size in use today, to compare with.")
    ] = None,
    recipe: o.Recipe = None,
    target: o.TargetValue = None,
    decay: Annotated[
        str | None, typer.Option("--decay", help="constant, linear, cosine, step, polynomial: of the learning rate.")
    ] = None,
    warm_up_epochs: Annotated[float | None, typer.Option("--warm-up-epochs", help="From 0 to the rate.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="An option of the recipe, for all runs; several times."),
    ] = None,
    objective: Annotated[
        str, typer.Option("--objective", help="time, cost, accuracy (must not fall), examples (are limited).")
    ] = "time",
    within: Annotated[
        float | None, typer.Option("--within", metavar="SECONDS", help="For cheapest: the time there is.")
    ] = None,
    devices: Annotated[
        str, typer.Option("--devices", metavar="NUMBERS", help="For cheapest: a list, 1,2,8, or doublings, 1..64.")
    ] = "1",
    price: Annotated[
        float | None, typer.Option("--price", metavar="PRICE", help="Of a device for an hour, in any currency.")
    ] = None,
    examples_limit: Annotated[
        float | None, typer.Option("--examples-limit", metavar="N", help="For examples: seen on the way, repeats too.")
    ] = None,
    tokens_limit: Annotated[
        float | None, typer.Option("--tokens-limit", metavar="N", help="The same in tokens.")
    ] = None,
    margin: Annotated[
        float | None, typer.Option("--margin", help="For accuracy: what it may be worse by.  [default: 0.005]")
    ] = None,
    out: o.Out = None,
    seed: o.Seed = 0,
    device: o.Device = None,
    threads: o.Threads = None,
    budget: o.BudgetSeconds = None,
    language: o.Language = "en",
    as_json: o.AsJson = False,
) -> None:
    """Measure, predict and recommend the batch size and learning rate that reach the target soonest.

    \b
        critbatch advise digits-mlp
        critbatch advise my_task.py:task --current 64 --budget 600
        critbatch advise my_task.py:task --decay cosine --warm-up-epochs 2
        critbatch advise my_task.py:task --objective cost --within 3600 --devices 1..8
        critbatch advise my_task.py:task --objective accuracy --margin 0.002

    Writes report.html and advice.json. The same command again goes on where it stopped; one with another --target
    uses all runs that were made.
    """
    from critbatch.cli.doing import Setting, show

    setting = Setting(task, target=target, out=out, device=device, threads=threads, language=language, as_json=as_json)
    from critbatch.advisor.advise import advise as run
    from critbatch.recipes import settings_from
    from critbatch.records.core import Objective

    given: dict[str, Any] = {"lr_decay": decay, "warmup_epochs": warm_up_epochs}
    options = {name: value for name, value in given.items() if value is not None}
    asked = Objective(
        goal=objective,  # type: ignore[arg-type]
        max_time=within,
        devices=tuple(sorted(set(o.whole_numbers(devices, "--devices") or [1]))),
        price_per_device_hour=price,
        examples_limit=o.examples_of(examples_limit, tokens_limit, setting.task.tokens_per_example),
        accuracy_margin=margin,
    )
    with setting.display() as display:
        advice = run(
            setting.task,
            recipe=recipe,
            options={**options, **settings_from(settings or ())},
            objective=asked,
            current_batch_size=current_batch_size,
            out=setting.out,
            seed=seed,
            device=setting.device,
            **({} if budget is None else {"budget": o.seconds_left(budget)}),  # type: ignore[arg-type]
            progress=display,
            command=setting.command,
        )
    show(advice, setting)
