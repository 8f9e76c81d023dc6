"""Write records as one self-contained HTML file in all languages, with a language menu."""

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
from critbatch.reports.derived.runs import cached_readings
from critbatch.reports.translator import Translator, languages
from critbatch.reports.views.chapters import chapter
from critbatch.reports.views.common import Subject
from critbatch.version import __version__

HERE = Path(__file__).parent
# Plotly's bundle for Cartesian axes. `scripts/update-plotly` updates it.
LIBRARY = HERE / "plotly_js" / "plotly-cartesian.min.js"
SCRIPTS = ("page_legend.js", "page_saving.js", "page.js")


def render(subjects: Sequence[Subject], *, language: str, title: str | None = None) -> str:
    """The whole page as text. `language` is the one it shows first."""
    first = Translator(language)
    translators = [first, *(Translator(other) for other in languages() if other != language)]
    with cached_readings():
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
    """The CSS of the page, with its colours."""
    return page_colours() + (HERE / "page.css").read_text(encoding="utf-8")


def _translation(subjects: Sequence[Subject], t: Translator, title: str | None) -> dict[str, Any]:
    """The values of one language for the template."""
    chapters = [chapter(subject, t) for subject in subjects]
    names = ", ".join(dict.fromkeys(each.name for each in chapters))
    return {
        "t": t,
        "title": title or t("page_title", task=names),
        "name": title or names,
        "chapters": chapters,
    }


def _script() -> str:
    """The script of the page, wrapped so that its names stay local."""
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
    """JSON for a script element: no character in it can end the element or begin a tag."""
    text = json.dumps(value, cls=PlotlyJSONEncoder, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _policy(*scripts: str) -> str:
    """A content security policy that allows these scripts only, and nothing from the network."""
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
