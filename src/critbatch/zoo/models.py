"""A multilayer perceptron and a small convolutional network, with ReLU.

Weights before a ReLU start as in He et al. 2015, arXiv:1502.01852, equation 10: normal, with variance 2 / fan-in. Those
of the last layer start with variance 1 / fan-in, which keeps logits near unit size, and biases at 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


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
