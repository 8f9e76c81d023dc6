"""What all callbacks share: a monitor that is made when training begins, fed at each step and asked now and then."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from critbatch.errors import UserError
from critbatch.monitor import By, Monitor
from critbatch.monitor_hooks import NothingToCompareError
from critbatch.monitor_records import MonitorAdvice
from critbatch.predict.step_curve import StepSeconds
from critbatch.records import NoiseScale


class Watch:
    """A `Monitor` inside of a trainer.

    Args:
        by: as for `Monitor`; "auto" is "processes" in several processes, else "micro_batches" where gradients are
            accumulated, which costs almost nothing, else "examples".
        examples: as for `Monitor`.
        window: as for `Monitor`.
        language: of the advice that is printed at the end, "en" or "zh"; None for no print.
    """

    def __init__(self, *, by: By, examples: float, window: int, language: str | None) -> None:
        self.by, self.examples, self.window, self.language = by, examples, window, language
        self.monitor: Monitor | None = None
        self.optimizer: Optimizer | None = None
        self.missed = 0  # steps with nothing to compare: the last one of an epoch may have one micro-batch
        self._state: dict[str, Any] | None = None

    def begin(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        accumulation: int | None,
        processes: int,
        group: torch.distributed.ProcessGroup | None = None,
    ) -> None:
        """Begin to watch.

        Args:
            model: in several processes the DistributedDataParallel one, unless `group` is given.
            optimizer: whose learning rate advice is about.
            accumulation: backward passes in a step; None where nobody knows.
            processes: how many there are.
            group: of the processes.

        Raises:
            UserError: if the model cannot be watched this way.
        """
        by = self.by
        if by == "auto":
            by = "processes" if processes > 1 else "micro_batches" if (accumulation or 1) > 1 else "examples"
        if by == "micro_batches" and accumulation == 1:
            raise UserError("by='micro_batches' needs two or more micro-batches a step: accumulate gradients.")
        if by != "processes" and processes > 1:
            raise UserError(f"by={by!r} sees the examples of one process only: use by='processes'.")
        self.end()
        self.optimizer = optimizer
        self.monitor = Monitor(
            model, by=by, examples=self.examples, window=self.window, timed=True, process_group=group
        )
        if self._state is not None:
            self.monitor.load_state_dict(self._state)

    def step(self, *, gradient_scale: float = 1.0, unscaled: bool = False) -> None:
        """When the gradients of a step are there, and nothing has changed them."""
        assert self.monitor is not None
        try:
            self.monitor.update(gradient_scale=gradient_scale, unscaled=unscaled)
        except NothingToCompareError:
            self.missed += 1

    def numbers(self) -> dict[str, float]:
        """For a log: what is known by now."""
        if self.monitor is None:
            return {}
        advice = self.advice()
        found = {"noise_scale": advice.noise.examples, "critical_batch_size": advice.critical.value}
        return {name: value for name, value in found.items() if math.isfinite(value)}

    def noise_scale(self) -> NoiseScale:
        return self._seen().noise_scale()

    def advice(
        self, batch_sizes: Sequence[int] | None = None, *, step_seconds: StepSeconds | None = None
    ) -> MonitorAdvice:
        return self._seen().advice(batch_sizes, step_seconds=step_seconds, optimizer=self.optimizer)

    def tell(self) -> None:
        if self.language is not None and self.monitor is not None:
            print(self.advice().text(self.language), flush=True)

    def state_dict(self) -> dict[str, Any]:
        return self.monitor.state_dict() if self.monitor is not None else self._state or {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """To be gone on from when training begins."""
        self._state = state or None

    def end(self) -> None:
        """Take the hooks off. What was seen can be asked for still."""
        if self.monitor is not None:
            self._state = self.monitor.state_dict()
            self.monitor.close()

    def _seen(self) -> Monitor:
        if self.monitor is None:
            raise UserError("Training has not begun, so nothing was seen yet: ask during or after it.")
        return self.monitor


def examples_in(batch: Any) -> int:
    """How many examples a batch has: the length of the first tensor in it that has one; 0 where there is none."""
    if isinstance(batch, torch.Tensor):
        return len(batch) if batch.ndim else 0
    parts = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, Sequence) else ()
    if isinstance(batch, str):
        return 0
    return next((count for count in map(examples_in, parts) if count), 0)
