"""Input that is damaged, odd or hostile is read rightly or refused in one sentence: a fuzzer of all that is read.

500 inputs in all are tried by `make test`, always the same; `make fuzz` tries 20,000 new ones. CRITBATCH_FUZZ_INPUTS is
their number.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import shutil
import sqlite3
import struct
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import critbatch
import sample_claims
import sample_loss_surface
import sample_records
import sample_scaling as sample_scale
import sample_studies
from critbatch.cli import main
from critbatch.cli.options import COMMANDS, Command
from critbatch.errors import UserError
from critbatch.recipes import plan_of
from critbatch.records.core import Advice, Record, Speed
from critbatch.records.io import KINDS, NAMES, load_records, save_record
from critbatch.reports.views.chapters import summary
from critbatch.reports.write import report as write_report
from critbatch.tasks.datasets import read_characters, read_cifar10, read_cifar100, read_idx, read_text
from critbatch.training.checkpoint import load_checkpoint, save_checkpoint, save_solution, solution_of
from tiny import tiny_task

INPUTS = int(os.environ.get("CRITBATCH_FUZZ_INPUTS", "500"))
KINDS_OF_INPUT = 9
fuzzed = settings(
    max_examples=max(1, INPUTS // KINDS_OF_INPUT),
    deadline=None,
    derandomize="CRITBATCH_FUZZ_INPUTS" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
)
randoms = st.randoms(use_true_random=False)

ODD_NUMBERS = [
    *("5e-324", "-5e-324", "1e400", "-1e400", "1" + "0" * 400, "9" * 5000, "nan", "inf", "-inf", "-0.0", "1e308"),
    *("0", "-1", "1", "2", "64", "1.5", "9007199254740993", "18446744073709551616", "1_000", "٣", "0x10", "1e-16"),
]
ODD_TEXTS = [
    *(
        "",
        " ",
        "\t",
        "=1+1",
        "é",
        "批大小",
        "\u202e",
        "\ud800",
        "a" * 300,
        "../..",
        "/dev/null",
        "~",
        "%s{0}",
        "-",
        "--",
    ),
    *("x\ny", "x\ry", "'", '"', "\x1b[31m", "digits-mlp", "none", "null", "True", "1,2", "1..8", "8..1", "a=b", "a="),
]


def refused(call: Callable[[], Any]) -> Any:
    """What the call returns, or None if it is refused in one sentence. Whatever else it raises is a fault."""
    try:
        return call()
    except UserError as error:
        sentence = str(error)
    assert sentence and "\n" not in sentence, repr(sentence)
    assert "Traceback" not in sentence
    return None


def damaged(raw: bytes, random: Random) -> bytes:
    """The bytes with one to three faults of a disk, a network, an editor or a person who means harm."""
    data = bytearray(raw)
    for _ in range(random.randint(1, 3)):
        place = random.randint(0, max(0, len(data) - 1))
        end = min(len(data), place + random.choice([1, 2, 4, 8, 100, 10_000]))
        kind = random.randint(0, 6)
        if kind == 0 and data:
            data[place] ^= 1 << random.randint(0, 7)
        elif kind == 1:
            del data[place:]
        elif kind == 2:
            del data[place:end]
        elif kind == 3:
            data[place:place] = data[place:end]
        elif kind == 4:
            data[place:end] = bytes([random.choice([0, 0xFF, 0x7F, 0x80])]) * (end - place)
        elif kind == 5:
            data[place:end] = random.randbytes(end - place)
        else:
            data += random.randbytes(random.choice([1, 4, 1000]))
    return bytes(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


# --- data sets -------------------------------------------------------------------------------------------------------


def unpacked(raw: bytes) -> bytes | None:
    """The content of a gzip file, or the bytes as they are; None where it is broken. By the standard library alone."""
    if raw[:2] != b"\x1f\x8b":
        return raw
    try:
        return gzip.decompress(raw)
    except Exception:
        return None


@fuzzed
@given(randoms)
def test_idx_files(folder: Path, random: Random) -> None:
    dimensions = random.choice([0, 1, 1, 2, 3, 3, 3, 4, 31, 32, 33, 64, 65, 255])
    sides = [random.choice([0, 1, 1, 2, 3, 5, 255, 2**16, 2**31, 2**32 - 1]) for _ in range(dimensions)]
    if random.random() < 0.5:
        sides = [min(side, 3) for side in sides[:4]] + [1 for _ in sides[4:]]
    kind = random.choice([8, 8, 8, 8, 9, 11, 12, 13, 14, 0, 255])
    size = min(math.prod(sides), 4096)
    raw = bytes([0, 0, kind, dimensions]) + struct.pack(f">{dimensions}I", *sides) + random.randbytes(size)
    raw = damaged(raw, random) if random.random() < 0.4 else raw
    raw = gzip.compress(raw) if random.random() < 0.5 else raw
    raw = damaged(raw, random) if random.random() < 0.4 else raw
    path = folder / "images-idx3-ubyte"
    path.write_bytes(raw)
    array = refused(lambda: read_idx(path))
    content = unpacked(raw)
    if array is not None:
        assert content is not None and content[:3] == b"\0\0\x08"
        assert list(array.shape) == list(struct.unpack_from(f">{content[3]}I", content, 4))
        assert array.tobytes() == content[4 + 4 * content[3] :]


@fuzzed
@given(randoms)
def test_cifar_files(folder: Path, random: Random) -> None:
    classes = random.choice([(10,), (20, 100)])
    rows = []
    for _ in range(random.randint(0, 3)):
        labels = [random.choice([0, size - 1, size, 255]) if random.random() < 0.1 else 1 for size in classes]
        rows.append(bytes(labels) + bytes([random.randint(0, 255)]) * 3072)
    raw = b"".join(rows)
    raw = damaged(raw, random) if random.random() < 0.5 else raw
    path = folder / "batch.bin"
    path.write_bytes(raw)
    for read, labels in ((read_cifar10, 1), (read_cifar100, 2)):
        if (pair := refused(lambda read=read: read(path))) is not None:
            images, last = pair
            table = np.frombuffer(raw, np.uint8).reshape(-1, labels + 3072)
            assert (images.reshape(len(table), 3072) == table[:, labels:]).all() and (
                last == table[:, labels - 1]
            ).all()


@fuzzed
@given(randoms)
def test_texts(folder: Path, random: Random) -> None:
    raw = "".join(random.choice(["a", "\n", "é", "批", "\0", "\U0001f600", "\r\n"]) for _ in range(30)).encode()
    raw = damaged(raw, random) if random.random() < 0.7 else raw
    path = folder / "input.txt"
    path.write_bytes(raw)
    text = refused(lambda: read_text(path))
    if text is not None:
        assert text.encode() == raw
    if (pair := refused(lambda: read_characters(path))) is not None:
        numbers, vocabulary = pair
        assert "".join(vocabulary[number] for number in numbers) == text


# --- tables and records ----------------------------------------------------------------------------------------------


@fuzzed
@given(randoms)
def test_tables(folder: Path, random: Random) -> None:
    names = ["batch_size", *random.sample(["steps", "epochs", "examples", "seed", "lr", "censored", "devices", "x"], 3)]
    separator = random.choice([",", ";", "\t"])
    lines = [separator.join(names)]
    for power in range(random.randint(0, 6)):
        cells = [str(8 << power), *(str(random.choice([1, 3, 400, 0.5, 70])) for _ in names[1:])]
        if random.random() < 0.3:
            cells[random.randint(0, len(cells) - 1)] = random.choice(ODD_NUMBERS + ODD_TEXTS)
        lines.append(separator.join(cells))
    raw = random.choice(["\n", "\r\n"]).join(lines).encode(errors="surrogatepass")
    raw = damaged(raw, random) if random.random() < 0.3 else raw
    path = folder / "points.csv"
    path.write_bytes(raw)
    at = [random.choice([1, 64, 10**9, 10**30])] if random.random() < 0.3 else []
    fit = refused(lambda: critbatch.fit(path, at=at))
    if fit is not None:
        assert type(fit).from_json(fit.to_json()) == fit
        assert summary(fit, random.choice(["en", "zh"]))


def sample() -> list[Record]:
    losses = sample_loss_surface
    return [
        *(sample_records.advice(), sample_records.unanswered(), sample_records.speed(), sample_records.noise()),
        *(sample_studies.study(), sample_studies.fit(), sample_studies.in_epochs(), sample_scale.scale()),
        *(sample_scale.measured(), sample_claims.lecture(), sample_claims.partial(), sample_records.runs()[0]),
        *(
            losses.curvature(),
            losses.sharpness(),
            losses.line(),
            losses.plane(),
            losses.shift(),
            losses.critical_point(),
        ),
        *(losses.escape(), losses.layered_noise()),
    ]


SAMPLE = [(type(record), record.to_json()) for record in sample()]
ODD_VALUES: list[Any] = [
    *(None, True, [], {}, [[]], "", "x", "NaN", "Infinity", "-Infinity", 0, -1, 1, 2, 0.5, 1e300, 5e-324, -0.0),
    *(10**30, 2**63, "批大小", "=1+1", "a" * 1000, "\0", [None], {"a": 1}, "digits-mlp"),
]


def places(value: Any) -> list[tuple[Any, Any]]:
    """All (container, key) of a tree."""
    found: list[tuple[Any, Any]] = []
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        found += [(value, key), *places(value[key])]
    return found


def odd_record(random: Random) -> tuple[type[Record], bytes]:
    kind, text = random.choice(SAMPLE)
    tree = json.loads(text)
    for _ in range(random.randint(1, 3)):
        container, key = random.choice(places(tree) or [(tree, None)])
        change = random.randint(0, 5)
        if change == 0:
            del container[key]
        elif change == 1 and isinstance(container, dict):
            container["new"] = random.choice(ODD_VALUES)
        elif change == 2 and isinstance(container, list):
            container.append(container[key])
        elif change == 3 and isinstance(container[key], int | float) and not isinstance(container[key], bool):
            container[key] = random.choice([0, -container[key], container[key] * 1e6, container[key] / 1e6])
        else:
            container[key] = random.choice(ODD_VALUES)
        if not tree:
            break
    text = json.dumps(tree)
    if random.random() < 0.05:
        text = text.replace("1", random.choice(ODD_NUMBERS), 1)
    raw = text.encode()
    if random.random() < 0.1:
        raw = damaged(raw, random)
    if random.random() < 0.03:
        raw = random.choice([b"[" * 100_000, b'{"task":' * 50_000, b"", b"null", b"\xff\xfe", b"[]", b"1" * 100_000])
    return kind, raw


@fuzzed
@given(randoms)
def test_records(folder: Path, random: Random) -> None:
    kind, raw = odd_record(random)
    place = folder / "records"
    place.mkdir(exist_ok=True)
    for old in place.iterdir():
        old.unlink()
    path = place / f"{NAMES[kind]}.json"
    path.write_bytes(raw)
    records = refused(lambda: load_records(place))
    if records is None:
        return
    (record,) = records
    assert KINDS[NAMES[kind]].from_json(record.to_json()).to_json() == record.to_json()
    language = random.choice(["en", "zh"])
    refused(lambda: write_report(place, place / "report.html", language=language))
    refused(lambda: critbatch.export(place, out=place / "runs.csv"))
    if isinstance(record, Advice | Speed):
        refused(lambda: critbatch.scale(tiny_task(name=record.task), place))
    for old in place.iterdir():
        old.unlink()
    saved = refused(lambda: save_record(record, place))
    assert saved is None or saved.parent == place


# --- weights and checkpoints -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run_file(folder: Path) -> bytes:
    """The weights that a run of the tiny task kept."""
    task = tiny_task()
    run = critbatch.train(task, plan_of("sgd", batch_size=48, learning_rate=0.1, epochs=1), compile=False, device="cpu")
    path = folder / "tiny.weights.pt"
    save_solution(path, task.new_model(0).state_dict(), task_name="tiny", solution=solution_of(run))
    return path.read_bytes()


@fuzzed
@given(randoms)
def test_weights(folder: Path, run_file: bytes, random: Random) -> None:
    path = folder / "run.weights.pt"
    path.write_bytes(damaged(run_file, random))
    model = refused(lambda: critbatch.load_model(path, tiny_task()))
    if model is not None:
        for name, weight in tiny_task().new_model(0).state_dict().items():
            assert torch.equal(model.state_dict()[name], weight)


STATE = {"step": 7, "name": "批大小", "weights": torch.arange(64.0), "nested": {"a": [1, 2.5, None, True]}}


@fuzzed
@given(randoms)
def test_checkpoints(folder: Path, random: Random) -> None:
    path = folder / "run.pt"
    save_checkpoint(path, STATE)
    path.write_bytes(damaged(path.read_bytes(), random))
    state = refused(lambda: load_checkpoint(path, torch.device("cpu")))
    if state is not None:
        assert torch.equal(state.pop("weights"), STATE["weights"])
        assert state == {name: value for name, value in STATE.items() if name != "weights"}
    for other in folder.glob("run.pt*"):
        other.unlink()


# --- stores ----------------------------------------------------------------------------------------------------------

QUESTION: dict[str, Any] = {"batch_sizes": [48], "learning_rates": [0.1], "seeds": [0, 1], "epochs": 1}
ODD_CELLS: list[Any] = [None, "", -1, "x", 1e300, "{}", "[]", "null", '{"a": 1}', 10**15, "NaN"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A store with two runs."""
    out = tmp_path_factory.mktemp("store")
    critbatch.sweep(tiny_task(), out=out, **QUESTION, compile=False)
    return (out / "runs.sqlite").read_bytes()


def with_odd_cells(path: Path, random: Random) -> None:
    """Write values that critbatch does not write, into tables that have rows."""
    with closing(sqlite3.connect(path)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = {name: [row for (row,) in database.execute(f"SELECT rowid FROM {name}")] for name in tables}
        for _ in range(random.randint(1, 2)):
            table = random.choice([name for name in tables if rows[name]])
            column = random.choice([column[1] for column in database.execute(f"PRAGMA table_info({table})")])
            cell, row = random.choice(ODD_CELLS), random.choice(rows[table])
            with suppress(sqlite3.Error):  # which keeps what may not be empty or double
                database.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (cell, row))
        database.commit()


@fuzzed
@given(randoms)
def test_stores(folder: Path, store: bytes, random: Random) -> None:
    place = folder / "stores"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    path = place / "runs.sqlite"
    if random.random() < 0.5:
        path.write_bytes(damaged(store, random))
    else:
        path.write_bytes(store)
        with_odd_cells(path, random)
    refused(lambda: critbatch.export(place))
    refused(lambda: critbatch.report(place, format="json"))
    if random.random() < 0.3:
        refused(lambda: critbatch.sweep(tiny_task(), out=place, **QUESTION, compile=False))


# --- options ---------------------------------------------------------------------------------------------------------

