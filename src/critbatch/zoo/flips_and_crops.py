"""The usual changes of small training images, made for a whole batch at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from critbatch.arguments import checked_call
from critbatch.augmentation import Augmentation
from critbatch.errors import UserError


@dataclass(frozen=True)
class FlipsAndCrops:
    """Mirrors images, crops them out of padded ones, cuts squares out. Arguments as for `flips_and_crops`."""

    padding: int
    flips: bool
    cutout: int
    fill: float | tuple[float, ...]

    @property
    def numbers(self) -> int:
        """Of an image: for its flip, top and left, and for top and left of its cutout."""
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
            found = f"shape {tuple(images.shape)}" if isinstance(images, Tensor) else f"type {type(images).__name__}"
            raise UserError(f"flips and crops take images of shape (batch, channels, height, width), not of {found}.")
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
    """Flips, crops out of padded images, and cutouts, for images of shape (batch, channels, height, width).

    As in cifar10-fast (Page 2018, github.com/davidcpage/cifar10-fast, dawn.py and core.py): an image is padded by its
    own mirror image, a crop of its size is taken at a place that is drawn, half of the crops are mirrored, and one
    square of them is cut out. All places are equally likely. Pixels are moved, not computed: bytes stay bytes.

    Args:
        padding: pixels on each side; 0 leaves crops out.
        flips: mirror half of the images, left to right.
        cutout: side of the square in pixels; 0 leaves it out.
        fill: what the square holds, in the units of the images: one number for all channels, or one for each.

    Raises:
        UserError: if a number is below 0. Images that are too small are refused when the task is made.

    >>> flips_and_crops(padding=2).numbers
    3
    """
    if padding < 0 or cutout < 0:
        raise UserError(f"padding={padding} and cutout={cutout} are not possible: use 0 or more.")
    change = FlipsAndCrops(padding, flips, cutout, fill)
    return Augmentation(change, numbers=change.numbers)
