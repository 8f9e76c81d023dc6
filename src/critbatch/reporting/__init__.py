"""Records to sentences, figures, and one HTML file that needs nothing else."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from critbatch.errors import UserError
from critbatch.records import Record
from critbatch.reporting.figures import figure
from critbatch.reporting.page import render
from critbatch.reporting.subjects import subjects
from critbatch.reporting.text import summary
from critbatch.reporting.voice import Voice
from critbatch.reporting.words import REASONS, WORDS

__all__ = ["REASONS", "WORDS", "figure", "summary", "write_report"]


def write_report(records: Sequence[Record], path: Path, *, language: str = "en", title: str | None = None) -> Path:
    """Write one HTML file that tells what the records say, in English and Chinese. It is written whole or not at all.

    Args:
        records: any of Advice, Speed, Noise, Run, Study, Fit, Scale, Curvature, Sharpness, Landscape, Shift,
            CriticalPoint and Escape, each a chapter; the runs of one task are one chapter.
        path: the file; folders above it are made.
        language: what the page shows first: "en" or "zh".
        title: of the page, instead of the names of the tasks.

    Returns:
        `path`.

    Raises:
        UserError: if there is nothing to tell, the language is not there, or the file cannot be written.
    """
    Voice(language)
    text = render(subjects(records), language=language, title=title)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_whole(path, text.encode("utf-8", errors="replace"))
    except OSError as error:
        raise UserError(
            f"The report cannot be written to {path} ({error.strerror or error}): name a file in a folder that you "
            "may write to."
        ) from error
    return path


def _write_whole(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        # A temporary file is for its owner alone; a report has the rights that other new files have.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise
