"""Random changes of training inputs, as a function of (seed, epoch, index of the example) alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from critbatch.arguments import checked_call
from critbatch.errors import UserError
from critbatch.tasks.data import Tree


@dataclass(frozen=True)
class Augmentation:
    """A random change of training inputs that are tensors: flips, crops, noise.

    `apply` must not draw random numbers. It gets them as an argument. The numbers of an example depend only on the
    seed, the epoch and the index of the example. So batch sizes, micro-batches, processes and interruptions do not
    change them. Only training, and the noise of its gradients, sees changed inputs. Evaluation, and measurements at
    fixed weights, see the examples as they are.

    Args:
        apply: A function (inputs, draws) that returns inputs of the same shape and type. `inputs` is a batch of raw
            inputs on the device, before `Task.prepare`. `draws` are numbers, uniform in [0, 1), float32, shape (batch,
            numbers). The result for an example may depend only on its own inputs and numbers.
        numbers: How many numbers an example needs.

    Raises:
        UserError: If `apply` is not a function, or `numbers` is below 1.

    >>> noisy = Augmentation(lambda inputs, draws: inputs + draws - 0.5, numbers=1)
    >>> noisy(torch.zeros(2, 1), torch.tensor([[0.0], [0.75]]))
    tensor([[-0.5000],
            [ 0.2500]])
    """

    apply: Callable[[Tree, Tensor], Tree]
    _: KW_ONLY
    numbers: int

    def __post_init__(self) -> None:
        if not callable(self.apply):
            raise UserError(
                f"An augmentation of {type(self.apply).__name__} is not possible: give a function of (inputs, draws)."
            )
        if not isinstance(self.numbers, int) or self.numbers < 1:
            raise UserError(f"numbers={self.numbers!r} is not possible: use a whole number, 1 or more.")

    def __call__(self, inputs: Tree, draws: Tensor) -> Tree:
        return self.apply(inputs, draws)


def epoch_draws(examples: int, numbers: int, *, seed: int, epoch: int) -> Tensor:
    """Return the numbers of all examples in this epoch, uniform in [0, 1), shape (examples, numbers), float32.

    They are independent of the order of the examples in the epoch, although both have the same seed.
    """
    sequence = np.random.SeedSequence((seed, epoch), spawn_key=(1,))
    generator = np.random.Generator(np.random.PCG64(sequence))
    return torch.from_numpy(generator.random((examples, numbers), dtype=np.float32))


# The augmentation of Goyal et al. 2017, arXiv:1706.02677, section 5.1: that of fb.resnet.torch, datasets/imagenet.lua.
#
# Crops of random scale and aspect ratio, horizontal flips, jitter of brightness, contrast and saturation, and lighting
# along the principal colours. Every draw comes from the generator that is given, so an image is a function of it.

Pixels = NDArray[np.float32]  # from 0 to 1, shape (height, width, 3)
Box = tuple[int, int, int, int]  # left, top, right, bottom

# Of the colours of ImageNet's images, scaled to 0 .. 1, as in datasets/imagenet.lua.
COLOUR_VALUES = np.array([0.2175, 0.0188, 0.0045])
COLOUR_VECTORS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_ATTEMPTS = 10


@dataclass(frozen=True)
class FolderAugmentation:
    """How strongly training images are changed. The defaults are those of fb.resnet.torch.

    Args:
        area: Range of the area of a crop, as shares of the image.
        ratio: Range of a crop's width divided by its height; half of the crops are turned on their side.
        jitter: Brightness, contrast and saturation are scaled by 1 - jitter to 1 + jitter.
        lighting: Standard deviation of the shift along each principal colour, in units of its eigenvalue.
        flip: Probability that an image is mirrored.
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


# --- flips and crops of small training images, for a whole batch at once ---------------------------------------------