TASK_FILE = """
from tiny import tiny_task
task = tiny_task(examples=24, target=0.1)
"""
# What makes a command small, before the odd options, which may replace it.
SMALL = {
    "speed": ["--batch-sizes", "8,16", "--budget", "0.2"],
    "noise": ["--batch-size", "8", "--epochs", "1"],
    "train": ["--batch-size", "8", "--epochs", "1", "--no-compile"],
    "sweep": ["--batch-sizes", "12", "--learning-rates", "0.1", "--seeds", "0", "--epochs", "1", "--no-compile"],
    "escape": ["--starts", "2", "--descent-steps", "2", "--steps", "2"],
    "scale": [],
    "report": [],
    "export": [],
    "fit": [],
    "watch": ["--once"],
    "curvature": ["--trace-products", "2", "--no-density"],
    "critical-point": ["--batches", "8"],
    "sharpness": ["--iterations", "1", "--no-curvature", "--subspace", "2"],
    "landscape": ["--points", "3"],
    "shift": [],
    "recipes": [],
    "tasks": [],
}
# They would start processes, wait, or write where they should not.
LEFT_OUT = {"--workers", "--ray", "--storage", "--shard-weights", "--report", "--every", "--help", "--out"}
LEFT_OUT |= {"--gpus-per-worker", "--compile"}


