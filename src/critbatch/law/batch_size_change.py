"""Estimate the cost of another batch size for the rest of a run, from the noise scale alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from scipy.special import ndtri

from critbatch.errors import UserError
from critbatch.law.prior import NOISE_SPREAD, NOISE_TO_LAW, WIDE_PRIOR, LawPrior
from critbatch.law.step_time import Curve
from critbatch.records.core import Estimate, NoiseScale
from critbatch.records.monitor import MonitorAdvice, OtherSize

DOUBLINGS = 3


def advise_from_noise(
    noise: NoiseScale,
    *,
    batch_size: int | None,
    others: Sequence[int] | None = None,
    steps: int,
    by: str = "examples",
    optimizer: str = "",
    prior: LawPrior = WIDE_PRIOR,
    learning_rate: float | None = None,
    step_seconds: Curve = lambda _: None,
) -> MonitorAdvice:
    """Return the advice of a Monitor that measured this noise scale.

    With the critical batch size B_n (`critical_batch_size`), ``S(B') / S(B) = (1 + B_n / B') / (1 + B_n / B)``, and
    examples are batch size times steps: McCandlish et al. 2018, arXiv:1812.06162, equations 2.7 and 2.11. The learning
    rate follows ``1 / (1 + B_n / B)^a`` with the exponent of the prior, which was measured for SGD and for Adam and is
    wide for other optimizers. This assumes that today's learning rate is the best one for today's batch size. The
    intervals of these ratios follow from those of B_n and of the exponent.

    Args:
        noise: The noise scale over the last steps.
        batch_size: B, the size in use; None if no step was measured.
        others: B', the other sizes. Default: doublings from an eighth of B to eight times B.
        steps: Number of steps so far.
        by: What was compared with the batch.
        optimizer: The recipe of the optimizer, or the name of its class, or "".
        prior: The prior of that recipe, whose exponent the learning rate follows.
        learning_rate: The learning rate now.
        step_seconds: Seconds per step as a function of the batch size, if known.

    Raises:
        UserError: If a size is not possible.

    >>> noise = NoiseScale(gradient_norm2=1.0, covariance_trace=100 / 1.7, pairs=100, low=50.0, high=70.0)
    >>> half, double = advise_from_noise(noise, batch_size=100, others=(50, 200), steps=100).sizes
    >>> [round(size.steps.value, 3) for size in (half, double)]
    [1.5, 0.75]
    >>> [round(size.examples.value, 3) for size in (half, double)]
    [0.75, 1.5]
    """
    if others is not None and min(others, default=1) < 1:
        raise UserError(f"A batch size of {min(others)} is not possible: use 1 or more.")
    critical = critical_batch_size(noise)
    now = step_seconds(batch_size) if batch_size is not None else None
    sizes: tuple[OtherSize, ...] = ()
    if batch_size is not None and critical.low is not None:
        usual = {max(1, batch_size * 2**power // 2**DOUBLINGS) for power in range(2 * DOUBLINGS + 1)} - {batch_size}
        sizes = tuple(
            _size(other, batch_size, critical, prior, learning_rate, now, step_seconds(other))
            for other in (sorted(usual) if others is None else others)
        )
    return MonitorAdvice(
        batch_size=batch_size,
        steps=steps,
        by=by,
        noise=noise,
        critical=critical,
        optimizer=optimizer,
        learning_rate=learning_rate,
        step_seconds=now,
        sizes=sizes,
        reason="no_steps_yet" if batch_size is None and noise.reason == "too_few_pairs" else noise.reason,
    )


def critical_batch_size(noise: NoiseScale) -> Estimate:
    """Return B_n in the law of steps for the rest of a run, given the noise scale now.

    B_n belongs to the rest of the run. The noise scale grows along it, so B_n is larger than the noise scale now: by a
    factor of 1.7 where fitted laws were compared with smoothed noise scales on 17 pairs of small tasks and optimizers,
    with a spread of a factor of e^0.6 from one pair to another. In a quadratic bowl with steps of the best size it is
    ``(r - 1) / log(r)`` times larger, if the loss above its minimum still falls by a factor of r: 1.7 for r = 2.7, and
    within the interval up to r = 16. The interval contains that spread and the noise scale's own interval, as
    independent. It is open where the interval of the noise scale is open.
    """
    level, found = noise.level, max(0.0, noise.noise_scale)
    if noise.low is None:
        value = NOISE_TO_LAW * found if noise.pairs else math.nan
        return Estimate(value=value, n=noise.pairs, level=level, reason=noise.reason or "too_few_pairs")
    spread = float(ndtri((1 + level) / 2)) * NOISE_SPREAD

    def end(limit: float, sign: int) -> float:
        """An interval's end, given the noise scale's; without a finite middle both spreads go one after the other."""
        if limit <= 0 or not 0 < found < math.inf:
            return NOISE_TO_LAW * max(0.0, limit) * math.exp(sign * spread)
        return NOISE_TO_LAW * found * math.exp(sign * math.hypot(spread, math.log(limit / found)))

    return Estimate(
        value=NOISE_TO_LAW * found,
        n=noise.pairs,
        low=end(noise.low, -1),
        high=None if noise.high is None else end(noise.high, 1),
        level=level,
        reason="" if noise.high is not None else noise.reason,
    )


def _size(
    other: int,
    batch_size: int,
    critical: Estimate,
    prior: LawPrior,
    learning_rate: float | None,
    now: Estimate | None,
    then: Estimate | None,
) -> OtherSize:
    steps = _through(critical, lambda noise: _steps(noise, other, batch_size))
    examples = _through(critical, lambda noise: _steps(noise, other, batch_size) * other / batch_size)
    rate = None
    if learning_rate is not None:
        rate = _rate(critical, other, batch_size, prior, learning_rate)
    seconds = _product(steps, then, now) if now is not None and then is not None else None
    return OtherSize(
        batch_size=other, steps=steps, examples=examples, learning_rate=rate, step_seconds=then, seconds=seconds
    )


def _steps(noise: float, other: int, batch_size: int) -> float:
    if math.isinf(noise):
        return batch_size / other
    return (1 + noise / other) / (1 + noise / batch_size)


def _through(critical: Estimate, ratio: Callable[[float], float]) -> Estimate:
    """The estimate of a ratio that is monotonic in B_n."""
    assert critical.low is not None
    ends = sorted((ratio(critical.low), ratio(math.inf if critical.high is None else critical.high)))
    return Estimate(value=ratio(critical.value), n=critical.n, low=ends[0], high=ends[1], level=critical.level)


def _rate(critical: Estimate, other: int, batch_size: int, prior: LawPrior, learning_rate: float) -> Estimate:
    exponent, spread = prior.exponent

    def growth(noise: float) -> float:
        return math.pow(_steps(noise, other, batch_size), -exponent)

    by_noise = _through(critical, growth)
    assert by_noise.low is not None and by_noise.high is not None
    wide = float(ndtri((1 + critical.level) / 2)) * spread / exponent
    by_exponent = wide * abs(math.log(by_noise.value))
    below = math.hypot(math.log(by_noise.value / by_noise.low), by_exponent)
    above = math.hypot(math.log(by_noise.high / by_noise.value), by_exponent)
    value = learning_rate * by_noise.value
    return Estimate(
        value=value, n=critical.n, low=value * math.exp(-below), high=value * math.exp(above), level=critical.level
    )


def _product(ratio: Estimate, times: Estimate, over: Estimate) -> Estimate:
    """``ratio times / over``, as independent: half-widths in logarithms add as squares; no interval adds nothing."""
    assert ratio.low is not None and ratio.high is not None
    value = ratio.value * times.value / over.value
    below, above = math.log(ratio.value / ratio.low), math.log(ratio.high / ratio.value)
    if times.low is not None and times.high is not None:
        below = math.hypot(below, math.log(times.value / times.low))
        above = math.hypot(above, math.log(times.high / times.value))
    if over.low is not None and over.high is not None:
        below = math.hypot(below, math.log(over.high / over.value))
        above = math.hypot(above, math.log(over.value / over.low))
    return Estimate(
        value=value, n=ratio.n, low=value * math.exp(-below), high=value * math.exp(above), level=ratio.level
    )
