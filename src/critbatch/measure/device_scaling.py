"""Predict what more devices would bring: count the gradients, describe the cluster, and apply the law of steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from critbatch.arguments import checked_call, output_folder, renamed_arguments
from critbatch.errors import UserError
from critbatch.law.allreduce import find_link, measured_link
from critbatch.law.cluster import compute_of
from critbatch.law.cluster_fit import StepFit, fit_constants
from critbatch.law.scaling import (
    WORTH,
    ScalingPredictor,
    checked_devices,
    given_law,
    law_of,
    reaches_beyond,
    worth_until,
)
from critbatch.records.core import Advice, Record, Speed
from critbatch.records.io import blamed_on_records, load_records
from critbatch.records.scaling import (
    Algorithm,
    Communication,
    Constants,
    Link,
    Scale,
    ScalePoint,
    StepMeasurement,
    StepsLaw,
)
from critbatch.records.study import Fit, Study
from critbatch.runtime.provenance import RunTimer
from critbatch.tasks.registry import as_task
from critbatch.tasks.task import Task

DEVICES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
LINK, NODE_LINK = "ethernet-25", "nvlink"

FIRST_BUCKET, BUCKET = 1 << 20, 25 << 20
"""Bytes of the buckets of torch's DistributedDataParallel: 1 MiB for the first, then `bucket_cap_mb=25`."""

ASSUMED = {
    "overlap": "source_no_overlap",
    "joining_seconds": "source_no_joining",
    "delay_seconds": "source_no_delay",
    "pass_slowdown": "source_no_slowdown",
    "link_efficiency": "source_full_bandwidth",
}


