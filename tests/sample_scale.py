"""Hand-made records of more devices: the times of `sample_records`, on a cluster of 25 Gbit Ethernet and NVLink."""

from __future__ import annotations

from dataclasses import replace

import sample_records as sample
from critbatch.law.allreduce import LINKS, measured_link
from critbatch.law.scaling import WORTH, Outlook, law_of, worth_until
from critbatch.records.core import Estimate, Record, Speed
from critbatch.records.scaling import Communication, CommunicationPoint, Constants, Scale, StepMeasurement, StepsLaw

LAW = law_of(sample.advice())
DEVICES = (1, 2, 4, 8, 16, 32, 64)
SOURCES = {
    "gradient_bytes": "source_counted",
    "buckets": "source_buckets",
    "devices_per_node": "source_given",
    "algorithm": "source_sooner",
    "overlap": "source_no_overlap",
    "joining_seconds": "source_no_joining",
    "delay_seconds": "source_no_delay",
    "pass_slowdown": "source_no_slowdown",
    "link_efficiency": "source_full_bandwidth",
}
CONSTANTS = Constants(
    gradient_bytes=101_800,
    buckets=1,
    devices_per_node=8,
    between=LINKS["ethernet-25"],
    within=LINKS["nvlink-4"],
    sources=SOURCES,
)


def communication() -> Communication:
    return Communication(
        backend="gloo",
        processes=2,
        one_node=True,
        points=tuple(
            CommunicationPoint(payload_bytes=size, seconds=sample.estimate(2e-4 + size / 1e9, n=6, level=0.95))
            for size in (4, 1 << 12, 1 << 20)
        ),
        latency_seconds=sample.estimate(1e-4, n=6, level=0.95),
        bytes_per_second=sample.estimate(1e9, n=6, level=0.95),
        worst_miss=0.04,
        provenance=replace(sample.PROVENANCE, command="torchrun --nproc-per-node 2 -m critbatch scale digits-mlp"),
    )


def scale(
    *,
    law: StepsLaw | None = LAW,
    speed: Speed | None = None,
    constants: Constants = CONSTANTS,
    devices: tuple[int, ...] = DEVICES,
    price: float | None = 2.5,
) -> Scale:
    speed = speed or sample.speed()
    outlook = Outlook(speed, constants, law=law, price=price)
    best = outlook.best(devices)
    return Scale(
        task=speed.task,
        unit=speed.unit,
        examples=speed.examples,
        constants=constants,
        law=law,
        target=sample.TARGET,
        metric_name="accuracy",
        best=best,
        strong=outlook.strong(devices, 128),
        weak=outlook.weak(devices, 16),
        worth=WORTH,
        worth_until=worth_until(best),
        price_per_device_hour=price,
        speed=speed,
        cautions=("scale_is_predicted", "no_overlap_assumed", "no_delay_assumed", "links_by_name"),
        provenance=replace(sample.PROVENANCE, command="critbatch scale digits-mlp --devices 1..64"),
    )


def measured() -> Scale:
    """With a link that was measured between processes, and one step that constants were fitted to."""
    found = communication()
    step = StepMeasurement(
        devices=2,
        batch_size=128,
        step_seconds=Estimate(value=6e-4, n=300, low=5e-4, high=7e-4),
        source="measured: 2 processes, gloo",
    )
    constants = replace(CONSTANTS, devices_per_node=2, within=measured_link(found), joining_seconds=1.2e-4)
    plain = scale(constants=constants, price=None)
    return replace(plain, communication=found, measurements=(step,), fit_miss=0.003, cautions=("scale_is_predicted",))


RECORDS: dict[str, Record] = {"scale": scale(), "measured scale": measured()}
MISSING: dict[str, Record] = {
    "scale without a law": scale(law=None),
    "scale of one device": scale(devices=(1,)),
    "scale without any point": replace(scale(law=None), strong=(), weak=(), worth_until=None),
}


def hostile() -> Scale:
    """A record in which every text is an attempt to break the page."""
    text, plain = sample.HOSTILE, measured()
    link = replace(LINKS["ethernet-25"], name=text, latency_source=text, bandwidth_source=text)
    constants = replace(plain.constants, between=link, within=link, sources=dict.fromkeys(SOURCES, text))
    found = replace(communication(), backend=text)
    return replace(plain, task=text, unit=text, constants=constants, communication=found, cautions=(text,))
