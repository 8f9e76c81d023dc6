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

from critbatch.tasks.sampler import BatchIterator
from critbatch.training.step import Step


class StepMemory(NamedTuple):
    """Bytes that one step holds in tensors."""

    peak_bytes: int  # the maximum during the step
    forward_bytes: int  # a micro-batch and its activations when backward begins: proportional to its size


def step_memory(step: Step, feed: BatchIterator, *, learning_rate: float) -> StepMemory:
    """Run one training step, and count the bytes that it holds in tensors.

    The count includes weights and buffers, gradients (also those of the previous step, until they are cleared), the
    state of the optimizer, the batch and the output of `Task.prepare`, activations, and all that backward and the
    optimizer allocate. It does not include the data set and the order of its examples. Run one step before calling
    this, so that the optimizer has its state.

    On a GPU, the peak is that of torch's allocator, whose peak statistics are reset. It includes the workspace that an
    operation allocates and frees internally. Elsewhere, each storage counts from the operation that creates it until it
    is freed. That is exact and reproducible, but does not include such workspace.
    """
    device = step.parameters[0].device
    counted = CountedBytes(_tensors_of(step))
    initial_bytes, weights_and_state = counted.now, counted.now - counted.bytes_of(_gradients(step))
    on_gpu = device.type == "cuda"
    before = torch.cuda.memory_allocated(device) if on_gpu else 0
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    with counted:
        size, pieces = next(feed)
        step.gradient(pieces, size)
        step.update(learning_rate)
    peak = initial_bytes + torch.cuda.max_memory_allocated(device) - before if on_gpu else counted.peak
    return StepMemory(peak_bytes=peak, forward_bytes=counted.at_backward - weights_and_state)


class CountedBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """As a context, counts the bytes of all storages that operations create, until they are freed.

    Args:
        initial: Tensors that count from the start.

    >>> with CountedBytes([]) as counted:
    ...     rows = torch.zeros(10, 4)
    ...     total = (rows + 1).sum()
    >>> counted.now, counted.peak
    (164, 324)
    """

    def __init__(self, initial: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = self.at_backward = 0
        self._alive: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        for tensor in initial:
            self._count(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not self.at_backward and torch._C._current_graph_task_id() != -1:
            self.at_backward = self.now
        result = func(*args, **(kwargs or {}))
        # A view shares the storage of its input, which may be the whole data set. It is not counted again.
        inputs = {_storage(tensor)._cdata for tensor in _tensors((args, kwargs))}
        if func is torch.ops.aten.lift_fresh.default and _storage(result).resizable():
            # A new tensor of Python numbers is input and output of this operation. So is one that uses the memory of a
            # NumPy array, such as the order of an epoch. Torch cannot resize that one, and it is not counted.
            inputs.clear()
        for tensor in _tensors(result):
            if _storage(tensor)._cdata not in inputs:
                self._count(tensor)
        return result

    def bytes_of(self, tensors: Iterable[Tensor]) -> int:
        """Bytes of the storages of these tensors, each once, as far as they are counted now."""
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


def _tensors_of(step: Step) -> list[Tensor]:
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
