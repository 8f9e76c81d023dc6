"""Figures of records. `figure(record)` is what `record.plot()` shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import plotly.graph_objects as go

from critbatch.records.claims import Lecture
from critbatch.records.core import Advice, Noise, Record, Run, Speed
from critbatch.records.loss_surface import CriticalPoint, Curvature, Escape, Landscape, Sharpness, Shift
from critbatch.records.scaling import Scale
from critbatch.records.study import Fit, Study
from critbatch.reports.charts.advice import measured_time_to_target, time_to_target
from critbatch.reports.charts.claims import claims_overview
from critbatch.reports.charts.landscape import landscape_picture
from critbatch.reports.charts.loss_surface import (
    critical_picture,
    curvature_picture,
    escape_picture,
    sharpness_picture,
    shift_picture,
)
from critbatch.reports.charts.noise import noise_along_run
from critbatch.reports.charts.runs import accuracy, both_curves, learning_curves
from critbatch.reports.charts.scaling import scale_picture
from critbatch.reports.charts.speed import both_panels
from critbatch.reports.charts.study import steps_against_size, three_budgets
from critbatch.reports.charts.theme import Picture
from critbatch.reports.derived.study import findings
from critbatch.reports.translator import Translator


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
    draw = FIGURES.get(type(record))
    drawn = draw(record, Translator(language)) if draw is not None else None
    if drawn is None:
        raise TypeError(f"This {type(record).__name__} has nothing to draw.")
    return drawn.titled() if isinstance(drawn, Picture) else drawn


def _advice(advice: Advice, t: Translator) -> Picture | None:
    return time_to_target(advice, t) or learning_curves(advice.runs, t)


def _noise(noise: Noise, t: Translator) -> Picture | None:
    return noise_along_run(noise.points, noise.unit, noise.batch_size, t)


def _study(study: Study, t: Translator) -> Picture | None:
    found = findings(study)
    if found is not None:
        return steps_against_size(found, t) or three_budgets(found, t)
    return measured_time_to_target(study.runs, study.unit, t) or accuracy(study.runs, study.unit, t)


def _fit(fit: Fit, t: Translator) -> Picture | None:
    found = findings(fit)
    return steps_against_size(found, t) if found is not None else None


FIGURES: dict[type[Record], Callable[[Any, Translator], Picture | go.Figure | None]] = {
    Lecture: claims_overview,
    Advice: _advice,
    Speed: both_panels,
    Noise: _noise,
    Run: both_curves,
    Study: _study,
    Fit: _fit,
    Scale: scale_picture,
    Curvature: curvature_picture,
    Sharpness: sharpness_picture,
    Landscape: landscape_picture,
    Shift: shift_picture,
    CriticalPoint: critical_picture,
    Escape: escape_picture,
}
