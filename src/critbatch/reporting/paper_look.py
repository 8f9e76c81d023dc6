"""How figures in paper style look: sizes of a column and of a page, thin lines, small letters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any

from matplotlib import style
from matplotlib.figure import Figure

from critbatch.reports.charts.theme import GREY, GRID, INK, MUTED

COLUMN_INCHES, TEXT_INCHES = 3.4, 7.0
PANEL_INCHES = 2.3  # high, with its axis and title
POINTS_PER_PIXEL = 0.5  # the figures of the page are about twice as wide
LETTERS, SMALL_LETTERS = 8.0, 7.0  # points
HAIR, CAP = 0.7, 1.5  # points: error bars and their ends

LOOK: dict[str, Any] = {
    "font.size": LETTERS,
    "axes.titlesize": LETTERS,
    "axes.labelsize": LETTERS,
    "xtick.labelsize": SMALL_LETTERS,
    "ytick.labelsize": SMALL_LETTERS,
    "legend.fontsize": SMALL_LETTERS,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titlepad": 4.0,
    "axes.labelpad": 2.5,
    "axes.formatter.useoffset": False,
    "grid.color": GRID,
    "grid.linewidth": 0.4,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "text.parse_math": False,  # a dollar in a name is a dollar
    "figure.dpi": 150,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,  # letters stay letters; journals refuse type 3
    "ps.fonttype": 42,
    "svg.hashsalt": "critbatch",
}


@contextmanager
def look(families: Sequence[str] = ("DejaVu Sans",)) -> Iterator[None]:
    """Within, matplotlib draws in paper style, whatever the user's own settings are; those come back at the end."""
    with style.context(["default", LOOK | {"font.family": list(families)}]):
        yield


class PaperFigure(Figure):
    """A matplotlib figure that is written in paper style wherever it is written."""

    def savefig(self, *args: Any, **options: Any) -> None:
        with look():
            super().savefig(*args, **options)

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        file = BytesIO()
        self.savefig(file, format="png", dpi=150)
        return file.getvalue()
