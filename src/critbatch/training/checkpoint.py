"""Checkpoints and weights as files: written whole or not at all, with a checksum, loaded without running any code.

A file is what `torch.save` writes, a zip archive, and `torch.load` reads it. The archive's comment holds the SHA-256 of
all bytes before it. Files of earlier versions have no comment: they are loaded unchecked.
"""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from critbatch.arguments import as_path, checked_call
from critbatch.errors import UserError, first_line
from critbatch.gradient_noise.noise_meter import NoiseMeter
from critbatch.recipes.plan import NormStatistics, Plan
from critbatch.records.core import SCHEMA_VERSION, VERSION_FIELD, Run
from critbatch.records.io import atomic_replacement, remove_parts
from critbatch.records.loss_surface import Solution
from critbatch.runtime.device import as_device
from critbatch.runtime.distributed import Shard, averaged_statistics, gathered
from critbatch.runtime.process import RandomState
from critbatch.tasks.models import zero_last_gamma
from critbatch.tasks.registry import as_task
from critbatch.tasks.sampler import EpochSampler
from critbatch.tasks.task import Task
from critbatch.training.batch_norm import make_ghosts
from critbatch.training.compiled import CompiledModel
from critbatch.training.data_parallel import Replica, ShardedReplica, put_back, whole_optimizer_state, whole_state
from critbatch.training.local_sgd import LocalSGD
from critbatch.training.phase_cursor import PhaseCursor
from critbatch.training.state import RunState

_MARK = b"critbatch sha256 "
_COMMENT_BYTES = len(_MARK) + 64
# The end of a zip archive: its signature, 16 bytes, and the length of the comment.
_END, _END_BYTES = b"PK\x05\x06", 22
_BEGIN = b"PK\x03\x04"
_CHUNK = 1 << 20


def save_checkpoint(path: Path, state: dict[str, Any], *, keeps_previous: bool = False) -> None:
    """Write `state` to `path`. A process killed in the middle leaves the file that was there before.

    Args:
        keeps_previous: the file that was there before stays beside it, if it is not damaged, for `load_checkpoint`.

    Raises:
        UserError: if the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_replacement(path) as part:
            with part.open("wb") as file:
                torch.save(state, file)
            _add_checksum(part)
            if keeps_previous and path.is_file() and not fault_of(path):
                _keep(path)
    except (OSError, RuntimeError) as error:
        # torch has an error of its own for a file that takes no more.
        reason = error.__context__ if isinstance(error, RuntimeError) else error
        if not isinstance(reason, OSError):
            raise
        raise UserError(
            f"The checkpoint {path} cannot be written ({reason.strerror}): make room there, or give another folder."
        ) from error


def load_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote; if it is damaged, what was written before, where that was kept.

    Raises:
        UserError: if there is no whole checkpoint.
    """
    try:
        return load_file(path, device, remedy="remove it to start afresh")
    except UserError as error:
        previous = previous_of(path)
        if not previous.is_file():
            raise
        with suppress(UserError):
            state = load_file(previous, device, remedy="")
            warnings.warn(f"{path} is damaged: the run goes on from the one before it, {previous}.", stacklevel=2)
            return state
        raise UserError(
            f"{path} is damaged, and so is the one before it, {previous}: remove both to start afresh."
        ) from error


def load_file(path: Path, device: torch.device, *, remedy: str) -> dict[str, Any]:
    """A dict of tensors and plain values. No code is loaded.

    Args:
        remedy: what the user can do if it cannot be used, for the sentence.

    Raises:
        UserError: if the file is damaged, or is something else.
    """
    if fault := fault_of(path):
        raise UserError(f"{path} {fault}: {remedy}.")
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise UserError(
            f"{path} is not a file that critbatch wrote, or is damaged ({first_line(error)}): {remedy}."
        ) from error
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise UserError(f"{path} is not a file that critbatch wrote: {remedy}.")
    return state


def remove_checkpoint(path: Path) -> None:
    """Remove the checkpoint, the one before it, and what processes left that were killed while they wrote it."""
    previous = previous_of(path)
    for file in (path, previous, *path.parent.glob(f"{glob.escape(previous.name)}.*")):
        file.unlink(missing_ok=True)
    remove_parts(path)


def previous_of(path: Path) -> Path:
    """Where the checkpoint before this one is kept."""
    return path.with_name(f"{path.name}.previous")


