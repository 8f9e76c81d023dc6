"""The lecture's two panels, seconds for an update and for an epoch, with a line for each hardware."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from critbatch.records.core import Speed, SpeedPoint
from critbatch.reporting.figures.named_rows import colour_of
from critbatch.reporting.figures.theme import Axis, Picture, bars, canvas, lines, safe
from critbatch.reporting.lecture_readings import hardware_name
from critbatch.reporting.readings import timed
from critbatch.reports.translator import Translator

MOST_TICKS = 6
# By whether they are of epochs, and on logarithmic axes.
TITLES = {
    (False, False): "title_update_linear",
    (True, False): "title_epoch_linear",
    (False, True): "title_update_log",
    (True, True): "title_epoch_log",
}
SYMBOLS = ("circle", "square", "diamond", "star")


def update_and_epoch(speeds: Sequence[Speed], t: Translator, *, log: bool) -> tuple[Picture, Picture] | None:
    """Both panels on linear axes, as in the lecture, or on logarithmic ones."""
    update = _speed_panel(speeds, t, per_epoch=False, log=log)
    epoch = _speed_panel(speeds, t, per_epoch=True, log=log)
    return (update, epoch) if update is not None and epoch is not None else None


def _speed_panel(speeds: Sequence[Speed], t: Translator, *, per_epoch: bool, log: bool) -> Picture | None:
    told = [(speed, timed(speed)) for speed in speeds if timed(speed)]
    if not told:
        return None
    sizes = sorted({float(point.batch_size) for _, points in told for point in points})
    heights = [_seconds(speed, point, per_epoch)[0] for speed, points in told for point in points]
    across = Axis(t("axis_batch_size", unit=t.units(told[0][0].unit)), t.count, log=log, ticks=sizes)
    title = t("axis_epoch_seconds" if per_epoch else "axis_step_seconds")
    upward = Axis(title, t.seconds, log=log).layout(heights)
    figure = canvas(across.layout(sizes), upward if log else {**upward, **_from_zero(max(heights), t)})
    for rank, (speed, points) in enumerate(told):
        triples = [_seconds(speed, point, per_epoch) for point in points]
        values = [value for value, _, _ in triples]
        figure.add_scatter(
            x=[float(point.batch_size) for point in points],
            y=values,
            mode="lines+markers",
            error_y=bars(values, [low for _, low, _ in triples], [high for _, _, high in triples]),
            line={"color": colour_of(rank, len(told)), "width": 2},
            marker={"size": 8, "symbol": SYMBOLS[rank % len(SYMBOLS)]},
            name=safe(hardware_name(speed, t)),
            hoverinfo="text",
            hovertext=[_hover(speed, point, t) for point in points],
        )
    speed, points = told[-1]
    first, last = (t.seconds(_seconds(speed, point, per_epoch)[0]) for point in (points[0], points[-1]))
    ends = {"low": t.count(points[0].batch_size), "high": t.count(points[-1].batch_size)}
    at = {**ends, "first": first, "last": last}
    return Picture(t(TITLES[per_epoch, log], **at), t("alt_hardware", n=len(told), **at), figure)


def _from_zero(highest: float, t: Translator) -> dict[str, Any]:
    """Range and ticks, as in the lecture: what is much less than the highest looks like nothing."""
    step = next(s for s in (10.0**d * k for d in range(-9, 9) for k in (1, 2, 5)) if highest / s <= MOST_TICKS)
    ticks = [step * i for i in range(MOST_TICKS + 1) if step * i <= 1.05 * highest]
    # Round numbers, as 0.3 and not 0.30000000000000004.
    told = [float(f"{tick:.6g}") for tick in ticks]
    return {
        "range": [-0.03 * highest, 1.08 * highest],
        "tickvals": told,
        "ticktext": ["0", *(safe(t.seconds(tick)) for tick in told[1:])],
    }


def _seconds(speed: Speed, point: SpeedPoint, per_epoch: bool) -> tuple[float, float | None, float | None]:
    """Value, low and high of an update or of an epoch."""
    step = point.step_seconds
    assert step is not None
    scale = speed.examples / point.batch_size if per_epoch else 1.0
    low, high = (bound * scale if bound is not None else None for bound in (step.low, step.high))
    return step.value * scale, low, high


def _hover(speed: Speed, point: SpeedPoint, t: Translator) -> str:
    step = point.step_seconds
    assert step is not None
    return lines(
        hardware_name(speed, t),
        t("hover_batch_size", batch_size=t.count(point.batch_size)),
        t("hover_step", seconds=t.estimate(step, t.seconds)),
        t("hover_epoch", seconds=t.seconds(speed.epoch_seconds(point))),
    )
