"""Tasks on published sets of small images, which stay uint8 in memory and are standardized one batch at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from critbatch.errors import UserError
from critbatch.examples import Examples
from critbatch.records.core import Quantity, Target
from critbatch.task import Task
from critbatch.zoo.places import data_folder, find_file
from critbatch.zoo.readers import read_cifar10, read_cifar100, read_idx
from critbatch.zoo.standardize import Standardize

# In the units of the bytes, over the training set.
MNIST_SCALE = Standardize(mean=0.13066 * 255, std=0.30811 * 255)
FASHION_SCALE = Standardize(mean=0.28604 * 255, std=0.35302 * 255)
CIFAR10_SCALE = Standardize(mean=(125.307, 122.950, 113.865), std=(62.993, 62.089, 66.705))

BYTE_SCALE = Standardize(mean=0.0, std=255.0)


def _idx_images(folder: Path, part: str, shape: tuple[int, ...]) -> Examples:
    """One part of MNIST or of a set like it: uint8 images, each of this shape, and their labels."""
    images_path = find_file(folder, f"{part}-images-idx3-ubyte.gz")
    labels_path = find_file(folder, f"{part}-labels-idx1-ubyte.gz")
    images, labels = read_idx(images_path, (28, 28)), read_idx(labels_path, ())
    if len(images) != len(labels):
        raise UserError(
            f"{images_path} has {len(images):,} images but {labels_path} has {len(labels):,} labels: use files that "
            "belong together."
        )
    return Examples(torch.from_numpy(images).view(-1, *shape), torch.from_numpy(labels).long())


def idx_task(
    name: str,
    data: str,
    *,
    shape: tuple[int, ...],
    model: Callable[[], nn.Module],
    scale: Standardize,
    target: float,
    recipe: str = "sgd",
) -> Task:
    """A task on MNIST or a set like it, with validation on the test images."""
    folder = data_folder(data)
    return Task(
        name,
        model=model,
        train=_idx_images(folder, "train", shape),
        validation=_idx_images(folder, "t10k", shape),
        target=Target(quantity=Quantity.VALIDATION_METRIC, value=target),
        unit="image",
        prepare=scale,
        recipe=recipe,
    )


def _cifar10_images(folder: Path, names: list[str]) -> Examples:
    parts = [read_cifar10(folder / f"{name}.bin", 10_000) for name in names]
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Examples(torch.from_numpy(images), torch.from_numpy(labels).long())


def _cifar100_images(folder: Path, name: str, examples: int) -> Examples:
    images, labels = read_cifar100(folder / f"{name}.bin", examples)
    return Examples(torch.from_numpy(images), torch.from_numpy(labels).long())


def cifar_task(
    name: str,
    *,
    model: Callable[[], nn.Module],
    target: float,
    classes: int = 10,
    scale: Standardize = CIFAR10_SCALE,
    recipe: str = "sgd",
) -> Task:
    """A task on CIFAR-10, or on CIFAR-100 if `classes` is 100, with validation on the test images."""
    if classes == 10:
        folder = data_folder("cifar10")
        train = _cifar10_images(folder, [f"data_batch_{part}" for part in range(1, 6)])
        validation = _cifar10_images(folder, ["test_batch"])
    else:
        folder = data_folder("cifar100")
        train, validation = _cifar100_images(folder, "train", 50_000), _cifar100_images(folder, "test", 10_000)
    return Task(
        name,
        model=model,
        train=train,
        validation=validation,
        target=Target(quantity=Quantity.VALIDATION_METRIC, value=target),
        unit="image",
        prepare=scale,
        recipe=recipe,
    )
