"""The model compiled by `torch.compile`, for the forward and backward passes of training."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from critbatch.errors import first_line
from critbatch.gradient_noise.reruns import nothing_changes
from critbatch.tasks.data import Tree, leaves
from critbatch.tasks.sampler import BatchGatherer
from critbatch.tasks.task import Task

BACKEND = "inductor"


class CompiledModel:
    """Compiles the model in place for batches of one size; every other pass calls the layers one by one.

    Which passes are compiled depends on the size of the batch alone: not on what ran before in this process. So a
    resumed run repeats the unbroken one bit for bit. Passes that are not compiled are evaluations, the short batch at
    the end of an epoch, and steps at which the gradient noise is measured.

    Where the model cannot be compiled, a warning says why and training goes on without.

    Args:
        task: how batches are prepared, and the loss.
        model: of the run; its weights stay where they are.
        source: gathers the batch that compiling is tried with.
        wanted: whether to compile at all.
    """

    def __init__(self, task: Task, model: nn.Module, source: BatchGatherer, *, wanted: bool) -> None:
        self.task, self.model, self.source = task, model, source
        self.is_on = wanted
        self._size = 0
        self._compiled: Callable[..., Any] | None = None

    def prepare(self, size: int) -> float:
        """Compile for batches of this size now, unless that is done. Weights and random states stay as they are.

        Args:
            size: examples in a whole forward pass of this process.

        Returns:
            The seconds it took.
        """
        if not self.is_on or size in (0, self._size):
            return 0.0
        started = time.perf_counter()
        # Of graphs for other sizes only a few are kept by torch before it gives up compiling: keep those of one size.
        torch.compiler.reset()
        self._compiled, self._size = torch.compile(self.model, backend=BACKEND, dynamic=False), size
        try:
            with nothing_changes(self.model), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of torch about itself
                self._try(size)
        except Exception as error:
            self.is_on, self._compiled = False, None
            cause = getattr(error, "inner_exception", None) or error
            warnings.warn(
                f"The model cannot be compiled ({first_line(cause)}): training goes on without compiling.", stacklevel=2
            )
        return time.perf_counter() - started

    def forward(self, replica: nn.Module, inputs: Tree) -> Any:
        """The outputs for a batch of raw inputs: compiled, if the batch has the size that `prepare` was called for.

        Args:
            replica: the model, or what wraps it to sum gradients over processes.
        """
        if self._compiled is None or len(leaves(inputs)[0]) != self._size:
            return self.task.forward(replica, inputs)
        # What torch calls in the place of the model's layers, also from within a wrapper.
        self.model._compiled_call_impl = self._call
        try:
            return self.task.forward(replica, inputs)
        finally:
            self.model._compiled_call_impl = None

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        assert self._compiled is not None
        self.model._compiled_call_impl = None  # what is traced are the layers
        try:
            return self._compiled(*args, **kwargs)
        finally:
            self.model._compiled_call_impl = self._call

    def _try(self, size: int) -> None:
        """One forward and backward pass, so that compiling neither fails nor takes its time while steps are timed."""
        inputs, targets = self.source.take(torch.arange(size) % self.task.examples)
        if (augment := self.task.augment) is not None:
            inputs = augment(inputs, torch.full((size, augment.numbers), 0.5, device=leaves(inputs)[0].device))
        losses: Tensor = self.task.loss(self.forward(self.model, inputs), targets)
        weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        torch.autograd.grad(losses.sum(), weights, allow_unused=True)
