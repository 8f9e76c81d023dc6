"""The networks of the papers have the layers, sizes and starts that the papers give."""

from __future__ import annotations

import hashlib
import io
import math
import tarfile
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from critbatch.errors import DataMissing, UserError
from critbatch.tasks import prepare_data as fill
from critbatch.tasks.datasets import data_folder
from critbatch.tasks.models import (
    STAGES,
    Bottleneck,
    KeskarC1,
    KeskarC2,
    KeskarF1,
    KeskarF2,
    ResNet,
    ResNet9,
    ResNet50,
    last_norms,
    zero_last_gamma,
)
from critbatch.tasks.published_sets import CIFAR100, SETS, Archive
from critbatch.tasks.registry import find_task


def size_of(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


def dense(wide: int, narrow: int, *, norm: bool = True) -> int:
    return (wide + 1) * narrow + 2 * narrow * norm


def conv(narrow: int, wide: int, side: int) -> int:
    return (narrow * side * side + 1) * wide + 2 * wide


VGG = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), *[(256, 256)] * 2, (256, 512), *[(512, 512)] * 5]
C1 = conv(3, 64, 5) + conv(64, 64, 5) + dense(64 * 8 * 8, 384) + dense(384, 192)
C2 = sum(conv(*channels, 3) for channels in VGG) + dense(512, 512)

SIZES: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "F1": (KeskarF1, dense(784, 512) + 4 * dense(512, 512) + dense(512, 10, norm=False)),
    "F2": (KeskarF2, dense(360, 512) + 6 * dense(512, 512) + dense(512, 1973, norm=False)),
    "C1": (KeskarC1, C1 + dense(192, 10, norm=False)),
    "C2": (KeskarC2, C2 + dense(512, 10, norm=False)),
    "C3": (lambda: KeskarC1(classes=100), C1 + dense(192, 100, norm=False)),
    "C4": (lambda: KeskarC2(classes=100), C2 + dense(512, 100, norm=False)),
    "ResNet-9": (ResNet9, 6_573_120),
    "ResNet-50": (ResNet50, 25_557_032),
}


@pytest.mark.parametrize(("make", "weights"), SIZES.values(), ids=list(SIZES))
def test_the_papers_networks_have_the_sizes_that_follow_from_their_layers(
    make: Callable[[], nn.Module], weights: int
) -> None:
    assert size_of(make()) == weights


SMALL: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "F2": (lambda: KeskarF2(width=16), (360,), 1973),
    "C3": (lambda: KeskarC1(classes=100), (3, 32, 32), 100),
    "C4": (lambda: KeskarC2(classes=100), (3, 32, 32), 100),
    "ResNet-9": (ResNet9, (3, 32, 32), 10),
    "ResNet-50": (lambda: ResNet50(classes=7), (3, 32, 32), 7),
}


@pytest.mark.parametrize(("make", "shape", "classes"), SMALL.values(), ids=list(SMALL))
def test_an_example_gets_its_own_logits_and_every_weight_a_gradient(
    make: Callable[[], nn.Module], shape: tuple[int, ...], classes: int
) -> None:
    torch.manual_seed(0)
    model, batch = make(), torch.randn(4, *shape)
    F.cross_entropy(model(batch), torch.tensor([0, 1, 2, 3])).backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()] == []
    model.eval()
    with torch.no_grad():
        found = model(batch)
        assert found.shape == (4, classes)
        torch.testing.assert_close(found[2:3], model(batch[2:3]), rtol=1e-3, atol=1e-4)


def test_c2_has_the_dropouts_of_the_authors_code() -> None:
    shares = [layer.p for layer in KeskarC2().modules() if isinstance(layer, nn.Dropout)]
    assert shares == [0.3, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.5, 0.5]
    kinds = [type(layer) for layer in KeskarC2()]
    for before, after in pairwise(kinds):
        assert (before, after) != (nn.Dropout, nn.MaxPool2d)


def test_keskar_s_weights_start_as_glorot_s() -> None:
    layer = KeskarF2()[3]
    limit = math.sqrt(6 / (512 + 512))
    assert limit * 0.999 < layer.weight.abs().max() <= limit
    assert layer.weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.01)
    assert not layer.bias.any()


