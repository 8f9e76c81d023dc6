"""Which batch each of a few examples is in, epoch by epoch, for every way of shuffling."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from critbatch.records.claims import Partition
from critbatch.reporting.figures.theme import LOOK, RAMP, Picture, lines, safe
from critbatch.reporting.lecture_readings import ORDERS
from critbatch.reports.translator import Translator


def order_name(order: str, t: Translator) -> str:
    return t(f"order_{order}") if order in ORDERS else order


def partition_picture(partition: Partition, t: Translator) -> Picture | None:
    """A row for each epoch, a column for each example; the number in a cell is that of its batch."""
    epochs = [epoch for epoch in partition.epochs if epoch]
    if not epochs or partition.batch_size < 1:
        return None
    examples = max(max(len(epoch), max(epoch) + 1) for epoch in epochs)
    of = -(-max(len(epoch) for epoch in epochs) // partition.batch_size)
    # Cells without a batch are there, too: the columns shall be equally wide.
    cells = [
        (row, example, batches_of(epoch, example, partition.batch_size))
        for row, epoch in enumerate(epochs)
        for example in range(examples)
    ]
    figure = go.Figure(layout={"template": LOOK})
    figure.add_trace(
        go.Heatmap(
            x=[example + 1 for _, example, _ in cells],
            y=[row + 1 for row, _, _ in cells],
            z=[batches[0] if batches else math.nan for _, _, batches in cells],
            text=[_short(batches) for *_, batches in cells],
            texttemplate="%{text}",
            textfont={"size": 11},
            colorscale=[[i / (len(RAMP) - 1), colour] for i, colour in enumerate(RAMP)],
            zmin=1,
            zmax=max(of, 2),
            xgap=2,
            ygap=2,
            showscale=False,
            hoverinfo="text",
            hovertext=[
                lines(
                    t(
                        "hover_batches_of",
                        epoch=row + 1,
                        example=example + 1,
                        batches=t("comma").join(str(batch) for batch in batches) or "–",
                    )
                )
                for row, example, batches in cells
            ],
        )
    )
    every = 1 if examples <= 10 else 5 if examples <= 40 else 10
    ticks = [1, *range(every, examples + 1, every)] if every > 1 else list(range(1, examples + 1))
    figure.update_layout(
        xaxis={"title": {"text": safe(t("axis_example"))}, "tickvals": ticks, "showgrid": False},
        yaxis={
            "title": {"text": safe(t("axis_epoch"))},
            "autorange": "reversed",
            "tickvals": list(range(1, len(epochs) + 1)),
            "showgrid": False,
        },
        meta={"taller": 0.62},
    )
    at = {"order": order_name(partition.order, t), "n": of, "epochs": len(epochs), "examples": examples}
    return Picture(t("title_partition", **at), t("alt_partition", **at), figure)


def _short(batches: Sequence[int]) -> str:
    """The first of them, and a sign that there are more."""
    return f"{batches[0]}{'+' if len(batches) > 1 else ''}" if batches else ""


def batches_of(epoch: Sequence[int], example: int, batch_size: int) -> list[int]:
    """The batches of an epoch that hold the example, from 1: none or several where it was drawn with replacement."""
    return list(dict.fromkeys(place // batch_size + 1 for place, held in enumerate(epoch) if held == example))
