"""Figures of records. `figure(record)` is what `record.plot()` shows."""

from __future__ import annotations

import plotly.graph_objects as go

from critbatch.records.core import Record
from critbatch.reports.charts.theme import Picture
from critbatch.reports.translator import Translator
from critbatch.reports.views.common import VIEWS


def figure(record: Record, language: str = "en") -> go.Figure:
    """The record's figure, ready to show or to write to a file.

    An `Advice` gives time to target against batch size, a `Speed` seconds per step and per epoch, a `Noise` the noise
    scale along the run, a `Run` its learning curves. A `Study` gives steps to target against batch size with the law
    through them or, where there is no target, accuracy at equal epochs, steps and seconds; before it was analysed, time
    to target or accuracy as measured. A `Fit` gives steps against batch size, a `Scale` time to target against devices.
    A `Curvature` gives the spectrum, a `Sharpness` that of each solution by box, a `Landscape` the line or the plane, a
    `Shift` the rise of the loss, a `CriticalPoint` the gradients of single batches, an
    `Escape` the share of starts that got on. A `Lecture` gives a row for each claim: its verdict, and the effects that
    decide it with their intervals.

    Raises:
        TypeError: if a picture of this record would not help, or it holds nothing to draw.
        UserError: if `language` is not there.
    """
    view = VIEWS.get(type(record))
    drawn = view.figure(record, Translator(language)) if view is not None else None
    if drawn is None:
        raise TypeError(f"This {type(record).__name__} has nothing to draw.")
    return drawn.titled() if isinstance(drawn, Picture) else drawn
