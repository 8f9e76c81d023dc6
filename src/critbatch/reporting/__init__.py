"""Records to sentences, figures, and one HTML file that needs nothing else."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from critbatch.errors import UserError
from critbatch.records import Advice, Noise, Record, Run, Speed, Study
from critbatch.reporting.answers import Subject
from critbatch.reporting.figures import figure
from critbatch.reporting.page import render
from critbatch.reporting.text import summary
from critbatch.reporting.voice import Voice
from critbatch.reporting.words import REASONS, WORDS

__all__ = ["REASONS", "WORDS", "figure", "summary", "write_report"]


def write_report(records: Sequence[Record], path: Path, *, language: str = "en", title: str | None = None) -> Path:
    """Write one HTML file that tells what the records say, in English and Chinese. It is written whole or not at all.

    Args:
        records: any of Advice, Speed, Noise, Run and Study, each a chapter; the runs of one task are one chapter.
        path: the file; folders above it are made.
        language: what the page shows first: "en" or "zh".
        title: of the page, instead of the names of the tasks.

    Returns:
        `path`.

    Raises:
        UserError: if there is nothing to tell, the language is not there, or the file cannot be written.
    """
    Voice(language)
    text = render(_subjects(records), language=language, title=title)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_whole(path, text.encode("utf-8", errors="replace"))
    except OSError as error:
        raise UserError(
            f"The report cannot be written to {path} ({error.strerror or error}): name a file in a folder that you "
            "may write to."
        ) from error
    return path


def _subjects(records: Sequence[Record]) -> list[Subject]:
    """The records as chapters, in their order; runs of one task together."""
    if not records:
        raise UserError("There is no record to report: make one with `critbatch advise TASK`.")
    subjects: list[Subject] = []
    runs: dict[str, list[Run]] = {}
    for record in records:
        if isinstance(record, Run):
            if record.task not in runs:
                runs[record.task] = []
                subjects.append(runs[record.task])
            runs[record.task].append(record)
        elif isinstance(record, Study) and not record.runs:
            task = record.question.task
            raise UserError(
                f"The study of task {task!r} has no run yet: make some with `critbatch sweep {task}`, then ask again."
            )
        elif isinstance(record, (Advice, Speed, Noise, Study)):
            subjects.append(record)
        else:
            raise UserError(
                f"A report cannot be made of a {type(record).__name__}: give Advice, Speed, Noise, Run or Study."
            )
    return subjects


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
