"""The commands that answer a question: which batch size, and how many devices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from critbatch.cli.options import command
from critbatch.cli.values import parse_numbers
from critbatch.errors import UserError

if TYPE_CHECKING:
    from critbatch.cli.context import TaskContext
    from critbatch.records.core import Advice, OptionValue, Record, Speed
    from critbatch.records.scaling import Communication, Scale, StepMeasurement
    from critbatch.records.study import Fit, Study

Kind = TypeVar("Kind", bound="Record")


@command(
    "advise",
    panel="Ask",
    context="critbatch.cli.context:TaskContext",
    also=("Objective",),
    words={"task": "TASK"},
    hide=["objective"],
    flags={"goal": "--objective", "options": "--set"},
)
def advise(
    context: TaskContext,
    *,
    target: float | None = None,
    lr_decay: Literal["constant", "linear", "cosine", "step", "polynomial"] | None = None,
    warmup_epochs: float | None = None,
    options: Mapping[str, OptionValue] | None = None,
    devices: Sequence[int] = (1,),
    tokens_limit: float | None = None,
    **more: Any,
) -> Advice:
    """
        critbatch advise digits-mlp
        critbatch advise my_task.py:task --current-batch-size 64 --budget 600
        critbatch advise my_task.py:task --lr-decay cosine --warmup-epochs 2
        critbatch advise my_task.py:task --objective cost --max-time 3600 --devices 1..8
        critbatch advise my_task.py:task --objective accuracy --accuracy-margin 0.002

    It writes report.html and advice.json. The same command again continues where it stopped. A command with another
    --target uses all runs so far.

    Args:
        target: Another value for the target of the task. Default: the task's own.
        lr_decay: How the learning rate decays over a run. Default: the recipe's own.
        warmup_epochs: Epochs of linear learning-rate warm-up. Default: the recipe's own.
        options: Option of the recipe, for all runs. Default: the recipe's own values.
        tokens_limit: Most training tokens, repeats counted, instead of --examples-limit. Default: no limit.
    """
    from critbatch.advisor.advise import advise
    from critbatch.records.core import Objective

    context.set_target(target)
    limits = ("goal", "max_time", "price_per_device_hour", "examples_limit", "accuracy_margin")
    objective = {name: more.pop(name) for name in limits if name in more}
    if tokens_limit is not None:
        if "examples_limit" in objective:
            raise UserError("--examples-limit and --tokens-limit say the same twice: give one of them.")
        objective["examples_limit"] = tokens_limit / context.task.tokens_per_example
    schedule = {"lr_decay": lr_decay, "warmup_epochs": warmup_epochs}
    with context.display() as display:
        return advise(
            context.task,
            objective=Objective(devices=tuple(sorted(set(devices))), **objective),
            options={**{name: value for name, value in schedule.items() if value is not None}, **(options or {})},
            out=context.out,
            device=context.device,
            progress=display,
            command=context.command,
            **more,
        )


@command(
    "scale",
    panel="Ask",
    context="critbatch.cli.context:TaskContext",
    words={"task": "TASK"},
    hide=["known", "steps", "measurements", "communication"],
)
def scale(
    context: TaskContext,
    *,
    measured: str | None = None,
    steps_law: str | None = None,
    steps_from: str | None = None,
    batch_size: int | None = None,
    **more: Any,
) -> Scale:
    """
        critbatch advise digits-mlp
        critbatch scale digits-mlp --devices 1..64 --link ethernet-25
        torchrun --nproc-per-node 2 -m critbatch scale digits-mlp

    It reads advice.json or speed.json from the folder of the task. Under torchrun it measures the link between the
    processes and a step of all of them; later calls without torchrun use what it measured.

    Args:
        measured: Measured steps to fit the constants to: DEVICES:BATCH_SIZE:SECONDS[:MICRO_BATCH_SIZE], separated by
            commas. Default: those that this command measured before.
        steps_law: Law of steps to target, as S_MIN,B_CRIT: the steps are S_MIN (1 + B_CRIT / B). Default: that of the
            folder's records.
        steps_from: Record with such a law: an advice, a study or a fit. Default: those of the folder.
    """
    from critbatch.measure.device_scaling import scale
    from critbatch.runtime.distributed import joined_processes

    known, communication, measurements = known_records(context, measured)
    steps = steps_of(context, known, law=steps_law, record=steps_from)
    with joined_processes(context.device) as shard, context.display() as display:
        if shard.world_size > 1:
            from critbatch.measure.allreduce import communication as measure
            from critbatch.measure.allreduce import joint_step

            display.update(stage=f"timing {shard.world_size} processes")
            communication = measure(device=context.device, command=context.command)
            step = joint_step(context.task, batch_size or first_batch_size(known), device=context.device)
            # Of each number of devices the last one counts.
            measurements = [step, *(old for old in measurements if old.devices != step.devices)]
        return scale(
            context.task,
            known,
            steps=steps,
            measurements=measurements,
            communication=communication,
            batch_size=batch_size,
            command=context.command,
            **more,
        )


def known_records(
    context: TaskContext, measured: str | None
) -> tuple[Advice | Speed, Communication | None, list[StepMeasurement]]:
    """The advice of the folder, or its speed; the link and the steps that `critbatch scale` measured there before.

    Raises:
        UserError: if there is neither, or they are of another task.
    """
    from critbatch.records.core import Advice, Speed
    from critbatch.records.scaling import Scale

    task = context.task.name
    record = _read(context.out / "advice.json", Advice) or _read(context.out / "speed.json", Speed)
    if record is None:
        raise UserError(
            f"{context.out} holds neither advice.json nor speed.json: run `critbatch advise {context.task_name}` "
            f"first, or `critbatch speed {context.task_name}` if steps to the target are known (--steps-law)."
        )
    if record.task != task:
        raise UserError(f"{context.out} holds records of task {record.task!r}, not of {task!r}: give another --out.")
    before = _read(context.out / "scale.json", Scale)
    given = _measurements(measured) if measured is not None else None
    if before is None or before.task != task:
        return record, None, given or []
    return record, before.communication, given if given is not None else list(before.measurements)


def first_batch_size(record: Advice | Speed) -> int:
    """The best batch size on one device, or the largest that was timed."""
    from critbatch.records.core import Advice

    if isinstance(record, Advice) and record.best is not None:
        return record.best.batch_size
    speed = record.speed if isinstance(record, Advice) else record
    return speed.largest_that_fits


def steps_of(
    context: TaskContext, known: Advice | Speed, *, law: str | None, record: str | None
) -> Advice | Study | Fit | tuple[float, float] | None:
    """Where steps to the target come from: as given, or the folder's study or fit if its advice has none.

    Raises:
        UserError: if what was given cannot be read, or both were given.
    """
    from critbatch.records.core import Advice
    from critbatch.records.io import load_records
    from critbatch.records.study import Fit, Study

    if law is not None and record is not None:
        raise UserError("--steps-law and --steps-from say the same thing twice: give one of them.")
    if law is not None:
        pair = parse_numbers(law, "--steps-law")
        if len(pair) != 2:
            raise UserError(f"--steps-law {law!r} is not understood: give S_MIN,B_CRIT such as 220,130.")
        return pair[0], pair[1]
    if record is not None:
        for one in load_records(Path(record)):
            if isinstance(one, (Advice, Study, Fit)):
                return one
        raise UserError(f"{record} holds no law of steps to target: give an advice.json, study-….json or fit.json.")
    if isinstance(known, Advice) and known.law is not None:
        return None
    studies = sorted(context.out.glob("study-*.json"))
    return _read(studies[0], Study) if studies else _read(context.out / "fit.json", Fit)


def _read(path: Path, kind: type[Kind]) -> Kind | None:
    from critbatch.records.io import read_record

    return read_record(path, kind) if path.is_file() else None


def _measurements(text: str) -> list[StepMeasurement]:
    try:
        return [_measurement(part.split(":")) for part in text.split(",")]
    except (ValueError, IndexError):
        raise UserError(
            f"--measured {text!r} is not understood: give DEVICES:BATCH_SIZE:SECONDS,... such as 2:256:0.013, "
            "or DEVICES:BATCH_SIZE:SECONDS:MICRO_BATCH_SIZE where a step has several passes."
        ) from None


def _measurement(parts: Sequence[str]) -> StepMeasurement:
    from critbatch.records.core import Estimate
    from critbatch.records.scaling import StepMeasurement

    devices, batch_size, seconds = int(parts[0]), int(parts[1]), float(parts[2])
    micro = int(parts[3]) if len(parts) == 4 else None
    possible = 1 <= devices <= batch_size and 0 < seconds < math.inf and (micro is None or 1 <= micro <= batch_size)
    if len(parts) not in (3, 4) or not possible:
        raise ValueError
    return StepMeasurement(
        devices=devices,
        batch_size=batch_size,
        step_seconds=Estimate(value=seconds, n=1, reason="given"),
        source="given",
        micro_batch_size=micro,
    )
