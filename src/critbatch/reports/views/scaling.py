"""The chapter of scaling: time on more devices, and every constant of the model with its source."""

from __future__ import annotations

import math
from collections.abc import Sequence

from critbatch.records.core import Estimate, Speed
from critbatch.records.scaling import Algorithm, Link, Scale, ScalePoint
from critbatch.reports.charts.scaling import efficiencies, parts_of_step, scale_picture, sync_times, time_on_devices
from critbatch.reports.charts.theme import Picture
from critbatch.reports.model import (
    GOYAL,
    MCCANDLISH,
    POLLUX,
    Answer,
    Block,
    Cell,
    Chart,
    Charts,
    Facts,
    Method,
    Paper,
    Section,
    Table,
    Text,
    Tile,
)
from critbatch.reports.translator import Translator
from critbatch.reports.views.common import Parts, RecordView, view
from critbatch.reports.views.speed import speed_cautions

# These values of `Constants.sources` are translated; all others are shown as they are.
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


def scale_section(scale: Scale, t: Translator) -> Section:
    """Parts of a step, and the gain, for each number of devices."""
    title = t("section_scale")
    tables = (
        (scale.best, t("scale_caption"), False),
        (scale.weak, t("scale_weak_caption", share=_share(scale.weak, t)), True),
        (scale.strong, t("scale_strong_caption", size=_size(scale.strong, t)), True),
    )
    if not any(points for points, _, _ in tables):
        return Section("scale", title, (Text(t("scale_nothing")),))
    blocks: list[Block] = [Text(t("scale_text"))]
    pictures = (parts_of_step(scale, t), sync_times(scale, t), efficiencies(scale, t))
    charts = tuple(Chart(picture) for picture in pictures if picture is not None)
    blocks += [Charts(charts[:2]), *charts[2:]]
    blocks += [_table(points, caption, folded, scale, t) for points, caption, folded in tables if points]
    lines = [t("method_scale_step"), t("method_scale_passes"), t("method_scale_sync")]
    if scale.measurements:
        lines.append(t("method_scale_fit"))
    papers: tuple[Paper, ...] = (POLLUX, GOYAL)
    if scale.law is not None:
        worth = t.percent(scale.worth)
        lines += [t("method_scale_best"), t("method_scale_worth", worth=worth)]
        papers = (*papers, MCCANDLISH)
    return Section("scale", title, (*blocks, Method(tuple(lines), papers)))


def cluster_section(scale: Scale, t: Translator) -> Section:
    """Every constant with its value and source, and how well the model fits the measurements."""
    blocks: list[Block] = [Text(t("cluster_text"))]
    if (communication := scale.communication) is not None:
        miss = t.percent(communication.worst_miss)
        blocks.append(Text(t("cluster_measured", n=communication.processes, backend=communication.backend, miss=miss)))
    if scale.measurements and scale.fit_miss is not None:
        fitted = t("cluster_fit", n=len(scale.measurements), miss=t.percent(scale.fit_miss))
        blocks.append(Text(fitted))
    blocks.append(Facts(_constants(scale, t)))
    return Section("cluster", t("section_cluster"), tuple(blocks))


def _constants(scale: Scale, t: Translator) -> tuple[tuple[str, str], ...]:
    constants = scale.constants
    rows = [
        (t("constant_gradient_bytes"), t.bytes(constants.gradient_bytes), "gradient_bytes"),
        (t("constant_buckets"), t.count(constants.buckets), "buckets"),
        (t("constant_devices_per_node"), t.count(constants.devices_per_node), "devices_per_node"),
        (t("constant_algorithm"), t(ALGORITHMS[constants.algorithm]), "algorithm"),
        (t("constant_overlap"), t.about(constants.overlap), "overlap"),
        (t("constant_joining_seconds"), t.seconds(constants.joining_seconds), "joining_seconds"),
        (t("constant_delay_seconds"), t.seconds(constants.delay_seconds), "delay_seconds"),
        (t("constant_pass_slowdown"), t.percent(constants.pass_slowdown), "pass_slowdown"),
    ]
    if not all(link.achieved for link in (constants.between, constants.within) if link is not None):
        rows.append((t("constant_link_efficiency"), t.percent(constants.link_efficiency), "link_efficiency"))
    entries = [(name, value, _source(constants.sources.get(key, ""), t)) for name, value, key in rows]
    entries += _link(constants.between, "constant_between_latency", "constant_between_bandwidth", t)
    if constants.within is not None:
        entries += _link(constants.within, "constant_within_latency", "constant_within_bandwidth", t)
    if scale.law is not None:
        origin = t("source_given" if scale.law.source == "given" else "source_of_law")
        law = (("constant_min_steps", scale.law.min_steps), ("constant_critical", scale.law.critical_batch_size))
        entries += [(t(key), t.estimate(number, t.about), origin) for key, number in law]
    return tuple((name, t("value_and_source", value=value, source=source or "–")) for name, value, source in entries)


