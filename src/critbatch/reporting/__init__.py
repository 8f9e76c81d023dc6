"""Records to sentences, figures, and reports: an HTML file that needs nothing else, Markdown, PDF, JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from critbatch.arguments import as_path, checked_call
from critbatch.errors import UserError
from critbatch.records.core import Record
from critbatch.records.io import atomic_replacement, blamed_on_records, load_records
from critbatch.reporting.figures import figure
from critbatch.reporting.formats import contents, format_of
from critbatch.reporting.text import summary

__all__ = ["figure", "report", "summary"]


@checked_call
def report(
    records: Sequence[Record] | Record | str | Path,
    path: str | Path | None = None,
    *,
    language: str = "en",
    title: str | None = None,
    format: str | None = None,
) -> Path:
    """Write a file that tells what the records say. It is written whole or not at all.

    Args:
        records: any of Advice, Lecture, Speed, Noise, Run, Study, Fit, Scale, Curvature, Sharpness, Landscape, Shift,
            CriticalPoint and Escape, each a chapter; the runs of one task are one chapter. Or where they are: a
            command's folder, one of its records, or the URL of a study's database.
        path: the file; folders above it are made. `report.html`, or as the format is, beside the records unless given.
        language: "en" or "zh": that of the report, or what an HTML page, which has all, shows first.
        title: of the report, instead of the names of the tasks.
        format: "html", one file that needs nothing else; "md", with its pictures in a folder beside it; "pdf", which
            needs Chromium or Chrome; "json", the records themselves. Where it is not given, that of the file's suffix.

    Returns:
        The file.

    Raises:
        UserError: if there is nothing to tell, the language or format is not there, or the file cannot be written.
    """
    path = as_path(path) if path is not None else None
    format_of(path or Path(), format)  # before anything is read
    name = f"report.{format_of(Path(), format)}"
    if isinstance(records, str | Path):
        known, beside = _stored_records(records)
        with blamed_on_records(records):
            return _write(known, path or beside / name, language, title, format)
    known = [records] if isinstance(records, Record) else list(records)
    return _write(known, path or Path(name), language, title, format)


def _stored_records(place: str | Path) -> tuple[list[Record], Path]:
    """The records of a folder, of a file, or of a database's studies, and the folder beside which a report goes.

    What a folder's store holds is younger than its study's file, where a sweep is half done.
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
        written = contents(records, path, form, language=language, title=title)
        for place, content in written.files.items():
            place.parent.mkdir(parents=True, exist_ok=True)
            with atomic_replacement(place) as part:
                part.write_bytes(content)
        for place in written.stale:
            place.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"The report cannot be written to {path} ({error.strerror or error}): name a file in a folder that you "
            "may write to."
        ) from error
    return path