def test_resnet_50_has_161_tensors_and_50_layers_beside_its_shortcuts() -> None:
    model = ResNet50()
    assert len(list(model.parameters())) == 161
    layers = [name for name, layer in model.named_modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    assert len([name for name in layers if "shortcut" not in name]) == 50
    assert len(layers) == 54
    assert [layer.bias for layer in model.modules() if isinstance(layer, nn.Conv2d)] == [None] * 53


def test_resnet_50_strides_in_the_3x3_convolution() -> None:
    strides = []
    for block in ResNet50().blocks:
        assert isinstance(block, Bottleneck)
        assert block.first.stride == block.third.stride == (1, 1)
        strides.append(block.second.stride[0])
        if strides[-1] != 1:
            assert block.shortcut[0].stride == (2, 2)
    assert strides == [1, 1, 1, 2, 1, 1, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1]


def test_resnet_50_starts_as_goyal_says() -> None:
    torch.manual_seed(0)
    model = ResNet50()
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            sigma = math.sqrt(2 / (layer.out_channels * layer.kernel_size[0] ** 2))
            count = layer.weight.numel()
            # Five standard errors, since there are 53 layers.
            assert layer.weight.std().item() == pytest.approx(sigma, abs=5 * sigma / math.sqrt(2 * count))
        if isinstance(layer, nn.BatchNorm2d):
            assert (layer.weight == 1).all()
            assert not layer.bias.any()
    assert model.head.weight.std().item() == pytest.approx(0.01, rel=0.01)
    assert not model.head.bias.any()


def test_resnet_50_halves_the_image_five_times() -> None:
    model = ResNet50(classes=2).eval()
    sides: list[int] = []
    for block in model.blocks:
        block.register_forward_hook(lambda _, __, found: sides.append(found.shape[-1]))
    with torch.no_grad():
        model(torch.randn(1, 3, 224, 224))
    counts = [blocks for _, blocks, _ in STAGES]
    assert sides == [side for side, count in zip((56, 28, 14, 7), counts, strict=True) for _ in range(count)]


def test_with_zero_gamma_every_block_starts_as_its_shortcut() -> None:
    torch.manual_seed(0)
    model = ResNet50(classes=3, zero_gamma=True).eval()
    images = torch.rand(2, 64, 8, 8)
    with torch.no_grad():
        block = model.blocks[0]
        torch.testing.assert_close(block(images), F.relu(block.shortcut(images)))
        wide = torch.rand(2, 256, 8, 8)
        torch.testing.assert_close(model.blocks[1](wide), wide)
    ones = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d) and (layer.weight == 1).all()]
    assert len(ones) == 53 - 16


@pytest.mark.parametrize(("model", "blocks"), [(ResNet(2), 6), (ResNet50(), 16), (KeskarC1(), 0), (ResNet9(), 0)])
def test_zero_gamma_takes_any_model_that_marks_its_blocks(model: nn.Module, blocks: int) -> None:
    others = {name: weight.clone() for name, weight in model.named_parameters()}
    assert zero_last_gamma(model) == blocks
    norms = last_norms(model)
    assert len(norms) == blocks
    assert all(isinstance(norm, nn.BatchNorm2d) and not norm.weight.any() for norm in norms)
    changed = [name for name, weight in model.named_parameters() if not torch.equal(weight, others[name])]
    assert len(changed) == blocks


def test_with_zero_gamma_the_last_norms_get_gradients_and_the_rest_of_a_block_at_the_second_step() -> None:
    torch.manual_seed(0)
    model = ResNet50(classes=3, zero_gamma=True)
    images, labels = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    F.cross_entropy(model(images), labels).backward()
    assert not model.blocks[1].first.weight.grad.any()
    assert all(norm.weight.grad.any() for norm in last_norms(model))
    optimizer.step()
    optimizer.zero_grad()
    F.cross_entropy(model(images), labels).backward()
    assert model.blocks[1].first.weight.grad.any()


def test_resnet_9_is_page_s_network() -> None:
    torch.manual_seed(0)
    model = ResNet9().eval()
    prep, one, _, residual_one, two, _, three, _, residual_three = model.features

    def apply(layer: nn.Sequential, images: Tensor) -> Tensor:
        return F.relu(layer[1](F.conv2d(images, layer[0].weight, padding=1)))

    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        found = F.max_pool2d(apply(one, apply(prep, images)), 2)
        found = found + apply(residual_one.second, apply(residual_one.first, found))
        found = F.max_pool2d(apply(two, found), 2)
        found = F.max_pool2d(apply(three, found), 2)
        found = found + apply(residual_three.second, apply(residual_three.first, found))
        logits = 0.125 * F.max_pool2d(found, 4).flatten(1) @ model.head.weight.T
        torch.testing.assert_close(model(images), logits)
    assert model.head.bias is None


