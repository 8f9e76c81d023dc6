"""What a page is made of: plain values that the template writes as HTML, each in one language."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from critbatch.reporting.figures.theme import Picture


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    kind: ClassVar[str] = "text"


@dataclass(frozen=True)
class Bullets:
    """A list, under a heading of its own where there is one."""

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
    """Two figures side by side where there is room."""

    charts: tuple[Chart, ...]
    kind: ClassVar[str] = "charts"


@dataclass(frozen=True)
class Cell:
    """A cell: its text, something smaller beneath, and marks. `target`: the key of a section that the text leads to.

    `badge`: the verdict that the text is, as `Verdict.holds`.
    """

    text: str
    note: str = ""
    marks: tuple[str, ...] = ()
    target: str = ""
    badge: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of cells, the first of each row its heading. `folded` ones open on demand. The cells
    of one that wraps may be sentences: on a phone they stand below each other.
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
    """A link to where a method is from."""

    label: str
    address: str


@dataclass(frozen=True)
class Method:
    """How numbers came about, or what words mean, on demand. `title` where it is not the usual one."""

    lines: tuple[str, ...]
    papers: tuple[Paper, ...] = ()
    title: str = ""
    kind: ClassVar[str] = "method"


@dataclass(frozen=True)
class Facts:
    """Pairs of a name and what it is; `code` in a fixed-width face above them."""

    pairs: tuple[tuple[str, str], ...]
    code: str = ""
    kind: ClassVar[str] = "facts"


@dataclass(frozen=True)
class Verdict:
    """What became of a claim: `holds` is a value of `Holds`, `badge` its sign and word, `text` what was found."""

    holds: str
    badge: str
    text: str
    kind: ClassVar[str] = "verdict"


@dataclass(frozen=True)
class Literature:
    """What is known from papers, with links to them."""

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
    """What a record says, in sentences: the answer, the sentence that goes with it, more, and what to distrust.

    `warning` says in one or two sentences why the numbers may be wrong, and what would help; it stands under the
    headline.
    """

    headline: str
    lead: tuple[str, ...]
    more: tuple[str, ...] = ()
    distrust: tuple[str, ...] = ()
    warning: str = ""


@dataclass(frozen=True)
class Chapter:
    """All that the page says of one record."""

    name: str
    answer: Answer
    tiles: tuple[Tile, ...]
    hero: Chart | None
    sections: tuple[Section, ...]
