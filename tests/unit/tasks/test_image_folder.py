"""Images in folders are found, decoded, and changed the same way by whoever asks for them."""

from __future__ import annotations

import builtins
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.random import PCG64, Generator
from torch.utils.data import DataLoader

from critbatch import recipes
from critbatch.errors import DataMissing, UserError
from critbatch.tasks.augmentation import COLOUR_VALUES, COLOUR_VECTORS, FolderAugmentation, random_box, recolour
from critbatch.tasks.builtin import resnet50_task
from critbatch.tasks.entry import need
from critbatch.tasks.image_folder import ImageFolder, find_images, list_images
from critbatch.tasks.registry import find_task
from critbatch.training.trainer import train

COLOURS = {"blue": (0, 0, 200), "green": (0, 200, 0), "red": (200, 0, 0)}


def generator(seed: int = 0) -> Generator:
    return Generator(PCG64(seed))


def test_crops_have_the_areas_and_ratios_that_they_should() -> None:
    random, augmentation = generator(), FolderAugmentation()
    boxes = [random_box(400, 300, augmentation, random) for _ in range(2000)]
    found = [box for box in boxes if box is not None]
    assert len(found) == 2000
    for left, top, right, bottom in found:
        assert 0 <= left < right <= 400
        assert 0 <= top < bottom <= 300
        wide, high = right - left, bottom - top
        assert 0.08 * 0.98 <= wide * high / 120_000 <= 1.0
        assert 3 / 4 * 0.98 <= wide / high <= 4 / 3 * 1.02
    small = [random_box(400, 300, FolderAugmentation(area=(0.08, 0.2)), random) for _ in range(2000)]
    upright = [
        high > wide for wide, high in ((box[2] - box[0], box[3] - box[1]) for box in small if box) if wide != high
    ]
    assert np.mean(upright) == pytest.approx(0.5, abs=3 * math.sqrt(0.25 / len(upright)))


def test_an_image_that_no_crop_fits_into_has_none() -> None:
    assert random_box(1000, 1, FolderAugmentation(area=(0.9, 1.0)), generator()) is None


def test_without_strength_colours_stay() -> None:
    pixels = generator().random((5, 4, 3), np.float32)
    found = recolour(pixels, FolderAugmentation(jitter=0.0, lighting=0.0), generator())
    np.testing.assert_allclose(found, pixels, rtol=0, atol=1e-6)


def test_lighting_shifts_all_pixels_along_the_principal_colours() -> None:
    pixels, augmentation = np.full((2, 2, 3), 0.5, np.float32), FolderAugmentation(jitter=0.0)
    random = generator()
    shifts = np.array([recolour(pixels, augmentation, random)[0, 0] - 0.5 for _ in range(4000)])
    np.testing.assert_allclose(COLOUR_VECTORS @ COLOUR_VECTORS.T, np.eye(3), atol=2e-3)
    along = shifts @ COLOUR_VECTORS
    expected = 0.1 * COLOUR_VALUES
    np.testing.assert_allclose(along.std(0), expected, rtol=4 / math.sqrt(2 * 4000), atol=2e-6)
    np.testing.assert_allclose(along.mean(0), 0, atol=4 * expected.max() / math.sqrt(4000))


def test_jitter_scales_by_at_most_its_strength() -> None:
    random, augmentation = generator(), FolderAugmentation(lighting=0.0)
    grey = np.full((3, 3, 3), 0.5, np.float32)
    # Of a grey image contrast and saturation change nothing: what is left is brightness.
    found = np.array([recolour(grey, augmentation, random).mean() for _ in range(1000)]) / 0.5
    assert 0.6 <= found.min() < 0.62
    assert 1.38 < found.max() <= 1.4001
    assert found.mean() == pytest.approx(1, abs=3 * 0.8 / math.sqrt(12 * 1000))


@pytest.fixture
def image_module() -> Any:
    return pytest.importorskip("PIL.Image")


