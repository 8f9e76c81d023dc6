"""Fill a data folder: `python -m critbatch.tasks.prepare_data [--from FOLDER] [--to FOLDER]`, which `make data` runs.

A data folder is data: its files are copied, checked and unpacked, and no program in it is ever run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path, PurePath

from critbatch.errors import UserError
from critbatch.tasks.datasets import find_archive, find_in
from critbatch.tasks.download import checksum, copy, download_set, unpack_set
from critbatch.tasks.published_sets import SETS, DataFile, DataSet


def main(arguments: Sequence[str] | None = None) -> int:
    """Fill the folder, print the state of each set, and return 0 if all sets are there, else 1."""
    parser = argparse.ArgumentParser(prog="python -m critbatch.tasks.prepare_data", description="Fill a data folder.")
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
            state = prepare_data(SETS[name], options.target, options.source)
        except (UserError, OSError) as error:
            missing += 1
            state = f"missing: {error}"
        print(f"{name:16}{state}", flush=True)
    if not missing:
        print(f"Use it with CRITBATCH_DATA={options.target.resolve()}")
    return 1 if missing else 0


def prepare_data(data: DataSet, target: Path, source: Path | None = None) -> str:
    """Copy or download one set into the folder `target`: from the folder `source`, or else from its public address.

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
    if (source_folder := find_in(source, data)) is not None:
        for file in data.files:
            copy(file, source_folder / file.name, folder)
        return f"ok (copied from {source_folder})"
    if (packed := find_archive(source, data)) is not None:
        unpack_set(packed, data, folder)
        return f"ok (unpacked from {packed})"
    raise UserError(_by_hand(data, source))


def is_right(path: Path, file: DataFile) -> bool:
    """Whether the file at `path` exists and, as far as can be checked, is as published."""
    return path.is_file() and (file.sha256 is None or checksum(path) == file.sha256)


def _by_hand(data: DataSet, source: Path) -> str:
    """What to do about a source folder that lacks the set: a data folder is data, so nothing in it is ever run."""
    file_names = [file.name for file in data.files]
    layout = f"{data.folders[0]}/ with {', '.join(file_names)}"
    if data.archive is not None:
        layout += f", or the published {data.archive.name}"
    roots = [source / PurePath(folder).parts[0] for folder in data.folders]
    names = sorted({path.name for root in roots if root.is_dir() for path in root.iterdir()} - set(file_names))
    if not names:
        return f"{source} has no {layout}: give a folder that has, or leave out --from to download the set."
    shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
    return (
        f"{source} has {data.name!r} only in a form that critbatch does not read ({shown}), and critbatch never runs a "
        f"program that lies in a data folder: unpack the set by hand, as its own notes say, into a folder that has "
        f"{layout}, and give that folder as --from."
    )


if __name__ == "__main__":
    sys.exit(main())
