"""The way to figures in paper style where matplotlib is at hand, and a sentence where it is not."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from critbatch.errors import UserError
from critbatch.records.core import Record
from critbatch.reports.charts.figure import figure

if TYPE_CHECKING:
    from critbatch.reporting.paper_look import PaperFigure

STYLES = ("screen", "paper")


def has_matplotlib() -> bool:
    return find_spec("matplotlib") is not None


def painted(record: Record, style: str, language: str) -> Any:
    """The record's figure, of plotly for the screen or of matplotlib for a paper.

    Raises:
        TypeError: if a picture of this record would not help, or it holds nothing to draw.
        UserError: if the style or the language is not there, matplotlib is missing, or a font for Chinese.
    """
    if style not in STYLES:
        raise UserError(f"Style {style!r} is not there: use {' or '.join(STYLES)}.")
    drawn = figure(record, language)
    return drawn if style == "screen" else for_paper(drawn)


def for_paper(drawn: go.Figure) -> PaperFigure:
    """A figure of plotly's as one of matplotlib's.

    Raises:
        UserError: if matplotlib is missing, or a font for Chinese.
    """
    if not has_matplotlib():
        raise UserError(
            'Figures in paper style need matplotlib: `pip install "critbatch[figures]"`, or leave out the style for a '
            "figure of plotly's."
        )
    from critbatch.reporting.paper_figures import paper_figure

    return paper_figure(drawn)
