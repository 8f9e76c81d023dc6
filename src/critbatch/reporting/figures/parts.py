"""What a step is made of: where its time goes, and the memory it holds."""

from __future__ import annotations

import math

from critbatch.records.core import Speed
from critbatch.reporting.figures.theme import AMBER, BLUE, GREEN, Axis, Picture, canvas, lines, safe, spaced
from critbatch.reporting.readings import timed
from critbatch.reports.translator import Translator


def time_split(speed: Speed, t: Translator) -> Picture | None:
    """The share of a step that goes to data, to forward and backward, and to the optimizer."""
    points = [
        (point, point.data_seconds, point.compute_seconds, point.optimizer_seconds)
        for point in timed(speed)
        if None not in (point.data_seconds, point.compute_seconds, point.optimizer_seconds)
    ]
    if not points:
        return None
    labels = [safe(t.count(point.batch_size)) for point, *_ in points]
    totals = [sum(part or 0.0 for part in parts) for _, *parts in points]
    # Labels and not numbers: bars of equal width.
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
    """Bytes held at the peak of a step against batch size."""
    points = [(float(p.batch_size), float(p.peak_bytes)) for p in timed(speed) if p.peak_bytes]
    if not points:
        return None
    sizes, held = [size for size, _ in points], [peak for _, peak in points]
    x = Axis(t("axis_batch_size", unit=t.units(speed.unit)), t.count, ticks=sizes).layout(sizes)
    ticks = _byte_ticks(min(held), max(held))
    y = Axis(t("axis_memory"), t.bytes, ticks=ticks).layout(held)
    figure = canvas(x, y)
    figure.add_scatter(
        x=sizes,
        y=held,
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
        "first": t.bytes(held[0]),
        "last": t.bytes(held[-1]),
    }
    return Picture(t("title_memory", **at), t("alt_memory", **at), figure)


def _byte_ticks(low: float, high: float) -> list[float]:
    """Powers of two around the range."""
    powers = range(math.floor(math.log2(low)) - 1, math.ceil(math.log2(high)) + 2)
    widest = max(math.log10(high / low) / 6, 0.3)
    return spaced([2.0**power for power in powers if low / 1.3 <= 2.0**power <= high * 1.3], widest)
