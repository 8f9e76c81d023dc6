"""What a shift of the data does to the loss."""

from __future__ import annotations

import math

from critbatch.records.loss_surface import Shift
from critbatch.reporting.figures.named_rows import beside, colour_of, row_axis
from critbatch.reporting.figures.theme import MUTED, Picture, bars, canvas, lines, safe
from critbatch.reporting.readings_of_loss import shift_name, shifts
from critbatch.reports.translator import Translator


def shift_picture(shift: Shift, t: Translator) -> Picture | None:
    """The rise of the loss, a row for each shift, a colour for each solution."""
    told = [rise for rise in shift.rises if math.isfinite(rise.rise.value)]
    if not told:
        return None
    rows = [kind for kind in shifts(shift) if any((rise.shift, rise.strength) == kind for rise in told)]
    labels = list(dict.fromkeys(rise.label for rise in told))
    figure = canvas(
        {"title": {"text": safe(t("axis_rise"))}},
        row_axis(t("axis_shift"), [shift_name(*kind, t) for kind in rows]),
    )
    figure.add_vline(x=0, line={"color": MUTED, "width": 1.2, "dash": "dot"})
    for rank, label in enumerate(labels):
        own = [rise for rise in told if rise.label == label]
        values = [rise.rise.value for rise in own]
        figure.add_scatter(
            x=values,
            y=[rows.index((rise.shift, rise.strength)) + beside(rank, len(labels)) for rise in own],
            mode="markers",
            error_x=bars(values, [rise.rise.low for rise in own], [rise.rise.high for rise in own]),
            marker={"size": 9, "color": colour_of(rank, len(labels))},
            name=safe(label),
            hoverinfo="text",
            hovertext=[
                lines(
                    label,
                    t(
                        "hover_rise",
                        shift=shift_name(rise.shift, rise.strength, t),
                        rise=t.estimate(rise.rise, t.rate),
                    ),
                    t(
                        "hover_loss_and_metric",
                        loss=t.score(rise.loss),
                        metric=t.metric(shift.metric_name),
                        value=t.score(rise.metric),
                    ),
                )
                for rise in own
            ],
        )
    values = [rise.rise.value for rise in told]
    at = {"low": t.rate(min(values)), "high": t.rate(max(values))}
    return Picture(t("title_shift", n=len(rows)), t("alt_shift", **at), figure)