@pytest.mark.parametrize("name", ["F2", "C3", "ResNet-9"])
def test_a_few_steps_lower_the_loss(name: str) -> None:
    make, shape, _ = SMALL[name]
    torch.manual_seed(0)
    model, batch, labels = make(), torch.randn(8, *shape), torch.arange(8) % 4
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(5):
        loss = F.cross_entropy(model(batch), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def cifar100_bytes(count: int) -> bytes:
    random = np.random.default_rng(count)
    fine = (np.arange(count) % 100).astype(np.uint8)
    records = np.concatenate(
        [(fine // 5)[:, None], fine[:, None], random.integers(0, 256, (count, 3072), dtype=np.uint8)], axis=1
    )
    return records.tobytes()


def packed(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(f"cifar-100-binary/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return stream.getvalue()


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder, an empty cache, and no address to download from."""
    monkeypatch.setenv("CRITBATCH_DATA", str(tmp_path / "given"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    (tmp_path / "given").mkdir()
    assert CIFAR100.archive is not None
    monkeypatch.setitem(SETS, "cifar100", replace(CIFAR100, archive=replace(CIFAR100.archive, urls=())))
    return tmp_path / "given"


def test_cifar_100_is_unpacked_once_its_archive_is_known_to_be_right(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = packed({"train.bin": b"train", "test.bin": b"test", "fine_label_names.txt": b"apple"})
    (nowhere / "cifar-100-binary.tar.gz").write_bytes(data)
    with pytest.raises(UserError, match=r"bytes and the MD5 \w{12}\.\.\., not 03b5dce01913\.\.\.: it was cut short"):
        data_folder("cifar100")
    archive = Archive("cifar-100-binary.tar.gz", hashlib.md5(data).hexdigest(), ())
    monkeypatch.setitem(SETS, "cifar100", replace(CIFAR100, archive=archive))
    folder = data_folder("cifar100")
    assert (folder / "train.bin").read_bytes() == b"train"
    assert sorted(path.name for path in folder.iterdir()) == ["test.bin", "train.bin"]


def test_cifar_100_that_is_nowhere_is_said_so(nowhere: Path) -> None:
    with pytest.raises(DataMissing, match=r"'cifar100' was not found.*train\.bin, test\.bin in cifar100/cifar-100-bin"):
        find_task("keskar-c3")


def test_cifar_100_of_the_published_size_makes_the_task(nowhere: Path) -> None:
    folder = nowhere / "cifar100"
    folder.mkdir()
    (folder / "train.bin").write_bytes(cifar100_bytes(50_000))
    (folder / "test.bin").write_bytes(cifar100_bytes(9_999))
    with pytest.raises(UserError, match=r"test\.bin has 30,736,926 bytes, which are not 10,000 records of 3,074"):
        find_task("keskar-c3")
    (folder / "test.bin").write_bytes(cifar100_bytes(10_000))
    task = find_task("keskar-c3")
    assert (task.examples, len(task.validation)) == (50_000, 10_000)
    assert torch.bincount(task.train.targets).tolist() == [500] * 100
    assert task.train.inputs.shape == (50_000, 3, 32, 32)
    assert task.inputs(task.train.inputs[:2]).max() <= 1


def test_make_data_does_not_ask_for_cifar_100_by_itself(
    nowhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fill, "SETS", {"cifar100": SETS["cifar100"]})
    assert fill.main(["--to", str(tmp_path / "to")]) == 0
    assert "cifar100" not in capsys.readouterr().out
    source = tmp_path / "from" / "cifar100"
    source.mkdir(parents=True)
    (source / "train.bin").write_bytes(b"train")
    (source / "test.bin").write_bytes(b"test")
    assert fill.main(["--to", str(tmp_path / "to"), "--from", str(tmp_path / "from"), "cifar100"]) == 0
    assert (tmp_path / "to" / "cifar100" / "cifar-100-binary" / "train.bin").read_bytes() == b"train"


@pytest.mark.data
@pytest.mark.parametrize(("name", "weights"), [("keskar-c2", 14_991_946), ("cifar10-resnet9", 6_573_120)])
def test_a_paper_s_task_on_cifar_10_starts_as_a_guess(
    name: str, weights: int, real_data: Callable[[str], Path]
) -> None:
    real_data("cifar10")
    task = find_task(name)
    model = task.new_model(0)
    assert size_of(model) == weights
    inputs, targets = task.train.span(0, 32)
    with torch.no_grad():
        loss = task.loss(task.forward(model, inputs), targets).mean().item()
    assert math.log(10) - 0.2 < loss < math.log(10) + 1.5
