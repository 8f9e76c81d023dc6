"""Charts of the cost of a step on this machine: seconds per step and epoch, their parts, and memory."""

from __future__ import annotations

import math

import plotly.graph_objects as go

from critbatch.records.core import Speed, SpeedPoint
from critbatch.reports.charts.theme import (
    AMBER,
    BLUE,
    GREEN,
    GREY,
    MUTED,
    RED,
    Axis,
    Picture,
    bars,
    canvas,
    lines,
    safe,
    side_by_side,
    spaced,
)
from critbatch.reports.derived.runs import timed_points
from critbatch.reports.translator import Translator

# Parts of a step, and its peak memory.


def time_split(speed: Speed, t: Translator) -> Picture | None:
    """Shares of a step for loading data, forward and backward pass, and the optimizer."""
    points = [
        (point, point.data_seconds, point.compute_seconds, point.optimizer_seconds)
        for point in timed_points(speed)
        if None not in (point.data_seconds, point.compute_seconds, point.optimizer_seconds)
    ]
    if not points:
        return None
    labels = [safe(t.count(point.batch_size)) for point, *_ in points]
    totals = [sum(part or 0.0 for part in parts) for _, *parts in points]
    # Labels instead of numbers, so that all bars are equally wide.
    every = math.ceil(len(labels) / 7)
    x = {
        "type": "category",
        "title": {"text": safe(t("axis_batch_size", unit=t.units(speed.unit)))},
        "tickvals": labels[::every],
    }
    y = {"range": [0, 1], "tickformat": ".0%", "title": {"text": safe(t("axis_share"))}}
    figure = canvas(x, y)
    for i, (key, colour) in enumerate((("part_data", AMBER), ("part_compute", BLUE), ("part_optimizer", GREEN))):
        parts = [parts[i] or 0.0 for _, *parts in points]
        shares = [part / total if total > 0 else 0.0 for part, total in zip(parts, totals, strict=True)]
        figure.add_bar(
            x=labels,
            y=shares,
            name=safe(t(key)),
            marker={"color": colour},
            hoverinfo="text",
            hovertext=[
                lines(
                    t("hover_batch_size", batch_size=t.count(point.batch_size)),
                    t("hover_part", part=t(key), share=t.percent(share), seconds=t.seconds(part)),
                )
                for (point, *_), share, part in zip(points, shares, parts, strict=True)
            ],
        )
    figure.update_layout(barmode="stack", bargap=0.18)
    last = [(part or 0.0) / totals[-1] if totals[-1] > 0 else 0.0 for part in points[-1][1:]]
    at = {
        "batch_size": t.count(points[-1][0].batch_size),
        "data": t.percent(last[0]),
        "compute": t.percent(last[1]),
        "optimizer": t.percent(last[2]),
    }
    return Picture(t("title_time_split"), t("alt_time_split", **at), figure)


def peak_memory(speed: Speed, t: Translator) -> Picture | None:
    """Peak memory of a step against batch size."""
    points = [(float(p.batch_size), float(p.peak_bytes)) for p in timed_points(speed) if p.peak_bytes]
    if not points:
        return None
    sizes, peaks = [size for size, _ in points], [peak for _, peak in points]
    x = Axis(t("axis_batch_size", unit=t.units(speed.unit)), t.count, ticks=sizes).layout(sizes)
    ticks = _byte_ticks(min(peaks), max(peaks))
    y = Axis(t("axis_memory"), t.bytes, ticks=ticks).layout(peaks)
    figure = canvas(x, y)
    figure.add_scatter(
        x=sizes,
        y=peaks,
        mode="lines+markers",
        line={"color": BLUE, "width": 2},
        marker={"size": 8},
        showlegend=False,
        hoverinfo="text",
        hovertext=[
            lines(
                t("hover_batch_size", batch_size=t.count(size)),
                t("hover_memory", memory=t.bytes(peak)),
                t("hover_memory_each", memory=t.bytes(peak / size)),
            )
            for size, peak in points
        ],
    )
    at = {
        "low": t.count(sizes[0]),
        "high": t.count(sizes[-1]),
        "first": t.bytes(peaks[0]),
        "last": t.bytes(peaks[-1]),
    }
    return Picture(t("title_memory", **at), t("alt_memory", **at), figure)


def _byte_ticks(low: float, high: float) -> list[float]:
    """Powers of two that cover the range."""
    powers = range(math.floor(math.log2(low)) - 1, math.ceil(math.log2(high)) + 2)
    widest = max(math.log10(high / low) / 6, 0.3)
    return spaced([2.0**power for power in powers if low / 1.3 <= 2.0**power <= high * 1.3], widest)


def step_time(speed: Speed, t: Translator) -> Picture | None:
    """Seconds per step against batch size, log-log: first flat, then growing."""
    return _panel(speed, t, per_epoch=False)


def epoch_time(speed: Speed, t: Translator) -> Picture | None:
    """Seconds per epoch against batch size, log-log: first falling, then flat."""
    return _panel(speed, t, per_epoch=True)


