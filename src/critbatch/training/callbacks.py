"""What follows a training run: loggers, and whatever a user does at each step or evaluation."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from critbatch.errors import first_line
from critbatch.records.core import CurvePoint, Run


@dataclass(frozen=True, kw_only=True)
class StepInfo:
    """One change of the weights.

    Args:
        step: Its number, from 1.
        epoch: Epochs of training data so far.
        batch_size: Examples in its batch, over all processes.
        learning_rate: Of this step.
        loss: This process's part of the batch's mean loss, a tensor of shape () on the device. Reading its value waits
            for the device.
    """

    step: int
    epoch: float
    batch_size: int
    learning_rate: float
    loss: Tensor


class Callback:
    """Follows a run. Override the methods that you need.

    Only the first of several processes calls them. What a callback draws from torch's random numbers does not change
    the run. The time of `on_step` counts as training, that of the other methods does not. If a method raises an
    exception, there is one warning, this callback is not called again, and the run continues.
    """

    def on_start(self, run: Run) -> None:
        """Before the first step of this process. `run` is what is known by now: of a resumed run, its first part."""

    def on_step(self, info: StepInfo) -> None:
        """After each step. Phases that train several copies of the model have evaluations only."""

    def on_evaluation(self, point: CurvePoint) -> None:
        """After each evaluation."""

    def on_end(self, run: Run) -> None:
        """When the run has ended or was interrupted."""


class CallbackList:
    """Calls several callbacks, and none again that raised an exception.

    Args:
        callbacks: In the order in which they are called.
        is_main_process: Whether this process calls them.
        device: Of the run, whose random state is kept.
    """

    def __init__(self, callbacks: Sequence[Callback], *, is_main_process: bool, device: torch.device) -> None:
        self._active = list(callbacks) if is_main_process else []
        self._devices = [device] if device.type == "cuda" else []
        self._has_started = False

    def start(self, run: Callable[[], Run]) -> None:
        """Call `on_start`, the first time only."""
        if self._active and not self._has_started:
            record = run()
            self._call(lambda callback: callback.on_start(record))
        self._has_started = True

    def step(self, info: Callable[[], StepInfo]) -> None:
        """Call `on_step`."""
        if self._active:
            step = info()
            self._call(lambda callback: callback.on_step(step))

    def evaluation(self, point: CurvePoint) -> None:
        """Call `on_evaluation`."""
        self._call(lambda callback: callback.on_evaluation(point))

    def end(self, run: Callable[[], Run]) -> None:
        """Call `on_end`."""
        if self._active:
            record = run()
            self._call(lambda callback: callback.on_end(record))

    def _call(self, method: Callable[[Callback], None]) -> None:
        if not self._active:
            return
        with torch.random.fork_rng(devices=self._devices):
            for callback in list(self._active):
                try:
                    method(callback)
                except Exception as error:
                    self._active.remove(callback)
                    warnings.warn(
                        f"{type(callback).__name__} is not called again, since it raised an error "
                        f"({first_line(error)}). The training continues.",
                        stacklevel=4,
                    )