def _source(source: str, t: Translator) -> str:
    return t(source) if source in SOURCES else source


def _link(link: Link, latency: str, bandwidth: str, t: Translator) -> list[tuple[str, str, str]]:
    rate = t("per_second", value=t.bytes(link.bytes_per_second))
    return [
        (t(latency, link=link.name), t.seconds(link.latency_seconds), link.latency_source),
        (t(bandwidth, link=link.name), rate, link.bandwidth_source),
    ]


def _table(points: Sequence[ScalePoint], caption: str, folded: bool, scale: Scale, t: Translator) -> Table:
    has_times = all(point.seconds is not None for point in points)
    header = ["column_devices", "batch_size", "column_share", "column_step", "column_communication"]
    header += ["column_time"] if has_times else []
    header += ["column_speed_up", "column_efficiency"]
    header += ["column_device_hours"] if has_times else []
    has_costs = all(point.cost is not None for point in points)
    header += ["column_cost"] if has_costs else []
    rows = []
    for point in sorted(points, key=lambda each: each.devices):
        marks = (t("mark_worth"),) if points is scale.best and point.devices == scale.worth_until else ()
        row = [
            Cell(t.count(point.devices), marks=marks),
            Cell(t.count(point.batch_size)),
            Cell(t.count(point.micro_batch_size), t("passes", n=point.passes) if point.passes > 1 else ""),
            _step(point, t),
            Cell(t.percent(max(0.0, point.communication_seconds) / point.step_seconds)),
        ]
        if has_times and point.seconds is not None:
            row.append(_time(point.seconds, t))
        row += [Cell(t.times(point.speed_up)), Cell(t.percent(point.efficiency))]
        if has_times and point.device_hours is not None:
            row.append(Cell(t.about(point.device_hours)))
        if has_costs and point.cost is not None:
            row.append(Cell(t.about(point.cost)))
        rows.append(tuple(row))
    return Table(caption, tuple(t(key) for key in header), tuple(rows), folded=folded)


def _step(point: ScalePoint, t: Translator) -> Cell:
    of = point.step_interval
    span = "" if of is None or of.low is None or of.high is None else t.span(of.low, of.high, t.seconds)
    return Cell(t.seconds(point.step_seconds), span)


def _time(seconds: Estimate, t: Translator) -> Cell:
    if seconds.low is None or seconds.high is None:
        return Cell(t.seconds(seconds.value), t("no_interval"))
    return Cell(t.seconds(seconds.value), t.span(seconds.low, seconds.high, t.seconds))


def _share(points: Sequence[ScalePoint], t: Translator) -> str:
    return t.count(math.ceil(points[0].batch_size / points[0].devices)) if points else ""


def _size(points: Sequence[ScalePoint], t: Translator) -> str:
    return t.count(points[0].batch_size) if points else ""


# Answer, tiles and view.


def _throughput(scale: Scale, t: Translator) -> Answer:
    points = sorted(scale.weak, key=lambda point: point.devices)
    if not points:
        return Answer(t("scale_nothing"), ())
    last = points[-1]
    share = t.count(last.batch_size / last.devices)
    headline = t("scale_throughput", task=scale.task, n=last.devices, share=share, times=t.times(last.speed_up))
    return Answer(headline, _parts(last, scale, t))


def _parts(point: ScalePoint, scale: Scale, t: Translator) -> tuple[str, ...]:
    if point.devices == 1:
        return ()
    share = t.percent(max(0.0, point.communication_seconds) / point.step_seconds)
    within = scale.constants.within
    link = within if point.nodes == 1 and within is not None else scale.constants.between
    return (t("scale_parts", n=point.devices, share=share, link=link.name),)


