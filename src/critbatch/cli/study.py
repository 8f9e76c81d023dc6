"""The commands that train, alone or as a study, and those that follow, export or analyse studies."""

from __future__ import annotations

import hashlib
import shlex
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from critbatch.arguments import first_options
from critbatch.cli.options import command
from critbatch.errors import UserError

if TYPE_CHECKING:
    from critbatch.cli.context import ClaimsContext, TaskContext
    from critbatch.records.claims import ClaimsReport
    from critbatch.records.core import OptionValue, Run
    from critbatch.records.monitor import WatchSnapshot
    from critbatch.records.study import Fit

TASK = "critbatch.cli.context:TaskContext"


@command(
    "train",
    panel="Study",
    context=TASK,
    also=("critbatch.recipes.plan:Plan", "critbatch.training.trainer:Training"),
    words={"task": "TASK"},
    hide=[
        "pause_at",
        "peak",
        "noise_every",
        "noise_by",
        "checkpoint",
        "keeps_checkpoint",
        "start",
        "callbacks",
        "max_seconds",
    ],
    flags={"options": "--set"},
)
def train(
    context: TaskContext,
    *,
    batch_size: int,
    learning_rate: float | None = None,
    recipe: str | None = None,
    epochs: float = 10.0,
    steps: int | None = None,
    lr_decay: Literal["constant", "linear", "cosine", "step", "polynomial"] | None = None,
    warmup_epochs: float | None = None,
    weight_decay: float | None = None,
    options: Mapping[str, OptionValue] | None = None,
    target: float | None = None,
    stop_at_target: bool = True,
    start_from: str | None = None,
    budget: float | None = None,
    seed: int = 0,
    compile: bool = False,
    workers: int = 0,
    shard_weights: bool = False,
    zero_gamma: bool | None = None,
    log: Sequence[str] | None = None,
    **plan: Any,
) -> Run:
    """
        critbatch train mnist-mlp --batch-size 256 --learning-rate 0.2
        critbatch train my_task.py:task --batch-size 4096 --micro-batch-size 512 --lr-decay cosine
        critbatch train mnist-mlp --batch-size 4096 --recipe lars2017 --set trust_coefficient=0.01
        torchrun --nproc-per-node 2 -m critbatch train mnist-mlp --batch-size 256

    The same command again continues a run that was interrupted.

    Args:
        batch_size: Examples in one step, over all processes.
        learning_rate: Peak learning rate. Default: the usual one of the recipe.
        recipe: Recipe; `critbatch recipes` lists them. Default: the task's own.
        epochs: Length of the run, in epochs, unless the target comes first.
        steps: Stop after this many steps. Default: no limit.
        lr_decay: How the learning rate decays. Default: the recipe's own.
        warmup_epochs: Epochs of linear learning-rate warm-up. Default: the recipe's own.
        weight_decay: Weight decay. Default: the recipe's own.
        options: Another option of the recipe. Default: the recipe's own values.
        target: Another value for the target of the task. Default: the task's own.
        stop_at_target: Stop at the target; otherwise train to the end.
        start_from: Start with the weights of this run. Default: freshly drawn weights.
        budget: Wall-clock limit in seconds. The same command again continues. Default: no limit.
        zero_gamma: Start the last batch norm of each residual block at 0. Default: the recipe's own.
        log: Loggers of the run: csv, jsonl, tensorboard, wandb. Default: none.
    """
    from critbatch.integrations.loggers import LOGGERS
    from critbatch.recipes import plan_of, usual_rate
    from critbatch.records.io import file_stem
    from critbatch.runtime.distributed import joined_processes
    from critbatch.tasks.sampler import Order
    from critbatch.tasks.task import MODEL
    from critbatch.training.checkpoint import SUFFIX, load_solution, save_solution, solution_of
    from critbatch.training.data_parallel import whole_state
    from critbatch.training.state import Budget
    from critbatch.training.trainer import Training

    if budget is not None and budget <= 0:
        raise UserError(f"--budget {budget} allows nothing: use a number of seconds above 0.")
    if unknown := [name for name in log or () if name not in LOGGERS]:
        raise UserError(f"--log {unknown[0]} is not known: use {', '.join(LOGGERS)}.")
    own = dict(options or {})
    if own_options := [option for option in ("batch_size", "learning_rate") if option in own]:
        raise UserError(f"--set {own_options[0]}=… cannot set this: use --{own_options[0].replace('_', '-')}.")
    schedule = {
        "epochs": epochs,
        "lr_decay": lr_decay,
        "warmup_epochs": warmup_epochs,
        "weight_decay": weight_decay,
    }
    own = {**{option: value for option, value in schedule.items() if value is not None}, **own}
    context.set_target(target)
    if "order" in plan:
        plan["order"] = Order(plan["order"])
    if zero_gamma is not None:
        plan["zero_gamma"] = zero_gamma
    task = context.task.with_options(own)
    with joined_processes(context.device), context.display() as display:
        name = recipe or task.recipe
        of_recipe = {option: value for option, value in own.items() if not option.startswith(MODEL)}
        rate = usual_rate(name, batch_size) if learning_rate is None else learning_rate
        chosen = replace(plan_of(name, batch_size=batch_size, learning_rate=rate, **of_recipe), **plan)
        start = load_solution(Path(start_from), context.device)[2] if start_from is not None else None
        # The name of the checkpoint is that of version 0.1, so that a run which it interrupted is found.
        order, micro = str(plan.get("order", Order.RESHUFFLE)), plan.get("micro_batch_size")
        changes = {key: value for key, value in plan.items() if key not in ("order", "micro_batch_size", "drop_last")}
        terms = sorted({**first_options(own), **changes, "shard_weights": shard_weights}.items())
        place = None if start_from is None else Path(start_from)
        identity = (task.name, name, batch_size, rate, micro, order, plan.get("drop_last", False), seed, terms, place)
        digest = hashlib.sha256(repr(identity).encode()).hexdigest()[:12]
        checkpoint = context.out / "checkpoints" / f"train-{digest}.pt"
        display.update(stage=f"training {task.name}", trying=f"batch size {batch_size}, learning rate {rate:g}")
        trainer = Training(
            task,
            chosen,
            seed=seed,
            device=context.device,
            target=task.target if stop_at_target else None,
            checkpoint=checkpoint,
            compile=compile,
            workers=workers,
            shard_weights=shard_weights,
            start=start,
            progress=display.watch,
            callbacks=[LOGGERS[name](context.out) for name in log or ()],
        )
        trainer.advance(Budget(steps=steps), pause_at=None if budget is None else time.monotonic() + budget)
        run = trainer.record()
        weights = whole_state(trainer.model)
        if trainer.shard.rank == 0:
            save_solution(
                context.out / f"{file_stem(run)}{SUFFIX}",
                weights,
                task_name=context.task_name,
                solution=solution_of(run),
            )
    return run


