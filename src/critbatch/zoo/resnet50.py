"""ResNet-50 (He et al. 2015, arXiv:1512.03385) with the details of Goyal et al. 2017, arXiv:1706.02677."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from critbatch.zoo.zero_gamma import zero_last_gamma

EXPANSION = 4
STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))  # inner channels, blocks, stride of the first block


class Bottleneck(nn.Module):
    """Convolutions of 1x1, 3x3 and 1x1, each with batch normalization, beside a shortcut.

    The 3x3 convolution has the stride (Goyal et al., section 5.1, after fb.resnet.torch; He et al. have it in the
    first 1x1). The shortcut is a 1x1 convolution with batch normalization where shapes differ, and else the input
    itself (option B of He et al.). (batch, narrow, size, size) to (batch, 4 inner, size / stride, size / stride).
    """

    last_norm = "third_norm"

    def __init__(self, narrow: int, inner: int, *, stride: int) -> None:
        super().__init__()
        wide = EXPANSION * inner
        self.first = nn.Conv2d(narrow, inner, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(inner)
        self.second = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(inner)
        self.third = nn.Conv2d(inner, wide, 1, bias=False)
        self.third_norm = nn.BatchNorm2d(wide)
        self.shortcut: nn.Module = nn.Identity()
        if narrow != wide or stride != 1:
            self.shortcut = nn.Sequential(nn.Conv2d(narrow, wide, 1, stride=stride, bias=False), nn.BatchNorm2d(wide))

    def forward(self, images: Tensor) -> Tensor:
        inner = F.relu(self.first_norm(self.first(images)))
        inner = F.relu(self.second_norm(self.second(inner)))
        return F.relu(self.third_norm(self.third(inner)) + self.shortcut(images))


class ResNet50(nn.Module):
    """A convolution of 7x7, max-pooling, 16 bottleneck blocks, a mean, a linear layer.

    (batch, 3, size, size) to logits, (batch, classes); the paper's size is 224, and any from 32 works.

    Weights start as in Goyal et al., section 5.1: convolutions as in He et al. 2015, arXiv:1502.01852, normal with
    variance 2 / fan-out, as fb.resnet.torch has it; the linear layer normal with standard deviation 0.01, biases 0;
    batch normalization with gamma = 1 and beta = 0, except for `zero_gamma`. Its mean and variance are taken over the
    micro-batch: 32 images in the paper.

    Args:
        classes: how many logits.
        zero_gamma: start the last batch normalization of each block with gamma = 0, so that the block is its shortcut.

    >>> sum(weight.numel() for weight in ResNet50().parameters())
    25557032
    """

    def __init__(self, *, classes: int = 1000, zero_gamma: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.stem_norm = nn.BatchNorm2d(64)
        blocks: list[nn.Module] = []
        channels = 64
        for inner, count, stride in STAGES:
            for place in range(count):
                blocks.append(Bottleneck(channels, inner, stride=1 if place else stride))
                channels = EXPANSION * inner
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(channels, classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)
        if zero_gamma:
            zero_last_gamma(self)

    def forward(self, images: Tensor) -> Tensor:
        inner = F.relu(self.stem_norm(self.stem(images)))
        inner = F.max_pool2d(inner, 3, stride=2, padding=1)
        logits: Tensor = self.head(self.blocks(inner).mean((2, 3)))
        return logits
