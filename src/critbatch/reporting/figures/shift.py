"""What a shift of the data does to the loss."""

from __future__ import annotations

import math

from critbatch.records.loss_surface import Shift
from critbatch.reporting.figures.named_rows import beside, colour_of, row_axis
from critbatch.reporting.figures.theme import MUTED, Picture, bars, canvas, lines, safe
from critbatch.reporting.readings_of_loss import shift_name, shifts
from critbatch.reporting.voice import Voice


def shift_picture(shift: Shift, voice: Voice) -> Picture | None:
    """The rise of the loss, a row for each shift, a colour for each solution."""
    told = [rise for rise in shift.rises if math.isfinite(rise.rise.value)]
    if not told:
        return None
    rows = [kind for kind in shifts(shift) if any((rise.shift, rise.strength) == kind for rise in told)]
    labels = list(dict.fromkeys(rise.label for rise in told))
    figure = canvas(
        {"title": {"text": safe(voice("axis_rise"))}},
        row_axis(voice("axis_shift"), [shift_name(*kind, voice) for kind in rows]),
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
                    voice(
                        "hover_rise",
                        shift=shift_name(rise.shift, rise.strength, voice),
                        rise=voice.estimate(rise.rise, voice.rate),
                    ),
                    voice(
                        "hover_loss_and_metric",
                        loss=voice.score(rise.loss),
                        metric=voice.metric(shift.metric_name),
                        value=voice.score(rise.metric),
                    ),
                )
                for rise in own
            ],
        )
    values = [rise.rise.value for rise in told]
    at = {"low": voice.rate(min(values)), "high": voice.rate(max(values))}
    return Picture(voice("title_shift", n=len(rows)), voice("alt_shift", **at), figure)
