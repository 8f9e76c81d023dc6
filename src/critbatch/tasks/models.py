"""A multilayer perceptron and a small convolutional network, with ReLU.

Weights before a ReLU start as in He et al. 2015, arXiv:1502.01852, equation 10: normal, with variance 2 / fan-in. Those
of the last layer start with variance 1 / fan-in, which keeps logits near unit size, and biases at 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# The networks of Keskar et al. 2016, arXiv:1609.04836, table 1 and appendix B: small against large batches.
#
# C3 and C4 are C1 and C2 with 100 outputs.


def _glorot(model: nn.Module) -> None:
    """Uniform weights of variance 2 / (fan-in + fan-out), and no biases: the start of the authors' Keras code."""
    for layer in model.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class _FullyConnected(nn.Sequential):
    """Hidden layers of one width, each with batch norm and ReLU, then logits."""

    def __init__(self, inputs: int, hidden: int, width: int, classes: int) -> None:
        layers: list[nn.Module] = []
        for wide, narrow in pairwise([inputs, *[width] * hidden]):
            layers += [nn.Linear(wide, narrow), nn.BatchNorm1d(narrow), nn.ReLU()]
        super().__init__(*layers, nn.Linear(width, classes))
        _glorot(self)


class KeskarF1(_FullyConnected):
    """Fully connected: hidden layers with batch norm and ReLU, then logits. (batch, 784) to (batch, 10).

    Args:
        hidden: how many hidden layers; five in the paper.
        width: of a hidden layer; 512 in the paper.

    >>> sum(weight.numel() for weight in KeskarF1().parameters())
    1462794
    """

    def __init__(self, *, hidden: int = 5, width: int = 512) -> None:
        super().__init__(784, hidden, width, 10)


class KeskarF2(_FullyConnected):
    """Fully connected, for frames of speech. (batch, 360) to (batch, 1973), the states of the phonemes.

    Args:
        hidden: how many hidden layers; seven in the paper.
        width: of a hidden layer; 512 in the paper.

    >>> sum(weight.numel() for weight in KeskarF2().parameters())
    2780085
    """

    def __init__(self, *, hidden: int = 7, width: int = 512) -> None:
        super().__init__(360, hidden, width, 1973)


class KeskarC1(nn.Sequential):
    """Shallow and convolutional, like AlexNet. (batch, 3, 32, 32) to (batch, classes).

    Two convolutions of 5x5 with 64 channels, each with batch norm, ReLU and max-pooling of 3x3 at every second pixel,
    then layers of 384 and 192 with batch norm, ReLU and dropout of one half. Borders are padded ("same"), as in
    `shallownet` of the authors' code.

    >>> sum(weight.numel() for weight in KeskarC1().parameters())
    1757834
    """

    def __init__(self, *, classes: int = 10) -> None:
        layers: list[nn.Module] = []
        for channels in (3, 64):
            layers += [nn.Conv2d(channels, 64, 5, padding=2), nn.BatchNorm2d(64), nn.ReLU()]
            layers += [nn.MaxPool2d(3, stride=2, padding=1)]
        layers += [nn.Flatten()]
        for wide, narrow in ((64 * 8 * 8, 384), (384, 192)):
            layers += [nn.Linear(wide, narrow), nn.BatchNorm1d(narrow), nn.ReLU(), nn.Dropout(0.5)]
        super().__init__(*layers, nn.Linear(192, classes))
        _glorot(self)


class KeskarC2(nn.Sequential):
    """Deep and convolutional, like VGG. (batch, 3, 32, 32) to (batch, classes).

    Five groups of convolutions of 3x3 with batch norm and ReLU, each group ending in max-pooling of 2x2, with dropout
    between the convolutions of a group: of 0.3 in the first, 0.4 in the others. Then dropout of one half, a layer of
    512 with batch norm and ReLU, dropout of one half again, and logits. As in `deepnet` of the authors' code.

    >>> sum(weight.numel() for weight in KeskarC2().parameters())
    14991946
    """

    def __init__(self, *, classes: int = 10) -> None:
        layers: list[nn.Module] = []
        channels = 3
        for group, (width, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))):
            for place in range(count):
                if place:
                    layers += [nn.Dropout(0.4 if group else 0.3)]
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
                channels = width
            layers += [nn.MaxPool2d(2)]
        layers += [nn.Flatten(), nn.Dropout(0.5), nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Dropout(0.5)]
        super().__init__(*layers, nn.Linear(512, classes))
        _glorot(self)


def he_normal(layer: nn.Linear | nn.Conv2d, *, gain: float = math.sqrt(2)) -> nn.Linear | nn.Conv2d:
    """Draw the layer's weights with variance gain^2 / fan-in and set its biases to 0."""
    fan_in = layer.weight[0].numel()
    nn.init.normal_(layer.weight, std=gain / math.sqrt(fan_in))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class MLP(nn.Sequential):
    """Linear layers with ReLU between them. (batch, widths[0]) to logits, (batch, widths[-1]).

    Args:
        widths: of the inputs, of each hidden layer, of the logits.

    >>> [tuple(weight.shape) for weight in MLP([784, 100, 10]).parameters()]
    [(100, 784), (100,), (10, 100), (10,)]
    """

    def __init__(self, widths: Sequence[int]) -> None:
        layers: list[nn.Module] = []
        for wide, narrow in pairwise(widths[:-1]):
            layers += [he_normal(nn.Linear(wide, narrow)), nn.ReLU()]
        super().__init__(*layers, he_normal(nn.Linear(widths[-2], widths[-1]), gain=1.0))


