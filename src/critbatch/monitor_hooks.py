"""The three ways in which a `Monitor` sees small gradients: of examples, of micro-batches, of processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from critbatch.distributed import sum_over_processes
from critbatch.errors import UserError
from critbatch.noise_meter import squares
from critbatch.per_example.ghost import GhostNorms

Metric = Callable[[], list[Tensor] | None]
Seen = tuple[Tensor, float, float]  # squared norms (rows, weights), examples of a small batch, of the whole batch


class MicroBatchHooks:
    """Notes the squared norm of each weight's gradient at each backward pass, on its way into `.grad`."""

    too_few = "A step had one micro-batch: give two or more backward passes before `update()`, or use by='examples'."

    def __init__(self, parameters: Sequence[Tensor], metric: Metric) -> None:
        self.parameters, self.metric = parameters, metric
        self._norms2: list[list[Tensor]] = [[] for _ in parameters]
        self._handles = [
            weight.register_hook(lambda grad, i=i: self._see(i, grad))  # type: ignore[no-untyped-call]
            for i, weight in enumerate(parameters)
        ]

    def _see(self, i: int, grad: Tensor) -> None:
        factors = self.metric()
        self._norms2[i].append(squares([grad], None if factors is None else [factors[i]])[:, 0])

    def take(self, sizes: list[int]) -> Seen:
        passes = max(map(len, self._norms2))
        if passes == 0:
            raise UserError("There was no backward pass since the last `update()`: call it once after each step's.")
        if len(sizes) != passes:
            raise UserError(
                f"A step had {len(sizes)} forward passes of the model in train mode and {passes} backward passes: "
                "give one backward pass for each."
            )
        rows = max(len(norms2[0]) for norms2 in self._norms2 if norms2)
        none = next(norms2[0] for norms2 in self._norms2 if norms2).new_zeros(rows)
        sums = torch.stack([torch.stack(norms2).sum(0) if norms2 else none for norms2 in self._norms2], dim=1)
        self._norms2 = [[] for _ in self.parameters]
        # Each gradient is of a mean over its micro-batch; `.grad` is their sum, or, divided by the passes, their mean.
        return sums * passes, passes / sum(1 / size for size in sizes), sum(sizes)

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()


class ProcessHooks:
    """Notes the squared norms of this process's gradients before DDP averages them."""

    too_few = "There is one process: use by='examples' or by='micro_batches'."

    def __init__(self, model: nn.Module, parameters: Sequence[Tensor], metric: Metric) -> None:
        if not isinstance(model, DistributedDataParallel):
            raise UserError(
                f"by='processes' needs a DistributedDataParallel model, but got a {type(model).__name__}: wrap it, or "
                "use by='examples'."
            )
        self.metric, self.watching = metric, True
        self._place = {id(weight): i for i, weight in enumerate(parameters)}
        self._norms2: list[Tensor | None] = [None] * len(parameters)
        self._average: Any = allreduce_hook
        try:
            # DDP looks at a hook's annotations, and does not know those that are written as text.
            model.register_comm_hook(model.process_group, lambda group, bucket: self._see(group, bucket))
        except RuntimeError as error:
            raise UserError(
                "The DistributedDataParallel model has a communication hook already: use by='examples'."
            ) from error

    def _see(self, group: Any, bucket: Any) -> Any:
        if self.watching:
            places = [self._place[id(weight)] for weight in bucket.parameters()]
            factors = self.metric()
            metric = None if factors is None else [factors[i] for i in places]
            for i, norms2 in zip(places, squares(bucket.gradients(), metric).unbind(1), strict=True):
                self._norms2[i] = norms2
        return self._average(group, bucket)

    def take(self, sizes: list[int]) -> Seen:
        found = [norms2 for norms2 in self._norms2 if norms2 is not None]
        if not found:
            raise UserError("There was no backward pass since the last `update()`: call it once after each step's.")
        sums = torch.stack([found[0] * 0 if norms2 is None else norms2 for norms2 in self._norms2], dim=1)
        self._norms2 = [None] * len(self._norms2)
        world, size = torch.distributed.get_world_size(), sum(sizes)
        tally = torch.tensor([float(size), 1 / size], dtype=torch.float64).to(sums.device)
        sum_over_processes(sums)
        sum_over_processes(tally)
        total, inverse = tally.tolist()
        return sums / world, world / inverse, total

    def close(self) -> None:
        self.watching = False


class ExampleHooks:
    """Notes the squared norm of every example's gradient, without that gradient."""

    too_few = "A step had one example: use two or more."

    def __init__(self, model: nn.Module) -> None:
        self.ghost = GhostNorms(model)
        self.names = [name for name, weight in model.named_parameters() if weight.requires_grad]

    def take(self, sizes: list[int]) -> Seen:
        found = self.ghost.take()
        if not found:
            raise UserError("There was no backward pass since the last `update()`: call it once after each step's.")
        norms2 = torch.stack([found[name] for name in self.names])
        count = norms2.shape[1]
        # What was seen of an example is its gradient divided by how many there are.
        return norms2.mean(1)[None] * count**2, 1, count

    def close(self) -> None:
        self.ghost.close()
