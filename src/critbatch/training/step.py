"""One update of the weights, in its three parts: data, gradient, optimizer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from critbatch.gradient_noise.noise_meter import NoiseMeter
from critbatch.optim.norms import squares
from critbatch.runtime.distributed import Shard
from critbatch.tasks.data import Tree
from critbatch.tasks.task import Task
from critbatch.training.batch_norm import statistics_held
from critbatch.training.compiled import CompiledModel
from critbatch.training.data_parallel import Replica, with_last


@contextmanager
def ascend(model: nn.Module, parameters: Sequence[nn.Parameter], rho: float) -> Iterator[None]:
    """Move the weights to ``w + rho g / |g|`` inside the context, for the gradient g in `.grad`, and then back to w.

    The norm is over all weights together. Running statistics of batch norm do not change inside, since every batch
    would count twice. Foret et al. 2020, arXiv:2010.01412, algorithm 1, without the option for sharpness that is
    different on each device: g is that of the whole batch, so that several processes do what one does.
    """
    grads = [weight.grad for weight in parameters if weight.grad is not None]
    moved = [weight for weight in parameters if weight.grad is not None]
    norm = squares(grads).sum().sqrt()
    # A gradient of zero has no direction: the weights stay.
    scale = torch.where(norm > 0, rho / norm, torch.zeros_like(norm))
    before = [weight.detach().clone() for weight in moved]
    with torch.no_grad():
        for weight, grad in zip(moved, grads, strict=True):
            weight.addcmul_(grad, scale.to(grad))
    try:
        with statistics_held(model):
            yield
    finally:
        with torch.no_grad():
            torch._foreach_copy_([*moved], before)


class Step:
    """The gradient of a batch and the update it makes.

    The gradient is the mean over all examples of the batch, however it is cut: losses are summed over micro-batches and
    processes, and divided once by the size of the whole batch.
    """

    def __init__(
        self,
        task: Task,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        replica: Replica | None = None,
        sam_rho: float | None = None,
        compiled: CompiledModel | None = None,
    ) -> None:
        self.task, self.model, self.optimizer, self.sam_rho = task, model, optimizer, sam_rho
        self.compiled = compiled
        self.replica = replica or Replica(model, Shard())
        self.parameters = self.replica.parameters
        self.had_sparse_gradient = False
        self._shares_for: tuple[object, ...] = ()
        self._kept_shares = torch.empty(0)

    def gradient(
        self, pieces: Iterable[tuple[Tree, Tree]], batch_size: int, *, meter: NoiseMeter | None = None
    ) -> Tensor:
        """Set `.grad` to the mean gradient of the batch; with `sam_rho`, to that at the weights of `ascend`.

        Args:
            pieces: this process's micro-batches, (inputs, targets).
            batch_size: examples in the whole batch, over all pieces and processes.
            meter: sees the gradient of each micro-batch.

        Returns:
            This process's part of the batch's mean loss, shape ().
        """
        if self.sam_rho is None:
            return self._pass(pieces, batch_size, meter=meter)
        pieces_twice = list(pieces)
        loss = self._pass(pieces_twice, batch_size, meter=meter)
        with ascend(self.model, self.parameters, self.sam_rho):
            self._pass(pieces_twice, batch_size)
        return loss

    def _outputs(self, inputs: Tree, *, metered: bool) -> Any:
        forward = self.replica.forward
        if self.compiled is None or metered:
            return self.task.forward(forward, inputs)
        return self.compiled.forward(forward, inputs)

    def _pass(self, pieces: Iterable[tuple[Tree, Tree]], batch_size: int, *, meter: NoiseMeter | None = None) -> Tensor:
        for weight in self.parameters:
            weight.grad = None
        if meter is not None:
            meter.begin()
        replica = self.replica
        replica.begin(batch_size)
        # The mean over the processes must give the sum.
        divisor = batch_size / replica.shard.world_size if replica.averages else batch_size
        total: Tensor | None = None
        # Find out which piece is the last only if needed, because that fetches the next piece early.
        marked = with_last(pieces) if replica.averages else ((True, piece) for piece in pieces)
        for last, (inputs, targets) in marked:
            with replica.part(last=last):
                # Nothing here holds the outputs: their memory is free when backward begins.
                losses = self.task.loss(self._outputs(inputs, metered=meter is not None), targets)
                # The same as summing and dividing the losses, with four operations fewer.
                losses.backward(self._shares(losses, divisor))  # type: ignore[no-untyped-call]
            if not replica.averages:
                self._make_dense()
            loss = losses.detach().sum()
            total = loss if total is None else total + loss
            if meter is not None:
                meter.after_micro_batch(len(losses), divisor)
        replica.end()
        self._make_dense()
        if meter is not None:
            meter.after_batch(batch_size)
        return total / batch_size if total is not None else self.parameters[0].detach().new_zeros(())

    def _make_dense(self) -> None:
        """Make the gradients of embeddings with `sparse=True` dense, as fused optimizers, norms and sums over processes
        need. The update is the same as without `sparse`."""
        for weight in self.parameters:
            if weight.grad is not None and weight.grad.is_sparse:
                weight.grad = weight.grad.to_dense()
                self.had_sparse_gradient = True

    def _shares(self, losses: Tensor, divisor: float) -> Tensor:
        """Weight of each loss in the mean over the batch, shape (examples,). The last tensor is cached."""
        shares_key = (len(losses), divisor, losses.dtype, losses.device)
        if self._shares_for != shares_key:
            self._shares_for = shares_key
            self._kept_shares = torch.full_like(losses, 1 / divisor, requires_grad=False)
        return self._kept_shares

    def update(self, learning_rate: float, *, epoch: float = 0.0) -> None:
        """Change the weights.

        Args:
            epoch: within the phase, for an optimizer that changes with it.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
            if "epoch" in group:
                group["epoch"] = epoch
        self.optimizer.step()