def both_panels(speed: Speed, t: Translator) -> go.Figure | None:
    """The lecture's figure: seconds per step on the left, per epoch on the right."""
    left, right = step_time(speed, t), epoch_time(speed, t)
    return side_by_side(left, right) if left is not None and right is not None else None


def _panel(speed: Speed, t: Translator, *, per_epoch: bool) -> Picture | None:
    points = timed_points(speed)
    if not points:
        return None
    times = [_times(speed, point, per_epoch) for point in points]
    values = [time[0] for time in times]
    sizes = [float(point.batch_size) for point in points]
    failed_sizes = [float(point.batch_size) for point in speed.points if not point.fits]
    fitted = _fitted(speed, sizes, per_epoch)
    heights = [v for time in times for v in time] + [seconds for _, seconds in fitted]
    x = Axis(t("axis_batch_size", unit=t.units(speed.unit)), t.count, ticks=[*sizes, *failed_sizes]).layout(
        [*sizes, *failed_sizes]
    )
    y = Axis(t("axis_epoch_seconds" if per_epoch else "axis_step_seconds"), t.seconds).layout(heights)
    figure = canvas(x, y)
    if fitted:
        figure.add_scatter(
            x=[size for size, _ in fitted],
            y=[seconds for _, seconds in fitted],
            mode="lines",
            line={"color": GREY, "width": 1.5, "dash": "dash"},
            name=safe(t("legend_fit")),
            hoverinfo="skip",
        )
    figure.add_scatter(
        x=sizes,
        y=values,
        mode="lines+markers",
        error_y=bars(values, [time[1] for time in times], [time[2] for time in times]),
        line={"color": BLUE, "width": 2},
        marker={"size": 8},
        name=safe(t("legend_measured")),
        hoverinfo="text",
        hovertext=[_hover(speed, point, t) for point in points],
    )
    if failed_sizes:
        figure.add_scatter(
            x=failed_sizes,
            y=[max(values)] * len(failed_sizes),
            mode="markers",
            marker={"color": RED, "symbol": "x-thin", "size": 11, "line": {"color": RED, "width": 2.5}},
            name=safe(t("legend_does_not_fit")),
            hoverinfo="text",
            hovertext=[lines(t("hover_does_not_fit", batch_size=t.count(size))) for size in failed_sizes],
        )
    _mark_knee(figure, speed, sizes, t)
    first, last = t.seconds(values[0]), t.seconds(values[-1])
    kind = "epoch" if per_epoch else "step"
    at = {"low": t.count(sizes[0]), "high": t.count(sizes[-1]), "first": first, "last": last}
    return Picture(t(f"title_{kind}_time", **at), t(f"alt_{kind}_time", **at), figure)


def _times(speed: Speed, point: SpeedPoint, per_epoch: bool) -> tuple[float, float | None, float | None]:
    """Value and interval of the seconds per step, or per epoch."""
    step = point.step_seconds
    assert step is not None
    scale = speed.epoch_seconds(point) / step.value if per_epoch else 1.0
    low, high = (bound * scale if bound is not None else None for bound in (step.low, step.high))
    return step.value * scale, low, high


def _fitted(speed: Speed, sizes: list[float], per_epoch: bool) -> list[tuple[float, float]]:
    fit = speed.fit
    if fit is None or len(sizes) < 2:
        return []
    low, high = math.log(min(sizes)), math.log(max(sizes))
    grid = [math.exp(low + (high - low) * i / 60) for i in range(61)]
    steps = [(size, fit.fixed_seconds + fit.example_seconds * size) for size in grid]
    return [(size, seconds * speed.examples / size if per_epoch else seconds) for size, seconds in steps]


def _mark_knee(figure: go.Figure, speed: Speed, sizes: list[float], t: Translator) -> None:
    if speed.fit is None or not min(sizes) <= speed.fit.knee.value <= max(sizes):
        return
    knee = speed.fit.knee
    figure.add_vline(x=knee.value, line={"color": MUTED, "width": 1.2, "dash": "dot"})
    if knee.low and knee.high:
        figure.add_vrect(x0=knee.low, x1=knee.high, fillcolor=f"{GREY}2e", line_width=0, layer="below")
    figure.add_annotation(
        x=math.log10(knee.value),
        y=1,
        yref="y domain",
        text=safe(t("label_knee", knee=t.about(knee.value))),
        xanchor="right",
        yanchor="top",
        xshift=-5,
    )


def _hover(speed: Speed, point: SpeedPoint, t: Translator) -> str:
    step = point.step_seconds
    assert step is not None
    rows = [
        t("hover_batch_size", batch_size=t.count(point.batch_size)),
        t("hover_step", seconds=t.estimate(step, t.seconds)),
        t("hover_epoch", seconds=t.seconds(speed.epoch_seconds(point))),
        t("hover_rate_of_examples", rate=t.about(point.batch_size / step.value), unit=t.units(speed.unit)),
    ]
    if point.quartiles is not None:
        rows.append(t("hover_quartiles", span=t.span(*point.quartiles, t.seconds)))
    return lines(*rows)
