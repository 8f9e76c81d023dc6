"""Data sets are found, fetched and checked, or the sentence says where they were looked for."""

from __future__ import annotations

import hashlib
import io
import re
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from critbatch.errors import DataMissing, UserError
from critbatch.tasks import download as fetch
from critbatch.tasks import prepare_data as fill
from critbatch.tasks.datasets import cache_folder, data_folder, find_file, given_folder
from critbatch.tasks.published_sets import LARGEST_BYTES, SETS, Archive, DataFile, DataSet

CONTENT = {"one.gz": b"first", "two.bin": bytes(range(256)) * 5000}
NOWHERE = "http://127.0.0.1:9/"  # the port is closed


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A folder that is served, and its address."""
    monkeypatch.setenv("no_proxy", "*")
    folder = tmp_path / "site"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """An empty data folder and an empty cache."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("CRITBATCH_DATA", str(tmp_path / "given"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    (tmp_path / "given").mkdir()
    return tmp_path / "given", tmp_path / "caches" / "critbatch"


def known(monkeypatch: pytest.MonkeyPatch, *addresses: str, packed: bytes | None = None, name: str = "toys") -> DataSet:
    """Make a data set known that holds CONTENT and is published at these addresses, or packed in one archive."""
    files = tuple(
        DataFile(file, hashlib.sha256(content).hexdigest(), tuple(address + file for address in addresses))
        for file, content in CONTENT.items()
    )
    archive = None
    if packed is not None:
        urls = tuple(address + "toys.tar.gz" for address in addresses)
        archive = Archive("toys.tar.gz", hashlib.md5(packed).hexdigest(), urls)
    data = DataSet(name=name, folders=(name, "other/raw"), files=files, licence="none", archive=archive)
    monkeypatch.setitem(SETS, name, data)
    return data


