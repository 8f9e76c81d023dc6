"""Flips, crops and cutouts are those of a loop over images, rows and columns."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from critbatch import flips_and_crops
from critbatch.errors import UserError
from critbatch.records.core import Quantity, Target
from critbatch.tasks.augmentation import epoch_draws
from critbatch.tasks.builtin import CIFAR10_SCALE
from critbatch.tasks.image_folder import Standardize
from critbatch.tasks.registry import find_task
from critbatch.tasks.task import Task


def images(batch: int, channels: int = 3, height: int = 9, width: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (batch, channels, height, width), generator=generator, dtype=torch.uint8)


def by_hand(image: list[Any], draw: list[float], *, padding: int, flips: bool, cutout: int, fill: list[int]) -> Any:
    """The same for one image as lists, [channel][row][column]: padded, cropped, mirrored, cut out, in this order."""

    def padded(line: list[Any]) -> list[Any]:
        return [line[i] for i in range(padding, 0, -1)] + line + [line[-2 - i] for i in range(padding)]

    height, width = len(image[0]), len(image[0][0])
    top, left = int(draw[1] * (2 * padding + 1)), int(draw[2] * (2 * padding + 1))
    changed = []
    for channel in image:
        rows = padded([padded(row) for row in channel])[top : top + height]
        rows = [row[left : left + width] for row in rows]
        changed.append([row[::-1] for row in rows] if flips and draw[0] < 0.5 else rows)
    if cutout:
        top, left = int(draw[3] * (height - cutout + 1)), int(draw[4] * (width - cutout + 1))
        for channel, value in zip(changed, fill, strict=True):
            for row in channel[top : top + cutout]:
                row[left : left + cutout] = [value] * cutout
    return changed


@pytest.mark.parametrize("cutout", [0, 4])
@pytest.mark.parametrize("flips", [True, False])
@pytest.mark.parametrize("padding", [0, 2, 6])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_batch_is_changed_as_a_loop_changes_its_images(
    padding: int, flips: bool, cutout: int, dtype: torch.dtype
) -> None:
    augment = flips_and_crops(padding, flips=flips, cutout=cutout, fill=(7.0, 8.0, 9.0))
    batch, draws = images(200).to(dtype), epoch_draws(200, augment.numbers, seed=1, epoch=0)
    before = batch.clone()
    changed = augment(batch, draws)
    assert changed.dtype == dtype and torch.equal(batch, before)
    options = {"padding": padding, "flips": flips, "cutout": cutout, "fill": [7, 8, 9]}
    expected = [by_hand(image.tolist(), draw.tolist(), **options) for image, draw in zip(batch, draws, strict=True)]
    assert changed.tolist() == expected
    assert (padding == cutout == 0 and not flips) == torch.equal(changed, batch)


def test_all_places_are_taken_equally_often() -> None:
    augment = flips_and_crops(padding=2, cutout=3, fill=255.0)
    square = torch.arange(64, dtype=torch.uint8).view(1, 1, 8, 8).expand(30_000, 1, 8, 8)
    changed = augment(square, epoch_draws(30_000, 5, seed=0, epoch=0))[:, 0]
    rising = changed[:, 7].long().masked_fill(changed[:, 7] == 255, 0)
    assert set((changed == 255).sum((1, 2)).tolist()) == {9}
    corners = (changed == 255).flatten(1).int().argmax(1)
    counts = torch.stack([(corners == corner).sum() for corner in corners.unique()])
    assert len(counts) == 6 * 6
    assert (counts - 30_000 / 36).abs().max() < 4.5 * (30_000 / 36) ** 0.5
    # Where the cutout spares the middle of the last row, it tells the flip: columns 3 and 4 of the image are within.
    seen = changed[(changed[:, 7, 3:5] != 255).all(1)][:, 7, 3:5].long()
    flipped = (seen[:, 0] > seen[:, 1]).float()
    assert flipped.mean().item() == pytest.approx(0.5, abs=4.5 * 0.5 / len(flipped) ** 0.5)
    assert rising.max() < 64


def test_the_largest_numbers_stay_within_the_image() -> None:
    largest = torch.full((1, 5), 1 - 2**-24)
    for padding in range(1, 8):
        for cutout in range(1, 9):
            changed = flips_and_crops(padding, flips=False, cutout=cutout, fill=255.0)(
                torch.zeros(1, 1, 8, 8, dtype=torch.uint8), largest
            )
            assert (changed[0, 0, 8 - cutout :, 8 - cutout :] == 255).all() and (changed == 255).sum() == cutout**2


def image_task(**changes: Any) -> Task:
    labels = torch.arange(12) % 3
    given: dict[str, Any] = {
        "model": lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 9 * 7, 3)),
        "train": (images(12), labels),
        "validation": (images(12), labels),
        "target": Target(quantity=Quantity.VALIDATION_METRIC, value=0.9),
        "prepare": Standardize(mean=128.0, std=64.0),
    }
    return Task("images", **{**given, **changes})


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "a padding as wide as the image": (
        {"augment": flips_and_crops(padding=7)},
        "padding=7 and cutout=0 do not go with images of 9x7: use a padding below 7 and a cutout up to 7",
    ),
    "a cutout wider than the image": ({"augment": flips_and_crops(2, cutout=8)}, "padding=2 and cutout=8 do not go"),
    "a fill of two channels": (
        {"augment": flips_and_crops(2, cutout=3, fill=(1.0, 2.0))},
        "`fill` has 2 numbers for images of 3 channels: give one for all, or one for each channel",
    ),
    "a fill that is no byte": (
        {"augment": flips_and_crops(2, cutout=3, fill=256.0)},
        r"the augmentation does not take inputs of shape \(3, 3, 9, 7\) and type uint8 and numbers of shape \(3, 5\)",
    ),
    "flat images": (
        {"augment": flips_and_crops(), "train": (images(12).flatten(1), torch.arange(12) % 3)},
        r"take images of shape \(batch, channels, height, width\), not of shape \(3, 189\)",
    ),
}


@pytest.mark.parametrize(("changes", "sentence"), FAULTS.values(), ids=list(FAULTS))
def test_images_that_it_does_not_go_with_are_refused_when_the_task_is_made(
    changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UserError, match=f"^Task 'images': .*{sentence}") as caught:
        image_task(**changes)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


@pytest.mark.parametrize("given", [{"padding": -1}, {"cutout": -2}])
def test_numbers_below_zero_are_refused(given: dict[str, int]) -> None:
    (name, value), *_ = given.items()
    with pytest.raises(UserError, match=re.escape(f"{name}={value} ") + ".*not possible: use 0 or more"):
        flips_and_crops(**given)


def test_each_setting_is_in_the_fingerprint_which_is_the_same_after_pickling() -> None:
    settings: list[dict[str, Any]] = [
        {},
        {"padding": 3},
        {"flips": False},
        {"cutout": 4},
        {"cutout": 4, "fill": 1.0},
        {"cutout": 4, "fill": (1.0, 2.0, 3.0)},
    ]
    prints = [image_task(augment=flips_and_crops(**setting)).fingerprints()["augmentation"] for setting in settings]
    assert len(set(prints)) == len(settings)
    augment = pickle.loads(pickle.dumps(flips_and_crops(cutout=4)))
    assert image_task(augment=augment).fingerprints()["augmentation"] == prints[3]


@pytest.mark.data
def test_resnet_9_is_trained_on_crops_flips_and_cutouts_of_the_mean_colour(real_data: Callable[[str], Path]) -> None:
    real_data("cifar10")
    task = find_task("cifar10-resnet9")
    assert task.augment is not None and task.augment.numbers == 5
    batch, _ = task.train.span(0, 64)
    changed = task.augment(batch, epoch_draws(64, 5, seed=0, epoch=0))
    mean = torch.tensor(CIFAR10_SCALE.mean).round().to(torch.uint8).view(3, 1, 1)
    assert ((changed == mean).all(1).sum((1, 2)) >= 64).all()
    assert task.inputs(changed).dtype == torch.float32
