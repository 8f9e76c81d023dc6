"""Charts of an advice: time to target, steps to target and the best learning rate, against batch size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

import plotly.graph_objects as go

from critbatch.records.core import Advice, Law, Run, TimePoint
from critbatch.records.study import SizeResult
from critbatch.reports.charts.common import add_outcomes, add_runs, all_points, hover_of, hover_of_size
from critbatch.reports.charts.theme import (
    AMBER,
    BLUE,
    GREEN,
    MUTED,
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
from critbatch.reports.derived.runs import runs_worth_marking, soonest_settings
from critbatch.reports.derived.study import StudyResults
from critbatch.reports.translator import Translator

# The best learning rate against batch size, with the usable range and the scaling rules.


def best_rates(findings: StudyResults, t: Translator) -> Picture | None:
    """The best rate of each batch size; an open marker if it is at the edge of the search. None if no rate is known."""
    sizes = sorted(findings.sizes, key=lambda size: size.batch_size)
    size_rates = [(size, rate) for size in sizes if (rate := size.learning_rate) is not None and rate > 0]
    if not size_rates:
        return None
    places, rates = [float(size.batch_size) for size, _ in size_rates], [rate for _, rate in size_rates]
    usable = [(size.batch_size, *size.usable_rates) for size, _ in size_rates if size.usable_rates is not None]
    bounds = [end for _, *ends in usable for end in ends if end > 0 and math.isfinite(end)]
    x = Axis(t("axis_batch_size", unit=t.units(findings.unit)), t.count, ticks=places).layout(places)
    figure = canvas(x, Axis(t("axis_best_rate"), t.rate).layout([*rates, *bounds]))
    if len(usable) > 1:
        edge = [(size, low) for size, low, _ in usable] + [(size, high) for size, _, high in reversed(usable)]
        figure.add_scatter(
            x=[size for size, _ in edge],
            y=[rate for _, rate in edge],
            fill="toself",
            fillcolor=pale(BLUE),
            line={"width": 0},
            mode="lines",
            name=safe(t("legend_usable")),
            hoverinfo="skip",
        )
    law = findings.analysis.rate_law
    if len(size_rates) > 1:
        _add_rules(figure, findings, size_rates, t)
    for at_edge, key, colour in ((False, "legend_best_rate", BLUE), (True, "legend_rate_at_edge", PAPER)):
        marked = [(size, rate) for size, rate in size_rates if size.at_edge is at_edge]
        if marked:
            figure.add_scatter(
                x=[size.batch_size for size, _ in marked],
                y=[rate for _, rate in marked],
                mode="markers",
                marker={"size": 10, "color": colour, "line": {"color": BLUE, "width": 2}},
                name=safe(t(key)),
                hoverinfo="text",
                hovertext=[_hover(size, t) for size, _ in marked],
            )
    at = {
        "low": t.count(places[0]),
        "high": t.count(places[-1]),
        "first": t.rate(rates[0]),
        "last": t.rate(rates[-1]),
    }
    title = t("title_rates", exponent=t.about(law.exponent.value)) if law is not None else t("title_best_rate", **at)
    return Picture(title, t("alt_rates", **at), figure)


def _add_rules(
    figure: go.Figure, findings: StudyResults, size_rates: Sequence[tuple[SizeResult, float]], t: Translator
) -> None:
    """Add the fitted power law, the linear and the square-root rule, through the mean of the rates inside the edges."""
    inside = [(size, rate) for size, rate in size_rates if not size.at_edge] or list(size_rates)
    middle = math.exp(sum(math.log(size.batch_size) for size, _ in inside) / len(inside))
    height = math.exp(sum(math.log(rate) for _, rate in inside) / len(inside))
    ends = (float(size_rates[0][0].batch_size), float(size_rates[-1][0].batch_size))
    law = findings.analysis.rate_law
    rules = [("legend_linear", 1.0, RED, "dot"), ("legend_square_root", 0.5, GREEN, "dot")]
    if law is not None and math.isfinite(law.exponent.value):
        rules.insert(0, ("legend_power", law.exponent.value, BLUE, "solid"))
    for key, power, colour, dash in rules:
        figure.add_scatter(
            x=list(ends),
            y=[height * (end / middle) ** power for end in ends],
            mode="lines",
            line={"color": colour if key != "legend_power" else MUTED, "width": 1.6, "dash": dash},
            name=safe(t(key, exponent=t.about(power))),
            hoverinfo="skip",
        )


def _hover(size: SizeResult, t: Translator) -> str:
    usable = t("hover_usable", span=t.span(*size.usable_rates, t.rate)) if size.usable_rates else ""
    edge = t("hover_edge") if size.at_edge else ""
    return "<br>".join(filter(None, (hover_of_size(size, t), lines(usable, edge))))


# Steps to target and the best learning rate against batch size, as measured and by the law.


def steps_to_target(
    runs: Sequence[Run], points: Sequence[TimePoint], law: Law | None, unit: str, t: Translator
) -> Picture | None:
    """Steps against batch size: runs that reached the target, runs that missed it, and the law with its interval."""
    marked_runs = runs_worth_marking(runs)
    sizes = sorted({float(run.batch_size) for run in marked_runs} | {float(point.batch_size) for point in points})
    band = [p for p in points if p.steps.low is not None and p.steps.high is not None and math.isfinite(p.steps.high)]
    curve = _law_curve(law, sizes)
    if not (marked_runs or band or curve):
        return None
    heights = [run.crossing.step if run.crossing else float(run.diverged_at or run.steps) for run in marked_runs]
    axis_values = [*heights, *(v for p in band for v in (p.steps.low, p.steps.high)), *(steps for _, steps in curve)]
    x = Axis(t("axis_batch_size", unit=t.units(unit)), t.count, ticks=sizes).layout(sizes)
    figure = canvas(x, Axis(t("axis_steps"), t.count).layout(axis_values))
    if band:
        edge = [*((p.batch_size, p.steps.low) for p in band), *((p.batch_size, p.steps.high) for p in reversed(band))]
        figure.add_scatter(
            x=[size for size, _ in edge],
            y=[steps for _, steps in edge],
            fill="toself",
            fillcolor=pale(BLUE),
            line={"width": 0},
            mode="lines",
            name=safe(t("legend_interval", level=t.percent(band[0].steps.level))),
            hoverinfo="skip",
        )
    if curve:
        figure.add_scatter(
            x=[size for size, _ in curve],
            y=[steps for _, steps in curve],
            mode="lines",
            line={"color": BLUE, "width": 2, "dash": "solid" if law is not None and law.holds else "dash"},
            name=safe(t("legend_law")),
            hoverinfo="skip",
        )
    add_outcomes(figure, marked_runs, heights, t)
    counts = {"n": len(runs), "reached": sum(run.crossing is not None for run in runs)}
    trend = law is not None and law.holds
    noise = t.about(law.noise_examples.value) if law is not None else ""
    title = t("title_steps_law", noise=noise) if trend else t("title_steps")
    return Picture(title, t("alt_steps", **counts), figure)


def best_rate(advice: Advice, t: Translator) -> Picture | None:
    """The best learning rate against batch size, over the rates that were tried."""
    points = all_points(advice)
    runs = [run for run in advice.runs if run.learning_rate > 0]
    if not points:
        return None
    sizes, rates = [float(p.batch_size) for p in points], [p.learning_rate.value for p in points]
    lows, highs = [p.learning_rate.low for p in points], [p.learning_rate.high for p in points]
    run_rates = [run.learning_rate for run in runs]
    x = Axis(t("axis_batch_size", unit=t.units(advice.unit)), t.count, ticks=sizes).layout(sizes)
    figure = canvas(x, Axis(t("axis_learning_rate"), t.rate).layout([*rates, *lows, *highs, *run_rates]))
    add_outcomes(figure, runs, run_rates, t)
    figure.add_scatter(
        x=sizes,
        y=rates,
        mode="lines+markers",
        error_y=bars(rates, lows, highs),
        line={"color": BLUE, "width": 2},
        marker={"size": 8},
        name=safe(t("legend_best_rate")),
        hoverinfo="text",
        hovertext=[hover_of(point, t) for point in points],
    )
    at = {
        "low": t.count(sizes[0]),
        "high": t.count(sizes[-1]),
        "first": t.rate(rates[0]),
        "last": t.rate(rates[-1]),
    }
    return Picture(t("title_best_rate", **at), t("alt_best_rate", **at), figure)


def _law_curve(law: Law | None, sizes: Sequence[float]) -> list[tuple[float, float]]:
    if law is None or len(sizes) < 2:
        return []
    low, high = math.log(min(sizes)), math.log(max(sizes))
    grid = [math.exp(low + (high - low) * i / 60) for i in range(61)]
    return [(size, law.min_steps.value * (1 + law.noise_examples.value / size)) for size in grid]


def time_to_target(advice: Advice, t: Translator) -> Picture | None:
    """Seconds to target against batch size, with the best size and the sizes within 10 % of it."""
    points = [point for point in all_points(advice) if math.isfinite(point.seconds.value)]
    best = advice.best
    if best is None or not points:
        return None
    sizes, values = [float(p.batch_size) for p in points], [p.seconds.value for p in points]
    lows, highs = [p.seconds.low for p in points], [p.seconds.high for p in points]
    # Steps that also measure the noise scale take longer, so those runs are left out.
    reached = [run for run in advice.runs if run.crossing is not None and not run.noise_every]
    spots = [run.crossing.seconds for run in reached if run.crossing is not None]
    x = Axis(t("axis_batch_size", unit=t.units(advice.unit)), t.count, ticks=sizes)
    y = Axis(t("axis_time_to_target"), t.seconds)
    figure = canvas(
        x.layout([*sizes, *(float(r.batch_size) for r in reached)]), y.layout([*values, *lows, *highs, *spots])
    )
    _shade_near(figure, advice.near_optimal_range, t)
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
    """Measured seconds to target: for each batch size, the median over seeds at its fastest learning rate."""
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
    # A range of one size has no width, so it needs some.
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