@renamed_arguments(price="price_per_device_hour")
@checked_call
def scale(
    task: Task | str,
    known: Advice | Speed | str | Path | None = None,
    *,
    devices: Sequence[int] = DEVICES,
    steps: Advice | Study | Fit | tuple[float, float] | None = None,
    link: str | Link | None = None,
    node_link: str | Link | None = None,
    devices_per_node: int | None = None,
    algorithm: Algorithm = Algorithm.BEST,
    overlap: float | None = None,
    joining_seconds: float | None = None,
    delay_seconds: float | None = None,
    measurements: Sequence[StepMeasurement] = (),
    communication: Communication | None = None,
    batch_size: int | None = None,
    share: int | None = None,
    micro_batch_size: int | None = None,
    price_per_device_hour: float | None = None,
    worth: float = WORTH,
    command: str = "",
) -> Scale:
    """Predict time and cost to your target on more devices.

    The answer has time to target, device-hours and efficiency for each number of devices. Seconds of a step are
    predicted from those timed on one device and a model of the cluster; steps to target come from a law that was
    fitted to runs. Nothing is trained here.

    Args:
        task: Task, or its name: a built-in task, path/to/file.py:task or package.module:task. Its model tells how many
            bytes of gradients there are.
        known: Answer of `critbatch.advise` or of `critbatch.speed`, for seconds of a step on one device; or a folder or
            file with one of them. Default: critbatch-out/TASK.
        devices: Numbers of devices.
        steps: Law of steps to target: a record that has one, or (S_min, B_crit). Default: that of `known`.
        link: Link between nodes: a name, such as ethernet-25 or infiniband-ndr, or SECONDS,BYTES_PER_SECOND.
            `critbatch.law.allreduce.LINKS` has the names. Default: the measured one, else ethernet-25.
        node_link: Link within a node, such as nvlink-4 or pcie-4. Default: the measured one, else nvlink.
        devices_per_node: Devices that share the link of their node. Default: as many as were measured, else 1.
        algorithm: All-reduce algorithm between nodes; "best" is the faster of both.
        overlap: Overlap of communication and backward pass, from 1 (none) to 10. Default: fitted, else 1.
        joining_seconds: Constant extra time of a step on several devices, in seconds. Default: fitted, else 0.
        delay_seconds: Mean straggler delay of a device in each pass, in seconds. Default: fitted, else 0.
        measurements: Measured steps on several devices, to fit the last three and more constants to. Steps then have
            intervals.
        communication: Measured link of a group of processes, used where it belongs. Default: none.
        batch_size: Batch size for strong scaling. Default: the best on one device.
        share: Examples on each device for weak scaling. Default: the batch size of strong scaling.
        micro_batch_size: Most examples in one forward pass on a device. Gradients of several passes are added up.
            Default: the largest size that was timed.
        price_per_device_hour: Price of one device for one hour, in any currency. Default: no price.
        worth: Least share of the time that twice the devices must save to be worth it, up to 0.5.
        command: Command that the user gave, kept in the record.

    Raises:
        UserError: if an argument is not possible, or nothing was timed.
    """
    task, watch = as_task(task), RunTimer()
    if not isinstance(known, Record):
        folder = output_folder(known, task.name)
        with blamed_on_records(folder):
            return scale(
                task,
                _stored(folder, task),
                devices=devices,
                steps=steps,
                link=link,
                node_link=node_link,
                devices_per_node=devices_per_node,
                algorithm=algorithm,
                overlap=overlap,
                joining_seconds=joining_seconds,
                delay_seconds=delay_seconds,
                measurements=measurements,
                communication=communication,
                batch_size=batch_size,
                share=share,
                micro_batch_size=micro_batch_size,
                price_per_device_hour=price_per_device_hour,
                worth=worth,
                command=command,
            )
    numbers = checked_devices(devices)
    speed = known.speed if isinstance(known, Advice) else known
    law = _law(known, steps)
    constants = _constants(task, link, node_link, devices_per_node, algorithm, communication)
    wanted = {"overlap": overlap, "joining_seconds": joining_seconds, "delay_seconds": delay_seconds}
    given = {name: value for name, value in wanted.items() if value is not None}
    fitted = _fitted(speed, constants, measurements, micro_batch_size)
    if fitted is not None:
        fitted = fitted.with_given(given)
        constants = fitted.constants
    sources = {**constants.sources, **dict.fromkeys(given, "source_given")}
    constants = replace(constants, sources=sources, **given)  # type: ignore[arg-type]
    outlook = ScalingPredictor(
        speed, constants, law=law, price=price_per_device_hour, fit=fitted, micro_batch_size=micro_batch_size
    )
    best = outlook.best(numbers)
    first = _first_size(known, outlook) if batch_size is None else batch_size
    share = first if share is None else share
    for name, size in (("batch_size", first), ("share", share)):
        if not 1 <= size <= speed.examples:
            raise UserError(f"{name}={size} is not possible: use 1 to {speed.examples}, the examples of {task.name!r}.")
    record = Scale(
        task=task.name,
        unit=task.unit,
        examples=speed.examples,
        constants=constants,
        law=law,
        target=known.target if isinstance(known, Advice) and law is not None and law.source == "advice" else None,
        metric_name=task.metric_name,
        best=best,
        strong=outlook.strong(numbers, first),
        weak=outlook.weak(numbers, share),
        worth=worth,
        worth_until=worth_until(best, worth),
        price_per_device_hour=price_per_device_hour,
        measurements=tuple(measurements),
        fit_miss=fitted.worst_miss if fitted is not None else None,
        communication=communication,
        speed=speed,
        provenance=replace(
            watch.provenance(command=command, seed=speed.provenance.seed, device=torch.device("cpu")),
            machine=speed.provenance.machine,  # the one that the answer depends on
        ),
    )
    return replace(record, cautions=_cautions(record, numbers))


def _stored(folder: Path, task: Task) -> Advice | Speed:
    """Load the advice from a folder or file, or the speed if there is no advice."""
    for record in load_records(folder):
        if isinstance(record, (Advice, Speed)) and record.task == task.name:
            return record
    raise UserError(f"{folder} has neither advice nor speed of {task.name!r}: run `critbatch advise` first.")


def gradient_bytes(task: Task) -> int:
    """Bytes of gradients that the devices sum in each step: those of the trained weights, in their own precision."""
    return sum(weight.nbytes for weight in task.new_model(0).parameters() if weight.requires_grad)


def buckets_of(size: int) -> int:
    """Number of all-reduces with which torch's DistributedDataParallel sums this many bytes.

    >>> [buckets_of(mebibytes << 20) for mebibytes in (1, 2, 26, 27)]
    [1, 2, 2, 3]
    """
    return 1 + max(0, math.ceil((size - FIRST_BUCKET) / BUCKET))


