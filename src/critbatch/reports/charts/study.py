"""Charts of a study: metrics at equal budgets, steps to target against batch size, and steps against examples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import plotly.graph_objects as go

from critbatch.records.core import Estimate
from critbatch.records.study import BudgetPoint, BudgetReading, BudgetUnit
from critbatch.reports.charts.common import REGIME_COLOURS, add_dots, error_bars, hover_of_size, values_and_bounds
from critbatch.reports.charts.theme import (
    AMBER,
    BLUE,
    GREY,
    INK,
    LOOK,
    MUTED,
    PAPER,
    Axis,
    Picture,
    bars,
    canvas,
    lines,
    pale,
    safe,
)
from critbatch.reports.derived.study import StudyResults, claim
from critbatch.reports.translator import Translator

# Training and validation metric at equal epochs, steps and seconds, side by side.

GAP = 0.05
# Share of a panel's height for its axis and title, where panels are stacked.
STACKED_GAP = 0.075

SERIES = (
    ("train", True, AMBER, "square"),
    ("validation", True, BLUE, "circle"),
    ("train", False, AMBER, "square-open"),
    ("validation", False, BLUE, "circle-open"),
)


def three_budgets(findings: StudyResults, t: Translator) -> Picture | None:
    """One panel per kind of budget. On a phone the panels are stacked."""
    budgets = findings.analysis.budgets
    panels = [group for unit in BudgetUnit if (group := [r for r in budgets if r.spent is unit and r.points])]
    sizes = sorted({float(point.batch_size) for group in panels for reading in group for point in reading.points})
    if not panels:
        return None
    metric = t.metric(findings.metric_name)
    ticks = Axis(t("axis_batch_size", unit=t.units(findings.unit)), t.count, ticks=sizes, most=5)
    figure = go.Figure(layout={"template": LOOK})
    legend_keys: set[str] = set()
    for i, group in enumerate(panels):
        _frame(figure, i, len(panels), ticks.layout(sizes), t("axis_metric", metric=metric))
        _head(figure, i, _equal(group[0], t))
        for part, tuned, colour, symbol in SERIES:
            reading = next((each for each in group if each.tuned is tuned), None)
            if reading is None:
                continue
            key = f"legend_{part}_tuned" if tuned else f"legend_{part}_fixed"
            name = t(key, metric=metric)
            look = {"color": colour, "symbol": symbol, "dash": "solid" if tuned else "dash"}
            _add(figure, i, reading, part, name, look, in_legend=key not in legend_keys, group=key, t=t)
            legend_keys.add(key)
    figure.update_layout(
        meta={"narrow": _stacked(len(panels)), "taller": 1.0, "narrow_taller": 0.3 + 0.7 * len(panels)}
    )
    at = {"metric": metric, "low": t.count(sizes[0]), "high": t.count(sizes[-1])}
    return Picture(t(f"title_claim_{claim(budgets)}", **at), t("alt_budgets", **at), figure)


def _equal(reading: BudgetReading, t: Translator) -> str:
    write = {BudgetUnit.EPOCHS: t.about, BudgetUnit.STEPS: t.about, BudgetUnit.SECONDS: t.seconds}[reading.spent]
    return t(f"panel_{reading.spent}", amount=write(reading.amount))


def _name(axis: str, i: int) -> str:
    return axis if i == 0 else f"{axis}{i + 1}"


def _frame(figure: go.Figure, i: int, of: int, across: dict[str, Any], title: str) -> None:
    width = (1 - GAP * (of - 1)) / of
    left = i * (width + GAP)
    x, y = _name("x", i), _name("y", i)
    figure.update_layout(
        {
            f"xaxis{x[1:]}": {**across, "domain": [left, left + width], "anchor": y},
            f"yaxis{y[1:]}": {
                "anchor": x,
                "domain": [0, 0.93],
                "showticklabels": i == 0,
                "title": {"text": safe(title) if i == 0 else ""},
                **({"matches": "y"} if i else {}),
            },
        }
    )


def _head(figure: go.Figure, i: int, text: str) -> None:
    figure.add_annotation(
        x=0,
        xref=f"{_name('x', i)} domain",
        xanchor="left",
        y=1,
        yref=f"{_name('y', i)} domain",
        yanchor="bottom",
        yshift=4,
        text=safe(text),
        font={"size": 12.5},
    )


def _stacked(of: int) -> dict[str, dict[str, Any]]:
    """Axes for a narrow page: the panels are stacked, each with its own tick labels."""
    height = (1 - STACKED_GAP * (of - 1)) / of
    axes: dict[str, dict[str, Any]] = {}
    for i in range(of):
        top = 1 - i * (height + STACKED_GAP)
        axes[f"xaxis{_name('x', i)[1:]}"] = {"domain": [0, 1]} | ({"title": {"text": ""}} if i < of - 1 else {})
        axes[f"yaxis{_name('y', i)[1:]}"] = {
            "domain": [top - height, top - 0.12 * height],
            "showticklabels": True,
            "title": {"text": ""},
        }
    return axes


def _add(
    figure: go.Figure,
    i: int,
    reading: BudgetReading,
    part: str,
    name: str,
    look: dict[str, str],
    *,
    in_legend: bool,
    group: str,
    t: Translator,
) -> None:
    points = sorted(reading.points, key=lambda point: point.batch_size)
    estimates: Sequence[Estimate] = [getattr(point, f"{part}_metric") for point in points]
    values = [each.value if math.isfinite(each.value) else None for each in estimates]
    figure.add_scatter(
        x=[point.batch_size for point in points],
        y=values,
        mode="lines+markers",
        error_y=bars(
            [each.value for each in estimates], [each.low for each in estimates], [each.high for each in estimates]
        ),
        line={"color": look["color"], "width": 2, "dash": look["dash"]},
        marker={"size": 7, "symbol": look["symbol"]},
        name=safe(name),
        legendgroup=group,
        showlegend=in_legend,
        hoverinfo="text",
        hovertext=[_hover(point, name, each, t) for point, each in zip(points, estimates, strict=True)],
        xaxis=_name("x", i),
        yaxis=_name("y", i),
    )


def _hover(point: BudgetPoint, name: str, estimate: Estimate, t: Translator) -> str:
    return lines(
        t("hover_batch_size", batch_size=t.count(point.batch_size)),
        t("hover_value", name=name, value=t.estimate(estimate, t.score)),
        t("hover_learning_rate", rate=t.rate(point.learning_rate)),
        t("hover_options", options=t.options(point.options)) if point.options else "",
        t("hover_failed", n=point.failed) if point.failed else "",
    )


PLACES = 80


def steps_against_size(findings: StudyResults, t: Translator) -> Picture | None:
    """Steps against batch size, log-log, or epochs if steps are not known. None if no size has either."""
    reached, missed = findings.reached, findings.missed
    if not (reached or missed):
        return None
    figure = go.Figure()
    dots = add_dots(figure, findings, t)
    sizes = [
        *(float(size.batch_size) for size, _ in reached),
        *(float(size.batch_size) for size, _ in missed),
        *(float(point.batch_size) for point in findings.predictions),
    ]
    amounts = [amount for _, amount in reached]
    heights = [*values_and_bounds(amounts), *dots, *(bound for _, bound in missed)]
    if reached:
        _add_lines(figure, findings, (min(sizes), max(sizes)), t)
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
    x = Axis(t("axis_batch_size", unit=t.units(findings.unit)), t.count, ticks=sizes).layout(sizes)
    y = Axis(t("axis_epochs_to_target" if findings.in_epochs else "axis_steps"), t.about).layout(heights)
    picture = canvas(x, y)
    _add_bands(picture, findings, x["range"], y["range"], t)
    picture.add_traces(figure.data)
    return Picture(_title(findings, t), _alt(findings, t), picture)


def _add_lines(figure: go.Figure, findings: StudyResults, span: tuple[float, float], t: Translator) -> None:
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


def _add_predictions(figure: go.Figure, findings: StudyResults, t: Translator) -> list[float]:
    predictions = [
        (point, value, point.low, point.high)
        for point in findings.predictions
        if (value := point.epochs if findings.in_epochs else point.steps) is not None and math.isfinite(value)
    ]
    if not predictions:
        return []
    figure.add_scatter(
        x=[point.batch_size for point, *_ in predictions],
        y=[value for _, value, *_ in predictions],
        mode="markers",
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [high - value for _, value, _, high in predictions],
            "arrayminus": [value - low for _, value, low, _ in predictions],
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
            for point, value, low, high in predictions
        ],
    )
    return [end for _, *ends in predictions for end in ends]


def _add_bands(figure: go.Figure, findings: StudyResults, across: list[float], up: list[float], t: Translator) -> None:
    """Add a shaded band per regime. A band ends half-way between neighbouring batch sizes."""
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
    regimes = set()
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
            showlegend=regime not in regimes,
            hoverinfo="skip",
        )
        regimes.add(regime)
        # If a band is narrower than its name, only the legend names it.
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


def _title(findings: StudyResults, t: Translator) -> str:
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


def _alt(findings: StudyResults, t: Translator) -> str:
    if not findings.reached:
        return t("alt_sizes_none", n=len(findings.missed))
    return t("alt_sizes", n=len(findings.reached), missed=len(findings.missed), **_ends(findings, t))


def _ends(findings: StudyResults, t: Translator) -> dict[str, str]:
    (smallest, first), (largest, last) = findings.reached[0], findings.reached[-1]
    key = "amount_epochs" if findings.in_epochs else "amount_steps"
    return {
        "low": t.count(smallest.batch_size),
        "high": t.count(largest.batch_size),
        "first": t(key, value=t.about(first.value)),
        "last": t(key, value=t.about(last.value)),
    }


# The trade-off of steps against examples to one target, with the law as a curve.

# More names would overlap.
MOST_NAMES = 9


def steps_against_examples(findings: StudyResults, t: Translator) -> Picture | None:
    """Each batch size at its best rate, and the law with its two limits. None if steps are not known."""
    points = [(size, amount, size.batch_size * amount.value) for size, amount in findings.reached]
    if not points or findings.in_epochs:
        return None
    steps, examples = [amount for _, amount, _ in points], [count for *_, count in points]
    curve = _curve(findings)
    x = Axis(t("axis_steps"), t.about, most=6).layout([*values_and_bounds(steps), *(step for step, _ in curve)])
    y = Axis(t("axis_examples_to_target", unit=t.units(findings.unit)), t.about).layout(
        [*examples, *(count for _, count in curve)]
    )
    figure = canvas(x, y)
    if curve:
        _add_law(figure, findings, curve, t)
    every = math.ceil(len(points) / MOST_NAMES)
    names = [
        safe(t.count(size.batch_size)) if i % every == 0 or i == len(points) - 1 else ""
        for i, (size, *_) in enumerate(points)
    ]
    figure.add_scatter(
        x=[step.value for step in steps],
        y=examples,
        mode="markers+text",
        text=names,
        textposition="top right",
        textfont={"color": MUTED, "size": 11},
        error_x=error_bars(steps),
        marker={"size": 10, "color": BLUE},
        name=safe(t("legend_steps_of_sizes")),
        hoverinfo="text",
        hovertext=[hover_of_size(size, t) for size, *_ in points],
    )
    critical = findings.critical_size
    title = (
        t("title_trade_off", critical=t.about(critical))
        if critical is not None and findings.law_holds
        else t("title_trade_off_plain")
    )
    ends = {"low": t.count(points[0][0].batch_size), "high": t.count(points[-1][0].batch_size)}
    return Picture(title, t("alt_trade_off", **ends), figure)


def _curve(findings: StudyResults) -> list[tuple[float, float]]:
    """Steps and examples by the law, over a little more than the range of the batch sizes that were run."""
    sizes = [size.batch_size for size, _ in findings.reached]
    low, high = math.log(min(sizes) / 3), math.log(max(sizes) * 3)
    grid = [math.exp(low + (high - low) * i / PLACES) for i in range(PLACES + 1)]
    return [(steps, steps * size) for size in grid if (steps := findings.law(size)) is not None]


def _add_law(figure: go.Figure, findings: StudyResults, curve: list[tuple[float, float]], t: Translator) -> None:
    figure.add_scatter(
        x=[steps for steps, _ in curve],
        y=[examples for _, examples in curve],
        mode="lines",
        line={"color": BLUE, "width": 2, "dash": "solid" if findings.law_holds else "dash"},
        name=safe(t(f"legend_law_{findings.law_state}")),
        hoverinfo="skip",
    )
    law = findings.trade_off
    least = [law.min_steps, law.min_examples] if law is not None else []
    minima = [each for each in least if each is not None and math.isfinite(each.value) and each.value > 0]
    if len(minima) < 2:
        return
    ends = [max(values) for values in zip(*curve, strict=True)]
    corner = {"x": [minima[0].value] * 2 + [ends[0]], "y": [ends[1], minima[1].value, minima[1].value]}
    figure.add_scatter(
        **corner,
        mode="lines",
        line={"color": MUTED, "width": 1.3, "dash": "dot"},
        name=safe(t("legend_least")),
        hoverinfo="skip",
    )
    size = findings.critical_size
    if size is not None and findings.critical is not None:
        steps = 2 * minima[0].value
        figure.add_scatter(
            x=[steps],
            y=[steps * size],
            mode="markers",
            marker={"symbol": "diamond-open", "size": 17, "color": INK, "line": {"width": 2}},
            name=safe(t("legend_critical", critical=t.about(size))),
            hoverinfo="text",
            hovertext=[lines(t("legend_critical", critical=t.bounded(findings.critical, t.about)))],
        )
