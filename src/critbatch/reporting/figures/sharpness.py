"""How sharp the solutions are."""

from __future__ import annotations

import math

from critbatch.records.loss_surface import Box, Sharpness, SharpnessValue
from critbatch.reporting.figures.named_rows import beside, row_axis
from critbatch.reporting.figures.theme import AMBER, BLUE, GREEN, Axis, Picture, bars, canvas, lines, safe
from critbatch.reporting.readings_of_loss import measure_name, measures
from critbatch.reports.translator import Translator

COLOURS = {Box.FULL: BLUE, Box.RANDOM: AMBER, Box.ADAPTIVE: GREEN}
SYMBOLS = ("circle", "diamond", "square", "star")


def can_be_drawn(value: SharpnessValue) -> bool:
    """A logarithmic axis has no place for 0."""
    return math.isfinite(value.value.value) and value.value.value > 0


def sharpness_picture(sharpness: Sharpness, t: Translator) -> Picture | None:
    """Sharpness on a logarithmic axis, a row for each solution, a mark for each box and epsilon."""
    labels = [solution.solution.label for solution in sharpness.solutions]
    drawn = [value for solution in sharpness.solutions for value in solution.values if can_be_drawn(value)]
    if not drawn:
        return None
    floor = min(value.value.value for value in drawn) / 10
    lows = [max(value.value.low, floor) for value in drawn if value.value.low is not None]
    highs = [value.value.high for value in drawn if value.value.high is not None]
    x = Axis(t("axis_sharpness"), t.rate).layout([*(value.value.value for value in drawn), *lows, *highs])
    figure = canvas(x, row_axis(t("axis_solution"), labels))
    kinds = measures(sharpness.solutions)
    epsilons = sorted({epsilon for _, epsilon in kinds}, reverse=True)
    for rank, (box, epsilon) in enumerate(kinds):
        told = [
            (row, value)
            for row, solution in enumerate(sharpness.solutions)
            for value in solution.values
            if (value.box, value.epsilon) == (box, epsilon) and can_be_drawn(value)
        ]
        if not told:
            continue
        values = [value.value.value for _, value in told]
        held = [max(v.value.low, floor) if v.value.low is not None else None for _, v in told]
        name = measure_name(box, epsilon, t)
        figure.add_scatter(
            x=values,
            y=[row + beside(rank, len(kinds)) for row, _ in told],
            mode="markers",
            error_x=bars(values, held, [v.value.high for _, v in told]),
            marker={"size": 9, "color": COLOURS[box], "symbol": SYMBOLS[epsilons.index(epsilon) % len(SYMBOLS)]},
            name=safe(name),
            hoverinfo="text",
            hovertext=[
                lines(
                    labels[row],
                    t("hover_sharpness", measure=name, value=t.estimate(v.value, t.rate)),
                )
                for row, v in told
            ],
        )
    at = {"low": t.rate(min(v.value.value for v in drawn)), "high": t.rate(max(v.value.value for v in drawn))}
    return Picture(t("title_sharpness", n=len(labels)), t("alt_sharpness", **at), figure)