def _law(known: Advice | Speed, steps: Advice | Study | Fit | tuple[float, float] | None) -> StepsLaw | None:
    if isinstance(steps, tuple):
        return given_law(*steps)
    source = steps if steps is not None else known
    return None if isinstance(source, Speed) else law_of(source)


def _constants(
    task: Task,
    link: str | Link | None,
    node_link: str | Link | None,
    devices_per_node: int | None,
    algorithm: str,
    communication: Communication | None,
) -> Constants:
    if algorithm not in list(Algorithm):
        raise UserError(f"algorithm={algorithm!r} is not known: use {', '.join(Algorithm)}.")
    inside = outside = None
    if communication is not None and communication.one_node:
        inside = measured_link(communication)
    elif communication is not None:
        outside = measured_link(communication)
    measured = communication.processes if communication is not None and communication.one_node else 1
    per_node = measured if devices_per_node is None else devices_per_node
    if per_node < 1:
        raise UserError(f"devices_per_node={per_node} is not possible: use 1 or more.")
    within = None if per_node == 1 else _link(node_link or inside or NODE_LINK)
    between = _link(link or outside or LINK)
    size = gradient_bytes(task)
    if devices_per_node is not None:
        of_node = "source_given"
    else:
        of_node = "source_same_machine" if per_node > 1 else "source_own_node"
    return Constants(
        gradient_bytes=size,
        buckets=buckets_of(size),
        devices_per_node=per_node,
        between=between,
        within=within,
        algorithm=Algorithm(algorithm),
        sources={
            "gradient_bytes": "source_counted",
            "buckets": "source_buckets",
            "devices_per_node": of_node,
            "algorithm": "source_sooner" if algorithm == Algorithm.BEST else "source_given",
            **ASSUMED,
        },
    )


def _link(link: str | Link) -> Link:
    return find_link(link) if isinstance(link, str) else link


def _fitted(
    speed: Speed, constants: Constants, measurements: Sequence[StepMeasurement], micro_batch_size: int | None
) -> StepFit | None:
    if not measurements:
        return None
    return fit_constants(
        measurements,
        constants,
        lambda each: compute_of(speed, each.batch_size, each.devices, each.micro_batch_size or micro_batch_size),
    )


def _first_size(known: Advice | Speed, outlook: ScalingPredictor) -> int:
    if isinstance(known, Advice) and known.best is not None:
        return known.best.batch_size
    best_points: tuple[ScalePoint, ...] = outlook.best([1])
    return best_points[0].batch_size if best_points else outlook.speed.largest_that_fits


def _cautions(record: Scale, numbers: Sequence[int]) -> tuple[str, ...]:
    cautions = ["scale_is_predicted"]
    law, constants = record.law, record.constants
    if law is None:
        cautions.append("scale_without_law")
    elif not law.holds:
        cautions.append(law.reason or "law_misfit")
    if law is not None and any(reaches_beyond(law, point.batch_size) for point in record.best):
        cautions.append("scale_beyond_runs")
    timed = [point.batch_size for point in record.speed.fitting]
    points = (*record.best, *record.strong, *record.weak)
    if any(point.micro_batch_size < min(timed) for point in points):
        cautions.append("share_below_timed")
    if max(numbers) > record.examples:
        cautions.append("more_devices_than_examples")
    if record.best and record.worth_until == record.best[-1].devices and len(record.best) > 1:
        cautions.append("worth_to_the_end")
    if constants.sources["overlap"] == ASSUMED["overlap"]:
        cautions.append("no_overlap_assumed")
    if constants.sources["delay_seconds"] == ASSUMED["delay_seconds"]:
        cautions.append("no_delay_assumed")
    typical = sum(source == "source_typical" for source in constants.sources.values())
    if typical == len(ASSUMED):
        cautions.append("steps_tell_little")
    if record.communication is None:
        cautions.append("links_by_name")
    elif record.communication.provenance.machine.threads != record.speed.provenance.machine.threads:
        cautions.append("other_threads")
    return tuple(dict.fromkeys(cautions))
