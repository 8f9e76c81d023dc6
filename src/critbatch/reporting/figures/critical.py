"""Gradients of single batches where training stands still, and how often it gets on."""

from __future__ import annotations

import math

from critbatch.records.loss_surface import CriticalPoint, Escape
from critbatch.reporting.figures.theme import BLUE, RED, Axis, Picture, bars, canvas, lines, safe
from critbatch.reporting.voice import Voice


def critical_picture(point: CriticalPoint, voice: Voice) -> Picture | None:
    """Norms of batch gradients, median and quartiles, against batch size, with the norm of the full gradient."""
    told = sorted((b for b in point.batches if math.isfinite(b.median) and b.median > 0), key=lambda b: b.batch_size)
    if not told:
        return None
    sizes, medians = [float(batch.batch_size) for batch in told], [batch.median for batch in told]
    full = point.gradient_norm if math.isfinite(point.gradient_norm) and point.gradient_norm > 0 else None
    # On a log axis a quartile of zero lies infinitely far below.
    lows = [max(batch.quartiles[0], batch.median / 100) for batch in told]
    highs = [batch.quartiles[1] for batch in told]
    x = Axis(voice("axis_batch_size", unit=voice.units("example")), voice.count, ticks=sizes).layout(sizes)
    y = Axis(voice("axis_gradient_norm"), voice.rate).layout([*medians, *lows, *highs, full])
    figure = canvas(x, y)
    figure.add_scatter(
        x=sizes,
        y=medians,
        mode="lines+markers",
        error_y=bars(medians, lows, highs),
        line={"color": BLUE, "width": 2},
        marker={"size": 9},
        name=safe(voice("legend_quartiles")),
        hoverinfo="text",
        hovertext=[
            lines(
                voice("hover_batch_size", batch_size=voice.count(batch.batch_size)),
                voice(
                    "hover_gradients",
                    n=batch.n,
                    median=voice.rate(batch.median),
                    span=voice.span(*batch.quartiles, voice.rate),
                ),
            )
            for batch in told
        ],
    )
    if full is not None:
        # A trace and not a shape, so that the legend can name it.
        figure.add_scatter(
            x=[10.0**end for end in x["range"]],
            y=[full, full],
            mode="lines",
            line={"color": RED, "width": 2, "dash": "dash"},
            name=safe(voice("legend_full_gradient")),
            hoverinfo="skip",
        )
    at = {"low": voice.count(sizes[0]), "high": voice.count(sizes[-1])}
    alt = voice("alt_critical", first=voice.rate(medians[0]), last=voice.rate(medians[-1]), **at)
    return Picture(voice("title_critical", norm=voice.rate(point.gradient_norm)), alt, figure)


def escape_picture(escape: Escape, voice: Voice) -> Picture | None:
    """The share of starts that escaped against batch size, with exact intervals."""
    counts = sorted(escape.counts, key=lambda count: count.batch_size)
    if not counts:
        return None
    sizes, shares = [float(count.batch_size) for count in counts], [count.share.value for count in counts]
    x = Axis(voice("axis_batch_size", unit=voice.units(escape.unit)), voice.count, ticks=sizes).layout(sizes)
    ticks = [0.0, 0.25, 0.5, 0.75, 1.0]
    y = {
        "title": {"text": safe(voice("axis_escaped"))},
        "range": [-0.04, 1.04],
        "tickvals": ticks,
        "ticktext": [voice.percent(tick) for tick in ticks],
    }
    figure = canvas(x, y)
    figure.add_scatter(
        x=sizes,
        y=shares,
        mode="lines+markers",
        error_y=bars(shares, [count.share.low for count in counts], [count.share.high for count in counts]),
        line={"color": BLUE, "width": 2},
        marker={"size": 9},
        showlegend=False,
        hoverinfo="text",
        hovertext=[
            lines(
                voice("hover_batch_size", batch_size=voice.count(count.batch_size)),
                voice("hover_escaped", share=voice.estimate(count.share, voice.percent)),
            )
            for count in counts
        ],
    )
    at = {
        "low": voice.count(sizes[0]),
        "high": voice.count(sizes[-1]),
        "first": voice.percent(shares[0]),
        "last": voice.percent(shares[-1]),
    }
    return Picture(voice("title_escape", **at), voice("alt_escape", **at), figure)
