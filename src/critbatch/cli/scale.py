"""The command that tells what more devices would bring."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from critbatch.cli import options as o
from critbatch.cli.app import app


@app.command()
def scale(
    task: o.TaskName,
    devices: Annotated[
        str, typer.Option("--devices", metavar="NUMBERS", help="A list, 1,8,64, or doublings, 1..4096.")
    ] = "1..1024",
    link: Annotated[
        str | None,
        typer.Option(
            "--link",
            metavar="LINK",
            help="Between nodes: ethernet-25, infiniband-ndr ..., or SECONDS,BYTES_PER_SECOND.  "
            "[default: the one measured, else ethernet-25]",
        ),
    ] = None,
    node_link: Annotated[
        str | None,
        typer.Option(
            "--node-link", metavar="LINK", help="Within a node: nvlink-4, pcie-4 ...  [default: measured, else nvlink]"
        ),
    ] = None,
    devices_per_node: Annotated[
        int | None,
        typer.Option("--devices-per-node", min=1, help="They share a link.  [default: as many as measured, else 1]"),
    ] = None,
    algorithm: Annotated[
        str, typer.Option("--algorithm", help="Of summing between nodes: ring, halving-doubling or best.")
    ] = "best",
    overlap: Annotated[
        float | None, typer.Option("--overlap", help="Gamma: 1, nothing hidden, to 10.  [default: fitted, else 1]")
    ] = None,
    delay: Annotated[
        float | None,
        typer.Option("--delay", metavar="SECONDS", help="Mean delay of a device in a pass.  [default: fitted, else 0]"),
    ] = None,
    joining: Annotated[
        float | None,
        typer.Option(
            "--joining",
            metavar="SECONDS",
            help="Several devices take longer by, however many.  [default: fitted, else 0]",
        ),
    ] = None,
    measured: Annotated[
        str | None,
        typer.Option(
            "--measured",
            metavar="STEPS",
            help="DEVICES:BATCH_SIZE:SECONDS[:MICRO_BATCH_SIZE],... of steps, to fit the last three to, and more.",
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", min=1, help="Of strong scaling.  [default: the best for one device]")
    ] = None,
    share: Annotated[
        int | None, typer.Option("--share", min=1, help="Examples a device in weak scaling.  [default: --batch-size]")
    ] = None,
    micro_batch_size: Annotated[
        int | None,
        typer.Option(
            "--micro-batch-size", min=1, help="Most examples in one pass on a device.  [default: the largest timed]"
        ),
    ] = None,
    steps_law: Annotated[
        str | None,
        typer.Option("--steps-law", metavar="S_MIN,B_CRIT", help="Steps to target are S_MIN (1 + B_CRIT / B)."),
    ] = None,
    steps_from: Annotated[
        Path | None,
        typer.Option("--steps-from", metavar="RECORD", help="A record with such a law: advice, study or fit."),
    ] = None,
    price: Annotated[
        float | None,
        typer.Option("--price", metavar="PER_HOUR", help="Of a device for an hour, to tell what it costs."),
    ] = None,
    worth: Annotated[
        float, typer.Option("--worth", help="What a doubling of the devices must take off the time, of 0.5 at most.")
    ] = 0.2,
    out: o.Out = None,
    device: o.Device = None,
    threads: o.Threads = None,
    language: o.Language = "en",
    as_json: o.AsJson = False,
) -> None:
    """Tell what more devices would bring: time to target, device-hours, and from where on they are not worth it.

    \b
        critbatch advise digits-mlp
        critbatch scale digits-mlp --devices 1..64 --link ethernet-25
        torchrun --nproc-per-node 2 -m critbatch scale digits-mlp

    It reads advice.json, or speed.json, from the folder of the task. Under torchrun it measures the link between the
    processes and a step of all of them; later calls without torchrun use what it found.
    """
    from critbatch.cli.doing import Setting, show
    from critbatch.cli.known_records import known_of, steps_of
    from critbatch.measure.device_scaling import scale as run
    from critbatch.runtime.distributed import joined_processes

    setting = Setting(task, out=out, device=device, threads=threads, language=language, as_json=as_json, processes=True)
    numbers = o.whole_numbers(devices, "--devices") or []
    known, communication, measurements = known_of(setting, measured)
    steps = steps_of(setting, known, law=steps_law, record=steps_from)
    with joined_processes(setting.device) as shard, setting.display() as display:
        if shard.world_size > 1:
            from critbatch.measure.allreduce import communication as measure
            from critbatch.measure.allreduce import joint_step

            display.update(stage=f"timing {shard.world_size} processes")
            communication = measure(device=setting.device, command=setting.command)
            first = batch_size or known.first_batch_size
            step = joint_step(setting.task, first, device=setting.device)
            # Of each number of devices the last one counts.
            measurements = [step, *(old for old in measurements if old.devices != step.devices)]
        record = run(
            setting.task,
            known.record,
            devices=numbers,
            steps=steps,
            link=link,
            node_link=node_link,
            devices_per_node=devices_per_node,
            algorithm=algorithm.replace("-", "_"),  # type: ignore[arg-type]
            overlap=overlap,
            joining_seconds=joining,
            delay_seconds=delay,
            measurements=measurements,
            communication=communication,
            batch_size=batch_size,
            share=share,
            micro_batch_size=micro_batch_size,
            price_per_device_hour=price,
            worth=worth,
            command=setting.command,
        )
    show(record, setting)
