"""What more devices would bring, in a few sentences and numbers."""

from __future__ import annotations

from critbatch.records.scaling import Scale, ScalePoint
from critbatch.reporting.blocks import Answer, Chart, Section, Tile
from critbatch.reporting.figures.scale import scale_picture, time_on_devices
from critbatch.reporting.sections.scale import cluster_section, scale_section
from critbatch.reporting.voice import Voice


def scale_answer(scale: Scale, voice: Voice) -> Answer:
    """Up to how many devices it is worth it, what they take, and what the soonest of all would."""
    here = _worth_point(scale)
    if here is None or here.seconds is None:
        return _throughput(scale, voice)
    told = {
        "seconds": voice.estimate(here.seconds, voice.seconds),
        "batch_size": voice.count(here.batch_size),
        "times": voice.times(here.speed_up),
    }
    first = min(point.devices for point in scale.best)
    several = "scale_worth" if here.devices > first else "scale_not_worth"
    key = several if len(scale.best) > 1 else "scale_single"
    headline = voice(key, task=scale.task, n=here.devices, worth=voice.percent(scale.worth))
    lead = voice("scale_there", **told) if here.devices > 1 else voice("scale_alone", **told)
    return Answer(headline, (lead,), (*_more(scale, here, voice), *_of_law(scale, voice)))


def scale_parts(scale: Scale, voice: Voice) -> tuple[list[Tile], Chart | None, list[Section]]:
    """Tiles, the picture of time to target, the sections."""
    picture = time_on_devices(scale, voice)
    hero = Chart(picture, voice("hero_note_scale")) if picture is not None else None
    if hero is None and (other := scale_picture(scale, voice)) is not None:
        hero = Chart(other)
    return _tiles(scale, voice), hero, [scale_section(scale, voice), cluster_section(scale, voice)]


def _throughput(scale: Scale, voice: Voice) -> Answer:
    points = sorted(scale.weak, key=lambda point: point.devices)
    if not points:
        return Answer(voice("scale_nothing"), ())
    last = points[-1]
    share = voice.count(last.batch_size / last.devices)
    headline = voice("scale_throughput", task=scale.task, n=last.devices, share=share, times=voice.times(last.speed_up))
    return Answer(headline, _parts(last, scale, voice))


def _parts(point: ScalePoint, scale: Scale, voice: Voice) -> tuple[str, ...]:
    if point.devices == 1:
        return ()
    share = voice.percent(max(0.0, point.communication_seconds) / point.step_seconds)
    within = scale.constants.within
    link = within if point.nodes == 1 and within is not None else scale.constants.between
    return (voice("scale_parts", n=point.devices, share=share, link=link.name),)


def _more(scale: Scale, here: ScalePoint, voice: Voice) -> list[str]:
    more = list(_parts(here, scale, voice))
    least = min(scale.best, key=lambda point: point.devices)
    soonest = min(scale.best, key=lambda point: point.seconds.value if point.seconds else 0.0)
    if soonest.devices != here.devices and soonest.seconds is not None and least.device_hours and soonest.device_hours:
        # Hours of one device follow from the speed-up, also where one device is not among those asked for.
        hours = soonest.devices / soonest.speed_up
        more.append(
            voice(
                "scale_soonest",
                n=soonest.devices,
                seconds=voice.seconds(soonest.seconds.value),
                times=voice.times(soonest.speed_up),
                hours=voice.times(hours),
            )
        )
    if here.cost is not None:
        alone = here.cost * here.speed_up / here.devices
        more.append(voice("scale_price", cost=voice.about(here.cost), least=voice.about(alone)))
    return more


def _of_law(scale: Scale, voice: Voice) -> list[str]:
    known = ("scale_law_advice", "scale_law_study", "scale_law_fit", "scale_law_given")
    key = f"scale_law_{scale.law.source}" if scale.law is not None else ""
    return [voice(key)] if key in known else []


def _worth_point(scale: Scale) -> ScalePoint | None:
    return next((point for point in scale.best if point.devices == scale.worth_until), None)


def _tiles(scale: Scale, voice: Voice) -> list[Tile]:
    here = _worth_point(scale)
    if here is None or here.seconds is None or here.device_hours is None:
        return []
    interval = voice.interval(here.seconds, voice.seconds) or voice("no_interval")
    alone = here.device_hours * here.speed_up / here.devices
    return [
        Tile(voice("tile_devices"), voice.count(here.devices), ""),
        Tile(voice("column_time"), voice.seconds(here.seconds.value), interval),
        Tile(
            voice("tile_speed_up"),
            voice.times(here.speed_up),
            voice("tile_efficiency", share=voice.percent(here.efficiency)),
        ),
        Tile(
            voice("tile_device_hours"),
            voice.about(here.device_hours),
            voice("tile_one_device", value=voice.about(alone)),
        ),
    ]