@command(
    "sweep",
    panel="Study",
    context=TASK,
    words={"task": "TASK"},
    flags={"fixed_options": "--set", "option_grid": "--vary"},
)
def sweep(
    context: TaskContext,
    *,
    target: float | None = None,
    recipe: Sequence[str] | None = None,
    workers: int = 1,
    ray: str | None = None,
    gpus_per_worker: float | None = None,
    **options: Any,
) -> None:
    """
        critbatch sweep digits-mlp --workers 2
        critbatch sweep mnist-mlp --batch-sizes 16..4096 --learning-rates 0.03,0.1,0.3 --seeds 0,1
        critbatch sweep my_task.py:task --recipe sgd,lars2017,lamb2020 --batch-sizes 256..8192
        critbatch sweep my_task.py:task --epochs 20 --steps 2000 --seconds 10 --no-stop-at-target
        critbatch sweep my_task.py:task --vary momentum=0.0,0.9 --search tpe --trials 20 --prune
        critbatch sweep my_task.py:task --storage postgresql+psycopg://user@host/name    # on each machine
        critbatch sweep my_task.py:task --ray auto --workers 8 --gpus-per-worker 0.5

    The same command again continues where it stopped.

    Args:
        target: Another value for the target of the task. Default: the task's own.
        recipe: Recipes, one study each; `critbatch recipes` lists them. Default: the task's own.
    """
    from critbatch.runtime.device import use_threads
    from critbatch.studies.sweep import sweep

    context.set_target(target)
    if (workers > 1 or ray is not None) and context.threads is None:
        use_threads(1)  # as its workers, so that a time measured here is theirs
    for name in recipe if recipe is not None else [None]:
        with context.display() as display:
            study = sweep(
                context.task_name,
                out=context.out,
                recipe=name,
                target=context.task.target,
                workers=workers,
                threads=context.threads,
                ray=ray,
                gpus_per_worker=gpus_per_worker,
                device=context.device if context.device_is_given or not gpus_per_worker else None,
                progress=display,
                command=context.command,
                **options,
            )
        context.show(study)


