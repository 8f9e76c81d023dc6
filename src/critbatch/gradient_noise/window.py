"""The last steps of a `Monitor`: signal, noise, batch size and seconds of each."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from critbatch.errors import UserError
from critbatch.gradient_noise.estimator import (
    FEWEST_PAIRS,
    DeferredNorms,
    Measured,
    Scales,
    SizeError,
    Tally,
    UnmeasurableError,
    average_pairs,
    measure,
    tally_with_size,
)
from critbatch.records.core import NoiseScale

Weights = Literal["auto", "equal", "by_size"]
STEPS_AT_ONCE = 32
FEWEST_CONTRASTS = 4
LEVEL = 0.999  # confidence at which contrasts decide how micro-batches are weighted
CLOSE = 0.05  # relative difference of two noise scales that count as equal


class BatchSize(NamedTuple):
    """Examples in a step, given by the user.

    Args:
        examples: over all processes.
        always: whether the number was given once for all steps.
    """

    examples: int
    always: bool


class PendingStep(NamedTuple):
    """A step whose numbers may not have arrived yet from a device or from other processes.

    Args:
        sums: its sums, deferred.
        scales: the factors of its numbers.
        batch_size: given by the user; None if not given.
        seconds: since the previous update; None for the first, or if steps are not timed.
        problem: why this process cannot measure it, if so.
        half: whether gradients are float16 or bfloat16.
    """

    sums: DeferredNorms
    scales: Scales
    batch_size: BatchSize | None
    seconds: float | None
    problem: UnmeasurableError | None
    half: bool


class NoiseWindow:
    """The last steps. They are evaluated some steps later, many at once.

    Args:
        length: the largest number of steps.
        examples: N, the number of examples that batches are drawn from without replacement.
        by_examples: whether the small gradients are those of single examples.
        weights: of micro-batches in the gradient of a step; "auto" infers them.
        leave_out: called with the reason why a step cannot be measured.
    """

    def __init__(
        self,
        length: int,
        examples: float,
        *,
        by_examples: bool,
        weights: Weights,
        leave_out: Callable[[UnmeasurableError], None],
    ) -> None:
        self.examples, self.by_examples, self.weights, self.leave_out = examples, by_examples, weights, leave_out
        self.skipped = 0
        self.left_out: Counter[str] = Counter()  # number of steps, by reason
        self.steps: deque[Measured] = deque(maxlen=length)
        self.times: deque[tuple[int, float | None]] = deque(maxlen=length)  # batch size and seconds of each step
        self._recent: deque[str] = deque(maxlen=length)  # reasons of the last steps; "" for one that is measured
        self._counted = False  # whether in some step the tensors had as many examples as the user gave
        self._waiting: list[PendingStep] = []

    def add(self, step: PendingStep) -> None:
        if len(self._waiting) == STEPS_AT_ONCE:
            self.settle()
        self._waiting.append(step)

    def settle(self) -> None:
        """Compute signal and noise of the pending steps all at once, so that no single step waits for a device."""
        waiting, self._waiting = self._waiting, []
        for step in waiting:
            sums = step.sums()
            try:
                tally = self._with_sizes(Tally(*sums.tally.tolist()), step)
                measured = measure(
                    sums,
                    tally,
                    step.scales,
                    by_examples=self.by_examples,
                    examples=self.examples,
                    half=step.half,
                )
            except UnmeasurableError as error:
                self.skip(error)
                continue
            if measured is None:
                self.skipped += 1
            else:
                self.steps.append(measured)
                self._recent.append("")
            self.times.append((round(tally.examples), step.seconds))

    def skip(self, error: UnmeasurableError) -> None:
        """Leave out a step that cannot be measured."""
        self.left_out[error.reason] += 1
        self._recent.append(error.reason)
        self.leave_out(error)

    def restart(self) -> None:
        """Forget the steps, because they had other weights."""
        self.settle()
        self.steps.clear()
        self._recent.clear()

    def _with_sizes(self, tally: Tally, step: PendingStep) -> Tally:
        if tally.problems:
            raise step.problem or UnmeasurableError("Another process could not measure this step.")
        given = step.batch_size
        if given is None:
            if tally.unknown:
                raise SizeError("Another process could not count its examples.")
            return tally
        counted = not tally.unknown and tally.examples > 0
        if counted and round(tally.examples) == given.examples:
            self._counted = True
            return tally
        if counted and given.always and self._counted:
            return tally  # a shorter step
        if counted and tally.unequal:
            raise SizeError(
                f"batch_size={given.examples} was given for a step whose micro-batches have {tally.examples:.0f} "
                "examples in all, not the same number each: give one number for each, update(batch_size=[...])."
            )
        return tally_with_size(tally, given.examples)

    @property
    def batch_size(self) -> int | None:
        """The batch size of most steps: the last batch of an epoch may be smaller."""
        return Counter(size for size, _ in self.times).most_common(1)[0][0] if self.times else None

    @property
    def timed(self) -> list[tuple[int, float]]:
        return [(size, seconds) for size, seconds in self.times if seconds is not None]

    def noise_scale(self, *, row: int = 0, places: list[int] | None = None) -> NoiseScale:
        """The noise scale over the steps that have this row, for some weights or for all."""
        steps = [step for step in self.steps if step.equal.shape[1] > row]
        scale = self._weighted(steps, row, places)
        refused = Counter(reason for reason in self._recent if reason)
        if refused and sum(refused.values()) > len(steps):
            return replace(scale, low=None, high=None, reason=refused.most_common(1)[0][0])
        return scale

    def _weighted(self, steps: list[Measured], row: int, places: list[int] | None) -> NoiseScale:
        by_size = [step.by_size is not None for step in steps]
        if not any(by_size):
            return _average([step.equal for step in steps], row, places)
        equal = _average([step.equal for step in steps], row, places)
        sized = _average([step.equal if step.by_size is None else step.by_size for step in steps], row, places)
        known = self.weights_found()
        if self.weights != "auto":
            chosen = equal if self.weights == "equal" else sized
            contradicted = known not in ("auto", self.weights)
            return replace(chosen, low=None, high=None, reason="micro_batch_weights_wrong") if contradicted else chosen
        if known != "auto":
            return equal if known == "equal" else sized
        likely = sized if sum(step.contrast for step in steps) > 0 else equal
        if abs(equal.noise_scale - sized.noise_scale) < CLOSE * equal.noise_scale < math.inf:
            if equal.low is None or sized.low is None:
                return likely
            high = None if equal.high is None or sized.high is None else max(equal.high, sized.high)
            return replace(likely, low=min(equal.low, sized.low), high=high)
        same = [step.equal for step, unequal in zip(steps, by_size, strict=True) if not unequal]
        if len(same) >= FEWEST_PAIRS:
            return _average(same, row, places)
        if len(steps) < FEWEST_PAIRS:
            return likely
        return replace(likely, low=None, high=None, reason="micro_batch_weights_unknown")

    def weights_found(self) -> Weights:
        """How micro-batches are weighted, if enough steps with unequal ones show it; else "auto"."""
        from scipy.special import stdtrit

        contrasts = np.array([step.contrast for step in self.steps if step.by_size is not None])
        if len(contrasts) < FEWEST_CONTRASTS:
            return "auto"
        error = float(contrasts.std(ddof=1)) / math.sqrt(len(contrasts))
        mean = float(contrasts.mean())
        if abs(mean) <= float(stdtrit(len(contrasts) - 1, (1 + LEVEL) / 2)) * error:
            return "auto"
        return "equal" if mean < 0 else "by_size"

    def state_dict(self) -> dict[str, Any]:
        return {
            "skipped": self.skipped,
            "left_out": dict(self.left_out),
            "pairs": [torch.from_numpy(step.equal) for step in self.steps],
            "by_size": [None if step.by_size is None else torch.from_numpy(step.by_size) for step in self.steps],
            "contrasts": [step.contrast for step in self.steps],
            "batch_sizes": [step.batch_size for step in self.steps],
            "times": list(self.times),
        }

    def load_state_dict(self, state: dict[str, Any], *, weights: int) -> None:
        """Continue from a `state_dict`.

        Raises:
            UserError: if it is of a model with another number of weights.
        """
        pairs = state["pairs"]
        if any(pair.shape[-1] != weights for pair in pairs):
            raise UserError(
                f"The state is of a model with {pairs[0].shape[-1]} weights and this one has {weights}: use "
                "the model that was monitored."
            )
        self.skipped, self._waiting = state["skipped"], []
        self.left_out = Counter(state.get("left_out", {}))
        self._recent.clear()
        self.steps.clear()
        by_size = state.get("by_size", [None] * len(pairs))
        contrasts = state.get("contrasts", [0.0] * len(pairs))
        batch_sizes = state.get("batch_sizes", [0] * len(pairs))
        for equal, sized, contrast, size in zip(pairs, by_size, contrasts, batch_sizes, strict=False):
            other = None if sized is None else sized.double().numpy()
            self.steps.append(Measured(equal=equal.double().numpy(), by_size=other, contrast=contrast, batch_size=size))
        self.times.clear()
        self.times.extend((size, seconds) for size, seconds in state.get("times", []))


def _average(pairs: list[NDArray[np.float64]], row: int, places: list[int] | None) -> NoiseScale:
    if not pairs:
        return average_pairs(torch.zeros(0), torch.zeros(0))
    both = np.stack([pair[:, row] for pair in pairs])
    sums = torch.from_numpy((both if places is None else both[:, :, places]).sum(-1))
    return average_pairs(sums[:, 0], sums[:, 1])
