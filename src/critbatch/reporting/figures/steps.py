"""Steps to target and the best learning rate against batch size: what was run, and the law through it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from critbatch.records.core import Advice, Law, Run, TimePoint
from critbatch.reporting.figures.marks import add_outcomes, all_points, hover_of
from critbatch.reporting.figures.theme import BLUE, Axis, Picture, bars, canvas, pale, safe
from critbatch.reporting.readings import runs_worth_marking
from critbatch.reports.translator import Translator


def steps_to_target(
    runs: Sequence[Run], points: Sequence[TimePoint], law: Law | None, unit: str, t: Translator
) -> Picture | None:
    """Steps against batch size: runs that came to the target, runs that did not, and the law with its band."""
    told = runs_worth_marking(runs)
    sizes = sorted({float(run.batch_size) for run in told} | {float(point.batch_size) for point in points})
    band = [p for p in points if p.steps.low is not None and p.steps.high is not None and math.isfinite(p.steps.high)]
    curve = _law_curve(law, sizes)
    if not (told or band or curve):
        return None
    heights = [run.crossing.step if run.crossing else float(run.diverged_at or run.steps) for run in told]
    held = [*heights, *(v for p in band for v in (p.steps.low, p.steps.high)), *(steps for _, steps in curve)]
    x = Axis(t("axis_batch_size", unit=t.units(unit)), t.count, ticks=sizes).layout(sizes)
    figure = canvas(x, Axis(t("axis_steps"), t.count).layout(held))
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
    add_outcomes(figure, told, heights, t)
    counts = {"n": len(runs), "reached": sum(run.crossing is not None for run in runs)}
    trend = law is not None and law.holds
    noise = t.about(law.noise_examples.value) if law is not None else ""
    title = t("title_steps_law", noise=noise) if trend else t("title_steps")
    return Picture(title, t("alt_steps", **counts), figure)


def best_rate(advice: Advice, t: Translator) -> Picture | None:
    """The best learning rate against batch size, over the rates that were tried."""
    points = all_points(advice)
    told = [run for run in advice.runs if run.learning_rate > 0]
    if not points:
        return None
    sizes, rates = [float(p.batch_size) for p in points], [p.learning_rate.value for p in points]
    lows, highs = [p.learning_rate.low for p in points], [p.learning_rate.high for p in points]
    tried = [run.learning_rate for run in told]
    x = Axis(t("axis_batch_size", unit=t.units(advice.unit)), t.count, ticks=sizes).layout(sizes)
    figure = canvas(x, Axis(t("axis_learning_rate"), t.rate).layout([*rates, *lows, *highs, *tried]))
    add_outcomes(figure, told, tried, t)
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
