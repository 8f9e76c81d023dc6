"""Two networks of Keskar et al. 2016, arXiv:1609.04836, table 1 and appendix B: small against large batches."""

from __future__ import annotations

from itertools import pairwise

from torch import nn


def _glorot(model: nn.Module) -> None:
    """Uniform weights of variance 2 / (fan-in + fan-out), and no biases: the start of the authors' Keras code."""
    for layer in model.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class KeskarF1(nn.Sequential):
    """Fully connected: hidden layers with batch norm and ReLU, then logits. (batch, 784) to (batch, 10).

    Args:
        hidden: how many hidden layers; five in the paper.
        width: of a hidden layer; 512 in the paper.

    >>> sum(weight.numel() for weight in KeskarF1().parameters())
    1462794
    """

    def __init__(self, *, hidden: int = 5, width: int = 512) -> None:
        layers: list[nn.Module] = []
        for wide, narrow in pairwise([784, *[width] * hidden]):
            layers += [nn.Linear(wide, narrow), nn.BatchNorm1d(narrow), nn.ReLU()]
        super().__init__(*layers, nn.Linear(width, 10))
        _glorot(self)


class KeskarC1(nn.Sequential):
    """Shallow and convolutional, like AlexNet. (batch, 3, 32, 32) to (batch, 10).

    Two convolutions of 5x5 with 64 channels, each with batch norm, ReLU and max-pooling of 3x3 at every second pixel,
    then layers of 384 and 192 with batch norm, ReLU and dropout of one half. Borders are padded, as Keras does by
    "same": in the convolutions seen in the authors' code, in the pooling recalled.

    >>> sum(weight.numel() for weight in KeskarC1().parameters())
    1757834
    """

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        for channels in (3, 64):
            layers += [nn.Conv2d(channels, 64, 5, padding=2), nn.BatchNorm2d(64), nn.ReLU()]
            layers += [nn.MaxPool2d(3, stride=2, padding=1)]
        layers += [nn.Flatten()]
        for wide, narrow in ((64 * 8 * 8, 384), (384, 192)):
            layers += [nn.Linear(wide, narrow), nn.BatchNorm1d(narrow), nn.ReLU(), nn.Dropout(0.5)]
        super().__init__(*layers, nn.Linear(192, 10))
        _glorot(self)
