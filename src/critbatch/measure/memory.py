"""Peak memory of one training step, in bytes."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from critbatch.tasks.sampler import Feed
from critbatch.training.step import Step


class StepMemory(NamedTuple):
    """What one step holds in tensors."""

    peak_bytes: int  # at the moment when it is most
    forward_bytes: int  # of a micro-batch and its activations when backward begins: in proportion to its size


def step_memory(step: Step, feed: Feed, *, learning_rate: float) -> StepMemory:
    """Make one training step, and count the bytes that it holds in tensors.

    Counted are weights and buffers, gradients (those of the step before too, until they are cleared), the optimizer's
    state, the batch and what `Task.prepare` makes of it, activations, and what backward and the optimizer allocate.
    The data set and the order of its examples are not. Make a step before, so that the optimizer has its state.

    On a GPU the peak is that of torch's allocator, whose peak statistics are reset. It also sees the workspace that an
    operation takes and gives back within itself. Elsewhere each storage is counted from the operation that makes it
    until it is freed: exact and the same each time, but blind to such workspace.
    """
    device = step.parameters[0].device
    counted = CountedBytes(_held_tensors(step))
    held, weights_and_state = counted.now, counted.now - counted.bytes_of(_gradients(step))
    on_gpu = device.type == "cuda"
    before = torch.cuda.memory_allocated(device) if on_gpu else 0
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    with counted:
        size, pieces = next(feed)
        step.gradient(pieces, size)
        step.update(learning_rate)
    peak = held + torch.cuda.max_memory_allocated(device) - before if on_gpu else counted.peak
    return StepMemory(peak_bytes=peak, forward_bytes=counted.at_backward - weights_and_state)


class CountedBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within, counts the bytes of all storages that operations make, until they are freed.

    Args:
        held: tensors that count from the start.

    >>> with CountedBytes([]) as counted:
    ...     rows = torch.zeros(10, 4)
    ...     total = (rows + 1).sum()
    >>> counted.now, counted.peak
    (164, 324)
    """

    def __init__(self, held: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = self.at_backward = 0
        self._alive: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        for tensor in held:
            self._count(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not self.at_backward and torch._C._current_graph_task_id() != -1:
            self.at_backward = self.now
        result = func(*args, **(kwargs or {}))
        # A view shares the storage of its input, which may be that of the whole data set, and is not counted.
        seen = {_storage(tensor)._cdata for tensor in _tensors((args, kwargs))}
        if func is torch.ops.aten.lift_fresh.default and _storage(result).resizable():
            # A tensor just made of Python numbers comes in here, and goes out as it is. One that lies in an array of
            # NumPy comes the same way, but is not torch's to resize: that is how the order of an epoch is made.
            seen.clear()
        for tensor in _tensors(result):
            if _storage(tensor)._cdata not in seen:
                self._count(tensor)
        return result

    def bytes_of(self, tensors: Iterable[Tensor]) -> int:
        """Of storages that are counted now, each once."""
        storages = {_storage(tensor)._cdata: _storage(tensor).nbytes() for tensor in tensors}
        return sum(count for key, count in storages.items() if key in self._alive)

    def _count(self, tensor: Tensor) -> None:
        storage = _storage(tensor)
        key, count = storage._cdata, storage.nbytes()
        if key in self._alive:
            return

        def freed(_: Any) -> None:
            del self._alive[key]
            self.now -= count

        self._alive[key] = weakref.ref(storage, freed)
        self.now += count
        self.peak = max(self.peak, self.now)


def _held_tensors(step: Step) -> list[Tensor]:
    model = step.model
    return [*model.parameters(), *model.buffers(), *_gradients(step), *_state(step.optimizer)]


def _gradients(step: Step) -> list[Tensor]:
    return [weight.grad for weight in step.parameters if weight.grad is not None]


def _state(optimizer: Optimizer) -> list[Tensor]:
    return _tensors(list(optimizer.state.values()))


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor) and leaf.layout is torch.strided]


def _storage(tensor: Tensor) -> torch.UntypedStorage:
    return tensor.untyped_storage()
