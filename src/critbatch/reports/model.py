"""The parts of a report: chapters, sections, tables and charts as plain values, each in one language."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar
from unicodedata import east_asian_width

from critbatch.reports.charts.theme import Picture


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    kind: ClassVar[str] = "text"


@dataclass(frozen=True)
class Bullets:
    """A list with an optional heading."""

    items: tuple[str, ...]
    title: str = ""
    kind: ClassVar[str] = "bullets"


@dataclass(frozen=True)
class Chart:
    """A figure and a note beneath it."""

    picture: Picture
    note: str = ""
    kind: ClassVar[str] = "chart"


@dataclass(frozen=True)
class Charts:
    """Two figures, side by side if there is room."""

    charts: tuple[Chart, ...]
    kind: ClassVar[str] = "charts"


@dataclass(frozen=True)
class Cell:
    """A cell: its text, a smaller note beneath, and marks. `target` is the key of a section that the text links to.

    `badge` is the verdict of the text, as `Verdict.holds`.
    """

    text: str
    note: str = ""
    marks: tuple[str, ...] = ()
    target: str = ""
    badge: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of cells; the first cell of a row is its heading.

    A `folded` table opens on demand. If the table `wraps`, its cells may be sentences, and are stacked on a phone.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    folded: bool = False
    wraps: bool = False
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Paper:
    """A link to the source of a method."""

    label: str
    address: str


@dataclass(frozen=True)
class Method:
    """A folded explanation of numbers or words. `title` replaces the default title."""

    lines: tuple[str, ...]
    papers: tuple[Paper, ...] = ()
    title: str = ""
    kind: ClassVar[str] = "method"


@dataclass(frozen=True)
class Facts:
    """Pairs of a name and a value, with `code` in a fixed-width font above them."""

    pairs: tuple[tuple[str, str], ...]
    code: str = ""
    kind: ClassVar[str] = "facts"


@dataclass(frozen=True)
class Verdict:
    """The verdict of a claim: `holds` is a value of `ClaimVerdict`, `badge` its sign and word, `text` the finding."""

    holds: str
    badge: str
    text: str
    kind: ClassVar[str] = "verdict"


@dataclass(frozen=True)
class Literature:
    """Results of papers, with links."""

    title: str
    text: str
    papers: tuple[Paper, ...]
    kind: ClassVar[str] = "literature"


Block = Text | Bullets | Chart | Charts | Table | Method | Facts | Verdict | Literature


@dataclass(frozen=True)
class Section:
    """A heading and its blocks. `key` is the same in both languages."""

    key: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Tile:
    """One number to remember."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Answer:
    """The answer of a record in sentences: headline, lead, more details, and what to distrust.

    `warning` says in one or two sentences why the numbers may be wrong and what would help. It is shown under the
    headline.
    """

    headline: str
    lead: tuple[str, ...]
    more: tuple[str, ...] = ()
    distrust: tuple[str, ...] = ()
    warning: str = ""


@dataclass(frozen=True)
class Chapter:
    """The chapter of one record."""

    name: str
    answer: Answer
    tiles: tuple[Tile, ...]
    hero: Chart | None
    sections: tuple[Section, ...]


# The papers that the page links to.

MCCANDLISH = Paper("McCandlish et al. 2018, arXiv:1812.06162", "https://arxiv.org/abs/1812.06162")
SHALLUE = Paper("Shallue et al. 2018, arXiv:1811.03600", "https://arxiv.org/abs/1811.03600")
GOYAL = Paper("Goyal et al. 2017, arXiv:1706.02677", "https://arxiv.org/abs/1706.02677")
KESKAR = Paper("Keskar et al. 2016, arXiv:1609.04836", "https://arxiv.org/abs/1609.04836")
DINH = Paper("Dinh et al. 2017, arXiv:1703.04933", "https://arxiv.org/abs/1703.04933")
KWON = Paper("Kwon et al. 2021, arXiv:2102.11600", "https://arxiv.org/abs/2102.11600")
MEYER = Paper("Meyer et al. 2020, arXiv:2010.09649", "https://arxiv.org/abs/2010.09649")
GHORBANI = Paper("Ghorbani et al. 2019, arXiv:1901.10159", "https://arxiv.org/abs/1901.10159")
GOODFELLOW = Paper("Goodfellow et al. 2014, arXiv:1412.6544", "https://arxiv.org/abs/1412.6544")
LI = Paper("Li et al. 2017, arXiv:1712.09913", "https://arxiv.org/abs/1712.09913")
MALLADI = Paper("Malladi et al. 2022, arXiv:2205.10287", "https://arxiv.org/abs/2205.10287")
POLLUX = Paper("Qiao et al. 2021, arXiv:2008.12260", "https://arxiv.org/abs/2008.12260")
HOFFER = Paper("Hoffer et al. 2017, arXiv:1705.08741", "https://arxiv.org/abs/1705.08741")
SMITH = Paper("Smith et al. 2017, arXiv:1711.00489", "https://arxiv.org/abs/1711.00489")
MASTERS = Paper("Masters and Luschi 2018, arXiv:1804.07612", "https://arxiv.org/abs/1804.07612")
NADO = Paper("Nado et al. 2021, arXiv:2102.06356", "https://arxiv.org/abs/2102.06356")
LARS = Paper("You et al. 2017, arXiv:1708.03888", "https://arxiv.org/abs/1708.03888")
LAMB = Paper("You et al. 2019, arXiv:1904.00962", "https://arxiv.org/abs/1904.00962")
AKIBA = Paper("Akiba et al. 2017, arXiv:1711.04325", "https://arxiv.org/abs/1711.04325")
SWAP = Paper("Gupta et al. 2020, arXiv:2001.02312", "https://arxiv.org/abs/2001.02312")
DAUPHIN = Paper("Dauphin et al. 2014, arXiv:1406.2572", "https://arxiv.org/abs/1406.2572")


# A table as plain text, for a terminal.


def plain(table: Table) -> list[str]:
    """Header and rows in aligned columns, with notes in brackets."""
    rows = [list(table.header), *([_written(cell) for cell in row] for row in table.rows)]
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    return [_row(row, widths) for row in rows]


def _written(cell: Cell) -> str:
    marks = f" ({'; '.join(cell.marks)})" if cell.marks else ""
    return f"{cell.text} [{cell.note}]{marks}" if cell.note else f"{cell.text}{marks}"


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(" " * (most - width(cell)) + cell for cell, most in zip(cells, widths, strict=True)).rstrip()


def width(text: str) -> int:
    """Terminal columns of the text. A Chinese character takes two."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)
