"""The gradient noise scale along a run, and layer by layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import plotly.graph_objects as go

from critbatch.records.core import LayerNoise, NoisePoint, NoiseScale
from critbatch.reports.charts.theme import AMBER, BLUE, GREEN, MUTED, PAPER, Axis, Picture, bars, canvas, lines, safe
from critbatch.reports.translator import Translator

# With more bars there is no room for their names.
MOST_LAYERS = 24

Reading = tuple[NoisePoint, NoiseScale]


def noise_along_run(points: Sequence[NoisePoint], unit: str, batch_size: int, t: Translator) -> Picture | None:
    """The noise scale in examples against epochs, log scale, with the batch size of the run.

    The noise scale in the optimizer's metric and the one by curvature are further lines, if they were measured.
    """
    scale_readings = _readings_with_signal(points, lambda point: point.scale)
    if not scale_readings:
        return None
    others = (
        (
            "legend_noise_in_metric",
            AMBER,
            "dash",
            "square",
            _readings_with_signal(points, lambda point: point.in_metric),
        ),
        (
            "legend_noise_by_curvature",
            GREEN,
            "dot",
            "diamond",
            _readings_with_signal(points, lambda point: point.by_curvature),
        ),
    )
    # A logarithmic axis cannot show a bound of zero.
    floor = min(*(scale.noise_scale for _, scale in scale_readings), batch_size) / 10
    values = [float(batch_size)]
    for readings in (scale_readings, *(other[-1] for other in others)):
        values += [v for _, scale in readings for v in (scale.noise_scale, scale.high) if v is not None]
        values += [max(scale.low, floor) for _, scale in readings if scale.low is not None]
    y = Axis(t("axis_noise", unit=t.units(unit)), t.about).layout(values)
    figure = canvas({"title": {"text": safe(t("axis_epochs"))}, "rangemode": "tozero"}, y)
    figure.add_hline(y=batch_size, line={"color": MUTED, "width": 1.2, "dash": "dot"})
    figure.add_annotation(
        x=0,
        xref="x domain",
        xanchor="left",
        y=math.log10(batch_size),
        yanchor="bottom",
        text=safe(t("label_batch_size_of_run", batch_size=t.count(batch_size))),
    )
    several = any(other[-1] for other in others)
    for key, colour, dash, symbol, readings in (
        ("legend_noise_scale", BLUE, "solid", "circle", scale_readings),
        *others,
    ):
        if readings:
            _add(figure, readings, t(key) if several else "", colour, dash, symbol, floor, t)
    first, last = scale_readings[0][1].noise_scale, scale_readings[-1][1].noise_scale
    at = {"first": t.about(first), "last": t.about(last), "n": len(scale_readings)}
    trend = "one" if len(scale_readings) == 1 else "rises" if last > first else "falls"
    return Picture(t(f"title_noise_{trend}", **at), t("alt_noise", **at), figure)


def _readings_with_signal(
    points: Sequence[NoisePoint], scale_of: Callable[[NoisePoint], NoiseScale | None]
) -> list[Reading]:
    pairs = [(point, scale) for point in points if (scale := scale_of(point)) is not None]
    return [(point, scale) for point, scale in pairs if has_signal(scale)]


def has_signal(scale: NoiseScale) -> bool:
    """Whether there is a noise scale to draw."""
    return math.isfinite(scale.noise_scale) and scale.noise_scale > 0


def _add(
    figure: go.Figure,
    readings: Sequence[Reading],
    name: str,
    colour: str,
    dash: str,
    symbol: str,
    floor: float,
    t: Translator,
) -> None:
    values = [scale.noise_scale for _, scale in readings]
    lows = [max(scale.low, floor) if scale.low is not None else None for _, scale in readings]
    figure.add_scatter(
        x=[point.epoch for point, _ in readings],
        y=values,
        mode="lines+markers",
        error_y=bars(values, lows, [scale.high for _, scale in readings]),
        line={"color": colour, "width": 2, "dash": dash},
        marker={
            "size": 9,
            "symbol": symbol,
            "color": [PAPER if scale.reason else colour for _, scale in readings],
            "line": {"color": colour, "width": 2},
        },
        name=safe(name) or None,
        showlegend=bool(name),
        hoverinfo="text",
        hovertext=[
            lines(
                name,
                t("hover_noise_at", steps=t.count(point.step), epochs=t.about(point.epoch)),
                t("hover_noise", noise=t.noise(scale)),
                t.reason(scale.reason) if scale.reason else "",
            )
            for point, scale in readings
        ],
    )


def noise_by_layer(layers: Sequence[LayerNoise], unit: str, t: Translator) -> Picture | None:
    """Noise scale of each layer as bars on a logarithmic axis, the first layer on top.

    If there are too many layers, those with the most weights are drawn.
    """
    layers_with_signal = [layer for layer in layers if has_signal(layer.scale)]
    if not layers_with_signal:
        return None
    largest = sorted(layers_with_signal, key=lambda layer: -layer.parameters)[:MOST_LAYERS]
    bar_layers = [layer for layer in layers_with_signal if layer in largest]
    values = [layer.scale.noise_scale for layer in bar_layers]
    lows, highs = [layer.scale.low for layer in bar_layers], [layer.scale.high for layer in bar_layers]
    floor = min(values) / 10
    x = Axis(t("axis_noise", unit=t.units(unit)), t.about).layout(
        [floor, *values, *(high for high in highs if high is not None and high < 100 * max(values))]
    )
    names = [safe(layer.name if len(layer.name) <= 28 else f"…{layer.name[-27:]}") for layer in bar_layers]
    y = {
        "title": {"text": safe(t("column_layer"))},
        "type": "linear",
        "tickvals": list(range(len(bar_layers))),
        "ticktext": names,
        "range": [len(bar_layers) - 0.4, -0.6],
        "showgrid": False,
    }
    figure = canvas(x, y)
    error = bars(values, [max(low, floor) if low is not None else None for low in lows], highs)
    figure.add_bar(
        x=values,
        y=list(range(len(bar_layers))),
        orientation="h",
        error_x=error,
        marker={"color": BLUE},
        showlegend=False,
        hoverinfo="text",
        hovertext=[lines(layer.name, t("hover_noise", noise=t.noise(layer.scale))) for layer in bar_layers],
    )
    figure.update_layout(bargap=0.3, meta={"taller": max(1.0, (4 + len(bar_layers)) / 12)})
    at = {"n": len(bar_layers), "low": t.about(min(values)), "high": t.about(max(values))}
    return Picture(t("title_noise_layers", **at), t("alt_noise_layers", **at), figure)
