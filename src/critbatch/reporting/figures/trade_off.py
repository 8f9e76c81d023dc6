"""What fewer steps cost: steps against examples to one target, with the law as a curve."""

from __future__ import annotations

import math

import plotly.graph_objects as go

from critbatch.reporting.figures.size_marks import error_bars, held, hover_of_size
from critbatch.reporting.figures.theme import BLUE, INK, MUTED, Axis, Picture, canvas, lines, safe
from critbatch.reporting.findings import Findings
from critbatch.reports.translator import Translator

# More names than these run into each other.
MOST_NAMES = 9
PLACES = 80


def steps_against_examples(findings: Findings, t: Translator) -> Picture | None:
    """Each batch size at its best, and the law with its two ends. None where steps are not known."""
    told = [(size, amount, size.batch_size * amount.value) for size, amount in findings.reached]
    if not told or findings.in_epochs:
        return None
    steps, examples = [amount for _, amount, _ in told], [seen for *_, seen in told]
    curve = _curve(findings)
    x = Axis(t("axis_steps"), t.about, most=6).layout([*held(steps), *(step for step, _ in curve)])
    y = Axis(t("axis_examples_to_target", unit=t.units(findings.unit)), t.about).layout(
        [*examples, *(seen for _, seen in curve)]
    )
    figure = canvas(x, y)
    if curve:
        _add_law(figure, findings, curve, t)
    every = math.ceil(len(told) / MOST_NAMES)
    names = [
        safe(t.count(size.batch_size)) if i % every == 0 or i == len(told) - 1 else ""
        for i, (size, *_) in enumerate(told)
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
        hovertext=[hover_of_size(size, t) for size, *_ in told],
    )
    critical = findings.critical_size
    title = (
        t("title_trade_off", critical=t.about(critical))
        if critical is not None and findings.law_holds
        else t("title_trade_off_plain")
    )
    ends = {"low": t.count(told[0][0].batch_size), "high": t.count(told[-1][0].batch_size)}
    return Picture(title, t("alt_trade_off", **ends), figure)


def _curve(findings: Findings) -> list[tuple[float, float]]:
    """Steps and examples by the law, a little further than the sizes that were run."""
    sizes = [size.batch_size for size, _ in findings.reached]
    low, high = math.log(min(sizes) / 3), math.log(max(sizes) * 3)
    grid = [math.exp(low + (high - low) * i / PLACES) for i in range(PLACES + 1)]
    return [(steps, steps * size) for size in grid if (steps := findings.law(size)) is not None]


def _add_law(figure: go.Figure, findings: Findings, curve: list[tuple[float, float]], t: Translator) -> None:
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
    told = [each for each in least if each is not None and math.isfinite(each.value) and each.value > 0]
    if len(told) < 2:
        return
    ends = [max(values) for values in zip(*curve, strict=True)]
    corner = {"x": [told[0].value] * 2 + [ends[0]], "y": [ends[1], told[1].value, told[1].value]}
    figure.add_scatter(
        **corner,
        mode="lines",
        line={"color": MUTED, "width": 1.3, "dash": "dot"},
        name=safe(t("legend_least")),
        hoverinfo="skip",
    )
    size = findings.critical_size
    if size is not None and findings.critical is not None:
        steps = 2 * told[0].value
        figure.add_scatter(
            x=[steps],
            y=[steps * size],
            mode="markers",
            marker={"symbol": "diamond-open", "size": 17, "color": INK, "line": {"width": 2}},
            name=safe(t("legend_critical", critical=t.about(size))),
            hoverinfo="text",
            hovertext=[lines(t("legend_critical", critical=t.bounded(findings.critical, t.about)))],
        )
