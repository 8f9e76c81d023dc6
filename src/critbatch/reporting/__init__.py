"""Records to sentences, figures, and reports: an HTML file that needs nothing else, Markdown, PDF, JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from critbatch.atomic_files import atomic_replacement
from critbatch.errors import UserError
from critbatch.records import Record
from critbatch.reporting.figures import figure
from critbatch.reporting.formats import contents, format_of
from critbatch.reporting.text import summary
from critbatch.reporting.words import REASONS, WORDS

__all__ = ["REASONS", "WORDS", "figure", "summary", "write_report"]


def write_report(
    records: Sequence[Record], path: Path, *, language: str = "en", title: str | None = None, format: str | None = None
) -> Path:
    """Write a file that tells what the records say. It is written whole or not at all.

    Args:
        records: any of Advice, Lecture, Speed, Noise, Run, Study, Fit, Scale, Curvature, Sharpness, Landscape, Shift,
            CriticalPoint and Escape, each a chapter; the runs of one task are one chapter.
        path: the file; folders above it are made.
        language: "en" or "zh": that of the report, or what an HTML page, which has both, shows first.
        title: of the report, instead of the names of the tasks.
        format: "html", one file that needs nothing else; "md", with its pictures in a folder beside it; "pdf", which
            needs Chromium or Chrome; "json", the records themselves. Where it is not given, that of the file's suffix.

    Returns:
        `path`.

    Raises:
        UserError: if there is nothing to tell, the language or format is not there, or the file cannot be written.
    """
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