def write_all(folder: Path, content: dict[str, bytes] | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in (content or CONTENT).items():
        (folder / name).write_bytes(data)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def tar_gz(content: dict[str, bytes], prefix: str = "published/") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, data in content.items():
            member = tarfile.TarInfo(prefix + name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def test_the_given_folder_comes_before_the_cache(places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    given, cache = places
    known(monkeypatch, NOWHERE)
    write_all(cache / "toys")
    assert data_folder("toys") == cache / "toys"
    write_all(given / "other" / "raw")
    assert data_folder("toys") == given / "other" / "raw"
    write_all(given / "toys")
    assert data_folder("toys") == given / "toys"


def test_a_published_gz_file_is_also_found_unpacked(places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, NOWHERE)
    write_all(places[0] / "toys", {"one": b"unpacked", "two.bin": b""})
    assert find_file(data_folder("toys"), "one.gz").read_bytes() == b"unpacked"


def test_the_cache_is_under_xdg_cache_home_if_that_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / "caches" / "critbatch"
    for useless in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", useless)
        assert cache_folder() == Path.home() / ".cache" / "critbatch"


def test_an_empty_variable_names_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRITBATCH_DATA", "")
    assert given_folder() is None


def test_a_set_that_is_nowhere_is_downloaded_into_the_cache(
    places: tuple[Path, Path], site: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = site
    known(monkeypatch, NOWHERE, address)
    write_all(folder)
    assert data_folder("toys") == places[1] / "toys"
    assert contents(places[1] / "toys") == CONTENT
    (folder / "one.gz").unlink()
    assert data_folder("toys") == places[1] / "toys"


def test_a_download_that_differs_leaves_nothing_and_says_so(
    places: tuple[Path, Path], site: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = site
    known(monkeypatch, address)
    write_all(folder, CONTENT | {"one.gz": b"<html>"})
    with pytest.raises(DataMissing, match=r"one\.gz has 6 bytes and the SHA256 \w{12}\.\.\., not \w{12}\.\.\."):
        data_folder("toys")
    assert contents(places[1] / "toys") == {}


def test_an_archive_is_downloaded_checked_and_unpacked(
    places: tuple[Path, Path], site: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = tar_gz(CONTENT | {"readme.html": b"not wanted"})
    folder, address = site
    known(monkeypatch, address, packed=packed)
    (folder / "toys.tar.gz").write_bytes(packed)
    assert data_folder("toys") == places[1] / "toys"
    assert contents(places[1] / "toys") == CONTENT


def test_an_archive_in_the_given_folder_is_unpacked_into_the_cache(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = tar_gz(CONTENT, prefix="../../outside/")
    known(monkeypatch, NOWHERE, packed=packed)
    (places[0] / "toys.tar.gz").write_bytes(packed)
    assert data_folder("toys") == places[1] / "toys"
    assert contents(places[1] / "toys") == CONTENT


ARCHIVE_FAULTS = {
    "cut short": (tar_gz(CONTENT)[:-50], r"toys\.tar\.gz \([\d,]+ bytes\) is no whole tar\.gz"),
    "no archive": (b"<html>not found</html>", r"toys\.tar\.gz \(22 bytes\) is no whole tar\.gz"),
    "a file missing": (tar_gz({"one.gz": b"first"}), r"has no two\.bin: use the archive as published"),
    "a file changed": (
        tar_gz(CONTENT | {"one.gz": b"other"}),
        r"one\.gz in .*toys\.tar\.gz has 5 bytes and the SHA256",
    ),
}


@pytest.mark.parametrize(("packed", "sentence"), ARCHIVE_FAULTS.values(), ids=list(ARCHIVE_FAULTS))
def test_a_faulty_archive_is_refused(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, packed: bytes, sentence: str
) -> None:
    known(monkeypatch, NOWHERE, packed=b"")
    (places[0] / "toys.tar.gz").write_bytes(packed)
    with pytest.raises(UserError, match=sentence):
        data_folder("toys")


def test_a_missing_set_names_the_places_the_ways_and_the_task_without_files(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    known(monkeypatch, NOWHERE)
    with pytest.raises(DataMissing) as caught:
        data_folder("toys")
    sentence = str(caught.value)
    for part in (
        f"it is not in {places[0]} ($CRITBATCH_DATA)",
        f"it is not in {places[1]}",
        "http://127.0.0.1:9/one.gz gave [Errno",
        "set CRITBATCH_DATA to a folder that has one.gz, two.bin in toys/,",
        "copy them into the cache",
        "`make data FROM=folder`",
        "allow the network",
        "digits-mlp, which needs no files.",
    ):
        assert part in sentence
    assert "\n" not in sentence
    monkeypatch.setenv("CRITBATCH_DATA", "/no/such/folder")
    with pytest.raises(DataMissing, match=r"/no/such/folder \(\$CRITBATCH_DATA\) is no folder"):
        data_folder("toys")
    monkeypatch.delenv("CRITBATCH_DATA")
    with pytest.raises(DataMissing, match=r"\$CRITBATCH_DATA is not set"):
        data_folder("toys")


def test_a_cache_that_cannot_be_written_is_named(
    site: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_all(site[0])
    (tmp_path / "caches").write_text("a file where a folder belongs")
    for packed in (None, tar_gz(CONTENT)):
        known(monkeypatch, site[1], packed=packed)
        with pytest.raises(DataMissing, match=r"Not a directory: '.*caches"):
            data_folder("toys")


def run_fill(monkeypatch: pytest.MonkeyPatch, *arguments: object, name: str = "toys") -> int:
    """Run the command where this set is the only one."""
    monkeypatch.setattr(fill, "SETS", {name: SETS[name]})
    return fill.main([str(argument) for argument in arguments])


def test_fill_copies_from_a_folder_once_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known(monkeypatch, NOWHERE)
    write_all(tmp_path / "source" / "toys")
    to = tmp_path / "data"
    assert run_fill(monkeypatch, "--from", tmp_path / "source", "--to", to) == 0
    assert contents(to / "toys") == CONTENT
    assert f"toys            ok (copied from {tmp_path / 'source' / 'toys'})" in capsys.readouterr().out
    assert run_fill(monkeypatch, "--to", to) == 0
    assert capsys.readouterr().out == f"toys            ok (was there)\nUse it with CRITBATCH_DATA={to}\n"


def test_fill_repairs_what_is_broken_and_downloads_only_that(
    tmp_path: Path, site: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known(monkeypatch, site[1])
    write_all(tmp_path / "data" / "toys", CONTENT | {"one.gz": b"cut"})
    (site[0] / "one.gz").write_bytes(CONTENT["one.gz"])
    assert run_fill(monkeypatch, "--to", tmp_path / "data") == 0
    assert contents(tmp_path / "data" / "toys") == CONTENT
    assert "ok (downloaded)" in capsys.readouterr().out


FILL_FAULTS: dict[str, tuple[dict[str, bytes], str]] = {
    "nothing there": ({}, r"missing: \S+ has no toys/ with one\.gz, two\.bin: give a folder that has"),
    "a changed file": (CONTENT | {"two.bin": b"other"}, r"missing: \S+two\.bin has 5 bytes and the SHA256"),
    "an unpacked file": (
        {"one": b"", "two.bin": b""},
        r"missing: \S+one\.gz is not there, and only a file as published",
    ),
}


@pytest.mark.parametrize(("source", "sentence"), FILL_FAULTS.values(), ids=list(FILL_FAULTS))
def test_fill_says_why_a_set_is_missing_and_ends_with_1(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    source: dict[str, bytes],
    sentence: str,
) -> None:
    known(monkeypatch, NOWHERE)
    (tmp_path / "source").mkdir()
    if source:
        write_all(tmp_path / "source" / "toys", source)
    assert run_fill(monkeypatch, "--from", tmp_path / "source", "--to", tmp_path / "data") == 1
    out = capsys.readouterr().out
    assert re.fullmatch(rf"toys +{sentence}.*\n", out)


def test_fill_runs_no_program_of_a_data_folder_and_says_how_to_unpack_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, to, mark = tmp_path / "source", tmp_path / "data", tmp_path / "mark"
    program = f"open({str(mark)!r}, 'w')".encode()
    names = ["tools/unpack_cifar10.py", "cifar10/unpack_cifar10.py", "sitecustomize.py", "cifar10/setup.py", "numpy.py"]
    for name in names:
        write_all((source / name).parent, {Path(name).name: program})
        (source / name).chmod(0o755)
    write_all(source / "cifar10", {"data_batch_1.packed": b"packed"})
    monkeypatch.chdir(tmp_path)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "critbatch.tasks.prepare_data", "cifar10", "--from", source, "--to", to],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and done.stderr == "" and not mark.exists()
    assert re.match(
        r"cifar10 +missing: \S+source has 'cifar10' only in a form that critbatch does not read "
        r"\(data_batch_1\.packed, setup\.py, unpack_cifar10\.py\), and critbatch never runs a program that lies in a "
        r"data folder: unpack the set by hand, .* into a folder that has cifar10/cifar-10-batches-bin/ with "
        r"data_batch_1\.bin, .*, test_batch\.bin, or the published cifar-10-binary\.tar\.gz, and give that folder as "
        r"--from\.\n$",
        done.stdout,
    )
    assert not list(to.rglob("*"))


def test_an_archive_or_a_download_that_does_not_end_is_refused(
    places: tuple[Path, Path], site: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "LARGEST_BYTES", 1 << 21)
    zeros = bytes(3 << 20)
    known(monkeypatch, NOWHERE, packed=b"")
    for members in ({"two.bin": zeros}, {"readme": zeros, **CONTENT}):
        (places[0] / "toys.tar.gz").write_bytes(tar_gz(members))
        with pytest.raises(UserError, match=r"(unpacks to|has) more than 2,097,152 bytes"):
            data_folder("toys")
    (places[0] / "toys.tar.gz").unlink()
    known(monkeypatch, site[1])
    (site[0] / "one.gz").write_bytes(zeros)
    with pytest.raises(DataMissing, match=r"one\.gz has more than 2,097,152 bytes"):
        data_folder("toys")
    assert not [path for path in places[1].rglob("*") if path.is_file()]


def test_no_set_has_a_file_that_is_too_large_to_be_read() -> None:
    # Sizes as published: the largest archive, and the largest file unpacked.
    assert max(170_052_171, 50_000 * 3074 + 10_000 * 3074 + (1 << 20), 60_000 * 784 + 16) < LARGEST_BYTES


def test_fill_refuses_a_set_that_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        fill.main(["imagenet"])
    assert "no data set is called imagenet: use mnist, fashion-mnist" in capsys.readouterr().err
