"""The networks of Keskar et al. 2016, arXiv:1609.04836, table 1 and appendix B: small against large batches.

C3 and C4 are C1 and C2 with 100 outputs.
"""

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
