"""The loss along a line through two solutions, or on a plane through one."""

from __future__ import annotations

import math
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from critbatch.records.loss_surface import Landscape, LandscapePoint
from critbatch.reports.charts.common import short
from critbatch.reports.charts.theme import (
    BLUE,
    LOOK,
    MUTED,
    PAPER,
    RAMP,
    RED,
    Axis,
    Picture,
    canvas,
    lines,
    round_values,
    safe,
    spaced,
)
from critbatch.reports.derived.loss_surface import finite_points, on_log_axis
from critbatch.reports.translator import Translator


def landscape_picture(landscape: Landscape, t: Translator) -> Picture | None:
    """The parametric plot of Keskar et al. along a line, or contours on a plane."""
    if not finite_points(landscape):
        return None
    return _line(landscape, t) if landscape.kind == "line" else _plane(landscape, t)


def _line(landscape: Landscape, t: Translator) -> Picture:
    points = sorted(landscape.points, key=lambda point: point.alpha)
    first, second = (solution.label for solution in landscape.solutions)
    metric, log = t.metric(landscape.metric_name), on_log_axis(landscape)
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.07, row_heights=[0.58, 0.42])
    hover = [_hover(point, metric, t) for point in points]
    for row, name, key, colour, dash in (
        (1, "train_loss", "legend_train_loss", BLUE, "solid"),
        (1, "validation_loss", "legend_validation_loss", BLUE, "dash"),
        (2, "train_metric", "legend_train_metric", RED, "solid"),
        (2, "validation_metric", "legend_validation_metric", RED, "dash"),
    ):
        heights = [_finite(getattr(point, name), above_zero=row == 1 and log) for point in points]
        if all(height is None for height in heights):
            continue
        figure.add_scatter(
            x=[point.alpha for point in points],
            y=heights,
            mode="lines+markers",
            line={"color": colour, "width": 2, "dash": dash},
            marker={"size": 5},
            name=safe(t(key, metric=metric)),
            hoverinfo="text",
            hovertext=hover,
            row=row,
            col=1,
        )
    losses = [loss for point in points for loss in (point.train_loss, point.validation_loss)]
    axis = {"text": safe(t("axis_alpha", first=short(first), second=short(second)))}
    figure.update_layout(template=LOOK, meta={"taller": 1.6})
    figure.update_yaxes(Axis(t("axis_loss"), t.score, log=log).layout(losses), row=1, col=1)
    figure.update_yaxes({"title": {"text": safe(t("axis_plain_metric", metric=metric))}}, row=2, col=1)
    figure.update_xaxes({"title": {"text": " "}}, row=1, col=1)
    figure.update_xaxes({"title": axis}, row=2, col=1)
    for alpha in (0, 1):
        figure.add_vline(x=alpha, line={"color": MUTED, "width": 1.2, "dash": "dot"})
    finite = finite_points(landscape)
    low, high = min(p.train_loss for p in finite), max(p.train_loss for p in finite)
    at = {"low": t.score(low), "high": t.score(high), "metric": metric}
    title = t("title_line", first=first, second=second, metric=metric)
    return Picture(title, t("alt_line", **at), figure)


def _plane(landscape: Landscape, t: Translator) -> Picture:
    alphas = sorted({point.alpha for point in landscape.points})
    betas = sorted({point.beta for point in landscape.points})
    by_weights = {(point.alpha, point.beta): point for point in landscape.points}
    metric = t.metric(landscape.metric_name)
    log = on_log_axis(landscape)
    grid = [[_height(by_weights.get((alpha, beta)), log) for alpha in alphas] for beta in betas]
    texts = [
        [_hover(by_weights[alpha, beta], metric, t) if (alpha, beta) in by_weights else "" for alpha in alphas]
        for beta in betas
    ]
    heights = [height for row in grid for height in row if height is not None]
    low, high = min(heights), max(heights)
    ticks = spaced(round_values(low, high), (high - low) / 8) if log else []
    figure = canvas(
        {"title": {"text": safe(t("axis_first_direction"))}, "constrain": "domain"},
        {"title": {"text": safe(t("axis_second_direction"))}, "constrain": "domain", "scaleanchor": "x"},
    )
    figure.add_trace(
        go.Contour(
            x=alphas,
            y=betas,
            z=grid,
            contours={"start": low, "end": high, "size": (high - low) / 14 or 1.0},
            colorscale=[[i / (len(RAMP) - 1), colour] for i, colour in enumerate(reversed(RAMP))],
            line={"color": PAPER, "width": 0.6},
            connectgaps=False,
            hoverinfo="text",
            hovertext=texts,
            colorbar=_colorbar(ticks, t),
        )
    )
    (label,) = (solution.label for solution in landscape.solutions)
    figure.add_scatter(
        x=[0.0],
        y=[0.0],
        mode="markers",
        marker={"symbol": "star", "size": 15, "color": RED, "line": {"color": PAPER, "width": 1.5}},
        name=safe(t("legend_solution")),
        hoverinfo="text",
        hovertext=[lines(label)],
    )
    at = {end: t.score(10**height if log else height) for end, height in (("low", low), ("high", high))}
    return Picture(t("title_plane", label=label), t("alt_plane", **at), figure)


def _colorbar(ticks: list[float], t: Translator) -> dict[str, Any]:
    bar: dict[str, Any] = {"title": {"text": safe(t("axis_loss"))}, "thickness": 14, "outlinewidth": 0}
    if ticks:
        bar["tickvals"] = [math.log10(tick) for tick in ticks]
        bar["ticktext"] = [safe(t.score(tick)) for tick in ticks]
    return bar


def _height(point: LandscapePoint | None, log: bool) -> float | None:
    loss = _finite(point.train_loss, above_zero=log) if point is not None else None
    return math.log10(loss) if loss is not None and log else loss


def _finite(value: float, *, above_zero: bool) -> float | None:
    return value if math.isfinite(value) and (value > 0 or not above_zero) else None


def _hover(point: LandscapePoint, metric: str, t: Translator) -> str:
    at = {"alpha": t.rate(point.alpha), "beta": t.rate(point.beta), "loss": t.score(point.train_loss)}
    return lines(
        t("hover_plane", **at) if point.beta else t("hover_place", alpha=t.rate(point.alpha)),
        t("hover_curve_loss", train=t.score(point.train_loss), validation=t.score(point.validation_loss)),
        t(
            "hover_curve_metric",
            metric=metric,
            train=t.score(point.train_metric),
            validation=t.score(point.validation_metric),
        ),
    )
