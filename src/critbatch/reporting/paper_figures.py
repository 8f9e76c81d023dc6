"""Figures for papers: what plotly shows on the page as a matplotlib figure, a column or a page wide.

There is one translation for all figures: none is drawn a second time by hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from matplotlib.backends.backend_agg import FigureCanvasAgg

from critbatch.reporting.paper_fonts import Fonts, fonts_for
from critbatch.reporting.paper_legend import add_legend
from critbatch.reporting.paper_look import COLUMN_INCHES, PANEL_INCHES, TEXT_INCHES, PaperFigure, look
from critbatch.reporting.paper_notes import add_shape, add_words
from critbatch.reporting.paper_panels import Panel, axes_of, columns_and_rows, finish, fit, panels, scale, thin
from critbatch.reporting.paper_text import plain, texts_of
from critbatch.reporting.paper_traces import Stack, draw


def paper_figure(figure: go.Figure) -> PaperFigure:
    """The figure in paper style: 3.4 inches wide, or 7 where panels stand beside each other.

    It has no title: in a paper that is the caption. The title stands in its label, `get_label()`.

    Raises:
        NotDrawableError: if the figure holds something that has no form in paper style.
        UserError: if it has Chinese texts and no font for them is there.
    """
    described = figure.to_plotly_json()
    traces, layout = described["data"], described["layout"]
    fonts = fonts_for(texts_of({"data": traces, "layout": layout}))
    lefts, _ = columns_and_rows(layout, [axes_of(trace) for trace in traces])
    width = TEXT_INCHES if len(lefts) > 1 else COLUMN_INCHES
    height = PANEL_INCHES * (layout.get("meta") or {}).get("taller", 1.0)
    with look(fonts.families):
        drawn = PaperFigure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(drawn)
        drawn.set_label(plain(((layout.get("title") or {}).get("text")) or ""))
        drawn.set_size_inches(width, height + add_legend(drawn, traces, width, fonts))
        made = panels(drawn, layout, traces)
        for panel in made.values():
            scale(panel)
        _draw(traces, layout, made, fonts)
        for shape in layout.get("shapes") or ():
            add_shape(shape, made)
        for panel in made.values():
            panel.axes.autoscale_view()
            finish(panel, fonts)
        for note in layout.get("annotations") or ():
            add_words(note, made, layout, fonts)
        # Titles that break into rows leave less room to the panels, so these are fitted twice.
        for adapt in (fit, fit, thin):
            drawn.draw_without_rendering()
            for panel in made.values():
                adapt(panel, fonts)
    return drawn


def _draw(
    traces: Sequence[Mapping[str, Any]],
    layout: Mapping[str, Any],
    made: Mapping[tuple[str, str], Panel],
    fonts: Fonts,
) -> None:
    kinds = {pair: [t for t in traces if axes_of(t) == pair and t.get("type") == "bar"] for pair in made}
    mode, gap = layout.get("barmode", "group"), layout.get("bargap", 0.2)
    stacks = {pair: Stack(mode, gap, len(bars)) for pair, bars in kinds.items()}
    for rank, trace in enumerate(traces):
        draw(trace, made[axes_of(trace)], rank, fonts, stacks[axes_of(trace)])
