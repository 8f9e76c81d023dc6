"""Many copies of a small model, from different starts, moved at once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from critbatch.errors import UserError
from critbatch.measure.surface import make_dense
from critbatch.runtime.device import check_copies
from critbatch.tasks.data import Tree, map_tree
from critbatch.tasks.sampler import Cursor, training_source
from critbatch.tasks.task import Task, apply
from critbatch.training.batch_norm import has_batch_norm


class Herd:
    """The weights of `starts` models in one stack, moved by plain gradient descent.

    Args:
        task: data, loss, and what makes the models.
        starts: how many; the n-th has the weights of seed ``seed + n``.
        seed: of the first; and the n-th draws its batches in the order of its own seed.
        device: where.

    Raises:
        UserError: if the model normalizes over the batch, or torch.func cannot transform it.
    """

    def __init__(self, task: Task, *, starts: int, seed: int, device: torch.device) -> None:
        self.task, self.starts, self.device, self.examples = task, starts, device, task.examples
        weights = sum(weight.nbytes for weight in task.new_model(seed).parameters())
        check_copies(f"starts={starts}", starts, 2 * weights, device)  # one by one first, then in a stack
        models = [task.new_model(seed + n, device).eval() for n in range(starts)]
        if has_batch_norm(models[0]):
            raise UserError(f"Task {task.name!r} has batch norm, with which several models cannot move as one.")
        for model in models:
            make_dense(model)
        self._shape = models[0]
        self._moving = {name for name, weight in models[0].named_parameters() if weight.requires_grad}
        self._weights, self._buffers = stack_module_state(models)
        self._weights = {name: weight.detach() for name, weight in self._weights.items()}
        self._source = training_source(task, device)
        self._cursors = [Cursor(task.examples, seed=seed + n) for n in range(starts)]
        self._slopes = vmap(grad(self._mean_loss), in_dims=(0, 0, 0, 0))
        self._shared_slopes = vmap(grad(self._mean_loss), in_dims=(0, 0, None, None))
        self._shared_losses = vmap(self._mean_loss, in_dims=(0, 0, None, None))
        self._all = self._batch(torch.arange(task.examples))
        self._refuse_untransformable()

    def step(self, rate: float, batch_size: int, *, times: int) -> None:
        """So many steps of ``w - rate g``, each model with batches of its own; full ones are the same for all."""
        for _ in range(times):
            if batch_size == self.examples:
                slopes = self._shared_slopes(self._weights, self._buffers, *self._all)
            else:
                rows = torch.stack([self._rows(cursor, batch_size) for cursor in self._cursors])
                inputs, targets = self._batch(rows.flatten())
                slopes = self._slopes(self._weights, self._buffers, self._split(inputs), self._split(targets))
            self._weights = {
                name: weight - rate * slopes[name] if name in self._moving else weight
                for name, weight in self._weights.items()
            }

    def losses(self) -> Tensor:
        """The mean loss of each model over all examples, shape (starts,), on the CPU."""
        with torch.no_grad():
            losses: Tensor = self._shared_losses(self._weights, self._buffers, *self._all)
        return losses.double().cpu()

    def weights(self) -> dict[str, Tensor]:
        return dict(self._weights)

    def place(self, weights: dict[str, Tensor]) -> None:
        """Put the models at weights that `weights` gave."""
        self._weights = dict(weights)

    def model(self, n: int) -> nn.Module:
        """The n-th as a module of its own."""
        made = self.task.new_model(0, self.device)
        stacks = {**self._weights, **self._buffers}
        with torch.no_grad():
            for name, own in (*made.named_parameters(), *made.named_buffers()):
                own.copy_(stacks[name][n])
        return made

    def _refuse_untransformable(self) -> None:
        inputs, targets = self._batch(torch.arange(min(2, self.examples)))
        try:
            self._shared_slopes(self._weights, self._buffers, inputs, targets)
        except (RuntimeError, NotImplementedError) as error:
            raise UserError(
                f"Several models of task {self.task.name!r} cannot be moved at once, since torch.func does not take "
                f"them ({str(error).splitlines()[0]}): use a model without checkpointed activations, sparse gradients "
                "and control flow that depends on the data."
            ) from error

    def _mean_loss(self, weights: dict[str, Tensor], buffers: dict[str, Tensor], inputs: Tree, targets: Tree) -> Tensor:
        def called(*args: Any, **kwargs: Any) -> Any:
            return functional_call(self._shape, {**weights, **buffers}, args, kwargs)

        return self.task.loss(apply(called, inputs), targets).mean()

    def _rows(self, cursor: Cursor, batch_size: int) -> Tensor:
        """A whole batch: what is left of an epoch is passed over, so that all models have batches of one size."""
        rows = cursor.take(batch_size)
        return rows if len(rows) == batch_size else cursor.take(batch_size)

    def _batch(self, rows: Tensor) -> tuple[Tree, Tree]:
        inputs, targets = self._source.take(rows)
        return self.task.inputs(inputs), targets

    def _split(self, tree: Tree) -> Tree:
        return map_tree(lambda leaf: leaf.view(self.starts, -1, *leaf.shape[1:]), tree)