@command(
    "check_claims",
    name="claims",
    panel="Study",
    context="critbatch.cli.context:ClaimsContext",
    words={"task": "TASK"},
)
def claims(context: ClaimsContext, *, networks: Sequence[str] | None = None, **options: Any) -> ClaimsReport:
    """
        critbatch claims
        critbatch claims mnist-mlp --language zh
        critbatch claims my_task.py:task --claims 3,4,9 --small 32 --large 2048 --budget 1800

    The claims: 1 batches and shuffling, 2 steady and noisy steps, 3 time, 4 larger batches train worse, 5 noise helps
    where training is stuck, 6 generalization, 7 sharp minima, 8 the summary, 9 batch size is worth choosing, 10 having
    both. The same command again continues where it stopped.

    Args:
        networks: Networks of Keskar et al. 2016 to test beside the task's own, keskar-f1 to keskar-c4; or none.
            Default: none for a small task, else F1 and C1 at reduced size if their data are there.
    """
    from critbatch.claims.run import check_claims

    if networks is not None:
        options["networks"] = [] if networks == ["none"] else networks
    with context.display() as display:
        return check_claims(
            context.task_name,
            out=context.out,
            device=context.device,
            progress=display,
            command=context.command,
            **options,
        )


@command("fit", panel="Study", words={"points": "POINTS.csv"}, hide=["seed"])
def fit(
    points: str,
    *,
    out: str | None = None,
    language: str = "en",
    json: bool = False,
    quiet: bool = False,
    **options: Any,
) -> None:
    """
        critbatch fit points.csv
        critbatch fit points.csv --at 2048,8192 --examples 1281167 --json

    The columns: batch_size, and steps, epochs or examples to target; also learning_rate, seed, censored (yes where the
    target was missed), step_seconds, devices.

    Args:
        points: CSV file with one run a row.
        out: Folder for the record and the report. Default: critbatch-out/POINTS.
        language: Language of the answer and of the report.
        json: Print the record as JSON, and nothing else.
        quiet: Print only the answer, no notes.
    """
    from critbatch.cli.context import OutputContext
    from critbatch.law.csv_points import fit

    record: Fit = fit(points, command=f"critbatch {shlex.join(sys.argv[1:])}", **options)
    OutputContext(Path(points).stem, out=out, language=language, json=json, quiet=quiet).show(record)


@command("export", panel="Study", words={"study": "STUDY"})
def export(study: str, **options: Any) -> None:
    """
    critbatch export critbatch-out/digits-mlp
    critbatch export critbatch-out/digits-mlp --curves --format parquet
    critbatch export critbatch-out/digits-mlp --format optuna
    critbatch export postgresql+psycopg://user@host/name --out runs.jsonl
    """
    from critbatch.studies.export import export

    print(export(study, **options))


@command("", panel="Study", words={"study": "STUDY"})
def watch(
    study: str,
    *,
    every: float = 2.0,
    once: bool = False,
    report: bool = False,
    language: str = "en",
    json: bool = False,
) -> None:
    """Show the progress of a running study.

    It shows the runs, the time left, the best so far and the curves. It only reads, and writes nothing but the report.
    It ends when no run is left and no process is working on the study, or with Ctrl-C.

        critbatch watch critbatch-out/digits-mlp
        critbatch watch critbatch-out/digits-mlp --report
        critbatch watch postgresql+psycopg://user@host/name --every 10

    Args:
        study: Folder of sweep, advise or claims, or the URL of a database.
        every: Seconds between two updates.
        once: Show the state once. This is the default if the output is not a terminal.
        report: Write report.html again whenever more runs are done.
        language: Language of the answer and of the report.
        json: Print the state once, as JSON.
    """
    from rich.console import Console
    from rich.live import Live

    from critbatch.reports.live import farewell, view
    from critbatch.reports.translator import Translator
    from critbatch.studies.watch import StudyWatcher

    if not every >= 0.1:
        raise UserError(f"--every {every:g} is not possible: use 0.1 seconds or more.")
    t, console = Translator(language), Console()
    try:
        with StudyWatcher(study) as watching:
            reports = Reports(watching.places, language) if report else None
            look = watching.look()
            if reports is not None:
                reports.write(look)
            if json:
                print(look.to_json(indent=1))
                return
            if once or not console.is_terminal:
                console.print(view(look, t, width=console.width, height=console.height))
                return
            with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
                while True:
                    live.update(
                        view(look, t, width=console.width, height=console.height, live=not look.over), refresh=True
                    )
                    if look.over:
                        return
                    time.sleep(every)
                    look = watching.look()
                    if reports is not None:
                        reports.write(look)
    except KeyboardInterrupt:
        console.print(farewell(t))


class Reports:
    """Reports of studies that are written again when more runs are done.

    Args:
        places: Folder or URL of each database; those that are opened later are added to it.
    """

    def __init__(self, places: Mapping[str, str], language: str) -> None:
        self.places, self.language = places, language
        self._written: dict[str, int] = {}

    def write(self, look: WatchSnapshot) -> None:
        """Write what has changed. The report of an advice is written by its own command, at its end."""
        from critbatch.reports.write import report

        done = Counter[str]()
        for study in look.studies:
            done[study.where] += study.done if study.question is not None else 0
        for where, runs in done.items():
            if runs > self._written.get(where, 0):
                report(self.places[where], language=self.language)
                self._written[where] = runs
