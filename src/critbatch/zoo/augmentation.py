"""The augmentation of Goyal et al. 2017, arXiv:1706.02677, section 5.1: that of fb.resnet.torch, datasets/imagenet.lua.

Crops of random scale and aspect ratio, horizontal flips, jitter of brightness, contrast and saturation, and lighting
along the principal colours. Every draw comes from the generator that is given, so an image is a function of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Pixels = NDArray[np.float32]  # from 0 to 1, shape (height, width, 3)
Box = tuple[int, int, int, int]  # left, top, right, bottom

# Of the colours of ImageNet's images, scaled to 0 .. 1, as in datasets/imagenet.lua.
COLOUR_VALUES = np.array([0.2175, 0.0188, 0.0045])
COLOUR_VECTORS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_ATTEMPTS = 10


@dataclass(frozen=True)
class FolderAugmentation:
    """How strongly training images are changed. The defaults are the source's.

    Args:
        area: of a crop, as shares of the image.
        ratio: of a crop's width to its height; it is turned on its side half of the time.
        jitter: the most that brightness, contrast and saturation are scaled by: 1 - jitter to 1 + jitter.
        lighting: standard deviation of the shift along each principal colour, in units of its eigenvalue.
        flip: how often an image is mirrored.
    """

    area: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    jitter: float = 0.4
    lighting: float = 0.1
    flip: float = 0.5


def random_box(width: int, height: int, augmentation: FolderAugmentation, random: Generator) -> Box | None:
    """A crop of random area and aspect ratio, or None if ten did not fit into the image."""
    for _ in range(_ATTEMPTS):
        area = random.uniform(*augmentation.area) * width * height
        ratio = random.uniform(*augmentation.ratio)
        wide, high = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if random.random() < 0.5:
            wide, high = high, wide
        if 0 < wide <= width and 0 < high <= height:
            left, top = int(random.integers(width - wide + 1)), int(random.integers(height - high + 1))
            return left, top, left + wide, top + high
    return None


def recolour(pixels: Pixels, augmentation: FolderAugmentation, random: Generator) -> Pixels:
    """Brightness, contrast and saturation in random order, then lighting. Values may leave 0 .. 1, as in the source."""
    steps: list[Callable[[Pixels], Any]] = [_black, _mean_grey, _grey]
    for step in random.permutation(len(steps)):
        share = np.float32(random.uniform(1 - augmentation.jitter, 1 + augmentation.jitter))
        pixels = share * pixels + (1 - share) * steps[step](pixels)
    shift = COLOUR_VECTORS @ (random.normal(0, augmentation.lighting, 3) * COLOUR_VALUES)
    lit: Pixels = pixels + shift.astype(np.float32)
    return lit


def _black(pixels: Pixels) -> np.float32:
    return np.float32(0)


def _grey(pixels: Pixels) -> Pixels:
    grey: Pixels = pixels @ _LUMA
    return grey[..., None]


def _mean_grey(pixels: Pixels) -> np.float32:
    return np.float32((pixels @ _LUMA).mean())
