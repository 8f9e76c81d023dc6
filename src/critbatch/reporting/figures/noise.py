"""The gradient noise scale along a run."""

from __future__ import annotations

import math
from collections.abc import Sequence

from critbatch.records import NoisePoint
from critbatch.reporting.figures.theme import BLUE, MUTED, PAPER, Axis, Picture, bars, canvas, lines, safe
from critbatch.reporting.voice import Voice


def noise_along_run(points: Sequence[NoisePoint], unit: str, batch_size: int, voice: Voice) -> Picture | None:
    """The noise scale in examples against epochs, log scale, with the batch size of the run."""
    told = [point for point in points if math.isfinite(point.scale.examples) and point.scale.examples > 0]
    if not told:
        return None
    values = [point.scale.examples for point in told]
    lows, highs = [point.scale.low for point in told], [point.scale.high for point in told]
    # On a log axis a bound of zero lies infinitely far below.
    floor = min(*values, batch_size) / 10
    lows = [max(low, floor) if low is not None else None for low in lows]
    y = Axis(voice("axis_noise", unit=voice.units(unit)), voice.about).layout(
        [*values, *lows, *highs, float(batch_size)]
    )
    figure = canvas({"title": {"text": safe(voice("axis_epochs"))}, "rangemode": "tozero"}, y)
    figure.add_hline(y=batch_size, line={"color": MUTED, "width": 1.2, "dash": "dot"})
    figure.add_annotation(
        x=0,
        xref="x domain",
        xanchor="left",
        y=math.log10(batch_size),
        yanchor="bottom",
        text=safe(voice("label_batch_size_of_run", batch_size=voice.count(batch_size))),
    )
    figure.add_scatter(
        x=[point.epoch for point in told],
        y=values,
        mode="lines+markers",
        error_y=bars(values, lows, highs),
        line={"color": BLUE, "width": 2},
        marker={
            "size": 9,
            "color": [PAPER if point.scale.reason else BLUE for point in told],
            "line": {"color": BLUE, "width": 2},
        },
        showlegend=False,
        hoverinfo="text",
        hovertext=[
            lines(
                voice("hover_noise_at", steps=voice.count(point.step), epochs=voice.about(point.epoch)),
                voice("hover_noise", noise=voice.noise(point.scale)),
                voice.reason(point.scale.reason) if point.scale.reason else "",
            )
            for point in told
        ],
    )
    at = {"first": voice.about(values[0]), "last": voice.about(values[-1]), "n": len(told)}
    trend = "one" if len(told) == 1 else "rises" if values[-1] > values[0] else "falls"
    return Picture(voice(f"title_noise_{trend}", **at), voice("alt_noise", **at), figure)
