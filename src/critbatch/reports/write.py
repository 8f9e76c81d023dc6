"""Write reports of records: a self-contained HTML file, Markdown, PDF or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from critbatch.arguments import as_path, checked_call
from critbatch.errors import UserError
from critbatch.records.core import Record
from critbatch.records.io import NAMES, atomic_replacement, blamed_on_records, load_records
from critbatch.reports.html import render
from critbatch.reports.markdown import PictureFiles, markdown
from critbatch.reports.pdf import print_pdf
from critbatch.reports.translator import Translator
from critbatch.reports.views.chapters import figure, subjects, summary

FORMATS = ("html", "md", "pdf", "json")
SUFFIXES = {".md": "md", ".markdown": "md", ".pdf": "pdf", ".json": "json"}


@dataclass
class ReportFiles:
    """The files to write, the report itself last, and the `stale` files to remove."""

    files: dict[Path, bytes] = field(default_factory=dict)
    stale: list[Path] = field(default_factory=list)


def format_of(path: Path, explicit: str | None) -> str:
    """The explicit format, else the format of the file's suffix, else HTML.

    Raises:
        UserError: if there is no such format.

    >>> format_of(Path("report.md"), None)
    'md'
    """
    if explicit is not None and explicit not in FORMATS:
        raise UserError(f"Format {explicit!r} is not there: use {', '.join(FORMATS[:-1])} or {FORMATS[-1]}.")
    return explicit or SUFFIXES.get(path.suffix.lower(), "html")


def contents(records: Sequence[Record], path: Path, form: str, *, language: str, title: str | None) -> ReportFiles:
    """The files of a report at `path` in the format `form`.

    Raises:
        UserError: if there is nothing to report, the language does not exist, or a PDF cannot be printed.
    """
    t, chapters = Translator(language), subjects(records)
    if form == "json":
        return ReportFiles({path: as_json(records).encode("utf-8", errors="replace")})
    if form == "md":
        gallery = PictureFiles(path)
        text = markdown(chapters, t, gallery, title)
        if not gallery.draw():
            # Write again, with descriptions instead of pictures.
            text = markdown(chapters, t, gallery, title)
            text = f"> {t(gallery.obstacle)}\n\n{text}"
        return ReportFiles({**gallery.files, path: text.encode("utf-8", errors="replace")}, gallery.stale())
    page = render(chapters, language=language, title=title)
    if form == "pdf":
        path.parent.mkdir(parents=True, exist_ok=True)
        return ReportFiles({path: print_pdf(page, path.parent)})
    return ReportFiles({path: page.encode("utf-8", errors="replace")})


def as_json(records: Sequence[Record]) -> str:
    """A list of `{"kind": ..., "record": ...}`: `critbatch.records.io.KINDS[kind].from_json` reads a record again."""
    rows = [f'{{"kind": "{NAMES[type(record)]}", "record": {record.to_json()}}}' for record in records]
    return "[\n" + ",\n".join(rows) + "\n]\n"


__all__ = ["figure", "report", "summary"]


@checked_call
def report(
    records: Sequence[Record] | Record | str | Path,
    path: str | Path | None = None,
    *,
    language: str = "en",
    title: str | None = None,
    format: Literal["html", "md", "pdf", "json"] | None = None,
) -> Path:
    """Write a report of records as HTML, Markdown, PDF or JSON.

    The file is written whole or not at all.

    Args:
        records: Folder of a command, one of its records, or the URL of a study's database. In Python also
            records: each is a chapter, and the runs of one task are one chapter.
        path: File to write. Folders above it are made. Default: report.FORMAT beside the records.
        language: Language of the report, en or zh. An HTML page has all languages and shows this one first.
        title: Title of the report. Default: the names of the tasks.
        format: Format: one HTML file that needs nothing else, Markdown with a folder of pictures, PDF (needs Chromium
            or Chrome), or the records as JSON. Default: that of the file's suffix, else html.

    Returns:
        The file.

    Raises:
        UserError: if there is nothing to report, the language or format does not exist, or the file cannot be written.
    """
    path = as_path(path) if path is not None else None
    format_of(path or Path(), format)  # before anything is read
    name = f"report.{format_of(Path(), format)}"
    if isinstance(records, str | Path):
        stored, folder = _stored_records(records)
        with blamed_on_records(records):
            return _write(stored, path or folder / name, language, title, format)
    several = [records] if isinstance(records, Record) else list(records)
    return _write(several, path or Path(name), language, title, format)


def _stored_records(place: str | Path) -> tuple[list[Record], Path]:
    """The records of a folder, of a file, or of a database's studies, and the folder beside which a report goes.

    During a sweep, the store of a folder is newer than the file of its study.
    """
    from critbatch.studies.stored import is_url, store_of, stored_studies

    url = is_url(place)
    source = str(place) if url else as_path(place)
    store, path = store_of(source), Path(source)
    studies = stored_studies(store) if store is not None else []
    alone = bool(studies) and (url or not path.is_dir())
    records: list[Record] = [*studies] if alone else load_records(path, instead=studies)
    return records, Path() if url else path if path.is_dir() else path.parent


def _write(records: Sequence[Record], path: Path, language: str, title: str | None, format: str | None) -> Path:
    form = format_of(path, format)
    try:
        files = contents(records, path, form, language=language, title=title)
        for place, content in files.files.items():
            place.parent.mkdir(parents=True, exist_ok=True)
            with atomic_replacement(place) as part:
                part.write_bytes(content)
        for place in files.stale:
            place.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"The report cannot be written to {path} ({error.strerror or error}): name a file in a folder that you "
            "may write to."
        ) from error
    return path
