"""Write chapters as GitHub Markdown, with the same values as the HTML page."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from critbatch.errors import UserError
from critbatch.reports.charts.print_style import (
    PrintFigure,
    for_print,
    has_chinese_font,
    is_chinese,
    missing_tool,
    pictures,
)
from critbatch.reports.charts.theme import Picture
from critbatch.reports.derived.runs import cached_readings
from critbatch.reports.model import Block, Bullets, Cell, Chapter, Chart, Charts, Facts, Method, Paper, Table, Text
from critbatch.reports.translator import Translator
from critbatch.reports.views.chapters import chapter
from critbatch.reports.views.common import Subject
from critbatch.version import __version__

# Escaping: no character of a name may become markup.

# Characters that may begin or end markup in GitHub's Markdown, tables or formulas.
ALWAYS = re.compile(r"[\\`*\[\]<|~$]")
# Characters that are markup only in some places, such as an underscore outside a word.
SOMETIMES = re.compile(r"(?<![^\W_])_|_(?![^\W_])|&(?=[#\w])|:(?=//)|:(?=[\w+-]+:)|(?<=www)\.")
FIRST = re.compile(r"^([#>=+-])|^(\d{1,9})([.)])(?=\s|$)")
SPACES = re.compile(r"\s+")


def escaped(text: str) -> str:
    """The text in one line, escaped so that Markdown shows it literally everywhere.

    >>> print(escaped("<b>S_min</b> *and* __E__"))
    \\<b>S_min\\</b> \\*and\\* \\_\\_E\\_\\_
    """
    row = SPACES.sub(" ", text).strip()
    positions = {match.start() for pattern in (ALWAYS, SOMETIMES) for match in pattern.finditer(row)}
    row = "".join(f"\\{letter}" if i in positions else letter for i, letter in enumerate(row))
    return FIRST.sub(lambda match: f"\\{match[1]}" if match[1] else f"{match[2]}\\{match[3]}", row)


def fenced(code: str) -> str:
    """Code in a fence that is longer than any fence inside it."""
    longest = max((len(run) for run in re.findall("`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{code.rstrip()}\n{fence}"


# Gives the addresses of a picture's PNG and SVG, or None if it cannot be drawn.
Gallery = Callable[[Picture], tuple[str, str] | None]


def markdown(subjects: Sequence[Subject], t: Translator, gallery: Gallery, title: str | None = None) -> str:
    """The whole report as text, in one language."""
    with cached_readings():
        chapters = [chapter(subject, t) for subject in subjects]
    writer = Writer(t, gallery)
    level = 1 if title is None else 2
    rows = [f"# {escaped(title)}"] if title is not None else []
    for i, each in enumerate(chapters):
        rows += writer.chapter(each, level + (i > 0 and title is None))
    return "\n\n".join([*rows, "---", escaped(t("format_footer", version=__version__))]) + "\n"


class Writer:
    """Writes chapters in one language. Each block becomes a list of paragraphs."""

    def __init__(self, t: Translator, gallery: Gallery) -> None:
        self.t, self.gallery = t, gallery
        # The method for each `kind` of block.
        self.writers: dict[str, Callable[[Any], list[str]]] = {
            "text": self.text,
            "bullets": self.bullets,
            "chart": self.chart,
            "charts": self.charts,
            "table": self.table,
            "method": self.method,
            "facts": self.facts,
            "verdict": self.verdict,
            "literature": self.literature,
        }

    def chapter(self, chapter: Chapter, level: int) -> list[str]:
        rows = [f"{'#' * level} {escaped(chapter.answer.headline)}", f"**{escaped(chapter.name)}**"]
        rows += [f"> {escaped(self.t('warning', sentence=chapter.answer.warning))}"] if chapter.answer.warning else []
        rows += [escaped(self.t.join(chapter.answer.lead))] if chapter.answer.lead else []
        if chapter.tiles:
            cells = tuple(Cell(tile.value, tile.note) for tile in chapter.tiles)
            rows.append(self.grid(tuple(tile.label for tile in chapter.tiles), (cells,), "---"))
        rows += self.chart(chapter.hero) if chapter.hero is not None else []
        rows += [_list(map(escaped, chapter.answer.more))] if chapter.answer.more else []
        for section in chapter.sections:
            rows.append(f"{'#' * (level + 1)} {escaped(section.title)}")
            rows += [row for block in section.blocks for row in self.block(block)]
        return rows

    def block(self, block: Block) -> list[str]:
        return self.writers[block.kind](block)

    def text(self, block: Text) -> list[str]:
        return [escaped(block.text)] if block.text else []

    def bullets(self, block: Bullets) -> list[str]:
        title = [f"**{escaped(block.title)}**"] if block.title else []
        return [*title, _list(map(escaped, block.items))]

    def chart(self, block: Chart) -> list[str]:
        """The picture, or its description if it cannot be drawn."""
        picture = block.picture
        title, alt = escaped(picture.title), escaped(picture.alt)
        place = self.gallery(picture)
        rows = (
            [f"> **{title}**\n>\n> {alt}"]
            if place is None
            else [f"![{alt}]({place[0]})", f"**{title}** [SVG]({place[1]})"]
        )
        return [*rows, escaped(block.note)] if block.note else rows

    def charts(self, block: Charts) -> list[str]:
        return [row for each in block.charts for row in self.chart(each)]

    def table(self, block: Table) -> list[str]:
        others = "---" if getattr(block, "wraps", False) else "---:"
        grid, notes = self.grid(block.header, block.rows, others), [escaped(note) for note in block.notes]
        caption = escaped(block.caption)
        if not block.folded:
            return [f"**{caption}**", grid, *notes]
        return [f"<details>\n<summary>{_in_html(block.caption)}</summary>", grid, *notes, "</details>"]

    def grid(self, header: Sequence[str], rows: Sequence[Sequence[Cell]], others: str) -> str:
        """A Markdown table. `others` is the alignment of all columns but the first."""
        grid_rows = [
            map(escaped, header),
            ["---", *[others] * (len(header) - 1)],
            *(map(self.cell, row) for row in rows),
        ]
        return "\n".join(f"| {' | '.join(row)} |" for row in grid_rows)

    def cell(self, cell: Cell) -> str:
        text = escaped(cell.text)
        if cell.note:
            text = self.t("format_cell", text=text, note=escaped(cell.note))
        return " ".join([text, *(f"**{escaped(mark)}**" for mark in cell.marks)])

    def method(self, block: Method) -> list[str]:
        title = block.title or self.t("page_method")
        return [f"**{escaped(title)}**", _list([*map(escaped, block.lines), *map(_link, block.papers)])]

    def facts(self, block: Facts) -> list[str]:
        facts = [self.t("format_fact", name=escaped(name), value=escaped(value)) for name, value in block.pairs]
        return [*([fenced(block.code)] if block.code else []), *([_list(facts)] if facts else [])]

    def verdict(self, block: Any) -> list[str]:
        return [f"**{escaped(block.badge)}** {escaped(block.text)}"]

    def literature(self, block: Any) -> list[str]:
        return [f"**{escaped(block.title)}**", escaped(block.text), _list(map(_link, block.papers))]


def _list(items: Any) -> str:
    return "\n".join(f"- {item}" for item in items)


def _link(paper: Paper) -> str:
    return f"[{escaped(paper.label)}]({paper.address})"


def _in_html(text: str) -> str:
    """Escape the text for HTML, where Markdown's markup is not interpreted."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


