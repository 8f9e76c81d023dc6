"""Charts of runs: learning curves, and the metric at equal epochs against batch size."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean

import plotly.graph_objects as go

from critbatch.records.core import CurvePoint, Quantity, Run, Target
from critbatch.reports.charts.theme import (
    AMBER,
    BLUE,
    MUTED,
    Axis,
    Picture,
    bars,
    canvas,
    lines,
    safe,
    shade,
    side_by_side,
)
from critbatch.reports.derived.runs import Score, curves_worth_drawing, metric_name, scores_at_equal_epochs, thin
from critbatch.reports.translator import Translator

# A title calls metrics equal if they differ by less.
SAME = 0.005


def accuracy(runs: Sequence[Run], unit: str, t: Translator) -> Picture | None:
    """Train and validation metric after equal epochs against batch size, as in the lecture, at tuned learning rates."""
    epoch, scores = scores_at_equal_epochs(runs)
    if not scores:
        return None
    metric, sizes = t.metric(metric_name(runs)), [float(score.batch_size) for score in scores]
    x = Axis(t("axis_batch_size", unit=t.units(unit)), t.count, ticks=sizes).layout(sizes)
    figure = canvas(x, Axis(t("axis_metric", metric=metric), t.score, log=False).layout([]))
    series: tuple[tuple[str, str, str, str, Callable[[Score], tuple[float, ...]]], ...] = (
        ("legend_train_metric", AMBER, "dot", "square", lambda score: score.train),
        ("legend_validation_metric", BLUE, "solid", "circle", lambda score: score.validation),
    )
    for key, colour, dash, symbol, seeds_of in series:
        seeds = [seeds_of(score) for score in scores]
        values = [fmean(each) for each in seeds]
        figure.add_scatter(
            x=sizes,
            y=values,
            mode="lines+markers",
            error_y=bars(values, [min(each) for each in seeds], [max(each) for each in seeds]),
            line={"color": colour, "width": 2, "dash": dash},
            marker={"size": 8, "symbol": symbol},
            name=safe(t(key, metric=metric)),
            hoverinfo="text",
            hovertext=[
                lines(
                    t("hover_batch_size", batch_size=t.count(score.batch_size)),
                    t("hover_learning_rate", rate=t.rate(score.learning_rate)),
                    t(
                        "hover_score",
                        n=len(each),
                        mean=t.score(fmean(each)),
                        span=t.span(min(each), max(each), t.score),
                    ),
                )
                for score, each in zip(scores, seeds, strict=True)
            ],
        )
    first, last = scores[0].mean, scores[-1].mean
    trend = "one" if len(scores) == 1 else "even" if abs(last - first) < SAME else "falls" if last < first else "rises"
    at = {
        "metric": metric,
        "epochs": t.about(epoch),
        "first": t.score(first),
        "last": t.score(last),
        "low": t.count(sizes[0]),
        "high": t.count(sizes[-1]),
    }
    return Picture(t(f"title_accuracy_{trend}", **at), t("alt_accuracy", **at), figure)


def learning_curves(runs: Sequence[Run], t: Translator) -> Picture | None:
    """Validation value of each run against epochs, coloured by batch size, with the target."""
    drawn_runs = curves_worth_drawing(runs)
    if not drawn_runs:
        return None
    target = next((run.target for run in drawn_runs if run.target is not None), None)
    by_loss = target is not None and target.quantity is Quantity.VALIDATION_LOSS
    metric = t.metric(metric_name(runs))
    title = t("axis_validation_loss") if by_loss else t("axis_validation_metric", metric=metric)
    figure = canvas(
        {"title": {"text": safe(t("axis_epochs"))}, "rangemode": "tozero"}, {"title": {"text": safe(title)}}
    )
    kinds = sorted({(run.batch_size, run.recipe) for run in drawn_runs})
    several = len({recipe for _, recipe in kinds}) > 1
    legend_entries: set[tuple[int, str]] = set()
    for run in drawn_runs:
        kind = (run.batch_size, run.recipe)
        colour = shade(kinds.index(kind), len(kinds))
        size = t("legend_batch_size", batch_size=t.count(run.batch_size))
        points = thin(run.curve)
        values = [_finite(p.validation_loss if by_loss else p.validation_metric) for p in points]
        figure.add_scatter(
            x=[_short(p.epoch) for p in points],
            y=values,
            mode="lines" if len(points) > 1 else "markers",
            line={"color": colour, "width": 1.8},
            marker={"color": colour, "size": 8},
            name=safe(f"{run.recipe}, {size}" if several else size),
            legendgroup=safe(f"{run.batch_size} {run.recipe}") if several else str(run.batch_size),
            showlegend=kind not in legend_entries,
            hoverinfo="text",
            hovertext=[_hover(run, p, t) for p in points],
        )
        legend_entries.add(kind)
    _add_target(figure, target, t, metric)
    at = {"n": len(drawn_runs), "low": t.count(kinds[0][0]), "high": t.count(kinds[-1][0])}
    return Picture(t("title_curves_loss" if by_loss else "title_curves", metric=metric), t("alt_curves", **at), figure)


def loss_curve(run: Run, t: Translator) -> Picture | None:
    """Train and validation loss of one run."""
    if not run.curve:
        return None
    pairs = (
        (t("legend_train_loss"), AMBER, "dot", lambda point: point.train_loss),
        (t("legend_validation_loss"), BLUE, "solid", lambda point: point.validation_loss),
    )
    last = run.curve[-1]
    at = {"train": t.score(last.train_loss), "validation": t.score(last.validation_loss)}
    figure = _two_lines(run, t("axis_loss"), pairs, t)
    if run.target is not None and run.target.quantity is Quantity.VALIDATION_LOSS:
        _add_target(figure, run.target, t, "")
    return Picture(t("title_loss_curve", **at), t("alt_loss_curve", **at), figure)


def metric_curve(run: Run, t: Translator) -> Picture | None:
    """Train and validation metric of one run."""
    if not run.curve:
        return None
    metric = t.metric(run.metric_name)
    pairs = (
        (t("legend_train_metric", metric=metric), AMBER, "dot", lambda point: point.train_metric),
        (t("legend_validation_metric", metric=metric), BLUE, "solid", lambda point: point.validation_metric),
    )
    last = run.curve[-1]
    at = {"metric": metric, "train": t.score(last.train_metric), "validation": t.score(last.validation_metric)}
    figure = _two_lines(run, t("axis_metric", metric=metric), pairs, t)
    if run.target is not None and run.target.quantity is Quantity.VALIDATION_METRIC:
        _add_target(figure, run.target, t, metric)
    return Picture(t("title_metric_curve", **at), t("alt_metric_curve", **at), figure)


def both_curves(run: Run, t: Translator) -> go.Figure | None:
    """Loss on the left, metric on the right."""
    left, right = loss_curve(run, t), metric_curve(run, t)
    return side_by_side(left, right) if left is not None and right is not None else None


def _two_lines(
    run: Run, title: str, pairs: Sequence[tuple[str, str, str, Callable[[CurvePoint], float]]], t: Translator
) -> go.Figure:
    points = thin(run.curve)
    x = {"title": {"text": safe(t("axis_epochs"))}, "rangemode": "tozero"}
    figure = canvas(x, {"title": {"text": safe(title)}})
    for name, colour, dash, value_of in pairs:
        figure.add_scatter(
            x=[_short(point.epoch) for point in points],
            y=[_finite(value_of(point)) for point in points],
            mode="lines+markers" if len(points) < 30 else "lines",
            line={"color": colour, "width": 2, "dash": dash},
            marker={"size": 6},
            name=safe(name),
            hoverinfo="text",
            hovertext=[_hover(run, point, t) for point in points],
        )
    return figure


def _add_target(figure: go.Figure, target: Target | None, t: Translator, metric: str) -> None:
    if target is None:
        return
    figure.add_hline(y=target.value, line={"color": MUTED, "width": 1.2, "dash": "dot"})
    figure.add_annotation(
        x=0,
        xref="x domain",
        xanchor="left",
        y=target.value,
        yanchor="bottom",
        text=safe(t("label_target", value=t.score(target.value), metric=metric)),
    )


def _hover(run: Run, point: CurvePoint, t: Translator) -> str:
    return lines(
        t("hover_batch_size", batch_size=t.count(run.batch_size)),
        t("hover_learning_rate_and_seed", rate=t.rate(run.learning_rate), seed=run.seed),
        t(
            "hover_curve",
            steps=t.count(point.step),
            epochs=t.about(point.epoch),
            seconds=t.seconds(point.seconds),
        ),
        t(
            "hover_curve_metric",
            metric=t.metric(run.metric_name),
            train=t.score(point.train_metric),
            validation=t.score(point.validation_metric),
        ),
        t("hover_curve_loss", train=t.score(point.train_loss), validation=t.score(point.validation_loss)),
    )


def _finite(value: float) -> float | None:
    return _short(value) if math.isfinite(value) else None


def _short(value: float) -> float:
    """Round to five digits: a screen shows no more, and the file is half as large."""
    return float(f"{value:.5g}")
