"""Gradients of single batches where training stands still, and how often it gets on."""

from __future__ import annotations

import math

from critbatch.records.loss_surface import CriticalPoint, Escape
from critbatch.reporting.figures.theme import BLUE, RED, Axis, Picture, bars, canvas, lines, safe
from critbatch.reports.translator import Translator


def critical_picture(point: CriticalPoint, t: Translator) -> Picture | None:
    """Norms of batch gradients, median and quartiles, against batch size, with the norm of the full gradient."""
    told = sorted((b for b in point.batches if math.isfinite(b.median) and b.median > 0), key=lambda b: b.batch_size)
    if not told:
        return None
    sizes, medians = [float(batch.batch_size) for batch in told], [batch.median for batch in told]
    full = point.gradient_norm if math.isfinite(point.gradient_norm) and point.gradient_norm > 0 else None
    # On a log axis a quartile of zero lies infinitely far below.
    lows = [max(batch.quartiles[0], batch.median / 100) for batch in told]
    highs = [batch.quartiles[1] for batch in told]
    x = Axis(t("axis_batch_size", unit=t.units("example")), t.count, ticks=sizes).layout(sizes)
    y = Axis(t("axis_gradient_norm"), t.rate).layout([*medians, *lows, *highs, full])
    figure = canvas(x, y)
    figure.add_scatter(
        x=sizes,
        y=medians,
        mode="lines+markers",
        error_y=bars(medians, lows, highs),
        line={"color": BLUE, "width": 2},
        marker={"size": 9},
        name=safe(t("legend_quartiles")),
        hoverinfo="text",
        hovertext=[
            lines(
                t("hover_batch_size", batch_size=t.count(batch.batch_size)),
                t(
                    "hover_gradients",
                    n=batch.n,
                    median=t.rate(batch.median),
                    span=t.span(*batch.quartiles, t.rate),
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
            name=safe(t("legend_full_gradient")),
            hoverinfo="skip",
        )
    at = {"low": t.count(sizes[0]), "high": t.count(sizes[-1])}
    alt = t("alt_critical", first=t.rate(medians[0]), last=t.rate(medians[-1]), **at)
    return Picture(t("title_critical", norm=t.rate(point.gradient_norm)), alt, figure)


def escape_picture(escape: Escape, t: Translator) -> Picture | None:
    """The share of starts that escaped against batch size, with exact intervals."""
    counts = sorted(escape.counts, key=lambda count: count.batch_size)
    if not counts:
        return None
    sizes, shares = [float(count.batch_size) for count in counts], [count.share.value for count in counts]
    x = Axis(t("axis_batch_size", unit=t.units(escape.unit)), t.count, ticks=sizes).layout(sizes)
    ticks = [0.0, 0.25, 0.5, 0.75, 1.0]
    y = {
        "title": {"text": safe(t("axis_escaped"))},
        "range": [-0.04, 1.04],
        "tickvals": ticks,
        "ticktext": [t.percent(tick) for tick in ticks],
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
                t("hover_batch_size", batch_size=t.count(count.batch_size)),
                t("hover_escaped", share=t.estimate(count.share, t.percent)),
            )
            for count in counts
        ],
    )
    at = {
        "low": t.count(sizes[0]),
        "high": t.count(sizes[-1]),
        "first": t.percent(shares[0]),
        "last": t.percent(shares[-1]),
    }
    return Picture(t("title_escape", **at), t("alt_escape", **at), figure)
