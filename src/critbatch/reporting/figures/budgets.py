"""The lecture's figure, three times side by side: training and validation at equal epochs, steps and seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from critbatch.records.core import Estimate
from critbatch.records.study import BudgetPoint, BudgetReading, Spent
from critbatch.reporting.claims import claim
from critbatch.reporting.figures.theme import AMBER, BLUE, LOOK, Axis, Picture, bars, lines, safe
from critbatch.reporting.findings import Findings
from critbatch.reports.translator import Translator

GAP = 0.05
# Stacked, so much of a panel's height is its axis and its title.
STACKED_GAP = 0.075

SERIES = (
    ("train", True, AMBER, "square"),
    ("validation", True, BLUE, "circle"),
    ("train", False, AMBER, "square-open"),
    ("validation", False, BLUE, "circle-open"),
)


def three_budgets(findings: Findings, t: Translator) -> Picture | None:
    """One panel for each thing that is held equal; on a phone they stand below each other."""
    budgets = findings.analysis.budgets
    panels = [group for spent in Spent if (group := [r for r in budgets if r.spent is spent and r.points])]
    sizes = sorted({float(point.batch_size) for group in panels for reading in group for point in reading.points})
    if not panels:
        return None
    metric = t.metric(findings.metric_name)
    ticks = Axis(t("axis_batch_size", unit=t.units(findings.unit)), t.count, ticks=sizes, most=5)
    figure = go.Figure(layout={"template": LOOK})
    named: set[str] = set()
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
            _add(figure, i, reading, part, name, look, shown=key not in named, group=key, t=t)
            named.add(key)
    figure.update_layout(
        meta={"narrow": _stacked(len(panels)), "taller": 1.0, "narrow_taller": 0.3 + 0.7 * len(panels)}
    )
    at = {"metric": metric, "low": t.count(sizes[0]), "high": t.count(sizes[-1])}
    return Picture(t(f"title_claim_{claim(budgets)}", **at), t("alt_budgets", **at), figure)


def _equal(reading: BudgetReading, t: Translator) -> str:
    write = {Spent.EPOCHS: t.about, Spent.STEPS: t.about, Spent.SECONDS: t.seconds}[reading.spent]
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
    """What the axes become where the page is narrow: the panels below each other, each with its own numbers."""
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
    shown: bool,
    group: str,
    t: Translator,
) -> None:
    points = sorted(reading.points, key=lambda point: point.batch_size)
    told: Sequence[Estimate] = [getattr(point, f"{part}_metric") for point in points]
    values = [each.value if math.isfinite(each.value) else None for each in told]
    figure.add_scatter(
        x=[point.batch_size for point in points],
        y=values,
        mode="lines+markers",
        error_y=bars([each.value for each in told], [each.low for each in told], [each.high for each in told]),
        line={"color": look["color"], "width": 2, "dash": look["dash"]},
        marker={"size": 7, "symbol": look["symbol"]},
        name=safe(name),
        legendgroup=group,
        showlegend=shown,
        hoverinfo="text",
        hovertext=[_hover(point, name, each, t) for point, each in zip(points, told, strict=True)],
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
