"""What more devices would bring, in a few sentences and numbers."""

from __future__ import annotations

from critbatch.records.scaling import Scale, ScalePoint
from critbatch.reporting.blocks import Answer, Chart, Section, Tile
from critbatch.reporting.figures.scale import scale_picture, time_on_devices
from critbatch.reporting.sections.scale import cluster_section, scale_section
from critbatch.reports.translator import Translator


def scale_answer(scale: Scale, t: Translator) -> Answer:
    """Up to how many devices it is worth it, what they take, and what the soonest of all would."""
    here = _worth_point(scale)
    if here is None or here.seconds is None:
        return _throughput(scale, t)
    told = {
        "seconds": t.estimate(here.seconds, t.seconds),
        "batch_size": t.count(here.batch_size),
        "times": t.times(here.speed_up),
    }
    first = min(point.devices for point in scale.best)
    several = "scale_worth" if here.devices > first else "scale_not_worth"
    key = several if len(scale.best) > 1 else "scale_single"
    headline = t(key, task=scale.task, n=here.devices, worth=t.percent(scale.worth))
    lead = t("scale_there", **told) if here.devices > 1 else t("scale_alone", **told)
    return Answer(headline, (lead,), (*_more(scale, here, t), *_of_law(scale, t)))


def scale_parts(scale: Scale, t: Translator) -> tuple[list[Tile], Chart | None, list[Section]]:
    """Tiles, the picture of time to target, the sections."""
    picture = time_on_devices(scale, t)
    hero = Chart(picture, t("hero_note_scale")) if picture is not None else None
    if hero is None and (other := scale_picture(scale, t)) is not None:
        hero = Chart(other)
    return _tiles(scale, t), hero, [scale_section(scale, t), cluster_section(scale, t)]


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
        # Hours of one device follow from the speed-up, also where one device is not among those asked for.
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
    known = ("scale_law_advice", "scale_law_study", "scale_law_fit", "scale_law_given")
    key = f"scale_law_{scale.law.source}" if scale.law is not None else ""
    return [t(key)] if key in known else []


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
