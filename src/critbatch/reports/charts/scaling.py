"""Charts of scaling to more devices: time to target, parts of a step, gradient synchronization, efficiency."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from critbatch.records.scaling import Scale, ScalePoint
from critbatch.reports.charts.theme import (
    AMBER,
    BLUE,
    GREEN,
    GREY,
    MUTED,
    PAPER,
    RED,
    Axis,
    Picture,
    bars,
    canvas,
    lines,
    safe,
)
from critbatch.reports.translator import Translator


def scale_picture(scale: Scale, t: Translator) -> Picture | None:
    """Time to target, or the parts of a step if no target is known."""
    return time_on_devices(scale, t) or parts_of_step(scale, t)


def time_on_devices(scale: Scale, t: Translator) -> Picture | None:
    """Time to target against devices, each at its best batch size, with the line of ideal scaling."""
    points = [point for point in _ordered(scale.best) if point.seconds is not None]
    if not points:
        return None
    numbers = [float(point.devices) for point in points]
    times = [point.seconds.value for point in points if point.seconds is not None]
    lows = [point.seconds.low for point in points if point.seconds is not None]
    highs = [point.seconds.high for point in points if point.seconds is not None]
    ideal = [times[0] * numbers[0] / number for number in numbers]
    # The ideal line ends a little below the best time; a longer one would leave the data little room.
    ideal_times = [value for value in ideal if value >= min(times) / 3]
    x = _devices(t, numbers)
    figure = canvas(x, Axis(t("axis_time_to_target"), t.seconds).layout([*times, *lows, *highs, *ideal_times]))
    figure.add_scatter(
        x=numbers[: len(ideal_times)],
        y=ideal_times,
        mode="lines",
        line={"color": GREY, "width": 1.5, "dash": "dash"},
        name=safe(t("legend_ideal")),
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=numbers,
        y=times,
        mode="lines+markers",
        error_y=bars(times, lows, highs),
        line={"color": BLUE, "width": 2},
        marker={"size": 9},
        name=safe(t("legend_scale_time")),
        hoverinfo="text",
        hovertext=[hover_of(point, t) for point in points],
    )
    _mark_worth(figure, scale, points, t)
    at = {
        "first": t.seconds(times[0]),
        "last": t.seconds(times[-1]),
        "low": t.count(numbers[0]),
        "high": t.count(numbers[-1]),
    }
    return Picture(t("title_scale", **at), t("alt_scale", **at), figure)


def parts_of_step(scale: Scale, t: Translator) -> Picture | None:
    """Parts of a step in seconds against devices, at the best batch sizes or at a fixed batch size per device."""
    points = _ordered(scale.best or scale.weak)
    if not points:
        return None
    # Labels instead of numbers, so that all bars are equally wide.
    labels = [safe(t.count(point.devices)) for point in points]
    every = math.ceil(len(labels) / 7)
    x = {"type": "category", "title": {"text": safe(t("axis_devices"))}, "tickvals": labels[::every]}
    top = max(point.step_seconds for point in points)
    ticks = _round_ticks(top)
    y = {
        "title": {"text": safe(t("axis_step_seconds"))},
        "range": [0, 1.05 * top],
        "tickvals": ticks,
        "ticktext": [safe(t.seconds(tick)) if tick else "0" for tick in ticks],
    }
    figure = canvas(x, y)
    parts = (
        ("legend_compute", BLUE, [point.compute_seconds for point in points]),
        ("legend_slowdown", RED, [point.slowdown_seconds for point in points]),
        ("legend_communication", AMBER, [max(0.0, point.communication_seconds) for point in points]),
        ("legend_waiting", GREEN, [point.waiting_seconds + point.joining_seconds for point in points]),
    )
    for key, colour, seconds in parts:
        figure.add_bar(
            x=labels,
            y=seconds,
            name=safe(t(key)),
            marker={"color": colour},
            hoverinfo="text",
            hovertext=[
                lines(
                    t("hover_devices", n=t.count(point.devices)),
                    t("hover_batch_size", batch_size=t.count(point.batch_size)),
                    t(
                        "hover_part",
                        part=t(key),
                        share=t.percent(part / point.step_seconds),
                        seconds=t.seconds(part),
                    ),
                )
                for point, part in zip(points, seconds, strict=True)
            ],
        )
    figure.update_layout(barmode="stack", bargap=0.18)
    last = points[-1]
    low, high = t.count(points[0].devices), t.count(last.devices)
    share = t.percent(max(0.0, last.communication_seconds) / last.step_seconds)
    title = t("title_scale_parts", high=high, share=share)
    return Picture(title, t("alt_scale_parts", low=low, high=high), figure)


def sync_times(scale: Scale, t: Translator) -> Picture | None:
    """Seconds of gradient synchronization against devices, by ring and by recursive halving and doubling."""
    points = [point for point in _ordered(scale.best or scale.weak or scale.strong) if point.sync_seconds > 0]
    if not points:
        return None
    numbers = [float(point.devices) for point in points]
    rings, doublings = [p.ring_seconds for p in points], [p.halving_doubling_seconds for p in points]
    y = Axis(t("axis_sync"), t.seconds).layout([*rings, *doublings])
    figure = canvas(_devices(t, numbers), y)
    for key, colour, seconds in (("algorithm_ring", AMBER, rings), ("algorithm_halving_doubling", BLUE, doublings)):
        figure.add_scatter(
            x=numbers,
            y=seconds,
            mode="lines+markers",
            line={"color": colour, "width": 2},
            marker={"size": 8},
            name=safe(t(key)),
            hoverinfo="text",
            hovertext=[
                lines(t("hover_devices", n=t.count(n)), f"{t(key)}: {t.seconds(took)}")
                for n, took in zip(numbers, seconds, strict=True)
            ],
        )
    low, high = t.count(numbers[0]), t.count(numbers[-1])
    at = {"ring": t.seconds(rings[-1]), "doubling": t.seconds(doublings[-1]), "high": high}
    return Picture(t("title_sync", **at), t("alt_sync", low=low, **at), figure)


def efficiencies(scale: Scale, t: Translator) -> Picture | None:
    """Strong and weak scaling: examples per second and device, relative to a single device."""
    strong, weak = _ordered(scale.strong), _ordered(scale.weak)
    if not strong or not weak:
        return None
    size, share = t.count(strong[0].batch_size), t.count(math.ceil(weak[0].batch_size / weak[0].devices))
    numbers = sorted({float(point.devices) for point in (*strong, *weak)})
    top = max(1.0, *(point.efficiency for point in (*strong, *weak)))
    ticks = [0.0, 0.25, 0.5, 0.75, 1.0]
    y = {
        "title": {"text": safe(t("axis_efficiency"))},
        "range": [-0.04, 1.04 * top],
        "tickvals": ticks,
        "ticktext": [t.percent(tick) for tick in ticks],
    }
    figure = canvas(_devices(t, numbers), y)
    series = ((t("legend_weak", share=share), BLUE, weak), (t("legend_strong", size=size), RED, strong))
    for name, colour, points in series:
        figure.add_scatter(
            x=[float(point.devices) for point in points],
            y=[point.efficiency for point in points],
            mode="lines+markers",
            line={"color": colour, "width": 2},
            marker={"size": 8},
            name=safe(name),
            hoverinfo="text",
            hovertext=[hover_of(point, t) for point in points],
        )
    at = {
        "weak": t.percent(weak[-1].efficiency),
        "strong": t.percent(strong[-1].efficiency),
        "high": t.count(numbers[-1]),
    }
    title = t("title_efficiency", share=share, size=size, **at)
    return Picture(title, t("alt_efficiency", low=t.count(numbers[0]), **at), figure)


def hover_of(point: ScalePoint, t: Translator) -> str:
    rows = [
        t("hover_devices", n=t.count(point.devices)),
        t("hover_batch_size", batch_size=t.count(point.batch_size)),
        t("hover_scale_step", seconds=t.seconds(point.step_seconds)),
        t("hover_speed_up", times=t.times(point.speed_up), share=t.percent(point.efficiency)),
    ]
    if point.seconds is not None and point.steps is not None:
        rows.insert(2, t("hover_time", seconds=t.estimate(point.seconds, t.seconds)))
        rows.insert(3, t("hover_steps", steps=t.about(point.steps.value)))
    if point.device_hours is not None:
        rows.append(t("hover_hours", hours=t.about(point.device_hours)))
    return lines(*rows)


def _round_ticks(top: float) -> list[float]:
    """Three to seven ticks, starting at 0."""
    decade = 10.0 ** math.floor(math.log10(top))
    step = next(decade * part for part in (0.2, 0.5, 1.0, 2.0) if top / (decade * part) < 7)
    return [step * i for i in range(math.floor(top / step) + 1)]


def _devices(t: Translator, numbers: Sequence[float]) -> dict[str, object]:
    return Axis(t("axis_devices"), t.count, ticks=numbers).layout(numbers)


def _ordered(points: Sequence[ScalePoint]) -> list[ScalePoint]:
    return sorted(points, key=lambda point: point.devices)


def _mark_worth(figure: go.Figure, scale: Scale, points: Sequence[ScalePoint], t: Translator) -> None:
    last_point = next((point for point in points if point.devices == scale.worth_until), None)
    if last_point is None or last_point.seconds is None:
        return
    figure.add_vline(x=last_point.devices, line={"color": MUTED, "width": 1.2, "dash": "dot"})
    figure.add_scatter(
        x=[last_point.devices],
        y=[last_point.seconds.value],
        mode="markers",
        marker={"symbol": "star", "size": 18, "color": RED, "line": {"color": PAPER, "width": 1.5}},
        name=safe(t("label_worth", n=t.count(last_point.devices))),
        hoverinfo="text",
        hovertext=[hover_of(last_point, t)],
    )
