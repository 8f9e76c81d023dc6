"""Steps to target against batch size: each size at its best, the law through them, and the three regimes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import plotly.graph_objects as go

from critbatch.reporting.figures.size_marks import (
    REGIME_COLOURS,
    add_dots,
    error_bars,
    held,
    hover_of_size,
)
from critbatch.reporting.figures.theme import (
    AMBER,
    BLUE,
    GREY,
    INK,
    MUTED,
    PAPER,
    Axis,
    Picture,
    canvas,
    lines,
    pale,
    safe,
)
from critbatch.reporting.findings import Findings
from critbatch.reports.translator import Translator

PLACES = 80


def steps_against_size(findings: Findings, t: Translator) -> Picture | None:
    """Steps, or where those are not known epochs, against batch size, log-log. None where no size has either."""
    reached, missed = findings.reached, findings.missed
    if not (reached or missed):
        return None
    figure = go.Figure()
    dots = add_dots(figure, findings, t)
    told = [
        *(float(size.batch_size) for size, _ in reached),
        *(float(size.batch_size) for size, _ in missed),
        *(float(point.batch_size) for point in findings.predictions),
    ]
    amounts = [amount for _, amount in reached]
    heights = [*held(amounts), *dots, *(bound for _, bound in missed)]
    if reached:
        _add_lines(figure, findings, (min(told), max(told)), t)
        figure.add_scatter(
            x=[size.batch_size for size, _ in reached],
            y=[amount.value for amount in amounts],
            mode="markers",
            error_y=error_bars(amounts),
            marker={"size": 10, "color": BLUE},
            name=safe(t("legend_steps_of_sizes")),
            hoverinfo="text",
            hovertext=[hover_of_size(size, t) for size, _ in reached],
        )
    if missed:
        figure.add_scatter(
            x=[size.batch_size for size, _ in missed],
            y=[bound for _, bound in missed],
            mode="markers",
            marker={"symbol": "triangle-up-open", "size": 12, "color": AMBER, "line": {"color": AMBER, "width": 2}},
            name=safe(t("legend_bound")),
            hoverinfo="text",
            hovertext=[hover_of_size(size, t) for size, _ in missed],
        )
    heights += _add_predictions(figure, findings, t)
    x = Axis(t("axis_batch_size", unit=t.units(findings.unit)), t.count, ticks=told).layout(told)
    y = Axis(t("axis_epochs_to_target" if findings.in_epochs else "axis_steps"), t.about).layout(heights)
    drawn = canvas(x, y)
    _add_bands(drawn, findings, x["range"], y["range"], t)
    drawn.add_traces(figure.data)
    return Picture(_title(findings, t), _alt(findings, t), drawn)


def _add_lines(figure: go.Figure, findings: Findings, span: tuple[float, float], t: Translator) -> None:
    low, high = (math.log(end) for end in span)
    grid = [math.exp(low + (high - low) * i / PLACES) for i in range(PLACES + 1)]
    first, amount = findings.reached[0]
    perfect = [(size, amount.value * (1 if findings.in_epochs else first.batch_size / size)) for size in (*span,)]
    _line(
        figure,
        perfect,
        {"color": MUTED, "width": 1.3, "dash": "dot"},
        t("legend_level_line" if findings.in_epochs else "legend_perfect_line"),
    )
    curve = [(size, value) for size in grid if (value := findings.law(size)) is not None]
    if not curve:
        return
    dash = "solid" if findings.law_holds else "dash"
    name = t(f"legend_law_{findings.law_state}")
    _line(figure, curve, {"color": BLUE, "width": 2, "dash": dash}, name)
    critical, size = findings.critical, findings.critical_size
    height = findings.law(size) if size is not None else None
    if critical is not None and size is not None and height is not None and span[0] <= size <= span[1]:
        error = error_bars([critical])
        figure.add_scatter(
            x=[size],
            y=[height],
            mode="markers",
            error_x=error,
            marker={"symbol": "diamond-open", "size": 17, "color": INK, "line": {"width": 2}},
            name=safe(t("legend_critical", critical=t.about(size))),
            hoverinfo="text",
            hovertext=[lines(t("legend_critical", critical=t.bounded(critical, t.about)))],
        )


def _line(figure: go.Figure, points: Sequence[tuple[float, float]], line: dict[str, object], name: str) -> None:
    xs, ys = zip(*points, strict=True)
    figure.add_scatter(x=xs, y=ys, mode="lines", line=line, name=safe(name), hoverinfo="skip")


def _add_predictions(figure: go.Figure, findings: Findings, t: Translator) -> list[float]:
    told = [
        (point, value, point.low, point.high)
        for point in findings.predictions
        if (value := point.epochs if findings.in_epochs else point.steps) is not None and math.isfinite(value)
    ]
    if not told:
        return []
    figure.add_scatter(
        x=[point.batch_size for point, *_ in told],
        y=[value for _, value, *_ in told],
        mode="markers",
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [high - value for _, value, _, high in told],
            "arrayminus": [value - low for _, value, low, _ in told],
            "thickness": 1.3,
            "width": 3,
            "color": GREY,
        },
        marker={"size": 9, "color": PAPER, "line": {"color": BLUE, "width": 2}},
        name=safe(t("legend_from_law")),
        hoverinfo="text",
        hovertext=[
            lines(
                t("hover_batch_size", batch_size=t.count(point.batch_size)),
                t(
                    "hover_prediction",
                    value=t.about(value),
                    interval=t("interval", level=t.percent(point.level), span=t.span(low, high, t.about)),
                ),
            )
            for point, value, low, high in told
        ],
    )
    return [end for _, *ends in told for end in ends]


def _add_bands(figure: go.Figure, findings: Findings, across: list[float], up: list[float], t: Translator) -> None:
    """A shaded band for each regime, from half-way before its first size to half-way beyond its last."""
    bands = findings.bands
    if not bands:
        return
    others = [size.batch_size for size in findings.sizes]
    first, last = bands[0][1][0].batch_size, bands[-1][1][-1].batch_size
    below = max((size for size in others if size < first), default=None)
    above = min((size for size in others if size > last), default=None)
    edges = [math.sqrt(below * first) if below is not None else 10 ** across[0]]
    edges += [math.sqrt(before[-1].batch_size * after[0].batch_size) for (_, before), (_, after) in pairwise(bands)]
    edges.append(math.sqrt(above * last) if above is not None else 10 ** across[1])
    bottom, top = (10**end for end in up)
    seen = set()
    for (regime, _), low, high in zip(bands, edges, edges[1:], strict=False):
        figure.add_scatter(
            x=[low, high, high, low],
            y=[bottom, bottom, top, top],
            fill="toself",
            fillcolor=pale(REGIME_COLOURS[regime]),
            line={"width": 0},
            mode="lines",
            name=safe(t(f"regime_{regime}")),
            legendgroup=str(regime),
            showlegend=regime not in seen,
            hoverinfo="skip",
        )
        seen.add(regime)
        # A band that is narrower than its name is named by the legend alone.
        if math.log10(high / low) > 0.22 * (across[1] - across[0]):
            figure.add_annotation(
                x=(math.log10(low) + math.log10(high)) / 2,
                y=1,
                yref="y domain",
                yanchor="top",
                yshift=-4,
                text=safe(t(f"regime_{regime}")),
                name="band",
            )


def _title(findings: Findings, t: Translator) -> str:
    state, size = findings.law_state, findings.critical_size
    if not findings.reached:
        return t("title_sizes_none")
    if state == "fails":
        return t("title_sizes_law_fails")
    if size is not None and findings.in_epochs:
        return t("title_sizes_epochs", critical=t.about(size))
    if size is not None:
        return t(f"title_sizes_{state}", critical=t.about(size))
    return t("title_sizes", **_ends(findings, t))


def _alt(findings: Findings, t: Translator) -> str:
    if not findings.reached:
        return t("alt_sizes_none", n=len(findings.missed))
    return t("alt_sizes", n=len(findings.reached), missed=len(findings.missed), **_ends(findings, t))


def _ends(findings: Findings, t: Translator) -> dict[str, str]:
    (smallest, first), (largest, last) = findings.reached[0], findings.reached[-1]
    key = "amount_epochs" if findings.in_epochs else "amount_steps"
    return {
        "low": t.count(smallest.batch_size),
        "high": t.count(largest.batch_size),
        "first": t(key, value=t.about(first.value)),
        "last": t(key, value=t.about(last.value)),
    }