def fault_of(path: Path) -> str:
    """What is wrong with the bytes of a file; "" if its checksum is right, or it is an archive without one."""
    try:
        with path.open("rb") as file:
            begin, size = file.read(len(_BEGIN)), file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _COMMENT_BYTES - _END_BYTES))
            tail = file.read()
            if begin != _BEGIN or len(tail) < _COMMENT_BYTES + _END_BYTES:
                return "is not a file that critbatch wrote, or is damaged"
            end, comment = tail[:_END_BYTES], tail[_END_BYTES:]
            if not comment.startswith(_MARK):
                is_older = tail[-_END_BYTES:].startswith(_END) and tail.endswith(b"\0\0")
                return "" if is_older else "is damaged (its checksum is not readable)"
            content_bytes = size - _COMMENT_BYTES - 2
            right = _digest(file, content_bytes) == comment[len(_MARK) :] and end.endswith(_length_of_comment())
            return "" if right else "is damaged (its checksum is another)"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def _add_checksum(path: Path) -> None:
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        digest = _digest(file, size - 2)
        file.seek(size - 2)
        file.write(_length_of_comment() + _MARK + digest)


def _length_of_comment() -> bytes:
    return _COMMENT_BYTES.to_bytes(2, "little")


def _digest(file: BinaryIO, size: int) -> bytes:
    """Of the first `size` bytes, in hexadecimal digits."""
    sha256, left = hashlib.sha256(), size
    file.seek(0)
    while left > 0 and (chunk := file.read(min(left, _CHUNK))):
        sha256.update(chunk)
        left -= len(chunk)
    return sha256.hexdigest().encode()


def _keep(path: Path) -> None:
    """A second name for the file that is about to be replaced; a copy where the file system has no second names."""
    previous = previous_of(path)
    link = previous.with_name(f"{previous.name}.{os.getpid()}")
    try:
        os.link(path, link)
        link.replace(previous)
    except OSError:
        with suppress(OSError):
            link.unlink(missing_ok=True)
        shutil.copyfile(path, previous)


# The weights that a run ended with, kept beside its record, so that minima can be measured and compared later.

SUFFIX = ".weights.pt"


def solution_of(run: Run) -> Solution:
    """The run's weights, named by what tells it from others."""
    return Solution(
        label=f"{run.recipe}, B={run.batch_size}, lr={run.learning_rate:g}, seed {run.seed}",
        recipe=run.recipe,
        batch_size=run.batch_size,
        learning_rate=run.learning_rate,
        seed=run.seed,
        steps=run.steps,
    )


def save_solution(path: Path, weights: dict[str, Any], *, task_name: str, solution: Solution) -> Path:
    """Write the weights to `path`, whole or not at all.

    Args:
        weights: the state of the model.
        task_name: the word by which `critbatch.find_task` finds the task again.
    """
    save_checkpoint(path, {"task": task_name, "solution": solution.to_json(), "model": weights})
    return path


def load_solution(path: Path, device: torch.device) -> tuple[str, Solution, dict[str, Any]]:
    """The task's name, the solution, and the weights of a file that `save_solution` wrote, or of the record beside it.

    Raises:
        UserError: if there is no such file, or it holds something else.
    """
    file = path.with_name(path.stem + SUFFIX) if path.suffix == ".json" else path
    if not file.is_file():
        raise UserError(
            f"There is no {file}: give the {SUFFIX} file, or the run-….json beside it, that `critbatch train` wrote."
        )
    remedy = f"give a {SUFFIX} file that `critbatch train` wrote"
    state = load_file(file, device, remedy=remedy)
    name, solution, weights = (state.get(key) for key in ("task", "solution", "model"))
    if not isinstance(name, str) or not isinstance(solution, str) or not _is_state(weights):
        raise UserError(f"{file} holds no weights of a run: {remedy}.")
    return name, _solution(solution, file, remedy), weights


def _is_state(weights: object) -> TypeGuard[dict[str, Any]]:
    """Whether it is a dict of tensors by name. A module's own extra state may be anything."""
    return isinstance(weights, dict) and all(
        isinstance(name, str) and (isinstance(part, Tensor) or name.endswith("_extra_state"))
        for name, part in weights.items()
    )


def _solution(text: str, file: Path, remedy: str) -> Solution:
    try:
        return Solution.from_json(text)
    except ValueError as error:
        raise UserError(f"{file} does not say which run its weights are of: {remedy}.") from error


