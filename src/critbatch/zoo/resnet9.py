"""The small residual network that is fast on CIFAR-10: Page 2018, "How to train your ResNet", part 4."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ConvNorm(nn.Sequential):
    """A convolution of 3x3 without bias, batch normalization, ReLU."""

    def __init__(self, narrow: int, wide: int) -> None:
        super().__init__(nn.Conv2d(narrow, wide, 3, padding=1, bias=False), nn.BatchNorm2d(wide), nn.ReLU())


class Residual(nn.Module):
    """The input plus two convolutions of it. The ReLU of the second comes before the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = ConvNorm(channels, channels), ConvNorm(channels, channels)

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = images + self.second(self.first(images))
        return found


class ResNet9(nn.Module):
    """Eight convolutions and a linear layer. (batch, 3, 32, 32) to logits, (batch, classes).

    The network of `dawn.py` in cifar10-fast, which Gupta et al. 2020, arXiv:2001.02312, train with SWAP on CIFAR-10:
    64 channels, then 128, 256 and 512, each with max-pooling of 2x2, and a residual pair of convolutions after the
    first and the third; a max-pooling of 4x4; a linear layer without bias; and logits times 0.125. Weights start as
    torch starts them, as there.

    Args:
        classes: how many logits.
        scale: of the logits.

    >>> sum(weight.numel() for weight in ResNet9().parameters())
    6573120
    """

    def __init__(self, *, classes: int = 10, scale: float = 0.125) -> None:
        super().__init__()
        self.scale = scale
        self.features = nn.Sequential(
            ConvNorm(3, 64),
            *(ConvNorm(64, 128), nn.MaxPool2d(2), Residual(128)),
            *(ConvNorm(128, 256), nn.MaxPool2d(2)),
            *(ConvNorm(256, 512), nn.MaxPool2d(2), Residual(512)),
        )
        self.head = nn.Linear(512, classes, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(F.max_pool2d(self.features(images), 4).flatten(1))
        return self.scale * logits
