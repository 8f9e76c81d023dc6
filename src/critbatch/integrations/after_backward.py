"""A call when a backward pass is over, before a trainer goes on to clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn


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