def model_with(task: Task, weights: dict[str, Any], device: torch.device) -> nn.Module:
    """A model of the task with these weights.

    Raises:
        UserError: if they belong to another model, or are not finite.
    """
    model = task.new_model(0, device)
    try:
        model.load_state_dict(weights)
    except Exception as error:
        raise UserError(
            f"The weights do not fit the model of task {task.name!r}: use the task that the run was made with."
        ) from error
    for name, weight in model.named_parameters():
        if not weight.detach().isfinite().all():
            raise UserError(
                f"The weights of {name} hold NaN or infinity, as those of a run that diverged do: use another run."
            )
    for name, buffer in model.named_buffers():
        if buffer.isnan().any():  # infinity may be meant, in a mask of attention
            raise UserError(f"The buffer {name} beside the weights holds NaN: use another run.")
    return model


@checked_call
def load_model(path: str | Path, task: Task | str, device: torch.device | str | None = None) -> nn.Module:
    """Return the model with which a run of `task` ended, from the file that `critbatch train` wrote beside its record.

    Args:
        path: The file of weights, or the record of the run.
        task: A `Task` or its name.
        device: Where the model goes; the CPU by default.

    Raises:
        UserError: If there is no such file, or its weights belong to another model.
    """
    place = as_device(device) if device is not None else torch.device("cpu")
    return model_with(as_task(task), load_solution(as_path(path), place)[2], place)


# The model that a run begins with: that of the task, with what the plan changes about it.


def fresh_model(
    task: Task, plan: Plan, *, seed: int, device: torch.device, start: dict[str, Any] | None = None
) -> nn.Module:
    """A new model in train mode. Options for layers that it has not change nothing.

    Args:
        start: weights to begin with; freshly drawn ones unless given.

    Raises:
        UserError: if those belong to another model.
    """
    model = model_with(task, start, device) if start is not None else task.new_model(seed, device)
    model.train()
    if plan.zero_gamma and start is None:
        zero_last_gamma(model)
    if plan.ghost_batch is not None:
        make_ghosts(model, plan.ghost_batch)
    if plan.norm_statistics is NormStatistics.LAST_BATCH:
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.momentum = 1.0
    return model


# A run as tensors and plain values, and back: what a checkpoint holds.


class Resumable(Protocol):
    """What of a run must be put back for it to go on."""

    task: Task
    plan: Plan
    seed: int
    shard: Shard
    checkpoint: Path | None
    model: nn.Module
    optimizer: Optimizer
    run_state: RunState
    cursor: EpochSampler
    phase_cursor: PhaseCursor
    meter: NoiseMeter
    random: RandomState
    compiled: CompiledModel
    replica: Replica
    local_sgd: LocalSGD | None

    def enter_phase(self, index: int, *, start: float | None = None) -> None: ...


def state_of(run: Resumable) -> dict[str, Any]:
    """All that is needed to go on, with any number of processes. The data's part of it is two integers."""
    model = whole_state(run.model)
    model.update(averaged_statistics(model, run.shard))
    return {
        VERSION_FIELD: SCHEMA_VERSION,
        "identity": _identity(run),
        "ledger": run.run_state.to_plain(),
        "phase": run.phase_cursor.index,
        "phase_start": run.phase_cursor.start,
        "size": [run.phase_cursor.batch_size, run.phase_cursor.rate_factor],
        "team": None if run.local_sgd is None else run.local_sgd.state(),
        "epoch": run.cursor.epoch,
        "offset": run.cursor.offset,
        "model": model,
        "optimizer": whole_optimizer_state(run.model, run.optimizer),
        "meter": run.meter.pairs,
        "random": gathered(run.random.states, run.shard),
        "torch_compile": run.compiled.is_on,
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
    stored, current = state["identity"], _identity(run)
    differences = [
        f"{key} {stored.get(key)!r} there, {value!r} here" for key, value in current.items() if stored.get(key) != value
    ]
    if differences:
        raise UserError(
            f"The checkpoint {run.checkpoint} belongs to another run ({'; '.join(differences)}): give another "
            "file, or the same settings."
        )
    run.run_state = RunState.from_plain(state["ledger"])
    run.cursor.epoch, run.cursor.offset = state["epoch"], state["offset"]
    run.enter_phase(state["phase"], start=state["phase_start"])
    size, factor = state["size"]
    run.phase_cursor.resize(size, factor, step=run.run_state.step)
    if run.local_sgd is not None:
        run.local_sgd.restore(state["team"])
    put_back(run.model, run.optimizer, state["model"], state["optimizer"])
    run.meter.pairs = list(state["meter"])
    if run.shard.rank < len(state["random"]):
        run.random.restore(state["random"][run.shard.rank])
    # Checkpoints of earlier versions have no such entry: their compiled graphs were others.
    run.compiled.is_on = state.get("torch_compile", False)


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
