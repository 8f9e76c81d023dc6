"""Signal and noise of one step, from sums over its small gradients. Arithmetic that needs no model.

Let pass i, over ``b_i`` examples, add ``c_i = w_i g_i`` to the gradient, where ``g_i`` is the mean of its examples'
gradients. With ``p = sum(w^2) / sum(w)^2`` and ``v = sum(w^2 / b) / sum(w)^2``, and ``c`` in units in which their sum
is the gradient ``G_B`` of the step::

    E sum |c_i|^2 = p |G|^2 + v tr(Sigma)        E |G_B|^2 = |G|^2 + v tr(Sigma)

are two equations for two unknowns, whatever the weights ``w``. Equal weights are those of losses that are means over
each micro-batch; weights by size those of losses that are sums, or sums of tokens, divided by one number. Single
examples are passes of one example, so that ``p = v``. For equal sizes this is McCandlish et al. 2018, arXiv:1812.06162,
appendix A.1.

What came by must also add up to what lies in `.grad`. That is checked on some entries of each weight: gradients that
were scaled or clipped by one factor are scaled back, and a step whose gradients are something else is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from critbatch.errors import UserError
from critbatch.records.core import NoiseScale

# The gradient noise scale: the arithmetic that all ways of measuring it feed.

FEWEST_PAIRS = 8


def noise_scale(
    small_norm2: Tensor, big_norm2: Tensor, *, small: float, big: float, examples: float = math.inf
) -> NoiseScale:
    """Separate the gradient's signal from its noise, given its squared norm at two batch sizes.

    ``E|g_B|^2 = |G|^2 + tr(Sigma) (1/B - 1/N)`` holds at both batch sizes: two equations for two unknowns. Each result
    is unbiased, but their ratio is not: average the norms over steps before you call this. McCandlish et al. 2018,
    arXiv:1812.06162, appendix A.1; 1/N for batches drawn without replacement.

    Args:
        small_norm2: Mean of ``|g|^2`` over batches of `small` examples. Shape ().
        big_norm2: The same over batches of `big` examples. Shape (), same device.
        small: Examples in a small batch; for batches of several sizes, the harmonic mean.
        big: Examples in a big batch.
        examples: N, the number of examples that batches are drawn from; infinite if they are drawn with replacement.

    Raises:
        ValueError: If `small` is not below `big`, because the two equations would be one.

    >>> from torch import tensor
    >>> scale = noise_scale(tensor(3.0), tensor(1.5), small=1, big=4)
    >>> scale.gradient_norm2, scale.covariance_trace, scale.noise_scale
    (1.0, 2.0, 2.0)
    """
    noise, signal = separate(small_norm2, big_norm2, small=small, big=big, examples=examples)
    return NoiseScale(gradient_norm2=signal.item(), covariance_trace=noise.item())


Numbers = TypeVar("Numbers", Tensor, np.ndarray)


def separate(
    small_norm2: Numbers, big_norm2: Numbers, *, small: float, big: float, examples: float = math.inf
) -> tuple[Numbers, Numbers]:
    """``tr(Sigma)`` and ``|G|^2`` as in `noise_scale`, of tensors or arrays of any shape, with no wait for a device."""
    if small >= big:
        raise ValueError(f"`small` must be below `big`, but got {small=}, {big=}.")
    noise = (small_norm2 - big_norm2) / (1 / small - 1 / big)
    return noise, (big * big_norm2 - small * small_norm2) / (big - small) + noise / examples


def average(scales: Sequence[NoiseScale], *, level: float = 0.95) -> NoiseScale:
    """Signal and noise averaged over the steps, then divided, with Fieller's interval of the ratio."""
    noise = torch.tensor([scale.covariance_trace for scale in scales], dtype=torch.float64)
    signal = torch.tensor([scale.gradient_norm2 for scale in scales], dtype=torch.float64)
    return average_pairs(noise, signal, level=level)


def average_pairs(noise: Tensor, signal: Tensor, *, level: float = 0.95) -> NoiseScale:
    """The `average` of ``tr(Sigma)`` and ``|G|^2`` of each step, both of shape (steps,).

    The interval takes the steps as independent: their batches are, their weights drift slowly. It is open to the right
    (`high` is None) where the signal cannot be told from zero. Fieller 1954, "Some problems in interval estimation".
    """
    pairs = len(noise)
    mean = NoiseScale(
        gradient_norm2=signal.mean().item(), covariance_trace=noise.mean().item(), pairs=pairs, level=level
    )
    if pairs < FEWEST_PAIRS:
        return replace(mean, reason="too_few_pairs")
    covariance = torch.cov(torch.stack([noise, signal])) / pairs
    low, high = _fieller(mean.covariance_trace, mean.gradient_norm2, covariance.tolist(), pairs=pairs, level=level)
    return replace(mean, low=low, high=high, reason="" if high is not None else "noise_not_distinguishable")


