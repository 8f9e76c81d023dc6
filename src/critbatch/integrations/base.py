"""What all callbacks share: a monitor that is made when training begins, fed at each step and asked now and then."""

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

# A call when a backward pass is over, before a trainer goes on to clip.


class AfterBackward:
    """Calls a function at the end of each backward pass through a model, when all gradients are in place.

    Those that DistributedDataParallel averages are, too: it finishes in a callback of autograd's engine, as this does,
    but one that was queued after it. The first queues in the outermost pass, which gradient checkpoints do not leave.

    Args:
        model: its outputs lead to the loss.
        call: without arguments. What it raises, `backward()` raises.
    """

    def __init__(self, model: nn.Module, call: Callable[[], None]) -> None:
        self.call = call
        self._queued = False
        self._handle = model.register_forward_hook(self._see)

    def close(self) -> None:
        self._handle.remove()

    def _see(self, module: nn.Module, args: Any, outputs: Any) -> None:
        if not (module.training and torch.is_grad_enabled()):
            return
        self._queued = False  # where the pass before had no end
        for output in _tensors(outputs):
            if output.requires_grad:
                output.register_hook(self._begin)  # type: ignore[no-untyped-call]

    def _begin(self, slope: Tensor) -> None:
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
    """A `Monitor` inside of a trainer. It never ends the training: what cannot be watched is said in the log, once.

    Args:
        by: as for `Monitor`; "auto" is "processes" in several processes, else "micro_batches" where gradients are
            accumulated, which costs almost nothing, else "examples".
        examples: as for `Monitor`.
        window: as for `Monitor`.
        language: of the advice that is printed at the end, "en" or "zh"; None for no print.
        batch_size: as for `Monitor`.
        strict: whether that which cannot be watched raises a UserError.

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
        self.problem = ""  # why nothing can be watched
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
        """Begin to watch.

        Args:
            model: in several processes the DistributedDataParallel one, unless `group` is given.
            optimizer: whose learning rate advice is about.
            accumulation: backward passes in a step; None where nobody knows.
            processes: how many there are.
            group: of the processes.
            micro_batch_size: examples in most forward passes, where the trainer knows.

        Raises:
            UserError: strict alone: if the model cannot be watched this way.
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
        """Nothing is watched, because of this error."""
        if self.strict:
            raise error
        self.problem = in_words(error)
        log.warning("critbatch.Monitor measures nothing in this training, which goes on. %s", self.problem)

    def step(self, *, gradient_scale: float = 1.0, unscaled: bool = False) -> None:
        """When the gradients of a step are there, and nothing has changed them."""
        if self.monitor is not None:
            self.monitor.update(gradient_scale=gradient_scale, unscaled=unscaled)

    @property
    def missed(self) -> int:
        """Steps with nothing to compare: the last one of an epoch may have one micro-batch."""
        return self.monitor.left_out["nothing_to_compare"] if self.monitor is not None else 0

    def numbers(self) -> dict[str, float]:
        """For a log: what is known by now."""
        if self.monitor is None:
            return {}
        try:
            advice = self.advice()
        except Exception as error:
            self.give_up(error)
            return {}
        found = {"noise_scale": advice.noise.noise_scale, "critical_batch_size": advice.critical.value}
        return {name: value for name, value in found.items() if math.isfinite(value)}

    def noise_scale(self) -> NoiseScale:
        return self._seen().noise_scale()

    def advice(
        self, batch_sizes: Sequence[int] | None = None, *, step_seconds: StepSeconds | None = None
    ) -> MonitorAdvice:
        return self._seen().advice(batch_sizes, step_seconds=step_seconds, optimizer=self.optimizer)

    def tell(self) -> None:
        if self.language is None:
            return
        if self.monitor is not None:
            print(self.advice().text(self.language), flush=True)
        elif self.problem:
            print(self.problem, flush=True)

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
            raise UserError(
                f"Nothing was measured in this training. {self.problem}"
                if self.problem
                else "Training has not begun, so nothing was seen yet: ask during or after it."
            )
        return self.monitor
