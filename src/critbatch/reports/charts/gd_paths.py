"""Charts of gradient descent on 20 examples and two weights: batches, paths, and the spread of step directions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from critbatch.records.claims import Partition, Path, Paths
from critbatch.reports.charts.theme import (
    BLUE,
    GREEN,
    INK,
    LOOK,
    PAPER,
    RAMP,
    RED,
    Axis,
    Picture,
    bars,
    canvas,
    lines,
    safe,
    shade,
)
from critbatch.reports.derived.claims import ORDERS, weight_name
from critbatch.reports.translator import Translator

# The batch of each example in each epoch, for every data order.


def order_name(order: str, t: Translator) -> str:
    return t(f"order_{order}") if order in ORDERS else order


def partition_picture(partition: Partition, t: Translator) -> Picture | None:
    """One row per epoch, one column per example; each cell has the number of the batch."""
    epochs = [epoch for epoch in partition.epochs if epoch]
    if not epochs or partition.batch_size < 1:
        return None
    examples = max(max(len(epoch), max(epoch) + 1) for epoch in epochs)
    of = -(-max(len(epoch) for epoch in epochs) // partition.batch_size)
    # Cells without a batch are drawn too, so that all columns are equally wide.
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
    """The first batch, and a sign if there are more."""
    return f"{batches[0]}{'+' if len(batches) > 1 else ''}" if batches else ""


def batches_of(epoch: Sequence[int], example: int, batch_size: int) -> list[int]:
    """Numbers of the batches with this example, from 1. With replacement there may be none or several."""
    return list(
        dict.fromkeys(place // batch_size + 1 for place, place_example in enumerate(epoch) if place_example == example)
    )


LEVELS = 14
TALLER = 1.25


def paths_picture(paths: Paths, t: Translator) -> Picture | None:
    """Contours of the loss over both weights, with the path of each batch size during one epoch."""
    sorted_paths = sorted((path for path in paths.paths if path.places), key=lambda path: path.batch_size)
    if not sorted_paths:
        return None
    figure = canvas(
        {"title": {"text": safe(t("axis_weight", name=weight_name(paths.weights[0], t)))}},
        {"title": {"text": safe(t("axis_weight", name=weight_name(paths.weights[1], t)))}},
    )
    _add_contours(figure, paths, t)
    for rank, path in enumerate(sorted_paths):
        _add_path(figure, path, _colour(rank, len(sorted_paths)), t)
    start = sorted_paths[0].places[0]
    figure.add_scatter(
        x=[start[0]],
        y=[start[1]],
        mode="markers",
        marker={"symbol": "star", "size": 14, "color": INK, "line": {"color": PAPER, "width": 1.5}},
        name=safe(t("legend_start")),
        hoverinfo="text",
        hovertext=[lines(t("hover_loss_of_path", loss=t.score(sorted_paths[0].losses[0])))],
    )
    figure.update_layout(meta={"taller": TALLER})
    at = {"large": t.count(sorted_paths[-1].batch_size), "small": t.count(sorted_paths[0].batch_size)}
    at |= {"few": t.count(_updates(sorted_paths[-1])), "many": t.count(_updates(sorted_paths[0]))}
    return Picture(t("title_paths", **at), t("alt_paths", **at), figure)


def spread_picture(paths: Paths, t: Translator) -> Picture | None:
    """Spread of the step directions against batch size."""
    spreads = sorted(paths.spreads, key=lambda spread: spread.batch_size)
    if not spreads:
        return None
    sizes, values = [float(each.batch_size) for each in spreads], [each.spread.value for each in spreads]
    x = Axis(t("axis_batch_size", unit=t.units("example")), t.count, ticks=sizes).layout(sizes)
    y = {"title": {"text": safe(t("axis_spread"))}, "range": [-0.04, 1.04]}
    figure = canvas(x, y)
    figure.add_scatter(
        x=sizes,
        y=values,
        mode="lines+markers",
        error_y=bars(values, [each.spread.low for each in spreads], [each.spread.high for each in spreads]),
        line={"color": BLUE, "width": 2},
        marker={"size": 9},
        showlegend=False,
        hoverinfo="text",
        hovertext=[
            lines(
                t("hover_batch_size", batch_size=t.count(each.batch_size)),
                t("hover_spread", spread=t.estimate(each.spread, t.about)),
                t("hover_loss_left", loss=t.estimate(each.loss, t.about)),
            )
            for each in spreads
        ],
    )
    figure.update_layout(meta={"taller": TALLER})
    at = {"low": t.count(sizes[0]), "high": t.count(sizes[-1])}
    at |= {"first": t.about(values[0]), "last": t.about(values[-1])}
    return Picture(t("title_spread", **at), t("alt_spread", **at), figure)


def _updates(path: Path) -> int:
    return len(path.places) - 1


def _colour(rank: int, of: int) -> str:
    return (RED, BLUE)[rank] if of == 2 else GREEN if of == 1 else shade(rank, of)


def _add_contours(figure: go.Figure, paths: Paths, t: Translator) -> None:
    """Add contours of the loss; of its logarithm where the loss is positive, which shows the valley."""
    heights = [height for row in paths.heights for height in row if math.isfinite(height)]
    if not heights:
        return
    log = min(heights) > 0
    grid = [[_height(height, log=log) for height in row] for row in paths.heights]
    low, high = (math.log10(end) if log else end for end in (min(heights), max(heights)))
    figure.add_trace(
        go.Contour(
            x=list(paths.first),
            y=list(paths.second),
            z=grid,
            contours={"start": low, "end": high, "size": (high - low) / LEVELS or 1.0, "coloring": "lines"},
            colorscale=[[i / (len(RAMP) - 1), colour] for i, colour in enumerate(reversed(RAMP))],
            line={"width": 1.2},
            opacity=0.55,
            showscale=False,
            hoverinfo="text",
            hovertext=_hovers(paths.heights, t),
        )
    )


def _height(height: float, *, log: bool) -> float | None:
    if not math.isfinite(height):
        return None
    return math.log10(height) if log else height


def _hovers(heights: Sequence[Sequence[float]], t: Translator) -> list[list[str]]:
    return [[lines(t("hover_loss_of_path", loss=t.score(height))) for height in row] for row in heights]


def _add_path(figure: go.Figure, path: Path, colour: str, t: Translator) -> None:
    size, updates = t.count(path.batch_size), t.count(_updates(path))
    figure.add_scatter(
        x=[first for first, _ in path.places],
        y=[second for _, second in path.places],
        mode="lines+markers",
        line={"color": colour, "width": 2},
        marker={"size": 6, "color": colour},
        name=safe(t("legend_path", batch_size=size, updates=updates, n=_updates(path))),
        hoverinfo="text",
        hovertext=[
            lines(
                t("hover_batch_size", batch_size=size),
                t("hover_update", update=t.count(i), updates=updates),
                t("hover_loss_of_path", loss=t.score(loss)),
            )
            for i, loss in enumerate(path.losses)
        ],
    )
