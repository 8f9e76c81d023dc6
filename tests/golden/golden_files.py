"""Snapshot files: compared with what the code gives today, or written anew."""

from __future__ import annotations

import difflib
import json
import lzma
import os
import re
from pathlib import Path

HERE = Path(__file__).parent
REWRITE = "CRITBATCH_WRITE_GOLDEN=1 python -m pytest -q tests/golden"
WRITES = os.environ.get("CRITBATCH_WRITE_GOLDEN") == "1"
MOST_LINES = 60
NEAR_ZERO = 1e-12


def file_name(title: str, suffix: str) -> str:
    return re.sub(r"\W+", "-", title).strip("-") + suffix


def check_file(path: Path, text: str) -> None:
    """Compare the text with the file's; with CRITBATCH_WRITE_GOLDEN=1 write the file instead."""
    __tracebackhide__ = True
    if WRITES:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
        return
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    check_text(f"tests/golden/{path.relative_to(HERE)}", before, text)


def check_text(name: str, before: str, after: str) -> None:
    """Fail with the lines that differ, and with the command that accepts them."""
    __tracebackhide__ = True
    if before == after:
        return
    lines = [*difflib.unified_diff(before.splitlines(), after.splitlines(), "snapshot", "now", n=1, lineterm="")]
    more = [f"... and {len(lines) - MOST_LINES} more lines"] if len(lines) > MOST_LINES else []
    shown = "\n".join([*lines[:MOST_LINES], *more])
    raise AssertionError(f"{name} has changed:\n{shown}\nIf the change is wanted, rewrite the snapshots: {REWRITE}")


def difference(whole: str, part: str) -> str:
    """The lines that `part` has in other words than `whole`, and how many it has in their place or leaves out.

    Without their positions and the words of `whole`: these change with each change of the whole report.
    """
    before, after = whole.splitlines(), part.splitlines()
    rows = []
    for kind, i, j, first, last in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind != "equal":
            rows += [f"@@ {j - i} lines fewer, {last - first} more @@", *after[first:last]]
    return "\n".join(rows) + "\n"


def rounded(value: object, digits: int) -> object:
    """JSON whose floats have so many significant digits: processors differ in the last ones."""
    if isinstance(value, float):
        return 0.0 if abs(value) < NEAR_ZERO else float(f"{value:.{digits}g}")
    if isinstance(value, dict):
        return {str(key): rounded(part, digits) for key, part in value.items()}
    return [rounded(part, digits) for part in value] if isinstance(value, list | tuple) else value


def rounded_json(text: str, digits: int = 9) -> str:
    """A line for each value, so that a difference shows the value."""
    return json.dumps(rounded(json.loads(text), digits), indent=1, ensure_ascii=False)


def read_records(path: Path) -> dict[str, str]:
    """The JSON of each record, by its name."""
    if not path.exists():
        return {}
    rows = [line.split("\t", 1) for line in lzma.decompress(path.read_bytes()).decode("utf-8").splitlines()]
    return dict(rows)


def write_records(path: Path, records: dict[str, str]) -> None:
    text = "".join(f"{name}\t{text}\n" for name, text in records.items())
    path.write_bytes(lzma.compress(text.encode("utf-8"), preset=9))
