"""A record kept, reported and told. Needs no torch, so that commands without it start at once."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from critbatch.records.core import Record
from critbatch.records.io import blamed_on_records, load_records, save_record
from critbatch.reports.text import summary
from critbatch.reports.translator import Translator
from critbatch.reports.write import report as write_report


class Shown(Protocol):
    """What `show` needs to know: where records go, in which language, to whom, and whether by this process."""

    translator: Translator
    out: Path
    as_json: bool
    speaks: bool


def show(record: Record, setting: Shown) -> None:
    """Keep the record, write the report of all that the folder holds, and say what was found: one process for all."""
    if not setting.speaks:
        return
    save_record(record, setting.out)
    with blamed_on_records(setting.out):
        path = write_report(
            load_records(setting.out), setting.out / "report.html", language=setting.translator.language
        )
    if setting.as_json:
        print(record.to_json(indent=1))
    else:
        print(summary(record, setting.translator.language))
        print(f"\n{path}")
