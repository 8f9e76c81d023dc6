"""What Keskar et al. 2016 found of six networks: arXiv:1609.04836, tables 2 and 3, means and deviations of five runs.

Small is batch size 256, large a tenth of the training set. Accuracies are shares here and percentages there.
"""

from __future__ import annotations

from dataclasses import dataclass

SMALL_BATCH_SIZE = 256
LARGE_SHARE = 0.1


@dataclass(frozen=True)
class Published:
    """A mean over five runs, and their standard deviation."""

    mean: float
    deviation: float


@dataclass(frozen=True, kw_only=True)
class PublishedNetwork:
    """A row of table 2, and that of table 3: sharpness in the full box, for each epsilon."""

    train_small: Published
    train_large: Published
    test_small: Published
    test_large: Published
    sharpness: dict[float, tuple[Published, Published]]


def _network(accuracies: tuple[float, ...], wide: tuple[float, ...], narrow: tuple[float, ...]) -> PublishedNetwork:
    """From the tables' digits: pairs of mean and deviation, in percent in table 2."""
    pairs = zip(accuracies[::2], accuracies[1::2], strict=True)
    told = [Published(round(mean / 100, 6), round(deviation / 100, 6)) for mean, deviation in pairs]
    return PublishedNetwork(
        train_small=told[0],
        train_large=told[1],
        test_small=told[2],
        test_large=told[3],
        sharpness={
            epsilon: (Published(*row[:2]), Published(*row[2:])) for epsilon, row in ((1e-3, wide), (5e-4, narrow))
        },
    )


PUBLISHED: dict[str, PublishedNetwork] = {
    "F1": _network(
        (99.66, 0.05, 99.92, 0.01, 98.03, 0.07, 97.81, 0.07),
        (1.23, 0.83, 205.14, 69.52),
        (0.61, 0.27, 42.90, 17.14),
    ),
    "F2": _network(
        (99.99, 0.03, 98.35, 2.08, 64.02, 0.20, 59.45, 1.05),
        (1.39, 0.02, 310.64, 38.46),
        (0.90, 0.05, 93.15, 6.81),
    ),
    "C1": _network(
        (99.89, 0.02, 99.66, 0.20, 80.04, 0.12, 77.26, 0.42),
        (28.58, 3.13, 707.23, 43.04),
        (7.08, 0.88, 227.31, 23.23),
    ),
    "C2": _network(
        (99.99, 0.04, 99.99, 0.01, 89.24, 0.12, 87.26, 0.07),
        (8.68, 1.32, 925.32, 38.29),
        (2.07, 0.86, 175.31, 18.28),
    ),
    "C3": _network(
        (99.56, 0.44, 99.88, 0.30, 49.58, 0.39, 46.45, 0.43),
        (29.85, 5.98, 258.75, 8.96),
        (8.56, 0.99, 105.11, 13.22),
    ),
    "C4": _network(
        (99.10, 1.23, 99.57, 1.84, 63.08, 0.50, 57.81, 0.17),
        (12.83, 3.84, 421.84, 36.97),
        (4.07, 0.87, 109.35, 16.57),
    ),
}