# Pictures: PNG and SVG files in a folder beside the report.


class PictureFiles:
    """Collects the figures of a report, draws all of them with one browser, and keeps the files.

    Args:
        report: the Markdown file of the pictures.
    """

    def __init__(self, report: Path) -> None:
        self.folder = report.with_name(f"{report.stem}-figures")
        self.files: dict[Path, bytes] = {}
        self._figures: list[PrintFigure] = []
        self.obstacle = missing_tool()  # message key of the reason why there are no pictures

    def __call__(self, picture: Picture) -> tuple[str, str] | None:
        """The addresses of the PNG and the SVG relative to the report, or None if there are no pictures."""
        if self.obstacle:
            return None
        print_figure = for_print(picture.figure)
        if is_chinese(print_figure) and not has_chinese_font():
            self.obstacle = "format_no_font"
            return None
        self._figures.append(print_figure)
        png, svg = (quote(f"{self.folder.name}/{place.name}") for place in self._places(len(self._figures)))
        return png, svg

    def draw(self) -> bool:
        """Draw all collected figures. Returns whether the files are there."""
        if self.obstacle:
            return False
        jobs = [(figure, kind) for figure in self._figures for kind in ("png", "svg")]
        places = [place for number in range(1, len(self._figures) + 1) for place in self._places(number)]
        try:
            self.files = dict(zip(places, pictures(jobs), strict=True))
        except UserError:
            self.obstacle = "format_not_drawn"
        return not self.obstacle

    def stale(self) -> list[Path]:
        """Pictures of an earlier report at the same path."""
        there = [*self.folder.glob("figure-*.png"), *self.folder.glob("figure-*.svg")]
        return sorted(path for path in there if path not in self.files)

    def _places(self, number: int) -> tuple[Path, Path]:
        return self.folder / f"figure-{number}.png", self.folder / f"figure-{number}.svg"
