"""Records to one self-contained HTML file, in every language there is, with a menu of them."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.utils import PlotlyJSONEncoder

from critbatch.reports.charts.theme import DARK, Picture, page_colours
from critbatch.reports.derived.runs import remembering
from critbatch.reports.translator import Translator, languages
from critbatch.reports.views.chapters import chapter
from critbatch.reports.views.common import Subject
from critbatch.version import __version__

HERE = Path(__file__).parent
# Plotly's bundle for plane axes: `scripts/update-plotly` brings another version of it.
LIBRARY = HERE / "plotly_js" / "plotly-cartesian.min.js"
SCRIPTS = ("page_legend.js", "page_saving.js", "page.js")


def render(subjects: Sequence[Subject], *, language: str, title: str | None = None) -> str:
    """The whole page as text. `language` is what it shows first."""
    first = Translator(language)
    translators = [first, *(Translator(other) for other in languages() if other != language)]
    with remembering():
        translations = [_translation(subjects, t, title) for t in translators]
    library, script = LIBRARY.read_text(encoding="utf-8"), _script()
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(figure=FigureWriter())
    return environment.get_template("page.html.j2").render(
        translations=translations,
        style=Markup(page_style()),
        library=Markup(library),
        script=Markup(script),
        policy=_policy(library, script),
        dark=embedded(DARK),
        version=__version__,
    )


def page_style() -> str:
    """The style of the page: its colours, and all that uses them."""
    return page_colours() + (HERE / "page.css").read_text(encoding="utf-8")


def _translation(subjects: Sequence[Subject], t: Translator, title: str | None) -> dict[str, Any]:
    """What the template needs of one language."""
    chapters = [chapter(subject, t) for subject in subjects]
    names = ", ".join(dict.fromkeys(each.name for each in chapters))
    return {
        "t": t,
        "title": title or t("page_title", task=names),
        "name": title or names,
        "chapters": chapters,
    }


def _script() -> str:
    """What the page does, its names its own."""
    parts = [(HERE / name).read_text(encoding="utf-8") for name in SCRIPTS]
    return "\n".join(['(() => {\n"use strict";', *parts, "})();\n"])


class FigureWriter:
    """Gives each figure of the page an id and its data as JSON."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, picture: Picture) -> dict[str, Any]:
        self.made += 1
        json_figure = picture.figure.to_plotly_json()
        return {
            "id": f"figure-{self.made}",
            "data": embedded({"data": json_figure["data"], "layout": json_figure["layout"]}),
        }


def embedded(value: Any) -> Markup:
    """JSON that can stand inside a script element: no character in it can end the element or begin a tag."""
    text = json.dumps(value, cls=PlotlyJSONEncoder, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _policy(*scripts: str) -> str:
    """A content security policy: these scripts and no other, nothing from the network."""
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
