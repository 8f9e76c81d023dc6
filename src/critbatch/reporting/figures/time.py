"""The headline picture: time to target against batch size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

import plotly.graph_objects as go

from critbatch.records.core import Advice, Run, TimePoint
from critbatch.reporting.figures.marks import add_runs, all_points, hover_of
from critbatch.reporting.figures.theme import (
    AMBER,
    BLUE,
    GREEN,
    PAPER,
    RED,
    Axis,
    Picture,
    bars,
    canvas,
    lines,
    pale,
    safe,
)
from critbatch.reporting.readings import runs_worth_marking, soonest_settings
from critbatch.reports.translator import Translator


def time_to_target(advice: Advice, t: Translator) -> Picture | None:
    """The headline: seconds to target against batch size, with the best size and those within 10 % of it."""
    points = [point for point in all_points(advice) if math.isfinite(point.seconds.value)]
    best = advice.best
    if best is None or not points:
        return None
    sizes, values = [float(p.batch_size) for p in points], [p.seconds.value for p in points]
    lows, highs = [p.seconds.low for p in points], [p.seconds.high for p in points]
    # The steps of the others took longer: they measured the noise, too.
    reached = [run for run in advice.runs if run.crossing is not None and not run.noise_every]
    spots = [run.crossing.seconds for run in reached if run.crossing is not None]
    x = Axis(t("axis_batch_size", unit=t.units(advice.unit)), t.count, ticks=sizes)
    y = Axis(t("axis_time_to_target"), t.seconds)
    figure = canvas(
        x.layout([*sizes, *(float(r.batch_size) for r in reached)]), y.layout([*values, *lows, *highs, *spots])
    )
    _shade_near(figure, advice.within_ten_percent, t)
    add_runs(figure, reached, spots, t("legend_runs_that_reached"), t)
    figure.add_scatter(
        x=sizes,
        y=values,
        mode="lines+markers",
        error_y=bars(values, lows, highs),
        line={"color": BLUE, "width": 2},
        marker={"size": 9, "color": [BLUE if p.runs else PAPER for p in points], "line": {"color": BLUE, "width": 2}},
        name=safe(t("legend_time")),
        hoverinfo="text",
        hovertext=[hover_of(point, t) for point in points],
    )
    if any(point.runs == 0 for point in points):
        _legend_only(figure, t("legend_predicted"), {"size": 9, "color": PAPER, "line": {"color": BLUE, "width": 2}})
    _mark(figure, best, "label_best", RED, "star", sizes, t)
    if advice.current is not None and advice.current.batch_size != best.batch_size:
        _mark(figure, advice.current, "label_current", GREEN, "diamond", sizes, t)
    if advice.largest is not None and advice.largest.batch_size != best.batch_size:
        _mark(figure, advice.largest, "label_largest", AMBER, "square", sizes, t)
    seconds, size = t.estimate(best.seconds, t.seconds), t.count(best.batch_size)
    title = t("title_time_to_target", batch_size=size)
    at = {"low": t.count(sizes[0]), "high": t.count(sizes[-1]), "batch_size": size, "seconds": seconds}
    return Picture(title, t("alt_time_to_target", **at), figure)


def measured_time_to_target(runs: Sequence[Run], unit: str, t: Translator) -> Picture | None:
    """Seconds to target as measured: at each batch size the median over seeds at the rate that was soonest."""
    best = soonest_settings(runs)
    if not best:
        return None
    reached = [run for run in runs_worth_marking(runs) if run.crossing is not None]
    spots = [run.crossing.seconds for run in reached if run.crossing is not None]
    sizes, values = [float(s.batch_size) for s in best], [median(s.seconds) for s in best]
    x = Axis(t("axis_batch_size", unit=t.units(unit)), t.count, ticks=sizes).layout(sizes)
    figure = canvas(x, Axis(t("axis_time_to_target"), t.seconds).layout(spots))
    add_runs(figure, reached, spots, t("legend_runs_that_reached"), t)
    figure.add_scatter(
        x=sizes,
        y=values,
        mode="lines+markers",
        error_y=bars(values, [s.seconds[0] for s in best], [s.seconds[-1] for s in best]),
        line={"color": BLUE, "width": 2},
        marker={"size": 9},
        name=safe(t("legend_median")),
        hoverinfo="text",
        hovertext=[
            lines(
                t("hover_batch_size", batch_size=t.count(s.batch_size)),
                t("hover_learning_rate", rate=t.rate(s.learning_rate)),
                t(
                    "hover_median",
                    n=len(s.seconds),
                    median=t.seconds(median(s.seconds)),
                    span=t.span(s.seconds[0], s.seconds[-1], t.seconds),
                ),
            )
            for s in best
        ],
    )
    soonest = min(best, key=lambda s: median(s.seconds))
    size, seconds = t.count(soonest.batch_size), t.seconds(median(soonest.seconds))
    figure.add_scatter(
        x=[soonest.batch_size],
        y=[median(soonest.seconds)],
        mode="markers",
        marker={"symbol": "star", "size": 18, "color": RED, "line": {"color": PAPER, "width": 1.5}},
        name=safe(t("label_soonest", batch_size=size)),
        hoverinfo="skip",
    )
    at = {"low": t.count(sizes[0]), "high": t.count(sizes[-1]), "batch_size": size, "seconds": seconds}
    return Picture(t("title_time_to_target", batch_size=size), t("alt_time_to_target", **at), figure)


def _shade_near(figure: go.Figure, near: tuple[int, int] | None, t: Translator) -> None:
    if near is None:
        return
    # A range of one size has no width on its own.
    low, high = (near[0] / 1.12, near[1] * 1.12) if near[0] == near[1] else near
    figure.add_vrect(x0=low, x1=high, fillcolor=pale(RED), line_width=0, layer="below")
    middle = (math.log10(low) + math.log10(high)) / 2
    text = safe(t("label_near"))
    figure.add_annotation(x=middle, y=1, yref="y domain", yanchor="top", yshift=-4, text=text, font={"color": RED})


def _mark(
    figure: go.Figure, point: TimePoint, key: str, colour: str, symbol: str, sizes: Sequence[float], t: Translator
) -> None:
    if not math.isfinite(point.seconds.value):
        return
    figure.add_scatter(
        x=[point.batch_size],
        y=[point.seconds.value],
        mode="markers",
        marker={
            "symbol": symbol,
            "size": 19 if symbol == "star" else 13,
            "color": colour,
            "line": {"color": PAPER, "width": 1.5},
        },
        name=safe(t(key, batch_size=t.count(point.batch_size))),
        hoverinfo="text",
        hovertext=[hover_of(point, t)],
    )


def _legend_only(figure: go.Figure, name: str, marker: dict[str, Any]) -> None:
    figure.add_scatter(x=[None], y=[None], mode="markers", marker=marker, name=safe(name), hoverinfo="skip")
