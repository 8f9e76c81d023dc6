"""Checkpoints and weights: a damaged file is refused by name, no file decides which code runs."""

from __future__ import annotations

import pickle
import random
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

import critbatch.training.trainer
from critbatch.cli.main import main
from critbatch.errors import UserError
from critbatch.recipes import sgd
from critbatch.records.loss_surface import Solution
from critbatch.tasks.task import Task
from critbatch.training.checkpoint import (
    load_checkpoint,
    load_file,
    load_model,
    load_solution,
    previous_of,
    remove_checkpoint,
    save_checkpoint,
    save_solution,
)
from critbatch.training.state import Budget
from critbatch.training.trainer import Training
from tiny import tiny_task

CPU = torch.device("cpu")
STATE: dict[str, Any] = {"weights": torch.arange(40.0), "step": 7, "order": [1, 2.5, "three", None]}
PLAN = sgd(batch_size=16, learning_rate=0.1, epochs=4)
SOLUTION = Solution(label="sgd", recipe="sgd", batch_size=8, learning_rate=0.1, seed=0, steps=1)


def flipped(raw: bytes, bit: int) -> bytes:
    changed = bytearray(raw)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_no_flipped_bit_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    save_checkpoint(path, STATE)
    raw, draw = path.read_bytes(), random.Random(0)
    places = {draw.randrange(8 * len(raw)) for _ in range(300)}
    # The end says where everything lies, and has the checksum: each of its bits.
    for bit in (*sorted(places), *range(8 * (len(raw) - 110), 8 * len(raw))):
        path.write_bytes(flipped(raw, bit))
        with pytest.raises(UserError, match=rf"^{path} is (not a file that critbatch wrote|damaged).*: remove it"):
            load_checkpoint(path, CPU)
    path.write_bytes(raw)
    assert str(load_checkpoint(path, CPU)) == str(STATE)


@pytest.mark.parametrize("cut", [0, 1, 3, 22, 110, 500])
def test_a_file_that_was_cut_or_added_to_is_refused(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    save_checkpoint(path, STATE)
    raw = path.read_bytes()
    for content in (raw[:cut], raw[: len(raw) - cut - 1], raw + b"\0" * (cut + 1), raw + raw):
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"^{path} is "):
            load_checkpoint(path, CPU)


def test_torch_reads_the_file_and_one_without_a_checksum_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    save_checkpoint(path, STATE)
    assert str(torch.load(path, weights_only=True)) == str(STATE)
    torch.save(STATE, path)
    assert str(load_checkpoint(path, CPU)) == str(STATE)


