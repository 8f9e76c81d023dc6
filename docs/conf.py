"""Sphinx settings: the pages are Markdown, and the API reference comes from the signatures and docstrings.

A record is a dataclass whose fields are described by the comments behind them. `describe_fields` brings these comments
into the reference, with the types; `Records` lists all exported records of one module.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from enum import Enum
from importlib import import_module
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from critbatch import records
from critbatch.cli.app import command_help
from critbatch.cli.options import COMMANDS
from critbatch.version import __version__

project = "critbatch"
author = "The critbatch developers"
copyright = "2026, the critbatch developers"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "critbatch"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
exclude_patterns = ["_build"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
napoleon_google_docstring = True
default_role = "py:obj"  # single backticks in docstrings: code, and a link where there is something to link to

FIELD = re.compile(r"    (?P<name>[a-z]\w*): (?P<type>[^=#]+?)(?: = (?P<default>.+?))?(?:  # (?P<comment>.+))?$")
MEMBER = re.compile(r"    (?P<name>[A-Z]\w*) = (?P<default>.+?)(?:  # (?P<comment>.+))?$")


def describe_fields(_: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Append the fields of a record, or the values of an enumeration, unless the docstring lists them."""
    is_enum = inspect.isclass(obj) and issubclass(obj, Enum)
    if what != "class" or not (is_enum or dataclasses.is_dataclass(obj)) or "Args:" in lines:
        return
    source = inspect.getsource(obj).split("\n    def ")[0].split("\n    @")[0]
    rows = list(filter(None, map((MEMBER if is_enum else FIELD).match, source.split("\n"))))
    for row in rows:
        if not is_enum and row["type"].startswith("ClassVar"):
            continue
        entry = f"``{row['default']}``" if is_enum else f"**{row['name']}** : ``{row['type']}``"
        comment = re.sub(r"[*|]|_(?!\w)", r"\\\g<0>", row["comment"] or "")
        lines += ["", f"- {entry}" + (f" -- {comment}" if comment else "")]
    lines.append("")


def hide_signature(_: Sphinx, what: str, name: str, obj: Any, *rest: Any) -> tuple[str, None] | None:
    """A record's fields are listed below its name: as a signature they would be repeated."""
    is_listed = inspect.isclass(obj) and (issubclass(obj, Enum | records.Record))
    return ("", None) if what == "class" and is_listed else None


class Records(SphinxDirective):
    """`.. records:: core`: every exported record of `critbatch.records.core`, in the order of the file."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        module = import_module(f"critbatch.records.{self.arguments[0]}")
        own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
        listed = [name for name in own if name in records.__all__]
        text = "\n".join(f".. autoclass:: critbatch.records.{name}\n   :members:\n" for name in listed)
        return self.parse_text_to_nodes(text)


class Commands(SphinxDirective):
    """`.. commands:: Ask`: the help of each command of a group, as the terminal shows it."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        listed = []
        for name, spec in COMMANDS.items():
            if spec.panel == self.arguments[0] and not spec.hidden:
                section = nodes.section(ids=[f"critbatch-{name}"], names=[f"critbatch {name}"])
                section += nodes.title("", f"critbatch {name}")
                text = command_help(name)
                section += nodes.literal_block(text, text, language="text")
                listed.append(section)
        return listed


def setup(app: Sphinx) -> None:
    app.add_directive("commands", Commands)
    app.add_directive("records", Records)
    app.connect("autodoc-process-docstring", describe_fields, priority=400)  # before napoleon takes "Args:" away
    app.connect("autodoc-process-signature", hide_signature)