def _more(scale: Scale, here: ScalePoint, t: Translator) -> list[str]:
    more = list(_parts(here, scale, t))
    least = min(scale.best, key=lambda point: point.devices)
    soonest = min(scale.best, key=lambda point: point.seconds.value if point.seconds else 0.0)
    if soonest.devices != here.devices and soonest.seconds is not None and least.device_hours and soonest.device_hours:
        # The hours of one device follow from the speed-up, even if one device is not in the list.
        hours = soonest.devices / soonest.speed_up
        more.append(
            t(
                "scale_soonest",
                n=soonest.devices,
                seconds=t.seconds(soonest.seconds.value),
                times=t.times(soonest.speed_up),
                hours=t.times(hours),
            )
        )
    if here.cost is not None:
        alone = here.cost * here.speed_up / here.devices
        more.append(t("scale_price", cost=t.about(here.cost), least=t.about(alone)))
    return more


def _of_law(scale: Scale, t: Translator) -> list[str]:
    source_keys = ("scale_law_advice", "scale_law_study", "scale_law_fit", "scale_law_given")
    key = f"scale_law_{scale.law.source}" if scale.law is not None else ""
    return [t(key)] if key in source_keys else []


def _worth_point(scale: Scale) -> ScalePoint | None:
    return next((point for point in scale.best if point.devices == scale.worth_until), None)


def _tiles(scale: Scale, t: Translator) -> list[Tile]:
    here = _worth_point(scale)
    if here is None or here.seconds is None or here.device_hours is None:
        return []
    interval = t.interval(here.seconds, t.seconds) or t("no_interval")
    alone = here.device_hours * here.speed_up / here.devices
    return [
        Tile(t("tile_devices"), t.count(here.devices), ""),
        Tile(t("column_time"), t.seconds(here.seconds.value), interval),
        Tile(
            t("tile_speed_up"),
            t.times(here.speed_up),
            t("tile_efficiency", share=t.percent(here.efficiency)),
        ),
        Tile(
            t("tile_device_hours"),
            t.about(here.device_hours),
            t("tile_one_device", value=t.about(alone)),
        ),
    ]


@view(Scale)
class ScaleView(RecordView[Scale]):
    """Time on more devices."""

    def answer(self, scale: Scale, t: Translator) -> Answer:
        """The largest number of devices that is worthwhile, its time, and the shortest time of all."""
        here = _worth_point(scale)
        if here is None or here.seconds is None:
            return _throughput(scale, t)
        placeholders = {
            "seconds": t.estimate(here.seconds, t.seconds),
            "batch_size": t.count(here.batch_size),
            "times": t.times(here.speed_up),
        }
        first = min(point.devices for point in scale.best)
        several = "scale_worth" if here.devices > first else "scale_not_worth"
        key = several if len(scale.best) > 1 else "scale_single"
        headline = t(key, task=scale.task, n=here.devices, worth=t.percent(scale.worth))
        lead = t("scale_there", **placeholders) if here.devices > 1 else t("scale_alone", **placeholders)
        return Answer(headline, (lead,), (*_more(scale, here, t), *_of_law(scale, t)))

    def parts(self, scale: Scale, t: Translator) -> Parts:
        """Tiles, the picture of time to target, the sections."""
        picture = time_on_devices(scale, t)
        hero = Chart(picture, t("hero_note_scale")) if picture is not None else None
        if hero is None and (other := scale_picture(scale, t)) is not None:
            hero = Chart(other)
        return _tiles(scale, t), hero, [scale_section(scale, t), cluster_section(scale, t)]

    def cautions(self, scale: Scale, /) -> list[str]:
        return [*scale.cautions, *speed_cautions(scale.speed), "generalization_not_measured", "one_machine"]

    def figure(self, scale: Scale, t: Translator, /) -> Picture | None:
        return scale_picture(scale, t)

    def own_cautions(self, scale: Scale, /) -> Sequence[str]:
        return scale.cautions

    def speeds(self, scale: Scale, /) -> list[Speed]:
        return [scale.speed]
