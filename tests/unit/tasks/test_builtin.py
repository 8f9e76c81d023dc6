"""The built-in tasks, their models and how their data are prepared."""

from __future__ import annotations

import gzip
import math
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from critbatch.errors import UserError
from critbatch.records.core import Quantity
from critbatch.tasks.builtin import CIFAR10_SCALE, TASKS, windows
from critbatch.tasks.image_folder import Standardize, to_indices
from critbatch.tasks.models import CNN, GPT, MLP, ResidualBlock, ResNet, he_normal
from critbatch.tasks.published_sets import SETS
from critbatch.tasks.registry import find_task


def size_of(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


def small_gpt() -> GPT:
    return GPT(vocabulary=11, context=8, layers=2, width=16, heads=4)


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[int], Tensor]]] = {
    "mlp": (lambda: MLP((6, 5, 10)), lambda batch: torch.randn(batch, 6)),
    "cnn": (lambda: CNN(channels=1, size=28, widths=(8, 16)), lambda batch: torch.randn(batch, 1, 28, 28)),
    "resnet": (lambda: ResNet(1), lambda batch: torch.randn(batch, 3, 32, 32)),
    "gpt": (small_gpt, lambda batch: torch.randint(11, (batch, 8))),
}


@pytest.mark.parametrize(("make", "draw"), MODELS.values(), ids=list(MODELS))
def test_in_eval_mode_an_example_does_not_depend_on_the_others(
    make: Callable[[], nn.Module], draw: Callable[[int], Tensor]
) -> None:
    model, batch = make().eval(), draw(4)
    with torch.no_grad():
        torch.testing.assert_close(model(batch)[2:3], model(batch[2:3]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("make", "draw"), MODELS.values(), ids=list(MODELS))
def test_every_weight_has_a_gradient(make: Callable[[], nn.Module], draw: Callable[[int], Tensor]) -> None:
    model = make()
    model(draw(4)).square().sum().backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()] == []


def test_he_weights_have_variance_two_over_fan_in() -> None:
    for layer, fan_in in ((nn.Linear(400, 300), 400), (nn.Conv2d(50, 200, 3), 450)):
        weights = he_normal(layer).weight.flatten()
        # The standard error of a standard deviation of n normal numbers is sigma / sqrt(2 n).
        sigma = math.sqrt(2 / fan_in)
        assert weights.std().item() == pytest.approx(sigma, abs=4 * sigma / math.sqrt(2 * len(weights)))
        assert not layer.bias.any()


def test_the_mlp_is_the_one_of_the_lecture_s_figure() -> None:
    model = MLP((784, 100, 10))
    first, _, last = model
    inputs = torch.randn(3, 784)
    expected = (inputs @ first.weight.T + first.bias).clamp(min=0) @ last.weight.T + last.bias
    torch.testing.assert_close(model(inputs), expected)
    assert size_of(model) == 79_510


