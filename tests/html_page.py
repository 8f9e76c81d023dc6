"""Read a report as a browser would take it apart."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

from critbatch.records.core import Record
from critbatch.reporting import write_report


class Page(HTMLParser):
    """The elements of a page, and the text of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.scripts: list[tuple[dict[str, str], str]] = []
        self.words = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        self.elements.append((tag, told))
        self._inside = tag
        if tag == "script":
            self.scripts.append((told, ""))

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            attributes, text = self.scripts.pop()
            self.scripts.append((attributes, text + data))
        elif self._inside != "style":
            self.words += data

    def all(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.elements if name in attributes]

    @property
    def figures(self) -> list[dict]:
        return [json.loads(text) for attributes, text in self.scripts if "data-figure" in attributes]


def written(tmp_path: Path, *records: Record, language: str = "en") -> Page:
    path = write_report(records, tmp_path / "report.html", language=language)
    return Page(path.read_text(encoding="utf-8"))
