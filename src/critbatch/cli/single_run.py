"""One run from the command line: its words made into a plan, its checkpoint kept beside its record."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from critbatch.cli.doing import Setting
from critbatch.errors import UserError
from critbatch.recipes import plan_of, settings_from, usual_rate
from critbatch.records.core import Run
from critbatch.records.io import file_stem
from critbatch.runtime.progress import Display
from critbatch.tasks.sampler import Order
from critbatch.training.checkpoint import SUFFIX, load_solution, save_solution, solution_of
from critbatch.training.data_parallel import whole_state
from critbatch.training.state import Budget
from critbatch.training.trainer import Training


def single_run(
    setting: Setting,
    display: Display,
    *,
    recipe: str | None,
    batch_size: int,
    learning_rate: float | None,
    steps: int | None,
    micro_batch_size: int | None,
    order: str,
    drop_last: bool,
    to_the_end: bool,
    compiled: bool,
    workers: int,
    seed: int,
    budget: float | None,
    settings: Sequence[str],
    changes: dict[str, Any],
    shard_weights: bool,
    start_from: Path | None,
    **schedule: Any,
) -> Run:
    """Train as `critbatch train` says, go on from the checkpoint of the same command, and keep the weights.

    Raises:
        UserError: if the settings are not possible.
    """
    task = setting.task
    name = recipe or task.recipe
    rate = usual_rate(name, batch_size) if learning_rate is None else learning_rate
    if order not in list(Order):
        raise UserError(f"--order {order!r} is not known: use {', '.join(Order)}.")
    if budget is not None and budget <= 0:
        raise UserError(f"--budget {budget} allows nothing: use a number of seconds above 0.")
    given = {option: value for option, value in changes.items() if value is not None}
    own = settings_from(settings)
    if taken := [option for option in ("batch_size", "learning_rate") if option in own]:
        raise UserError(f"--set {taken[0]}=… is not how it is given: use --{taken[0].replace('_', '-')}.")
    options = {**{option: value for option, value in schedule.items() if value is not None}, **own}
    plan = replace(
        plan_of(name, batch_size=batch_size, learning_rate=rate, **options),
        micro_batch_size=micro_batch_size,
        order=Order(order),
        drop_last=drop_last,
        **given,
    )
    start = load_solution(start_from, setting.device)[2] if start_from is not None else None
    chosen = sorted({**options, **given, "shard_weights": shard_weights}.items())
    words = repr((task.name, name, batch_size, rate, micro_batch_size, order, drop_last, seed, chosen, start_from))
    checkpoint = setting.out / "checkpoints" / f"train-{hashlib.sha256(words.encode()).hexdigest()[:12]}.pt"
    display.update(stage=f"training {task.name}", trying=f"batch size {batch_size}, learning rate {rate:g}")
    training = Training(
        task,
        plan,
        seed=seed,
        device=setting.device,
        target=None if to_the_end else task.target,
        checkpoint=checkpoint,
        compile=compiled,
        workers=workers,
        shard_weights=shard_weights,
        start=start,
        progress=display.watch,
    )
    training.advance(Budget(steps=steps), pause_at=None if budget is None else time.monotonic() + budget)
    run = training.record()
    weights = whole_state(training.model)
    if training.shard.rank == 0:
        save_solution(
            setting.out / f"{file_stem(run)}{SUFFIX}",
            weights,
            task_name=setting.task_name,
            solution=solution_of(run),
        )
    return run