@pytest.fixture
def folder(tmp_path: Path, image_module: Any) -> Path:
    """Three colours in two parts, of which one is a PNG and one has a name in capitals."""
    random = generator()
    for part, count in (("train", 4), ("val", 2)):
        for name, colour in COLOURS.items():
            place = tmp_path / part / name
            place.mkdir(parents=True)
            for number in range(count):
                pixels = np.clip(np.array(colour) + random.normal(0, 20, (40 + number, 60, 3)), 0, 255)
                ending = {0: "png", 1: "JPEG"}.get(number, "jpg")
                image_module.fromarray(pixels.astype(np.uint8)).save(place / f"{number}.{ending}")
            (place / "notes.txt").write_text("no image")
    return tmp_path


def test_images_are_listed_by_class_and_name(folder: Path) -> None:
    files = list_images(folder, "train")
    assert files.classes == ["blue", "green", "red"]
    assert files.labels == [label for label in range(3) for _ in range(4)]
    assert [Path(path).name for path in files.paths[:4]] == ["0.png", "1.JPEG", "2.jpg", "3.jpg"]
    assert list_images(folder, "val", ["blue", "cyan", "green", "red"]).labels == [0, 0, 2, 2, 3, 3]


def test_folders_that_cannot_be_used_are_said_so(folder: Path) -> None:
    with pytest.raises(UserError, match="has no folder test: give one that has train/CLASS"):
        list_images(folder, "test")
    with pytest.raises(UserError, match=r"train/red has no folder in it"):
        list_images(folder / "train", "red")
    (folder / "val" / "white").mkdir()
    with pytest.raises(UserError, match="val has the class 'white', which train/ lacks"):
        list_images(folder, "val", ["blue", "green", "red"])
    with pytest.raises(UserError, match=r"white has no image: put some there that end in .jpg, .jpeg, .png"):
        list_images(folder, "val")


def test_images_to_validate_on_are_scaled_and_cropped_in_the_middle(tmp_path: Path, image_module: Any) -> None:
    pixels = generator().integers(0, 256, (64, 100, 3)).astype(np.uint8)
    (tmp_path / "val" / "one").mkdir(parents=True)
    image_module.fromarray(pixels).save(tmp_path / "val" / "one" / "image.png")
    # 256 / 224 of 56 is 64, the shorter side: nothing is scaled.
    image, label = ImageFolder(list_images(tmp_path, "val"), size=56)[0]
    assert label == 0
    np.testing.assert_allclose(image.numpy().transpose(1, 2, 0), pixels[4:60, 22:78] / 255, rtol=0, atol=1e-6)
    half, _ = ImageFolder(list_images(tmp_path, "val"), size=28)[0]
    assert half.shape == (3, 28, 28)
    assert half.mean().item() == pytest.approx(image.mean().item(), abs=0.02)


def test_an_augmented_image_is_a_function_of_seed_epoch_and_index(folder: Path) -> None:
    files = list_images(folder, "train")
    data = ImageFolder(files, size=16, augmentation=FolderAugmentation())
    first = [data[index][0] for index in range(len(data))]
    assert all(torch.equal(data[index][0], first[index]) for index in reversed(range(len(data))))
    assert all(torch.equal(data.item_at(index, 0)[0], first[index]) for index in range(len(data)))
    later = data.item_at(3, 1)[0]
    assert not torch.equal(later, first[3])
    data.set_epoch(1)
    assert torch.equal(data[3][0], later)
    assert torch.equal(data.item_at(3, 0)[0], first[3])
    other = ImageFolder(files, size=16, augmentation=FolderAugmentation(), seed=1)
    assert not torch.equal(other[3][0], first[3])
    assert all(image.shape == (3, 16, 16) and image.dtype == torch.float32 for image in first)


def test_workers_and_the_global_random_state_change_nothing(folder: Path) -> None:
    data = ImageFolder(list_images(folder, "train"), size=16, augmentation=FolderAugmentation())
    batches = []
    for workers in (0, 2):
        torch.manual_seed(workers)
        np.random.seed(workers)
        batches.append(torch.cat([inputs for inputs, _ in DataLoader(data, batch_size=5, num_workers=workers)]))
    assert torch.equal(*batches)