def options_of(command: str) -> list[tuple[str, bool]]:
    """The options of a command, and whether each takes a value."""
    return [
        (name, not getattr(one, "is_flag", False))
        for one in Command(COMMANDS[command]).params
        for name in (*one.opts, *one.secondary_opts)
        if name.startswith("--") and name not in LEFT_OUT
    ]


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory, run_file: bytes) -> dict[str, list[str]]:
    """For each command a place that exists."""
    here = tmp_path_factory.mktemp("options")
    (here / "tiny_fuzz.py").write_text(TASK_FILE, encoding="utf-8")
    task, out = f"{here / 'tiny_fuzz.py'}:task", here / "out"
    critbatch.sweep(task, out=out, batch_sizes=[12], learning_rates=[0.1], seeds=[0], epochs=1, compile=False)
    save_record(critbatch.speed(task, [8, 16], budget=0.2), out)
    (here / "points.csv").write_text("batch_size,steps\n8,900\n16,500\n32,300\n64,250\n", encoding="utf-8")
    (out / "run.weights.pt").write_bytes(run_file)
    records, run = ["report", "export", "watch"], str(out / "run.weights.pt")
    measured = ["curvature", "critical-point", "sharpness", "landscape", "shift"]
    return {
        **{name: [task, "--out", str(out)] for name in SMALL},
        **{name: [str(out)] for name in records},
        **{name: [run, "--task", task, "--out", str(out)] for name in measured},
        **{"fit": [str(here / "points.csv"), "--out", str(out)], "recipes": ["sgd"], "tasks": []},
    }


@fuzzed
@given(random=randoms)
def test_options(arguments: dict[str, list[str]], random: Random) -> None:
    command = random.choice(list(SMALL))
    words = [command, *arguments[command], *SMALL[command]]
    options = options_of(command)
    for _ in range(random.randint(1, 3) if options else 0):
        name, takes_value = random.choice(options)
        words.append(name)
        if takes_value and random.random() < 0.97:
            words.append(random.choice(ODD_NUMBERS + ODD_TEXTS))
    if random.random() < 0.1:
        words[1:2] = [random.choice(ODD_TEXTS)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["critbatch", *words])
        patch.setattr("critbatch.reports.write.report", lambda records, path, **more: path)
        threads = torch.get_num_threads()
        try:
            code = main._run()
        finally:
            torch.set_num_threads(threads)
    assert code in (0, 2), words
