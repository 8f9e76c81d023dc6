"""The project's modules that the snapshots need: all imports of what is not public stand here."""

from __future__ import annotations

import sample_records
from critbatch.records import Record
from critbatch.reports.views.chapters import summary
from sample_gaps import MISSING, RECORDS
from sample_monitor import ADVICE

__all__ = ["ADVICE", "MISSING", "PAGES", "RECORDS", "Record", "summary"]

# What a page is made of: a chapter for each record, one for all the runs of a task.
PAGES: dict[str, tuple[Record, ...]] = {name: (record,) for name, record in RECORDS.items()}
PAGES["several records"] = (
    sample_records.speed(),
    sample_records.run(64),
    sample_records.noise(),
    sample_records.run(256),
    sample_records.run(8, task="other"),
)