def test_half_of_the_images_are_mirrored(tmp_path: Path, image_module: Any) -> None:
    (tmp_path / "train" / "one").mkdir(parents=True)
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, 4:] = 255
    image_module.fromarray(pixels).save(tmp_path / "train" / "one" / "image.png")
    whole = FolderAugmentation(area=(1.0, 1.0), ratio=(1.0, 1.0), jitter=0.0, lighting=0.0)
    data = ImageFolder(list_images(tmp_path, "train"), size=8, augmentation=whole)
    mirrored = [bool(data.item_at(0, epoch)[0][0, 0, 0] > 0.5) for epoch in range(400)]
    assert np.mean(mirrored) == pytest.approx(0.5, abs=3 * math.sqrt(0.25 / 400))


def test_grey_and_transparent_images_have_three_planes(tmp_path: Path, image_module: Any) -> None:
    for mode in ("L", "RGBA", "P"):
        (tmp_path / "train" / mode).mkdir(parents=True)
        image_module.new(mode, (20, 30)).save(tmp_path / "train" / mode / "image.png")
    data = ImageFolder(list_images(tmp_path, "train"), size=8, augmentation=FolderAugmentation())
    assert [data[index][0].shape for index in range(3)] == [(3, 8, 8)] * 3


def test_a_broken_image_is_named(folder: Path) -> None:
    path = folder / "train" / "blue" / "1.JPEG"
    whole = path.read_bytes()
    data = ImageFolder(list_images(folder, "train"), size=8)
    for broken in (b"", b"no image", whole[: len(whole) // 2]):
        path.write_bytes(broken)
        with pytest.raises(UserError, match=r"blue/1.JPEG cannot be read as an image \(.*\): repair or remove it"):
            data[1]


def test_the_task_learns_colours(folder: Path) -> None:
    task = resnet50_task(folder, size=32, target=0.9)
    assert (task.examples, len(task.validation)) == (12, 6)
    inputs, _ = task.train[0]
    expected = (inputs[:, 3, 4] - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(task.inputs(inputs[None])[0, :, 3, 4], expected)
    run = train(task, recipes.adam(batch_size=12, learning_rate=3e-4, epochs=3), device=torch.device("cpu"))
    losses = [point.train_loss for point in run.curve if point.train_loss is not None]
    assert losses[-1] < losses[0]


def test_the_folder_is_found_by_either_variable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CRITBATCH_IMAGES", raising=False)
    monkeypatch.delenv("CRITBATCH_DATA", raising=False)
    with pytest.raises(DataMissing, match=r"neither \$CRITBATCH_IMAGES nor \$CRITBATCH_DATA is set\): set CRITBATCH_I"):
        find_task("resnet50-folder")
    monkeypatch.setenv("CRITBATCH_DATA", str(folder))
    with pytest.raises(DataMissing, match=r"imagenet is no folder"):
        find_task("resnet50-folder")
    monkeypatch.setenv("CRITBATCH_IMAGES", str(folder / "nowhere"))
    with pytest.raises(DataMissing, match=r"nowhere is no folder"):
        find_task("resnet50-folder")
    monkeypatch.setenv("CRITBATCH_IMAGES", str(folder))
    assert find_images() == folder
    (folder / "imagenet").symlink_to(folder)
    monkeypatch.delenv("CRITBATCH_IMAGES")
    task = find_task("resnet50-folder")
    assert task.examples == 12
    assert task.train[0][0].shape == (3, 224, 224)


def test_a_missing_library_is_named_with_the_command_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    (tmp_path / "train" / "one").mkdir(parents=True)
    (tmp_path / "train" / "one" / "image.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"Reading images needs pillow, which cannot be imported \(.*`pip install pill"):
        ImageFolder(list_images(tmp_path, "train"))
    assert need("builtins", package="python", purpose="A test") is builtins
