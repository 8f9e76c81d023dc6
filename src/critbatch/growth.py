"""When the batch grows with the noise of its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from critbatch.errors import UserError
from critbatch.records.core import NoisePoint


@dataclass(frozen=True, kw_only=True)
class Growth:
    """The batch is multiplied by `factor` when `share` of the noise scale has come to be as large.

    McCandlish et al. 2018, arXiv:1812.06162, section 2.4 and appendix C.1: the best batch at a point of training is in
    proportion to the noise scale there, which grows.

    Args:
        share: of the noise scale, that the batch shall have.
        factor: by which it grows at once.
        largest: it never grows beyond, nor beyond the training set.
        exponent: of the rule for the learning rate, ``1 / (1 + B_noise / B)^exponent``: 1 for SGD, 0.5 for Adam; 0
            leaves the rate as it is.
        points: so many points of the noise are averaged, since one alone is noisy.
    """

    share: float = 1.0
    factor: int = 2
    largest: int
    exponent: float = 1.0
    points: int = 4

    def __post_init__(self) -> None:
        if not self.share > 0 or self.factor < 2 or self.largest < 1 or self.points < 1 or self.exponent < 0:
            raise UserError(
                f"share={self.share}, factor={self.factor}, largest={self.largest}, points={self.points}, "
                f"exponent={self.exponent} are not possible: use a share above 0, a factor of 2 or more, and no "
                "negative number."
            )

    def noise_scale(self, points: Sequence[NoisePoint]) -> float | None:
        """Of the last points together, in examples: signal and noise are averaged first. None while it is not known."""
        last = [point.scale for point in points[-self.points :]]
        if len(last) < self.points:
            return None
        signal = sum(scale.gradient_norm2 for scale in last)
        noise = sum(scale.covariance_trace for scale in last)
        return noise / signal if signal > 0 < noise else None

    def next_size(self, size: int, points: Sequence[NoisePoint], *, examples: int) -> int:
        """The batch size to go on with, never above the number of `examples` in the training set."""
        scale = self.noise_scale(points)
        grown = size * self.factor
        return grown if scale is not None and grown <= min(self.largest, examples, self.share * scale) else size