def _fieller(
    noise: float, signal: float, covariance: list[list[float]], *, pairs: int, level: float
) -> tuple[float | None, float | None]:
    """The ratios r with (noise - r signal)^2 <= t^2 var(noise - r signal)."""
    from scipy.special import stdtrit

    t2 = float(stdtrit(pairs - 1, (1 + level) / 2)) ** 2
    (var_noise, both), (_, var_signal) = covariance
    a, b, c = signal**2 - t2 * var_signal, noise * signal - t2 * both, noise**2 - t2 * var_noise
    root2 = b**2 - a * c
    if root2 < 0:
        return None, None
    root = math.sqrt(root2)
    if a > 0 and signal > 0:
        return max(0.0, (b - root) / a), max(0.0, (b + root) / a)
    # The signal may be zero, so that any larger ratio is possible.
    above = max((b - root) / a, (b + root) / a) if a else 0.0
    return max(0.0, above), None


ROUNDING, ROUNDING_OF_HALF = 1e-2, 1e-1  # of sampled entries, relative to what came by: communication may be in half


class UnmeasurableError(UserError):
    """A step, or a model, of which the noise cannot be measured. `reason` is a key of reports/messages."""

    reason = "not_measurable"


class NothingToCompareError(UnmeasurableError):
    """A step that shows nothing of the noise: it had one micro-batch, or no backward pass."""

    reason = "nothing_to_compare"


class PassesError(UnmeasurableError):
    """Forward and backward passes that do not belong together."""

    reason = "passes_unclear"


class SizeError(UnmeasurableError):
    """A step of which the number of examples is not known."""

    reason = "batch_size_unknown"


class ChangedGradientsError(UnmeasurableError):
    """A step whose `.grad` is not what its backward passes gave."""

    reason = "gradients_changed"


class OtherWeightsError(UnmeasurableError):
    """A step of which other weights are trained than in the step before."""

    reason = "weights_changed"


class Tally(NamedTuple):
    """Sums over the passes of a step, over all processes."""

    problems: float = 0.0  # processes that cannot measure this step
    passes: float = 0.0  # backward passes
    unknown: float = 0.0  # of them, those whose number of examples is not known
    examples: float = 0.0
    inverse: float = 0.0  # of 1 / b
    squares: float = 0.0  # of b^2
    logs: float = 0.0  # of log b
    trend: float = 0.0  # of y: see `contrast`
    trend_logs: float = 0.0  # of y log b
    magnitude: float = 0.0  # of the norms of the sampled entries

    @property
    def unequal(self) -> bool:
        return self.passes * self.squares > self.examples**2 * (1 + 1e-9)


class Sums(NamedTuple):
    """What one step shows.

    Args:
        small_norm2: sums of the squared norms of the small gradients, as they came, shape (rows, weights).
        big_norm2: squared norms of what lies in `.grad`, shape (rows, weights).
        came: sampled entries of the sum of all gradients that came by, shape (entries,).
        there: the same entries of `.grad`, shape (entries,); NaN where they lie with another process.
        tally: shape (len(Tally._fields),).
    """

    small_norm2: Tensor
    big_norm2: Tensor
    came: Tensor
    there: Tensor
    tally: Tensor


DeferredNorms = Callable[[], Sums]
"""The sums over all processes, when they are needed: until then other processes are not waited for."""


def over_processes(own: Sums, group: torch.distributed.ProcessGroup | None, *, sharded: bool) -> DeferredNorms:
    """Ask for the sums over the processes at once, to be waited for later, hidden behind the next step.

    Args:
        own: of this process.
        group: of the processes; None for one alone.
        sharded: whether `.grad` holds a part of the gradient. Else each process has the whole of it.
    """
    if group is None:
        return lambda: own
    parts = [own.small_norm2, own.came, own.tally, *([own.big_norm2] if sharded else [])]
    joined = torch.cat([part.double().flatten() for part in parts])
    exchange = torch.distributed.all_reduce(joined, group=group, async_op=True)

    def later() -> Sums:
        assert exchange is not None
        exchange.wait()
        split = torch.split(joined, [part.numel() for part in parts])
        big_norm2 = split[3].view_as(own.big_norm2) if sharded else own.big_norm2
        return Sums(split[0].view_as(own.small_norm2), big_norm2, split[1], own.there, split[2])

    return later


class Scales(NamedTuple):
    """What a step's numbers were multiplied with.

    Args:
        small: the gradients that came by.
        big: what lies in `.grad`.
        processes: over how many `.grad` is a mean.
    """

    small: float = 1.0
    big: float = 1.0
    processes: int = 1


class Measured(NamedTuple):
    """Signal and noise of one step.

    Args:
        equal: (noise or signal, rows, weights), if all micro-batches have the same weight in the gradient.
        by_size: likewise, if they have weights by their sizes; None where all sizes are equal.
        contrast: below zero for equal weights and above for weights by size, in expectation; 0 for equal sizes.
        batch_size: examples in the step.
    """

    equal: NDArray[np.float64]
    by_size: NDArray[np.float64] | None
    contrast: float
    batch_size: int


