"""A report as an HTML page, as Markdown with pictures, as a PDF, or its records as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from critbatch.errors import UserError
from critbatch.records.core import Record
from critbatch.records.io import NAMES
from critbatch.reporting.markdown import markdown
from critbatch.reporting.page import render
from critbatch.reporting.pdf import printed
from critbatch.reporting.picture_files import PictureFiles
from critbatch.reporting.subjects import subjects
from critbatch.reports.translator import Translator

FORMATS = ("html", "md", "pdf", "json")
SUFFIXES = {".md": "md", ".markdown": "md", ".pdf": "pdf", ".json": "json"}


@dataclass
class Written:
    """What has to be written: files and what is in them, the report itself last. `stale` ones have to go."""

    files: dict[Path, bytes] = field(default_factory=dict)
    stale: list[Path] = field(default_factory=list)


def format_of(path: Path, given: str | None) -> str:
    """The format that was asked for, else that of the file's suffix, else HTML.

    Raises:
        UserError: if there is no such format.

    >>> format_of(Path("report.md"), None)
    'md'
    """
    if given is not None and given not in FORMATS:
        raise UserError(f"Format {given!r} is not there: use {', '.join(FORMATS[:-1])} or {FORMATS[-1]}.")
    return given or SUFFIXES.get(path.suffix.lower(), "html")


def contents(records: Sequence[Record], path: Path, form: str, *, language: str, title: str | None) -> Written:
    """The report in the format `form`, as it will lie at `path` and around it.

    Raises:
        UserError: if there is nothing to tell, the language is not there, or a PDF cannot be printed.
    """
    t, told = Translator(language), subjects(records)
    if form == "json":
        return Written({path: as_json(records).encode("utf-8", errors="replace")})
    if form == "md":
        gallery = PictureFiles(path)
        text = markdown(told, t, gallery, title)
        if gallery.obstacle:
            text = f"> {t(gallery.obstacle)}\n\n{text}"
        return Written({**gallery.files, path: text.encode("utf-8", errors="replace")}, gallery.stale())
    page = render(told, language=language, title=title)
    if form == "pdf":
        path.parent.mkdir(parents=True, exist_ok=True)
        return Written({path: printed(page, path.parent)})
    return Written({path: page.encode("utf-8", errors="replace")})


def as_json(records: Sequence[Record]) -> str:
    """A list of `{"kind": ..., "record": ...}`: `record_files.KINDS[kind].from_json` reads a record again."""
    rows = [f'{{"kind": "{NAMES[type(record)]}", "record": {record.to_json()}}}' for record in records]
    return "[\n" + ",\n".join(rows) + "\n]\n"
