"""A run as tensors and plain values, and back: what a checkpoint holds."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Protocol

from torch import nn
from torch.optim import Optimizer

from critbatch.errors import UserError, first_line
from critbatch.fast_path import FastPath
from critbatch.gradient_noise.noise_meter import NoiseMeter
from critbatch.ledger import Ledger
from critbatch.phases import PlanWalk
from critbatch.recipes.plan import Plan
from critbatch.records import SCHEMA_VERSION, VERSION_FIELD
from critbatch.replica import Replica
from critbatch.runtime.distributed import Shard, averaged_statistics, gathered
from critbatch.runtime.process import RandomState
from critbatch.sharded import ShardedReplica, put_back, whole_optimizer_state, whole_state
from critbatch.tasks.sampler import Cursor
from critbatch.tasks.task import Task
from critbatch.team import Team


class Resumable(Protocol):
    """What of a run must be put back for it to go on."""

    task: Task
    plan: Plan
    seed: int
    shard: Shard
    checkpoint: Path | None
    model: nn.Module
    optimizer: Optimizer
    ledger: Ledger
    cursor: Cursor
    walk: PlanWalk
    meter: NoiseMeter
    random: RandomState
    fast_path: FastPath
    replica: Replica
    team: Team | None

    def enter_phase(self, index: int, *, start: float | None = None) -> None: ...


def state_of(run: Resumable) -> dict[str, Any]:
    """All that is needed to go on, with any number of processes. The data's part of it is two integers."""
    model = whole_state(run.model)
    model.update(averaged_statistics(model, run.shard))
    return {
        VERSION_FIELD: SCHEMA_VERSION,
        "identity": _identity(run),
        "ledger": run.ledger.to_plain(),
        "phase": run.walk.index,
        "phase_start": run.walk.start,
        "size": [run.walk.batch_size, run.walk.rate_factor],
        "team": None if run.team is None else run.team.state(),
        "epoch": run.cursor.epoch,
        "offset": run.cursor.offset,
        "model": model,
        "optimizer": whole_optimizer_state(run.model, run.optimizer),
        "meter": run.meter.pairs,
        "random": gathered(run.random.states, run.shard),
        "compiled": run.fast_path.wanted,
    }


def restore(run: Resumable, state: dict[str, Any]) -> None:
    """Put a new run where the one was whose state this is.

    Raises:
        UserError: if that was another run: other data, another model, other settings; or if it is no such state.
    """
    try:
        _restore(run, state)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{run.checkpoint} holds no run that can go on ({first_line(error)}): remove it to start afresh."
        ) from error


def _restore(run: Resumable, state: dict[str, Any]) -> None:
    if (version := state.get(VERSION_FIELD, 0)) > SCHEMA_VERSION:
        warnings.warn(
            f"{run.checkpoint} was written by a later version of critbatch (format {version}, known here is "
            f"{SCHEMA_VERSION}): the run goes on with what is known here.",
            stacklevel=4,
        )
    found, here = state["identity"], _identity(run)
    other = [
        f"{key} {found.get(key)!r} there, {value!r} here" for key, value in here.items() if found.get(key) != value
    ]
    if other:
        raise UserError(
            f"The checkpoint {run.checkpoint} belongs to another run ({'; '.join(other)}): give another file, or the "
            "same settings."
        )
    run.ledger = Ledger.from_plain(state["ledger"])
    run.cursor.epoch, run.cursor.offset = state["epoch"], state["offset"]
    run.enter_phase(state["phase"], start=state["phase_start"])
    size, factor = state["size"]
    run.walk.resize(size, factor, step=run.ledger.step)
    if run.team is not None:
        run.team.restore(state["team"])
    put_back(run.model, run.optimizer, state["model"], state["optimizer"])
    run.meter.pairs = list(state["meter"])
    if run.shard.rank < len(state["random"]):
        run.random.restore(state["random"][run.shard.rank])
    run.fast_path.wanted = state["compiled"]


def _identity(run: Resumable) -> dict[str, Any]:
    plan = run.plan
    return {
        "task": run.task.fingerprint(),
        "recipe": plan.recipe,
        "batch_size": plan.batch_size,
        "micro_batch_size": plan.micro_batch_size,
        "learning_rate": plan.peak,
        "epochs": plan.epochs,
        "order": plan.order.value,
        "drop_last": plan.drop_last,
        "phases": [[phase.epochs, phase.batch_size, phase.copies, phase.average_every or 0] for phase in plan.phases],
        "zero_gamma": plan.zero_gamma,
        "ghost_batch": plan.ghost_batch,
        "sam_rho": plan.sam_rho,
        "norm_statistics": plan.norm_statistics.value,
        "shard_weights": isinstance(run.replica, ShardedReplica),
        "seed": run.seed,
    }