@dataclass(frozen=True)
class FlipsAndCrops:
    """Mirrors images, crops them out of padded ones, cuts squares out. Arguments as for `flips_and_crops`."""

    padding: int
    flips: bool
    cutout: int
    fill: float | tuple[float, ...]

    @property
    def numbers(self) -> int:
        """Random numbers per image: for its flip, top and left, and for top and left of its cutout."""
        return 5 if self.cutout else 3

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Changed copies of images of shape (batch, channels, height, width), by draws of shape (batch, numbers)."""
        self._check(images)
        batch, channels, height, width = images.shape
        rows = self._places(draws[:, 1], height)
        columns = self._places(draws[:, 2], width)
        if self.flips:
            columns = torch.where(draws[:, :1] < 0.5, columns.flip(1), columns)
        pixels = (rows[:, :, None] * width + columns[:, None, :]).view(batch, 1, -1).expand(-1, channels, -1)
        changed = images.flatten(2).gather(2, pixels).view_as(images)
        if self.cutout:
            square = self._within(draws[:, 3], height)[:, :, None] & self._within(draws[:, 4], width)[:, None, :]
            fills = self.fill if isinstance(self.fill, tuple) else (self.fill,) * channels
            for channel, fill in enumerate(fills):
                # A number, not a tensor: a copy from the host would wait for the device.
                changed[:, channel].masked_fill_(square, fill if images.is_floating_point() else round(fill))
        return changed

    def _places(self, draws: Tensor, size: int) -> Tensor:
        """Which pixels each crop takes along a side, shape (batch, size). Beyond the edge they are mirrored at it."""
        first = (draws * (2 * self.padding + 1)).long() - self.padding
        places = (first[:, None] + torch.arange(size, device=draws.device)).abs()
        return torch.where(places < size, places, 2 * (size - 1) - places)

    def _within(self, draws: Tensor, size: int) -> Tensor:
        """Which pixels along a side lie in each cutout, shape (batch, size)."""
        first = (draws * (size - self.cutout + 1)).long()[:, None]
        places = torch.arange(size, device=draws.device)
        return (places >= first) & (places < first + self.cutout)

    def _check(self, images: Tensor) -> None:
        if not isinstance(images, Tensor) or images.ndim != 4:
            is_tensor = isinstance(images, Tensor)
            description = f"shape {tuple(images.shape)}" if is_tensor else f"type {type(images).__name__}"
            raise UserError(
                f"flips and crops take images of shape (batch, channels, height, width), not of {description}."
            )
        side = min(images.shape[2:])
        if self.padding >= side or self.cutout > side:
            raise UserError(
                f"padding={self.padding} and cutout={self.cutout} do not go with images of "
                f"{images.shape[2]}x{images.shape[3]}: use a padding below {side} and a cutout up to {side}."
            )
        if isinstance(self.fill, tuple) and len(self.fill) != images.shape[1]:
            raise UserError(
                f"`fill` has {len(self.fill)} numbers for images of {images.shape[1]} channels: give one for all, or "
                "one for each channel."
            )


@checked_call
def flips_and_crops(
    padding: int = 4, *, flips: bool = True, cutout: int = 0, fill: float | tuple[float, ...] = 0.0
) -> Augmentation:
    """Return an augmentation that flips, crops and cuts images of shape (batch, channels, height, width).

    It follows cifar10-fast (Page 2018, github.com/davidcpage/cifar10-fast, dawn.py and core.py). An image is padded
    with its own mirror image. A crop of the original size is taken at a random position. Half of the crops are
    mirrored, and one square is cut out of each. All positions are equally likely. Pixels are moved, not computed, so
    uint8 images stay uint8.

    Args:
        padding: Pixels on each side; 0 switches crops off.
        flips: Whether to mirror half of the images, left to right.
        cutout: Side of the square in pixels; 0 switches it off.
        fill: The value of the square, in the units of the images: one number for all channels, or one for each.

    Raises:
        UserError: If a number is below 0. Images that are too small are refused when the task is created.

    >>> flips_and_crops(padding=2).numbers
    3
    """
    if padding < 0 or cutout < 0:
        raise UserError(f"padding={padding} and cutout={cutout} are not possible: use 0 or more.")
    change = FlipsAndCrops(padding, flips, cutout, fill)
    return Augmentation(change, numbers=change.numbers)
