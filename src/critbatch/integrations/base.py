"""Shared parts of the trainer callbacks: a hook at the end of a backward pass, and a monitor inside a trainer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from critbatch.errors import UserError
from critbatch.gradient_noise.monitor import By, Monitor, check_arguments, in_words, log
from critbatch.law.step_time import StepSeconds
from critbatch.records.core import NoiseScale
from critbatch.records.monitor import MonitorAdvice


class AfterBackward:
    """Calls a function at the end of each backward pass through a model, when all gradients are in place.

    This includes the averages of DistributedDataParallel. It finishes in a callback of autograd's engine, and this
    class queues its own from within such a callback, so that it runs later. The first callback belongs to the
    outermost backward pass, also with gradient checkpoints.

    Args:
        model: Model whose outputs lead to the loss.
        call: Function without arguments. If it raises an error, `backward()` raises it.
    """

    def __init__(self, model: nn.Module, call: Callable[[], None]) -> None:
        self.call = call
        self._queued = False
        self._handle = model.register_forward_hook(self._watch_outputs)

    def close(self) -> None:
        self._handle.remove()

    def _watch_outputs(self, module: nn.Module, args: Any, outputs: Any) -> None:
        if not (module.training and torch.is_grad_enabled()):
            return
        self._queued = False  # the previous pass may not have finished
        for output in _tensors(outputs):
            if output.requires_grad:
                output.register_hook(self._begin)  # type: ignore[no-untyped-call]

    def _begin(self, gradient: Tensor) -> None:
        if not self._queued:
            self._queued = True
            _queue(lambda: _queue(self._end))

    def _end(self) -> None:
        self._queued = False
        self.call()


def _queue(call: Callable[[], None]) -> None:
    torch.autograd.Variable._execution_engine.queue_callback(call)


def _tensors(outputs: Any) -> Iterator[Tensor]:
    if isinstance(outputs, Tensor):
        yield outputs
    elif isinstance(outputs, (tuple, list, Mapping)):
        for part in outputs.values() if isinstance(outputs, Mapping) else outputs:
            yield from _tensors(part)


class MonitorCallback:
    """A `Monitor` inside a trainer. It never stops the training: a problem is logged once as a warning.

    Args:
        by: As for `Monitor`. "auto" is "processes" with several processes, "micro_batches" with gradient accumulation,
            which costs almost nothing, and "examples" otherwise.
        examples: As for `Monitor`.
        window: As for `Monitor`.
        language: Language of the advice that is printed at the end, "en" or "zh". None: nothing is printed.
        batch_size: As for `Monitor`.
        strict: Raise a UserError if something cannot be measured.

    Raises:
        UserError: if an argument is not possible.
    """

    def __init__(
        self,
        *,
        by: By,
        examples: float,
        window: int,
        language: str | None,
        batch_size: int | None = None,
        strict: bool = False,
    ) -> None:
        check_arguments(by=by, window=window, batch_size=batch_size)
        self.by, self.examples, self.window, self.language = by, examples, window, language
        self.batch_size, self.strict = batch_size, strict
        self.monitor: Monitor | None = None
        self.optimizer: Optimizer | None = None
        self.problem = ""  # why nothing can be measured
        self._state: dict[str, Any] | None = None

    def begin(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        accumulation: int | None,
        processes: int,
        group: torch.distributed.ProcessGroup | None = None,
        micro_batch_size: int | None = None,
    ) -> None:
        """Start the monitor.

        Args:
            model: Model. With several processes the DistributedDataParallel module, unless `group` is given.
            optimizer: Optimizer, whose learning rate the advice uses.
            accumulation: Backward passes per step. None: unknown.
            processes: Number of processes.
            group: Group of the processes.
            micro_batch_size: Examples in most forward passes, if the trainer knows it.

        Raises:
            UserError: if `strict` is set and the model cannot be monitored this way.
        """
        by = self.by
        if by == "auto":
            by = "processes" if processes > 1 else "micro_batches" if (accumulation or 1) > 1 else "examples"
        self.end()
        self.monitor, self.problem, self.optimizer = None, "", optimizer
        try:
            if by == "micro_batches" and accumulation == 1 and processes == 1:
                raise UserError("by='micro_batches' needs two or more micro-batches a step: accumulate gradients.")
            self.monitor = Monitor(
                model,
                by=by,
                examples=self.examples,
                batch_size=self.batch_size,
                window=self.window,
                timed=True,
                process_group=group,
                strict=self.strict,
            )
            if micro_batch_size is not None:
                self.monitor.expect(micro_batch_size)
        except Exception as error:
            self.give_up(error)
        if self.monitor is not None and self._state is not None:
            try:
                self.monitor.load_state_dict(self._state)
            except Exception as error:
                if self.strict:
                    raise
                log.warning("critbatch.Monitor begins anew. %s", error)

    def give_up(self, error: Exception) -> None:
        """Measure nothing from now on, because of this error."""
        if self.strict:
            raise error
        self.problem = in_words(error)
        log.warning("critbatch.Monitor measures nothing in this training, which goes on. %s", self.problem)

    def step(self, *, gradient_scale: float = 1.0, unscaled: bool = False) -> None:
        """Measure a step. Call it when its gradients are complete, before anything changes them."""
        if self.monitor is not None:
            self.monitor.update(gradient_scale=gradient_scale, unscaled=unscaled)

    @property
    def missed(self) -> int:
        """Steps that had nothing to compare: the last step of an epoch may have one micro-batch."""
        return self.monitor.left_out["nothing_to_compare"] if self.monitor is not None else 0

    def numbers(self) -> dict[str, float]:
        """Current values for a log."""
        if self.monitor is None:
            return {}
        try:
            advice = self.advice()
        except Exception as error:
            self.give_up(error)
            return {}
        values = {"noise_scale": advice.noise.noise_scale, "critical_batch_size": advice.critical.value}
        return {name: value for name, value in values.items() if math.isfinite(value)}

    def noise_scale(self) -> NoiseScale:
        return self._running_monitor().noise_scale()

    def advice(
        self, batch_sizes: Sequence[int] | None = None, *, step_seconds: StepSeconds | None = None
    ) -> MonitorAdvice:
        return self._running_monitor().advice(batch_sizes, step_seconds=step_seconds, optimizer=self.optimizer)

    def print_advice(self) -> None:
        if self.language is None:
            return
        if self.monitor is not None:
            print(self.advice().text(self.language), flush=True)
        elif self.problem:
            print(self.problem, flush=True)

    def state_dict(self) -> dict[str, Any]:
        return self.monitor.state_dict() if self.monitor is not None else self._state or {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore this state when training begins."""
        self._state = state or None

    def end(self) -> None:
        """Remove the hooks. The results stay available."""
        if self.monitor is not None:
            self._state = self.monitor.state_dict()
            self.monitor.close()

    def _running_monitor(self) -> Monitor:
        if self.monitor is None:
            raise UserError(
                f"Nothing was measured in this training. {self.problem}"
                if self.problem
                else "Training has not begun, so nothing has been measured yet: call this during or after it."
            )
        return self.monitor
