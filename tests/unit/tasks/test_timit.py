"""F2's frames are the user's own, or a stand-in that says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from critbatch.errors import DataMissing, UserError
from critbatch.tasks.builtin import TASKS
from critbatch.tasks.registry import find_task
from critbatch.tasks.timit import read_frames, stand_in_frames

RANDOM = np.random.default_rng(0)
RIGHT = {
    "train_inputs": RANDOM.standard_normal((12, 360)),
    "train_labels": RANDOM.integers(0, 1973, 12),
    "validation_inputs": RANDOM.standard_normal((5, 360)).astype(np.float32),
    "validation_labels": np.array([0, 1972, 3, 4, 5], np.uint16),
}


def saved(folder: Path, **changed: np.ndarray | None) -> Path:
    path = folder / "timit.npz"
    np.savez(path, **{name: array for name, array in (RIGHT | changed).items() if array is not None})
    return path


def test_frames_are_read_as_they_were_saved(tmp_path: Path) -> None:
    train, validation = read_frames(saved(tmp_path))
    assert (len(train), len(validation)) == (12, 5)
    torch.testing.assert_close(train.inputs, torch.from_numpy(RIGHT["train_inputs"]).float())
    assert train.targets.tolist() == RIGHT["train_labels"].tolist()
    assert validation.targets.tolist() == [0, 1972, 3, 4, 5]
    assert (validation.inputs.dtype, validation.targets.dtype) == (torch.float32, torch.int64)


FAULTS: dict[str, tuple[dict[str, np.ndarray | None], str]] = {
    "a missing array": ({"train_labels": None}, "has no array train_labels but train_inputs, validation_inputs"),
    "frames of another width": (
        {"train_inputs": np.zeros((12, 440))},
        r"train_inputs in \S+ is float64 of shape \(12, 440\): give numbers of shape \(n, 360\)",
    ),
    "frames that are no numbers": ({"train_inputs": np.full((12, 360), "a")}, r"is <U1 of shape \(12, 360\)"),
    "too few labels": ({"validation_labels": np.zeros(4, int)}, r"shape \(4,\): give 5 whole numbers, one for each"),
    "labels one-hot": ({"train_labels": np.zeros((12, 1973), int)}, r"shape \(12, 1973\): give 12 whole numbers"),
    "labels from 1": ({"train_labels": np.full(12, 1973)}, "run from 1973 to 1973: give labels from 0 to 1972"),
    "labels as floats": ({"train_labels": np.zeros(12)}, r"is float64 of shape \(12,\): give 12 whole numbers"),
    "objects": ({"train_labels": np.array([None] * 12)}, "is no .npz file of plain arrays"),
}


@pytest.mark.parametrize(("changed", "sentence"), FAULTS.values(), ids=list(FAULTS))
def test_faulty_frames_are_refused_in_one_sentence(
    tmp_path: Path, changed: dict[str, np.ndarray | None], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        read_frames(saved(tmp_path, **changed))
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"PK\3\4 cut short", b"\x93NUMPY", b"a text"])
def test_a_file_that_is_no_npz_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "timit.npz").write_bytes(data)
    with pytest.raises(UserError, match=r"timit.npz is no .npz file of plain arrays"):
        read_frames(tmp_path / "timit.npz")


def test_the_task_reads_the_user_s_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRITBATCH_DATA", str(tmp_path))
    with pytest.raises(DataMissing, match=r"timit/timit.npz is not there\): TIMIT is licensed.*keskar-f2-stand-in"):
        find_task("keskar-f2")
    (tmp_path / "timit").mkdir()
    saved(tmp_path / "timit")
    task = find_task("keskar-f2")
    assert (task.examples, len(task.validation)) == (12, 5)
    monkeypatch.delenv("CRITBATCH_DATA")
    with pytest.raises(DataMissing, match=r"\$CRITBATCH_DATA is not set"):
        find_task("keskar-f2")


def test_the_stand_in_is_the_same_each_time_and_made_as_its_words_say() -> None:
    train, validation = stand_in_frames(examples=30_000, validation=100, spread=0.6)
    again, _ = stand_in_frames(examples=30_000, validation=100, spread=0.6)
    assert torch.equal(train.inputs, again.inputs)
    assert torch.equal(train.targets, again.targets)
    assert (train.inputs.shape, validation.inputs.shape) == ((30_000, 360), (100, 360))
    counts = torch.bincount(train.targets, minlength=1973).float()
    # Evenly drawn classes have the mean and the variance of a Poisson number, and n of them this standard error.
    assert counts.mean().item() == pytest.approx(30_000 / 1973)
    assert counts.var().item() == pytest.approx(counts.mean().item(), rel=4 * (2 / 1973) ** 0.5)
    sums = torch.zeros(1973, 360).index_add_(0, train.targets, train.inputs)
    residuals = train.inputs - (sums / counts[:, None])[train.targets]
    noise2 = residuals.square().sum().item() / 360 / (30_000 - 1973)
    assert noise2 == pytest.approx(1, rel=4 * (2 / (360 * 28_000)) ** 0.5)
    assert train.inputs.var().item() == pytest.approx(1 + 0.6**2, rel=0.01)
    other, _ = stand_in_frames(examples=100, validation=10, seed=1)
    assert not torch.equal(other.inputs, train.inputs[:100])


def test_the_stand_in_is_called_one() -> None:
    assert "stand-in" in TASKS["keskar-f2-stand-in"].description
    task = find_task("keskar-f2-stand-in")
    assert task.name == "keskar-f2-stand-in"
    assert sum(weight.numel() for weight in task.new_model(0).parameters()) == 2_780_085
