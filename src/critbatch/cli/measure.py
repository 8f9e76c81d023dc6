"""The commands that measure: the time of a step, the noise of the gradient, and the loss around the weights of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from critbatch.cli.options import command

if TYPE_CHECKING:
    from critbatch.cli.context import RunContext, RunsContext, TaskContext
    from critbatch.records.core import Noise, Speed
    from critbatch.records.loss_surface import CriticalPoint, Curvature, Escape, Landscape, Sharpness, Shift

TASK: dict[str, Any] = {"context": "critbatch.cli.context:TaskContext", "words": {"task": "TASK"}}
RUN: dict[str, Any] = {"context": "critbatch.cli.context:RunContext", "words": {"run": "RUN"}}
RUNS: dict[str, Any] = {"context": "critbatch.cli.context:RunsContext", "words": {"runs": "RUN..."}}


@command("speed", panel="Measure", hide=["plan_of"], **TASK)
def speed(context: TaskContext, **options: Any) -> Speed:
    """
    critbatch speed mnist-mlp --batch-sizes 1,10,100,1000,10000,60000
    critbatch speed my_task.py:task --batch-sizes 16..4096
    """
    from critbatch.measure.step_time import speed

    with context.display() as display:
        display.update(stage=f"timing steps of {context.task.name}")
        return speed(
            context.task,
            device=context.device,
            progress=lambda at: display.update(trying=f"batch size {at.batch_size}", done=at.done, total=at.total),
            command=context.command,
            **options,
        )


@command("noise", panel="Measure", **TASK)
def noise(context: TaskContext, **options: Any) -> Noise:
    """
    critbatch noise mnist-mlp
    critbatch noise my_task.py:task --batch-size 256 --learning-rate 0.1 --method examples
    """
    from critbatch.measure.noise_scale import noise
    from critbatch.runtime.distributed import joined_processes

    with joined_processes(context.device), context.display() as display:
        display.update(stage=f"noise scale of {context.task.name}")
        return noise(context.task, device=context.device, progress=display.watch, command=context.command, **options)


@command("curvature", panel="Measure", hide=["task", "model", "solution"], **RUN)
def curvature(context: RunContext, **options: Any) -> Curvature:
    """
    critbatch curvature critbatch-out/digits-mlp/run-sgd-b64-lr0.025-seed0.json
    """
    from critbatch.measure.curvature import curvature

    return context.measure(curvature, model=context.model, solution=context.solution, **options)


@command("sharpness", panel="Measure", hide=["task", "models", "solutions", "boxes"], **RUNS)
def sharpness(context: RunsContext, **options: Any) -> Sharpness:
    """
    critbatch sharpness out/run-adam-b256-lr0.001-seed0.json out/run-adam-b6000-lr0.001-seed0.json
    """
    from critbatch.measure.sharpness import sharpness

    return context.measure(sharpness, models=context.models, solutions=context.solutions, **options)


@command("landscape", panel="Measure", hide=["task", "models", "solutions"], **RUNS)
def landscape(context: RunsContext, **options: Any) -> Landscape:
    """
    critbatch landscape out/run-adam-b256-lr0.001-seed0.json out/run-adam-b6000-lr0.001-seed0.json
    critbatch landscape out/run-adam-b256-lr0.001-seed0.json --span 0.5
    """
    from critbatch.measure.landscape import landscape

    return context.measure(landscape, models=context.models, solutions=context.solutions, **options)


@command("shift", panel="Measure", hide=["task", "models", "solutions", "shifts", "boxes"], **RUNS)
def shift(context: RunsContext, **options: Any) -> Shift:
    """
    critbatch shift out/run-adam-b256-lr0.001-seed0.json out/run-adam-b6000-lr0.001-seed0.json
    """
    from critbatch.measure.distribution_shift import shift

    return context.measure(shift, models=context.models, solutions=context.solutions, **options)


@command("critical_point", panel="Measure", hide=["task", "model", "solution"], **RUN)
def critical_point(context: RunContext, **options: Any) -> CriticalPoint:
    """
    critbatch critical-point critbatch-out/digits-mlp/run-sgd-b64-lr0.025-seed0.json
    """
    from critbatch.measure.critical_point import critical_point

    return context.measure(critical_point, model=context.model, solution=context.solution, **options)


@command("escape", panel="Measure", **TASK)
def escape(context: TaskContext, **options: Any) -> Escape:
    """
    critbatch escape digits-narrow
    critbatch escape surface-saddle --batch-sizes 1,4,16
    """
    from critbatch.measure.escape import escape

    return context.measure(escape, **options)
