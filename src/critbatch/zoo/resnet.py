"""The residual network for CIFAR of He et al. 2015, arXiv:1512.03385, section 4.2."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from critbatch.zoo.models import he_normal


class ResidualBlock(nn.Module):
    """Two convolutions of 3x3 with batch normalization, and a shortcut without weights (option A).

    Where the block halves the image and widens the channels, the shortcut takes every second pixel and sets the new
    channels to 0. (batch, narrow, size, size) to (batch, wide, size / stride, size / stride).
    """

    last_norm = "second_norm"

    def __init__(self, narrow: int, wide: int, *, stride: int) -> None:
        super().__init__()
        self.stride, self.new_channels = stride, wide - narrow
        self.first = he_normal(nn.Conv2d(narrow, wide, 3, stride=stride, padding=1, bias=False))
        self.first_norm = nn.BatchNorm2d(wide)
        self.second = he_normal(nn.Conv2d(wide, wide, 3, padding=1, bias=False))
        self.second_norm = nn.BatchNorm2d(wide)

    def forward(self, images: Tensor) -> Tensor:
        shortcut = images
        if self.new_channels:
            shortcut = F.pad(images[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels))
        inner = F.relu(self.first_norm(self.first(images)))
        return F.relu(self.second_norm(self.second(inner)) + shortcut)


class ResNet(nn.Module):
    """6n + 2 layers: a convolution, three groups of n blocks with 16, 32 and 64 channels, a mean, a linear layer.

    n = 3 is ResNet-20. Convolutions start as in He et al. 2015, arXiv:1502.01852, as section 3.4 of the paper says.
    (batch, 3, 32, 32) to logits, (batch, classes). Batch normalization takes its mean and variance over the
    micro-batch, so results depend on its size.

    >>> sum(weight.numel() for weight in ResNet().parameters())
    269722
    """

    def __init__(self, n: int = 3, *, classes: int = 10) -> None:
        super().__init__()
        self.stem = he_normal(nn.Conv2d(3, 16, 3, padding=1, bias=False))
        self.stem_norm = nn.BatchNorm2d(16)
        blocks: list[nn.Module] = []
        narrow = 16
        for wide in (16, 32, 64):
            for _ in range(n):
                blocks.append(ResidualBlock(narrow, wide, stride=1 if narrow == wide else 2))
                narrow = wide
        self.blocks = nn.Sequential(*blocks)
        self.head = he_normal(nn.Linear(narrow, classes), gain=1.0)

    def forward(self, images: Tensor) -> Tensor:
        inner = F.relu(self.stem_norm(self.stem(images)))
        logits: Tensor = self.head(self.blocks(inner).mean((2, 3)))
        return logits
