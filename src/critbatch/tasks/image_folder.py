"""Images in folders, one for each class: `FOLDER/train/CLASS/*` and `FOLDER/val/CLASS/*`, JPEG or PNG."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import PCG64, Generator, SeedSequence
from torch import Tensor
from torch.utils.data import Dataset

from critbatch.errors import DataMissing, UserError
from critbatch.tasks.augmentation import FolderAugmentation, random_box, recolour
from critbatch.tasks.datasets import given_folder
from critbatch.tasks.entry import need

ENDINGS = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class ImageFiles:
    """The images of one part, in the order of their classes and names."""

    paths: list[str]
    labels: list[int]
    classes: list[str]


def pillow() -> Any:
    """The module PIL.Image."""
    return need("PIL.Image", package="pillow", purpose="Reading images")


def find_images() -> Path:
    """`$CRITBATCH_IMAGES`, or `imagenet` under `$CRITBATCH_DATA`.

    Raises:
        DataMissing: if neither is a folder.
    """
    image_folder, user_folder = os.environ.get("CRITBATCH_IMAGES", ""), given_folder()
    folder = user_folder / "imagenet" if user_folder is not None else None
    if image_folder:
        folder = Path(image_folder).expanduser()
    if folder is not None and folder.is_dir():
        return folder
    place = f"{folder} is no folder" if folder is not None else "neither $CRITBATCH_IMAGES nor $CRITBATCH_DATA is set"
    raise DataMissing(
        f"The images were not found ({place}): set CRITBATCH_IMAGES to a folder that has train/CLASS/*.jpg and "
        "val/CLASS/*.jpg, or put one at imagenet under $CRITBATCH_DATA."
    )


def list_images(folder: Path, part: str, classes: list[str] | None = None) -> ImageFiles:
    """The images under `folder/part`, a subfolder for each class; a class's label is its place in `classes`.

    Args:
        folder: with the parts.
        part: "train" or "val".
        classes: the names that may occur; None for all that are found, sorted.

    Raises:
        UserError: if there are none, or a class that is not in `classes`.
    """
    root = folder / part
    if not root.is_dir():
        raise UserError(f"{folder} has no folder {part}: give one that has train/CLASS/*.jpg and val/CLASS/*.jpg.")
    class_names = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
    if not class_names:
        raise UserError(f"{root} has no folder in it: put the images of each class into one of their own.")
    names = class_names if classes is None else classes
    if unknown := sorted(set(class_names) - set(names)):
        raise UserError(f"{root} has the class {unknown[0]!r}, which train/ lacks: use the same classes in both.")
    paths, labels = [], []
    for name in class_names:
        files = sorted(entry.path for entry in os.scandir(root / name) if entry.name.lower().endswith(ENDINGS))
        if not files:
            raise UserError(f"{root / name} has no image: put some there that end in {', '.join(ENDINGS)}.")
        paths += files
        labels += [names.index(name)] * len(files)
    return ImageFiles(paths, labels, names)


class ImageFolder(Dataset[tuple[Tensor, int]]):
    """Images as floats from 0 to 1, shape (3, size, size), with their labels.

    With an `augmentation`, an image is a function of (seed, epoch, index) alone, whoever asks for it and how often:
    so a resumed run sees what the unbroken one would have seen. `item_at` takes the epoch; `data[index]` is the item of
    `data.epoch`, which is 0 until `set_epoch` is called, and which a DataLoader's workers see as it was when they
    began. Without one, images are scaled by their shorter side to 256 / 224 of `size` and cropped in the middle.

    Args:
        files: from `list_images`.
        size: height and width; 224 in the paper.
        augmentation: of images to train on; None for those to validate on.
        seed: of the augmentation.
    """

    def __init__(
        self, files: ImageFiles, *, size: int = 224, augmentation: FolderAugmentation | None = None, seed: int = 0
    ) -> None:
        pillow()
        self.files, self.size, self.augmentation, self.seed = files, size, augmentation, seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.files.paths)

    def set_epoch(self, epoch: int) -> None:
        """Make `data[index]` the item of this epoch."""
        self.epoch = epoch

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.item_at(index, self.epoch)

    def item_at(self, index: int, epoch: int) -> tuple[Tensor, int]:
        """The image as it is in this epoch, and its label.

        Raises:
            UserError: if the file cannot be read as an image.
        """
        path = self.files.paths[index]
        try:
            with pillow().open(path) as file:
                image = file.convert("RGB")
        except Exception as error:  # Pillow raises OSError, SyntaxError, DecompressionBombError, IndexError and others
            raise UserError(f"{path} cannot be read as an image ({error}): repair or remove it.") from error
        if self.augmentation is None:
            pixels = _middle(image, self.size, shorter=round(self.size * 256 / 224))
        else:
            random = Generator(PCG64(SeedSequence((self.seed, epoch, index))))
            width, height = image.size
            box = random_box(width, height, self.augmentation, random)
            pixels = _middle(image, self.size, shorter=self.size) if box is None else _scaled(image, self.size, box)
            pixels = recolour(pixels, self.augmentation, random)
            if random.random() < self.augmentation.flip:
                pixels = pixels[:, ::-1]
        planes = np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32)
        return torch.from_numpy(planes), self.files.labels[index]


def _pixels(image: Any) -> Any:
    return np.asarray(image, np.float32) / 255


def _scaled(image: Any, size: int, box: tuple[int, int, int, int]) -> Any:
    return _pixels(image.resize((size, size), pillow().Resampling.BICUBIC, box=box))


def _middle(image: Any, size: int, *, shorter: int) -> Any:
    """The square in the middle, of the image scaled so that its shorter side has this length."""
    width, height = image.size
    if min(width, height) != shorter:
        scale = shorter / min(width, height)
        width, height = (shorter if side == min(image.size) else int(side * scale) for side in image.size)
        image = image.resize((width, height), pillow().Resampling.BICUBIC)
    left, top = math.ceil((width - size) / 2), math.ceil((height - size) / 2)
    return _pixels(image.crop((left, top, left + size, top + size)))


# --- conversion of stored bytes to model inputs, one batch at a time, on its device ----------------------------------


@dataclass(frozen=True)
class Standardize:
    """Bytes to floats, (x - mean) / std, in the units of the bytes. The shape stays.

    Args:
        mean: of the training set; one for all, or one for each channel, which is then the dimension after the batch.
        std: likewise.

    >>> Standardize(mean=100.0, std=50.0)(torch.tensor([[0, 100, 200]], dtype=torch.uint8))
    tensor([[-2.,  0.,  2.]])
    """

    mean: float | tuple[float, ...]
    std: float | tuple[float, ...]
    # A copy from the host at every batch would wait for the device.
    _constants: dict[tuple[torch.device, int], tuple[Tensor, Tensor]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __call__(self, batch: Tensor) -> Tensor:
        # Making floats first, and the rest in place, is faster on a CPU than one operation on mixed types.
        floats = batch.clone() if batch.is_floating_point() else batch.float()
        if isinstance(self.mean, float) and isinstance(self.std, float):
            return floats.mul_(1 / self.std).sub_(self.mean / self.std)
        scale, shift = self._on(batch.device, batch.ndim)
        return floats.mul_(scale).sub_(shift)

    def __reduce__(self) -> tuple[type[Standardize], tuple[float | tuple[float, ...], float | tuple[float, ...]]]:
        return Standardize, (self.mean, self.std)

    def _on(self, device: torch.device, dimensions: int) -> tuple[Tensor, Tensor]:
        key = (device, dimensions)
        if key not in self._constants:
            shape = (-1, *[1] * (dimensions - 2))
            mean, std = (torch.tensor(values, device=device).view(shape) for values in (self.mean, self.std))
            self._constants[key] = (1 / std, mean / std)
        return self._constants[key]


def to_indices(batch: Tensor) -> Tensor:
    """Bytes to int64, which an embedding takes."""
    return batch.long()
