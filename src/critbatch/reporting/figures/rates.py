"""The best learning rate against batch size: the usable range, the rule that fits, and the rules that are usual."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from critbatch.records.study import SizeResult
from critbatch.reporting.figures.size_marks import hover_of_size
from critbatch.reporting.figures.theme import BLUE, GREEN, MUTED, PAPER, RED, Axis, Picture, canvas, lines, pale, safe
from critbatch.reporting.findings import Findings
from critbatch.reports.translator import Translator


def best_rates(findings: Findings, t: Translator) -> Picture | None:
    """Each size's best rate, open where it is at the edge of those tried. None where no rate is known."""
    sizes = sorted(findings.sizes, key=lambda size: size.batch_size)
    told = [(size, rate) for size in sizes if (rate := size.learning_rate) is not None and rate > 0]
    if not told:
        return None
    places, rates = [float(size.batch_size) for size, _ in told], [rate for _, rate in told]
    usable = [(size.batch_size, *size.usable_rates) for size, _ in told if size.usable_rates is not None]
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
    if len(told) > 1:
        _add_rules(figure, findings, told, t)
    for at_edge, key, colour in ((False, "legend_best_rate", BLUE), (True, "legend_rate_at_edge", PAPER)):
        marked = [(size, rate) for size, rate in told if size.at_edge is at_edge]
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


def _add_rules(figure: go.Figure, findings: Findings, told: Sequence[tuple[SizeResult, float]], t: Translator) -> None:
    """The fitted power and the two usual rules, all through the middle of the rates that are not at an edge."""
    inside = [(size, rate) for size, rate in told if not size.at_edge] or list(told)
    middle = math.exp(sum(math.log(size.batch_size) for size, _ in inside) / len(inside))
    height = math.exp(sum(math.log(rate) for _, rate in inside) / len(inside))
    ends = (float(told[0][0].batch_size), float(told[-1][0].batch_size))
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
