"""Whether the loss of sharper solutions rises more."""

from __future__ import annotations

import math

from critbatch.records.loss_surface import Shift
from critbatch.reporting.figures.named_rows import colour_of
from critbatch.reporting.figures.theme import Axis, Picture, bars, canvas, lines, safe
from critbatch.reporting.readings_of_loss import measure_name, shift_name, told_shift
from critbatch.reports.translator import Translator


def sharpness_and_rise(shift: Shift, t: Translator) -> Picture | None:
    """The rise of the loss against sharpness in the first box, one mark a solution; for validation data if they are."""
    by_label = {rise.label: rise for rise in told_shift(shift)}
    labels = [each.solution.label for each in shift.sharpness]
    pairs = [
        (each, each.values[0], by_label[each.solution.label])
        for each in shift.sharpness
        if each.values and 0 < each.values[0].value.value < math.inf and each.solution.label in by_label
    ]
    if len(pairs) < 2:
        return None
    box = measure_name(pairs[0][1].box, pairs[0][1].epsilon, t)
    name = shift_name(pairs[0][2].shift, pairs[0][2].strength, t)
    x = Axis(t("hover_sharpness", measure=t("axis_sharpness"), value=box), t.rate)
    y = {"title": {"text": safe(t("axis_rise"))}}
    figure = canvas(x.layout(value.value.value for _, value, _ in pairs), y)
    for each, value, rise in pairs:
        label = each.solution.label
        figure.add_scatter(
            x=[value.value.value],
            y=[rise.rise.value],
            mode="markers",
            error_y=bars([rise.rise.value], [rise.rise.low], [rise.rise.high]),
            marker={"size": 10, "color": colour_of(labels.index(label), len(labels))},
            name=safe(label),
            hoverinfo="text",
            hovertext=[
                lines(
                    label,
                    t("hover_sharpness", measure=box, value=t.estimate(value.value, t.rate)),
                    t("hover_rise", shift=name, rise=t.estimate(rise.rise, t.rate)),
                )
            ],
        )
    at = {"shift": name, "n": len(pairs)}
    return Picture(t("title_sharp_rise", **at), t("alt_sharp_rise", **at), figure)
