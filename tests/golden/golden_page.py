"""An HTML report as lines of text: what is read on the page, and a few numbers about each of its figures.

Of a folded table the page gives the number of rows and a digest: Markdown shows its cells.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from golden_files import rounded

# Elements that do not end a line.
INLINE = {"a", "b", "code", "small", "span", "strong", "em"}
CELLS = {"td", "th"}
UNSEEN = {"script", "style"}
DIGITS = 5


@dataclass
class Translation:
    """The part of a page in one language."""

    lines: list[str] = field(default_factory=list)
    figures: list[dict[str, Any]] = field(default_factory=list)
    elements: Counter[str] = field(default_factory=Counter)


class PageText(HTMLParser):
    """Takes a page apart; `translations` are by the language of the elements with the class "translation"."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.translations: dict[str, Translation] = {}
        self._translation = Translation()
        self._open = ""
        self._attributes: dict[str, str | None] = {}
        self._line: list[str] = []
        self._label = "title"
        self._script = ""
        self._folded: list[str] | None = None  # the rows of a table inside <details>
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open, self._attributes = tag, dict(attrs)
        if self._attributes.get("class") == "translation":
            self._translation = self.translations[str(self._attributes["lang"])] = Translation()
        self._translation.elements[tag] += 1
        if tag not in INLINE | CELLS:
            self._end_line()
            self._label = tag
        if tag == "details":
            self._folded = []
        if label := self._attributes.get("aria-label"):
            self._line.append(f"({label})")

    def handle_endtag(self, tag: str) -> None:
        if tag == "script" and "data-figure" in self._attributes:
            self._translation.figures.append(json.loads(self._script))
        self._open, self._script = "", ""
        if tag in CELLS:
            self._line.append("|")
        elif tag not in INLINE:
            self._end_line()
        if tag == "details" and self._folded:
            self._translation.lines.append(f"tr: {len(self._folded)} rows [{_digest(self._folded)}]")
        if tag == "details":
            self._folded = None
        if tag == "footer":
            self._translation = Translation()

    def handle_data(self, data: str) -> None:
        if self._open == "script":
            self._script += data
        elif self._open not in UNSEEN and self._label != "footer":  # the footer has the version in it
            self._line.append(data)

    def _end_line(self) -> None:
        text = " ".join(" ".join(self._line).split())
        if text and self._label == "tr" and self._folded is not None:
            self._folded.append(text)
        elif text:
            self._translation.lines.append(f"{self._label}: {text}")
        self._line, self._label = [], "text"


def text_of(translation: Translation) -> str:
    return "\n".join(translation.lines)


def elements_of(translation: Translation) -> str:
    return "elements: " + ", ".join(f"{name} {n}" for name, n in sorted(translation.elements.items()))


def text_of_figures(translation: Translation) -> str:
    return "\n".join(line for n, drawn in enumerate(translation.figures, 1) for line in _figure_lines(n, drawn))


def _figure_lines(n: int, drawn: dict[str, Any]) -> list[str]:
    layout = drawn["layout"]
    title = (layout.get("title") or {}).get("text") or ""
    rows = [f"figure {n}: {title} [layout {_digest(layout)}]"]
    for name, axis in sorted(layout.items()):
        if name.startswith(("xaxis", "yaxis")):
            words = (axis.get("title") or {}).get("text") or ""
            ends = ", ".join(_number(end) for end in axis.get("range") or ())
            rows.append(f"  {name}: {axis.get('type', '')} {words} [{ends}]")
    rows += [f"  note: {note.get('text')}" for note in layout.get("annotations") or ()]
    return [*rows, *map(_trace_line, drawn["data"])]


def _trace_line(trace: dict[str, Any]) -> str:
    parts = [f"  {trace.get('type', 'scatter')} {trace.get('mode', '')} {trace.get('name') or ''}".rstrip()]
    parts += [f"{axis} {_ends(trace[axis])}" for axis in ("x", "y", "z") if trace.get(axis) is not None]
    return f"{', '.join(parts)} [{_digest(trace)}]"


def _ends(values: Any) -> str:
    flat = [one for row in values for one in (row if isinstance(row, list) else [row])]
    numbers = [one for one in flat if isinstance(one, int | float) and math.isfinite(one)]
    if not numbers:
        return f"({len(flat)})"
    return f"{_number(min(numbers))} to {_number(max(numbers))} ({len(flat)})"


def _number(value: Any) -> str:
    return f"{rounded(float(value), DIGITS):.{DIGITS}g}" if isinstance(value, int | float) else str(value)


def _digest(value: Any) -> str:
    text = json.dumps(rounded(value, DIGITS), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:10]
