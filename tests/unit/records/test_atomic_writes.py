"""Files are written whole or not at all, in UTF-8, whatever happens and whatever the locale."""

from __future__ import annotations

import ast
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from critbatch.errors import UserError
from critbatch.records.io import STALE_SECONDS, atomic_replacement, write_file

ROOT = Path(__file__).parents[3]


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_block_that_raises_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = write_file(tmp_path / "record.json", "old")
    with pytest.raises(ZeroDivisionError), atomic_replacement(path) as part:
        part.write_bytes(b"n" * (1 // 0))
    assert path.read_text(encoding="utf-8") == "old"
    assert names_in(tmp_path) == ["record.json"]


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_killed_in_the_middle_leaves_the_old_file(tmp_path: Path, kind: signal.Signals) -> None:
    path = write_file(tmp_path / "record.json", "old")
    code = (
        "import os, sys; from pathlib import Path; from critbatch.records.io import atomic_replacement\n"
        f"with atomic_replacement(Path({str(path)!r})) as part:\n"
        f"    part.write_bytes(b'ne'); os.kill(os.getpid(), {int(kind)})"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -kind
    assert path.read_text(encoding="utf-8") == "old"
    (left,) = set(names_in(tmp_path)) - {"record.json"}
    write_file(path, "newer")
    assert (tmp_path / left).exists()  # it may be another writer's
    os.utime(tmp_path / left, (time.time() - 2 * STALE_SECONDS,) * 2)
    write_file(path, "newest")
    assert names_in(tmp_path) == ["record.json"] and path.read_text(encoding="utf-8") == "newest"


def test_two_writers_of_one_file_do_not_touch_each_others_part(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    with atomic_replacement(path) as first, atomic_replacement(path) as second:
        assert first != second and first.parent == second.parent == tmp_path
        first.write_bytes(b"first")
        second.write_bytes(b"second")
    assert path.read_bytes() == b"first" and names_in(tmp_path) == ["record.json"]


def test_content_and_folder_are_synced_before_and_after_the_file_takes_its_place(tmp_path: Path, monkeypatch) -> None:
    events: list[str] = []
    sync, replace = os.fsync, Path.replace

    def log_sync(handle: int) -> None:
        events.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else f"file of {os.fstat(handle).st_size}")
        sync(handle)

    def log_replace(self: Path, target: Path) -> Path:
        events.append("replace")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", log_sync)
    monkeypatch.setattr(Path, "replace", log_replace)
    write_file(tmp_path / "record.json", "12345")
    assert events == ["file of 5", "replace", "folder"]


def test_a_file_has_the_rights_that_other_new_files_have(tmp_path: Path) -> None:
    code = (
        "import os; from pathlib import Path; from critbatch.records.io import write_file\n"
        f"os.umask(0o027); write_file(Path({str(tmp_path / 'record.json')!r}), 'text')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert stat.S_IMODE((tmp_path / "record.json").stat().st_mode) == 0o640


def test_a_link_stays_and_the_file_that_it_names_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "record.json"
    link.symlink_to(tmp_path / "there" / "real.json")
    write_file(link, "text")
    assert link.is_symlink() and (tmp_path / "there" / "real.json").read_bytes() == b"text"


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE)
    write_file(pipe, "text")
    assert reader.communicate(timeout=30)[0] == b"text" and stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("folder", "Is a directory"),
        ("missing/record.json", "No such file or directory"),
        ("n" * 256, "File name too long"),
        ("a\0b", "null"),
    ],
)
def test_what_cannot_be_written_is_one_sentence(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=rf"cannot be written \(.*{words}.*\): make room there, or give another --out"):
        write_file(tmp_path / name, "text")


def test_a_name_as_long_as_the_file_system_takes_can_be_written(tmp_path: Path) -> None:
    for name in ("n" * 255, "数" * 85):
        assert write_file(tmp_path / name, "text").read_bytes() == b"text"


def test_text_is_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    text = "批大小 \ud800"
    code = (
        "from pathlib import Path; from critbatch.records.io import write_file; import locale\n"
        "assert 'utf' not in locale.getpreferredencoding(False).lower()\n"
        f"write_file(Path({str(tmp_path / 'record.json')!r}), {text!a})"
    )
    settings = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", code], check=True, env=settings)
    assert (tmp_path / "record.json").read_bytes() == "批大小 ?".encode()


def calls_without_encoding(path: Path) -> list[str]:
    """Calls that read or write text in the encoding of the locale."""
    wrong = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        given = {keyword.arg for keyword in node.keywords}
        texts = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        owner = getattr(getattr(node.func, "value", None), "id", "")
        if name == "open":
            is_path = isinstance(node.func, ast.Attribute)
            if owner in ("os", "Image", "webbrowser", "tarfile", "gzip", "Store") or (
                is_path and node.args and not texts
            ):
                continue
            modes = texts if is_path else texts[-1:]
            if not any("b" in mode or mode.startswith("r|") for mode in modes) and "encoding" not in given:
                wrong.append(f"{path.name}:{node.lineno} open")
        elif (name == "read_text" and isinstance(node.func, ast.Attribute) and "encoding" not in given) or (
            name == "write_text" and "encoding" not in given and owner != "formatter"  # click's
        ):
            wrong.append(f"{path.name}:{node.lineno} {name}")
    return wrong


def test_no_text_is_read_or_written_in_the_encoding_of_the_locale() -> None:
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "benchmarks").glob("*.py"), *(ROOT / "scripts").glob("*.py")]
    assert [call for path in files for call in calls_without_encoding(path)] == []