class CNN(nn.Module):
    """Convolutions of 3x3, each with ReLU and max-pooling of 2x2, then one linear layer.

    (batch, channels, size, size) to logits, (batch, classes). There is no normalization, so examples do not depend on
    the others of their batch.

    Args:
        channels: of the images.
        size: height and width of the images.
        widths: channels after each convolution.
        classes: how many logits.

    >>> sum(weight.numel() for weight in CNN(channels=1, size=28, widths=(8, 16)).parameters())
    9098
    """

    def __init__(self, *, channels: int, size: int, widths: Sequence[int], classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in widths:
            layers += [he_normal(nn.Conv2d(channels, width, 3, padding=1)), nn.ReLU(), nn.MaxPool2d(2)]
            channels, size = width, size // 2
        self.features = nn.Sequential(*layers)
        self.head = he_normal(nn.Linear(channels * size * size, classes), gain=1.0)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(images).flatten(1))
        return logits


# The residual network for CIFAR of He et al. 2015, arXiv:1512.03385, section 4.2.


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


# Residual blocks that start as nothing: Goyal et al. 2017, arXiv:1706.02677, section 5.1.


def last_norms(model: nn.Module) -> list[nn.Module]:
    """The last batch norm of each residual block of the model.

    A block marks it by an attribute `last_norm`, on the class or the instance: the name of the submodule, such as
    "third_norm". A block whose last norm is followed by a ReLU before the sum must not be marked: at gamma = 0 no
    gradient would come through.
    """
    blocks: list[Any] = [block for block in model.modules() if isinstance(getattr(block, "last_norm", None), str)]
    return [block.get_submodule(block.last_norm) for block in blocks]


def zero_last_gamma(model: nn.Module) -> int:
    """Set gamma to 0 in the last batch norm of each residual block, so that every block starts as its shortcut.

    Call it before the first step. Everything else about the model stays.

    Returns:
        How many blocks there were; 0 for a model that marks none.
    """
    norms = last_norms(model)
    for norm in norms:
        assert isinstance(norm.weight, Tensor)
        with torch.no_grad():
            norm.weight.zero_()
    return len(norms)


# ResNet-50 (He et al. 2015, arXiv:1512.03385) with the details of Goyal et al. 2017, arXiv:1706.02677.

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


# The small residual network that is fast on CIFAR-10: Page 2018, "How to train your ResNet", part 4.


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
        output: Tensor = images + self.second(self.first(images))
        return output


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


# A small transformer that predicts the next character.


class TransformerBlock(nn.Module):
    """Causal self-attention, then two linear layers with GELU, each after a layer norm and added to its input.

    (batch, tokens, width) to the same.
    """

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.feed_norm = nn.LayerNorm(width)
        self.feed_in = nn.Linear(width, 4 * width)
        self.feed_out = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, length, width = tokens.shape
        joint = self.query_key_value(self.attention_norm(tokens))
        query, key, value = joint.view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        tokens = tokens + self.attention_out(mixed.transpose(1, 2).reshape(batch, length, width))
        fed: Tensor = self.feed_out(F.gelu(self.feed_in(self.feed_norm(tokens))))
        return tokens + fed


class Positions(nn.Module):
    """Adds a learned vector to each place of a sequence: a layer of its own, so that its gradient is one of a layer.

    (batch, tokens, width) to the same.
    """

    def __init__(self, context: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(context, width))

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens + self.weight[: tokens.shape[1]]


class GPT(nn.Module):
    """A decoder as in Radford et al. 2019, "Language models are unsupervised multitask learners", section 2.3.

    Layer norms come first and once more at the end, positions are learned, weights start normal with standard deviation
    0.02, and those that write to the residual stream with 0.02 / sqrt(2 layers). The matrix that gives the logits is
    not tied to the embedding: with so few characters tying saves nothing.

    Characters, int64, (batch, tokens), to logits, (batch, tokens, vocabulary).

    Args:
        vocabulary: how many characters there are.
        context: the most tokens of a sequence.
        layers: how many blocks.
        width: of the residual stream.
        heads: of attention; they divide the width.

    >>> sum(weight.numel() for weight in GPT(vocabulary=65, context=64, layers=2, width=64, heads=4).parameters())
    112512
    """

    def __init__(self, *, vocabulary: int, context: int, layers: int, width: int, heads: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.positions = Positions(context, width)
        self.blocks = nn.Sequential(*(TransformerBlock(width, heads=heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        nn.init.normal_(self.positions.weight, std=0.02)
        for name, layer in self.named_modules():
            if isinstance(layer, (nn.Linear, nn.Embedding)):
                writes = name.endswith(("attention_out", "feed_out"))
                nn.init.normal_(layer.weight, std=0.02 / math.sqrt(2 * layers) if writes else 0.02)
            if isinstance(layer, nn.Linear) and layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, characters: Tensor) -> Tensor:
        tokens = self.positions(self.embedding(characters))
        logits: Tensor = self.head(self.norm(self.blocks(tokens)))
        return logits
