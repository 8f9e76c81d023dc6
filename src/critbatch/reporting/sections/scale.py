"""More devices: each number of them in a row, strong and weak scaling, and every constant with its source."""

from __future__ import annotations

import math
from collections.abc import Sequence

from critbatch.records.core import Estimate
from critbatch.records.scaling import Algorithm, Link, Scale, ScalePoint
from critbatch.reporting.blocks import Block, Cell, Chart, Charts, Facts, Method, Paper, Section, Table, Text
from critbatch.reporting.figures.scale import efficiencies, parts_of_step, sync_times
from critbatch.reporting.papers import GOYAL, MCCANDLISH, POLLUX
from critbatch.reporting.voice import Voice

# What `Constants.sources` may hold of these is said in the page's language, all else as it stands.
SOURCES = (
    "source_given",
    "source_fitted",
    "source_typical",
    "source_not_seen",
    "source_counted",
    "source_buckets",
    "source_own_node",
    "source_same_machine",
    "source_sooner",
    "source_no_overlap",
    "source_no_joining",
    "source_no_delay",
    "source_no_slowdown",
    "source_full_bandwidth",
)

ALGORITHMS = {
    Algorithm.RING: "algorithm_ring",
    Algorithm.HALVING_DOUBLING: "algorithm_halving_doubling",
    Algorithm.BEST: "algorithm_best",
}


def scale_section(scale: Scale, voice: Voice) -> Section:
    """Numbers of devices: what a step is made of, and what they bring."""
    title = voice("section_scale")
    tables = (
        (scale.best, voice("scale_caption"), False),
        (scale.weak, voice("scale_weak_caption", share=_share(scale.weak, voice)), True),
        (scale.strong, voice("scale_strong_caption", size=_size(scale.strong, voice)), True),
    )
    if not any(points for points, _, _ in tables):
        return Section("scale", title, (Text(voice("scale_nothing")),))
    blocks: list[Block] = [Text(voice("scale_text"))]
    drawn = (parts_of_step(scale, voice), sync_times(scale, voice), efficiencies(scale, voice))
    charts = tuple(Chart(picture) for picture in drawn if picture is not None)
    blocks += [Charts(charts[:2]), *charts[2:]]
    blocks += [_table(points, caption, folded, scale, voice) for points, caption, folded in tables if points]
    lines = [voice("method_scale_step"), voice("method_scale_passes"), voice("method_scale_sync")]
    if scale.measurements:
        lines.append(voice("method_scale_fit"))
    papers: tuple[Paper, ...] = (POLLUX, GOYAL)
    if scale.law is not None:
        worth = voice.percent(scale.worth)
        lines += [voice("method_scale_best"), voice("method_scale_worth", worth=worth)]
        papers = (*papers, MCCANDLISH)
    return Section("scale", title, (*blocks, Method(tuple(lines), papers)))


def cluster_section(scale: Scale, voice: Voice) -> Section:
    """Every constant with its value and where it is from, and how well what was measured is told by them."""
    blocks: list[Block] = [Text(voice("cluster_text"))]
    if (found := scale.communication) is not None:
        miss = voice.percent(found.worst_miss)
        blocks.append(Text(voice("cluster_measured", n=found.processes, backend=found.backend, miss=miss)))
    if scale.measurements and scale.fit_miss is not None:
        fitted = voice("cluster_fit", n=len(scale.measurements), miss=voice.percent(scale.fit_miss))
        blocks.append(Text(fitted))
    blocks.append(Facts(_constants(scale, voice)))
    return Section("cluster", voice("section_cluster"), tuple(blocks))