def tally_with_size(tally: Tally, batch_size: float) -> Tally:
    """The tally of a step of `batch_size` examples, of which all passes have the same number."""
    each = batch_size / tally.passes
    return tally._replace(
        unknown=0.0,
        examples=batch_size,
        inverse=tally.passes / each,
        squares=tally.passes * each**2,
        logs=tally.passes * math.log(each),
        trend_logs=tally.trend * math.log(each),
    )


def measure(
    sums: Sums, tally: Tally, scales: Scales, *, by_examples: bool, examples: float = math.inf, half: bool = False
) -> Measured | None:
    """Signal and noise of a step, with none of its numbers taken on trust.

    Args:
        sums: over all processes.
        tally: that of `sums`, with sizes that are known.
        scales: of its gradients.
        by_examples: whether the small gradients are those of single examples.
        examples: N, what the batches are drawn from without replacement.
        half: whether gradients are float16 or bfloat16.

    Returns:
        None where the gradients are not finite.

    Raises:
        NothingToCompareError: if there is one small gradient only.
        ChangedGradientsError: if `.grad` is not the sum of what came by, nor a multiple of it.
    """
    small = sums.small_norm2.detach().cpu().double().numpy() / (scales.small * scales.processes) ** 2
    big = sums.big_norm2.detach().cpu().double().numpy() / scales.big**2
    if not (np.isfinite(small).all() and np.isfinite(big).all()):
        return None
    if (tally.examples if by_examples else tally.passes) < 2:
        raise NothingToCompareError(
            "A step has one example: use two or more."
            if by_examples
            else "A step has one micro-batch: give two or more backward passes before `update()`, or use by='examples'."
        )
    rounding = ROUNDING_OF_HALF if half else ROUNDING
    big = big * factor_of_change(sums, tally, scales, rounding=rounding) ** 2
    count = tally.examples if by_examples else tally.passes
    # Cauchy-Schwarz: a sum of so many gradients is no longer than this.
    if big[0].sum() > count * small[0].sum() * (1 + rounding):
        raise _changed("is longer than the sum of what its backward passes gave can be")
    equal, by_size = tally.inverse / tally.passes**2, 1 / tally.examples
    shares = (equal, by_size) if by_examples else (1 / tally.passes, tally.squares / tally.examples**2)
    pairs = [_pair(small, big, p, v, examples) for p, v in zip(shares, (equal, by_size), strict=True)]
    return Measured(
        equal=pairs[0],
        by_size=pairs[1] if tally.unequal else None,
        contrast=contrast(tally) if tally.unequal else 0.0,
        batch_size=round(tally.examples),
    )


def _pair(
    small: NDArray[np.float64], big: NDArray[np.float64], p: float, v: float, examples: float
) -> NDArray[np.float64]:
    signal = (big - small) / (1 - p)
    noise = (small - p * signal) / v
    return np.stack([noise, signal + noise / examples])


def contrast(tally: Tally) -> float:
    """Whether larger micro-batches have the larger gradients: then their losses are weighted by size.

    With equal weights ``E |c_i|^2`` falls with the size, like 1 / b at the most; with weights by size it rises, like b
    at the least. ``y_i = |c_i|^2 / sqrt(b_i)`` therefore falls in the one case and rises in the other, whatever signal
    and noise are; so does the sum of the squared norms of a pass's examples. The contrast is the mean of log b with the
    weights y, less that without weights.
    """
    return tally.trend_logs / tally.trend - tally.logs / tally.passes if tally.trend > 0 else 0.0


def factor_of_change(sums: Sums, tally: Tally, scales: Scales, *, rounding: float) -> float:
    """What `.grad` has to be multiplied with to be the sum of what came by: 1 unless it was clipped or scaled.

    Raises:
        ChangedGradientsError: if no factor makes it that sum.
    """
    came, there = (part.detach().cpu().double().numpy() for part in (sums.came, sums.there))
    own = ~np.isnan(there)
    came, there = came[own], there[own]
    expected = scales.big / (scales.small * scales.processes)
    slack = rounding * tally.magnitude
    if np.linalg.norm(there - expected * came) <= expected * slack:
        return 1.0
    ratio = float(there @ came) / max(float(came @ came), 1e-300)
    if ratio <= 0 or np.linalg.norm(there - ratio * came) > ratio * slack:
        raise _changed("is not the sum of what its backward passes gave")
    return expected / ratio


def _changed(how: str) -> ChangedGradientsError:
    return ChangedGradientsError(
        f"The gradient in `.grad` {how}: set gradients to zero before a step's first `backward()`, call `update()` "
        "before anything changes them, and `discard()` after a step that is thrown away."
    )