def test_the_checkpoint_before_a_damaged_one_is_used_and_a_damaged_one_is_never_kept(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"

    def write(step: int) -> None:
        save_checkpoint(path, {"step": step}, keeps_previous=True)

    def damage(file: Path) -> None:
        file.write_bytes(flipped(file.read_bytes(), 4000))

    write(1)
    assert not previous_of(path).exists()
    write(2)
    damage(path)
    with pytest.warns(UserWarning, match=rf"{path} is damaged: the run goes on from the one before it, .*previous"):
        assert load_checkpoint(path, CPU) == {"step": 1}
    write(3)  # what is damaged does not take the place of the one before it
    assert load_checkpoint(path, CPU) == {"step": 3}
    assert load_file(previous_of(path), CPU, remedy="") == {"step": 1}
    damage(path)
    damage(previous_of(path))
    with pytest.raises(UserError, match=rf"^{path} is damaged, and so is the one before it, .*: remove both to start"):
        load_checkpoint(path, CPU)
    remove_checkpoint(path)
    assert list(tmp_path.iterdir()) == []


def test_where_files_have_no_second_names_the_one_before_is_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError

    monkeypatch.setattr("os.link", refuse)
    path = tmp_path / "run.pt"
    for step in (1, 2):
        save_checkpoint(path, {"step": step}, keeps_previous=True)
    assert load_file(previous_of(path), CPU, remedy="") == {"step": 1}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["run.pt", "run.pt.previous"]


def test_a_run_goes_on_from_the_checkpoint_before_and_ends_where_the_unbroken_one_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(critbatch.training.trainer, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    task, path = tiny_task(dropout=0.2), tmp_path / "run.pt"
    unbroken = Training(task, PLAN)
    unbroken.advance()
    first = Training(task, PLAN, checkpoint=path)
    first.advance(Budget(steps=10))
    path.write_bytes(flipped(path.read_bytes(), 9000))
    with pytest.warns(UserWarning, match="is damaged"):
        second = Training(task, PLAN, checkpoint=path)
    assert 0 < second.run_state.step < 10
    second.advance()
    for one, other in zip(second.model.parameters(), unbroken.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert list(tmp_path.iterdir()) == []


class Opens:
    """Makes the file `ran` when it is unpickled."""

    def __reduce__(self) -> Any:
        return open, ("ran", "w")


def pickled(path: Path) -> None:
    torch.save({"identity": Opens()}, path)


STRANGE: dict[str, Any] = {
    "text": lambda path: path.write_text("e is the opcode 101 of a pickle"),
    "text of another kind": lambda path: path.write_text("\u20ac" * 1000, encoding="utf-16"),
    "an empty file": lambda path: path.write_bytes(b""),
    "a plain pickle": lambda path: path.write_bytes(pickle.dumps({"identity": Opens()})),
    "code in an archive": pickled,
    "a list": lambda path: torch.save([1, 2], path),
    "keys of another type": lambda path: torch.save({1: 2}, path),
    "a checkpoint without its parts": lambda path: save_checkpoint(path, {"identity": 3}),
    "odd parts": lambda path: save_checkpoint(path, dict.fromkeys(("task", "solution", "model"), 3)),
    "an archive of another program": lambda path: shutil.make_archive(str(path), "zip", path.parent, "."),
    "a folder": Path.mkdir,
}


@pytest.mark.parametrize("write", STRANGE.values(), ids=list(STRANGE))
def test_any_other_file_is_refused_in_a_sentence_and_runs_nothing(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "files" / "some.pt"
    path.parent.mkdir()
    write(path)
    if (archive := path.with_suffix(".pt.zip")).exists():
        archive.replace(path)
    with pytest.raises(UserError) as checkpoint:
        Training(tiny_task(), PLAN, checkpoint=path)
    with pytest.raises(UserError) as weights:
        load_solution(path, CPU)
    assert "some.pt" in str(checkpoint.value) and "some.pt" in str(weights.value)
    assert not (tmp_path / "ran").exists()


def saved(path: Path, weights: dict[str, Any], *, name: str = "tiny") -> Path:
    return save_solution(path, weights, task_name=name, solution=SOLUTION)


ODD: dict[str, tuple[Any, str]] = {
    "NaN": (lambda w: {**w, "3.weight": w["3.weight"] * float("nan")}, "The weights of 3.weight hold NaN or infinity"),
    "infinity": (lambda w: {**w, "0.bias": w["0.bias"] + float("inf")}, "The weights of 0.bias hold NaN or infinity"),
    "other shapes": (lambda w: {name: part[:1] for name, part in w.items()}, "do not fit the model of task 'tiny'"),
    "numbers": (lambda w: dict.fromkeys(w, 1.0), "holds no weights of a run"),
    "keys that are numbers": (lambda w: dict(enumerate(w.values())), "holds no weights of a run"),
    "a list": (lambda w: list(w.values()), "holds no weights of a run"),
}


@pytest.mark.parametrize(("change", "sentence"), ODD.values(), ids=list(ODD))
def test_weights_that_cannot_be_used_are_refused_in_a_sentence(change: Any, sentence: str, tmp_path: Path) -> None:
    task: Task = tiny_task()
    path = tmp_path / "run.weights.pt"
    weights = task.new_model(3).state_dict()
    saved(path, weights)
    assert torch.equal(load_model(path, task).state_dict()["0.bias"], weights["0.bias"])
    saved(path, change(weights))
    with pytest.raises(UserError, match=sentence):
        load_model(path, task)


@pytest.mark.parametrize("name", ["innocent.py:task", "os:abort", "digits-mlp2", "\x1b[2J:x"])
def test_a_weights_file_does_not_decide_which_code_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "innocent.py").write_text("open('ran', 'w')\n")
    saved(tmp_path / "run.weights.pt", tiny_task().new_model(0).state_dict(), name=name)
    monkeypatch.setattr(sys, "argv", ["critbatch", "sharpness", "run.weights.pt"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert f"run.weights.pt is of the task {name!r}, which is not built in: give your task with --task" in said
    assert not (tmp_path / "ran").exists()


MINE = """
import sys
sys.path.insert(0, {tests!r})
from tiny import tiny_task
task = tiny_task()
"""


def test_the_task_that_is_given_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE.format(tests=str(Path(__file__).parents[2] / "fixtures")))
    saved(tmp_path / "run.weights.pt", tiny_task().new_model(0).state_dict(), name="innocent.py:task")
    words = ["--task", "mine.py:task", "--subspace", "2", "--iterations", "1", "--no-curvature", "--json"]
    monkeypatch.setattr(sys, "argv", ["critbatch", "sharpness", "run.weights.pt", *words])
    with suppress(SystemExit):
        main()
    assert '"task":"tiny"' in capsys.readouterr().out.replace(": ", ":")


def test_with_a_checkpoint_goes_what_killed_processes_left_of_it_and_nothing_else(tmp_path: Path) -> None:
    checkpoint, other = tmp_path / "run[1].pt", tmp_path / "other.pt"
    previous = previous_of(checkpoint)
    litter = [tmp_path / f".{checkpoint.name}.0123abcd.part", previous.with_name(f"{previous.name}.4711")]
    for file in (checkpoint, previous, *litter, other, tmp_path / f".{other.name}.0123abcd.part"):
        file.write_bytes(b"x")
    remove_checkpoint(checkpoint)
    assert {file.name for file in tmp_path.iterdir()} == {other.name, f".{other.name}.0123abcd.part"}