def _constants(scale: Scale, voice: Voice) -> tuple[tuple[str, str], ...]:
    held = scale.constants
    rows = [
        (voice("constant_gradient_bytes"), voice.bytes(held.gradient_bytes), "gradient_bytes"),
        (voice("constant_buckets"), voice.count(held.buckets), "buckets"),
        (voice("constant_devices_per_node"), voice.count(held.devices_per_node), "devices_per_node"),
        (voice("constant_algorithm"), voice(ALGORITHMS[held.algorithm]), "algorithm"),
        (voice("constant_overlap"), voice.about(held.overlap), "overlap"),
        (voice("constant_joining_seconds"), voice.seconds(held.joining_seconds), "joining_seconds"),
        (voice("constant_delay_seconds"), voice.seconds(held.delay_seconds), "delay_seconds"),
        (voice("constant_pass_slowdown"), voice.percent(held.pass_slowdown), "pass_slowdown"),
    ]
    if not all(link.achieved for link in (held.between, held.within) if link is not None):
        rows.append((voice("constant_link_efficiency"), voice.percent(held.link_efficiency), "link_efficiency"))
    told = [(name, value, _source(held.sources.get(key, ""), voice)) for name, value, key in rows]
    told += _link(held.between, "constant_between_latency", "constant_between_bandwidth", voice)
    if held.within is not None:
        told += _link(held.within, "constant_within_latency", "constant_within_bandwidth", voice)
    if scale.law is not None:
        origin = voice("source_given" if scale.law.source == "given" else "source_of_law")
        law = (("constant_min_steps", scale.law.min_steps), ("constant_critical", scale.law.critical_batch_size))
        told += [(voice(key), voice.estimate(number, voice.about), origin) for key, number in law]
    return tuple((name, voice("value_and_source", value=value, source=source or "–")) for name, value, source in told)


def _source(source: str, voice: Voice) -> str:
    return voice(source) if source in SOURCES else source


def _link(link: Link, latency: str, bandwidth: str, voice: Voice) -> list[tuple[str, str, str]]:
    rate = voice("per_second", value=voice.bytes(link.bytes_per_second))
    return [
        (voice(latency, link=link.name), voice.seconds(link.latency_seconds), link.latency_source),
        (voice(bandwidth, link=link.name), rate, link.bandwidth_source),
    ]


def _table(points: Sequence[ScalePoint], caption: str, folded: bool, scale: Scale, voice: Voice) -> Table:
    timed = all(point.seconds is not None for point in points)
    header = ["column_devices", "batch_size", "column_share", "column_step", "column_communication"]
    header += ["column_time"] if timed else []
    header += ["column_speed_up", "column_efficiency"]
    header += ["column_device_hours"] if timed else []
    priced = all(point.cost is not None for point in points)
    header += ["column_cost"] if priced else []
    rows = []
    for point in sorted(points, key=lambda each: each.devices):
        marks = (voice("mark_worth"),) if points is scale.best and point.devices == scale.worth_until else ()
        row = [
            Cell(voice.count(point.devices), marks=marks),
            Cell(voice.count(point.batch_size)),
            Cell(voice.count(point.micro_batch_size), voice("passes", n=point.passes) if point.passes > 1 else ""),
            _step(point, voice),
            Cell(voice.percent(max(0.0, point.communication_seconds) / point.step_seconds)),
        ]
        if timed and point.seconds is not None:
            row.append(_time(point.seconds, voice))
        row += [Cell(voice.times(point.speed_up)), Cell(voice.percent(point.efficiency))]
        if timed and point.device_hours is not None:
            row.append(Cell(voice.about(point.device_hours)))
        if priced and point.cost is not None:
            row.append(Cell(voice.about(point.cost)))
        rows.append(tuple(row))
    return Table(caption, tuple(voice(key) for key in header), tuple(rows), folded=folded)


def _step(point: ScalePoint, voice: Voice) -> Cell:
    of = point.step_interval
    span = "" if of is None or of.low is None or of.high is None else voice.span(of.low, of.high, voice.seconds)
    return Cell(voice.seconds(point.step_seconds), span)


def _time(seconds: Estimate, voice: Voice) -> Cell:
    if seconds.low is None or seconds.high is None:
        return Cell(voice.seconds(seconds.value), voice("no_interval"))
    return Cell(voice.seconds(seconds.value), voice.span(seconds.low, seconds.high, voice.seconds))


def _share(points: Sequence[ScalePoint], voice: Voice) -> str:
    return voice.count(math.ceil(points[0].batch_size / points[0].devices)) if points else ""


def _size(points: Sequence[ScalePoint], voice: Voice) -> str:
    return voice.count(points[0].batch_size) if points else ""
