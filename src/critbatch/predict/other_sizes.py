"""What another batch size would cost from here on, told from the noise scale alone."""

from __future__ import annotations

from dataclasses import dataclass

from critbatch.errors import UserError
from critbatch.records import NoiseScale, Record


@dataclass(frozen=True, kw_only=True)
class OtherSize(Record):
    """Steps and examples to the same loss at `batch_size`, as multiples of those at the size in use."""

    batch_size: int
    steps: float
    examples: float
    steps_between: tuple[float, float] | None  # from the noise scale's interval; None where it has none


def other_sizes(scale: NoiseScale, *, batch_size: int, others: tuple[int, ...] = ()) -> tuple[OtherSize, ...]:
    """``S(B') / S(B) = (1 + B_noise / B') / (1 + B_noise / B)``, and examples are batch size times steps.

    McCandlish et al. 2018, arXiv:1812.06162, equations 2.7 and 2.11, with the noise scale as it is now for the rest of
    the run and the learning rate tuned at every size.

    Args:
        scale: the noise scale B_noise.
        batch_size: B, the size in use.
        others: B'; from an eighth of the size to eight times it, unless given.

    Raises:
        UserError: if a size is not possible.

    >>> scale = NoiseScale(gradient_norm2=1.0, covariance_trace=100.0)
    >>> [(size.batch_size, size.steps, size.examples) for size in other_sizes(scale, batch_size=100, others=(50, 200))]
    [(50, 1.5, 0.75), (200, 0.75, 1.5)]
    """
    sizes = others or tuple(sorted({max(1, batch_size * 2**power // 8) for power in range(7)}))
    if min(batch_size, *sizes) < 1:
        raise UserError(f"A batch size of {min(batch_size, *sizes)} is not possible: use 1 or more.")
    told = []
    for other in sizes:
        steps = _steps(scale.examples, other, batch_size)
        between = None
        if scale.low is not None and scale.high is not None:
            ends = sorted((_steps(scale.low, other, batch_size), _steps(scale.high, other, batch_size)))
            between = (ends[0], ends[1])
        told.append(
            OtherSize(batch_size=other, steps=steps, examples=steps * other / batch_size, steps_between=between)
        )
    return tuple(told)


def _steps(noise: float, other: int, batch_size: int) -> float:
    if noise == float("inf"):
        return batch_size / other
    return (1 + noise / other) / (1 + noise / batch_size)