def test_resnet_20_has_the_size_and_depth_that_the_paper_gives() -> None:
    model = ResNet(3)
    layers = [layer for layer in model.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    assert len(layers) == 20
    assert round(size_of(model) / 1e6, 2) == 0.27


def test_a_shortcut_that_halves_takes_every_second_pixel_and_adds_empty_channels() -> None:
    block = ResidualBlock(2, 4, stride=2).eval()
    nn.init.zeros_(block.second.weight)
    images = torch.rand(1, 2, 6, 6)
    found = block(images)
    torch.testing.assert_close(found[:, :2], images[:, :, ::2, ::2])
    assert not found[:, 2:].any()


def test_the_transformer_never_looks_ahead() -> None:
    model, characters = small_gpt(), torch.randint(11, (1, 8))
    changed = characters.clone()
    changed[0, 5:] = (changed[0, 5:] + 1) % 11
    with torch.no_grad():
        before, after = model(characters), model(changed)
    torch.testing.assert_close(before[:, :5], after[:, :5], rtol=0, atol=0)
    assert (before[:, 5:] != after[:, 5:]).any(-1).all()


def test_the_transformer_sees_what_came_before_and_where() -> None:
    model = small_gpt()
    with torch.no_grad():
        logits = model(torch.tensor([[1, 2, 3], [4, 2, 3], [2, 1, 3]]))
    for other in (1, 2):
        assert not torch.allclose(logits[0, 2], logits[other, 2])


def test_the_transformer_takes_less_than_its_context() -> None:
    assert small_gpt()(torch.zeros(2, 3, dtype=torch.int64)).shape == (2, 3, 11)


def test_bytes_are_standardized_and_left_as_they_were() -> None:
    batch = torch.arange(256, dtype=torch.uint8).view(4, 64)
    found = Standardize(mean=100.0, std=50.0)(batch)
    torch.testing.assert_close(found, (batch.float() - 100) / 50)
    assert batch.flatten().tolist() == list(range(256))


def test_channels_are_standardized_each_with_its_own_numbers() -> None:
    batch = torch.randint(256, (5, 3, 4, 4), dtype=torch.uint8)
    for _ in range(2):
        found = CIFAR10_SCALE(batch)
        for channel in range(3):
            expected = (batch[:, channel].float() - CIFAR10_SCALE.mean[channel]) / CIFAR10_SCALE.std[channel]
            torch.testing.assert_close(found[:, channel], expected, rtol=1e-5, atol=1e-5)


def test_a_standardization_that_was_used_is_pickled_without_its_tensors() -> None:
    scale = Standardize(mean=(1.0, 2.0), std=(3.0, 4.0))
    unused = pickle.dumps(scale)
    scale(torch.zeros(1, 2, 5, 5, dtype=torch.uint8))
    assert pickle.dumps(scale) == unused
    assert pickle.loads(unused) == scale


def test_indices_are_what_an_embedding_takes() -> None:
    assert to_indices(torch.tensor([[255]], dtype=torch.uint8)).dtype == torch.int64


@pytest.mark.parametrize("characters", [9, 10, 12, 13])
def test_windows_do_not_overlap_and_each_character_s_target_is_the_next(characters: int) -> None:
    text = torch.arange(characters, dtype=torch.uint8)
    found = windows(text, 4)
    assert len(found) == (characters - 1) // 4
    assert found.inputs.dtype == torch.uint8
    assert found.inputs.flatten().tolist() == list(range(len(found) * 4))
    assert (found.targets == found.inputs.long() + 1).all()


def test_each_entry_names_a_known_data_set_and_builds_a_task_of_its_own_name() -> None:
    assert {entry.data for entry in TASKS.values()} == {"digits", "none", "own", *SETS}
    assert find_task("digits-mlp").name == "digits-mlp"
    assert all(entry.description and entry.model for entry in TASKS.values())


def test_the_fingerprint_does_not_move_with_the_number_of_threads() -> None:
    before, found = torch.get_num_threads(), set()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.add(find_task("digits-mlp").fingerprint())
    finally:
        torch.set_num_threads(before)
    assert len(found) == 1


def test_digits_are_split_once_and_for_all() -> None:
    task = find_task("digits-mlp")
    assert (task.examples, len(task.validation)) == (1437, 360)
    assert task.fingerprint() == find_task("digits-mlp").fingerprint()
    seen = {row.numpy().tobytes() for row in task.train.inputs}
    assert not any(row.numpy().tobytes() in seen for row in task.validation.inputs)
    counts = torch.bincount(torch.cat([task.train.targets, task.validation.targets])).tolist()
    assert counts == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    ready = task.inputs(task.train.inputs)
    assert ready.mean().item() == pytest.approx(0, abs=1e-4)
    assert ready.std().item() == pytest.approx(1, abs=1e-4)


def write_idx(path: Path, array: np.ndarray) -> None:
    header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


@pytest.fixture
def handmade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files of MNIST, twelve images to train on and five to validate."""
    folder = tmp_path / "mnist"
    folder.mkdir()
    for part, count in (("train", 12), ("t10k", 5)):
        images = np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", (np.arange(count) % 10).astype(np.uint8))
    monkeypatch.setenv("CRITBATCH_DATA", str(tmp_path))
    return folder


def test_images_are_kept_as_bytes(handmade: Path) -> None:
    task = find_task("mnist-mlp")
    assert (task.examples, len(task.validation)) == (12, 5)
    assert task.train.inputs.dtype == torch.uint8
    assert task.train.inputs.shape == (12, 784)
    assert task.inputs(task.train.inputs[:2]).dtype == torch.float32


def test_a_truncated_file_of_a_built_in_task_is_named(handmade: Path) -> None:
    path = handmade / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"mnist/train-images-idx3-ubyte.gz \([\d,]+ bytes\) is a broken gzip file"):
        find_task("mnist-mlp")


def test_files_that_do_not_belong_together_are_named(handmade: Path) -> None:
    write_idx(handmade / "train-labels-idx1-ubyte.gz", np.zeros(11, np.uint8))
    with pytest.raises(
        UserError, match=r"train-images-idx3-ubyte.gz has 12 images but \S+ has 11 labels: use files that"
    ):
        find_task("mnist-mlp")


def test_labels_that_are_no_digits_are_refused(handmade: Path) -> None:
    write_idx(handmade / "train-labels-idx1-ubyte.gz", np.full(12, 77, np.uint8))
    with pytest.raises(
        UserError, match="Task 'mnist-mlp': the training labels run from 77 to 77, but the model has 10"
    ):
        find_task("mnist-mlp")


EXPECTED = {
    "mnist-mlp": (60_000, 10_000, (784,), 79_510),
    "fashion-mlp": (60_000, 10_000, (784,), 79_510),
    "fashion-cnn": (60_000, 10_000, (1, 28, 28), 9_098),
    "cifar10-cnn": (50_000, 10_000, (3, 32, 32), 33_834),
    "cifar10-resnet": (50_000, 10_000, (3, 32, 32), 269_722),
    "shakespeare-gpt": (15_685, 1_742, (64,), 112_512),
}


@pytest.mark.data
@pytest.mark.parametrize("name", EXPECTED)
def test_a_built_in_task_has_its_data_and_starts_as_a_guess(name: str, real_data: Callable[[str], Path]) -> None:
    real_data(TASKS[name].data)
    task = find_task(name)
    examples, validation, shape, weights = EXPECTED[name]
    assert task.name == name
    assert (task.examples, len(task.validation)) == (examples, validation)
    assert task.train.inputs.dtype == torch.uint8
    assert task.train.inputs.shape == (examples, *shape)
    model = task.new_model(0)
    assert size_of(model) == weights
    inputs, targets = task.train.span(0, 100)
    with torch.no_grad():
        loss = task.loss(task.forward(model, inputs), targets).mean().item()
    classes = 65 if name == "shakespeare-gpt" else 10
    assert math.log(classes) - 0.2 < loss < math.log(classes) + 1.5
    if task.target.quantity is Quantity.VALIDATION_METRIC:
        assert task.inputs(inputs).mean().item() == pytest.approx(0, abs=0.15)
        assert task.inputs(inputs).std().item() == pytest.approx(1, abs=0.15)


@pytest.mark.data
def test_the_characters_to_validate_on_follow_those_to_train_on(real_data: Callable[[str], Path]) -> None:
    text = (real_data("tinyshakespeare") / "input.txt").read_text()
    vocabulary = sorted(set(text))
    task = find_task("shakespeare-gpt")
    split = len(text) * 9 // 10
    for data, start in ((task.train, 0), (task.validation, split)):
        inputs, targets = ("".join(vocabulary[i] for i in tree[1]) for tree in (data.inputs, data.targets))
        assert inputs == text[start + 64 : start + 128]
        assert targets == text[start + 65 : start + 129]
