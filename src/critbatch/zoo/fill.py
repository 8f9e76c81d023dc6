"""Fill a data folder: `python -m critbatch.zoo.fill [--from FOLDER] [--to FOLDER]`, which `make data` runs."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from critbatch.errors import UserError
from critbatch.zoo.fetch import checksum, copy, download_set, unpack_set
from critbatch.zoo.places import find_archive, find_in
from critbatch.zoo.sets import CIFAR10, SETS, DataFile, DataSet


def main(arguments: Sequence[str] | None = None) -> int:
    """Fill the folder, say how each set stands, and return 0 if every one is there, else 1."""
    parser = argparse.ArgumentParser(prog="python -m critbatch.zoo.fill", description="Fill a data folder.")
    usual = [name for name, data in SETS.items() if data.by_default]
    parser.add_argument("--from", dest="source", type=Path, metavar="FOLDER", help="copy from here; else download")
    parser.add_argument("--to", dest="target", type=Path, metavar="FOLDER", default=Path("data"), help="default: data")
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"default: {', '.join(usual)}")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.sets if name not in SETS]:
        parser.error(f"no data set is called {' or '.join(unknown)}: use {', '.join(SETS)}")
    missing = 0
    for name in options.sets or usual:
        try:
            state = fill(SETS[name], options.target, options.source)
        except (UserError, OSError) as error:
            missing += 1
            state = f"missing: {error}"
        print(f"{name:16}{state}", flush=True)
    if not missing:
        print(f"Use it with CRITBATCH_DATA={options.target.resolve()}")
    return 1 if missing else 0


def fill(data: DataSet, target: Path, source: Path | None = None) -> str:
    """Bring one set into the folder `target`: from the folder `source`, or else from its public address.

    Returns:
        How it came there, in a few words. Every checksum that is known was right.

    Raises:
        UserError: if the set is not where it was looked for, or a file is not as published.
        OSError: if `target` cannot be written.
    """
    folder = target / data.folders[0]
    wrong = [file for file in data.files if not is_right(folder / file.name, file)]
    if not wrong:
        return "ok (was there)"
    if source is None:
        for file in wrong:  # a broken one would be taken for one that is there
            (folder / file.name).unlink(missing_ok=True)
        download_set(data, folder)
        return "ok (downloaded)"
    if not source.is_dir():
        raise UserError(f"{source} is no folder: name one that has {data.folders[0]}/{data.files[0].name}.")
    tool = source / "tools" / "unpack_cifar10.py"
    if (found := find_in(source, data)) is not None:
        for file in data.files:
            copy(file, found / file.name, folder)
        return f"ok (copied from {found})"
    if (packed := find_archive(source, data)) is not None:
        unpack_set(packed, data, folder)
        return f"ok (unpacked from {packed})"
    if data.name == CIFAR10.name and tool.is_file():
        _run_tool(tool, data, folder)
        return f"ok (unpacked by {tool})"
    raise UserError(f"{source} has no {data.folders[0]} with {data.files[0].name}.")


def is_right(path: Path, file: DataFile) -> bool:
    """Whether the file at `path` is there, as published as far as can be told."""
    return path.is_file() and (file.sha256 is None or checksum(path) == file.sha256)


def _run_tool(tool: Path, data: DataSet, folder: Path) -> None:
    """Let a data folder's own tool write the published files, then check and keep them."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".critbatch-") as scratch:
        done = subprocess.run(
            [sys.executable, str(tool), scratch],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},  # the folder may be read-only
        )
        if done.returncode != 0:
            words = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
            raise UserError(f"{tool} ended with code {done.returncode} ({words[-1]}).")
        found = find_in(Path(scratch), data)
        if found is None:
            raise UserError(f"{tool} did not write {data.folders[0]} with {len(data.files)} files.")
        for file in data.files:
            copy(file, found / file.name, folder)


if __name__ == "__main__":
    sys.exit(main())
