"""The three ways in which a `Monitor` sees small gradients: of examples, of micro-batches, of processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from critbatch.errors import UserError
from critbatch.per_example.ghost import GhostNorms
from critbatch.squared_norms import squares_of

NO_PASS = "There was no backward pass since the last `update()`: call it once after each step's."
Metric = Callable[[], list[Tensor] | None]


class NothingToCompareError(UserError):
    """A step that shows nothing of the noise: it had one micro-batch, or no backward pass."""


class Seen(NamedTuple):
    """What one step showed of its small gradients, in the units of the gradient of the whole batch.

    Args:
        norms2: mean over the small gradients of their squared norm, shape (rows, weights).
        small: examples behind one of them; where they differ, the size whose variance is their mean variance.
        big: examples behind the gradient of the batch, likewise.
    """

    norms2: Tensor
    small: float
    big: float


Later = Callable[[], Seen]
"""What was seen, when it is needed: until then other processes are not waited for."""


class MicroBatchHooks:
    """Notes the squared norm of each weight's gradient at each backward pass, on its way into `.grad`."""

    too_few = "A step had one micro-batch: give two or more backward passes before `update()`, or use by='examples'."

    def __init__(self, parameters: Sequence[Tensor], metric: Metric) -> None:
        self.metric = metric
        self._norms2: list[list[Tensor]] = [[] for _ in parameters]  # of each weight, of each pass: shape (rows,)
        self._handles = [
            weight.register_hook(lambda grad, i=i: self._see(i, grad))  # type: ignore[no-untyped-call]
            for i, weight in enumerate(parameters)
        ]

    def take(self, sizes: list[int]) -> Later:
        """What the backward passes since the last call showed.

        Args:
            sizes: examples in each of them.

        Raises:
            UserError: if there is nothing to compare.
        """
        found, passes = self._found(sizes)
        if passes < 2:
            raise NothingToCompareError(self.too_few)
        inverse = sum(1 / size for size in sizes)
        return lambda: _of_means(_summed(found, passes), small_batches=passes, inverse=inverse)

    def next_pass(self) -> None:
        """Before a forward pass."""

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()

    def _see(self, i: int, grad: Tensor) -> None:
        factors = self.metric()
        self._norms2[i].append(squares_of(grad, None if factors is None else factors[i]))

    def _found(self, sizes: list[int]) -> tuple[list[list[Tensor]], int]:
        """The squared norms of each weight at each pass, which are forgotten here, and how many passes there were."""
        found, self._norms2 = self._norms2, [[] for _ in self._norms2]
        passes = max(map(len, found))
        if passes == 0:
            raise NothingToCompareError(NO_PASS)
        if len(sizes) != passes:
            raise UserError(
                f"A step had {len(sizes)} forward passes of the model in train mode and {passes} backward passes: "
                "give one backward pass for each."
            )
        return found, passes


def _summed(found: list[list[Tensor]], passes: int) -> Tensor:
    """Squared norms summed over the passes, shape (rows, weights), in the units of `.grad`.

    Each gradient is of a mean over its micro-batch; `.grad` is their sum, or, divided by the passes, their mean.
    """
    none = torch.zeros_like(next(of_weight[0] for of_weight in found if of_weight))
    all_passes = [seen for of_weight in found for seen in (*of_weight, *[none] * (passes - len(of_weight)))]
    return torch.stack(all_passes).view(len(found), passes, -1).sum(1).T * passes**2


class ProcessHooks(MicroBatchHooks):
    """Likewise in each process of a DDP run, before the gradients are averaged over the processes.

    The sums over the processes are asked for at once and waited for later, so that what they cost is hidden behind the
    next step.
    """

    too_few = "There is one process: use by='examples' or by='micro_batches'."

    def __init__(
        self,
        model: nn.Module,
        parameters: Sequence[Tensor],
        metric: Metric,
        group: torch.distributed.ProcessGroup | None = None,
    ) -> None:
        if group is None and not isinstance(model, DistributedDataParallel):
            raise UserError(
                f"by='processes' needs a DistributedDataParallel model, but got a {type(model).__name__}: wrap it, or "
                "use by='examples'."
            )
        super().__init__(parameters, metric)
        self.group = model.process_group if isinstance(model, DistributedDataParallel) else group

    def take(self, sizes: list[int]) -> Later:
        if torch.distributed.get_world_size(self.group) < 2:
            raise NothingToCompareError(self.too_few)
        found, passes = self._found(sizes)
        sums = _summed(found, passes)
        tally = torch.tensor([passes, sum(1 / size for size in sizes)], dtype=torch.float64, device=sums.device)
        joined = torch.cat([sums.double().flatten(), tally])
        exchange = torch.distributed.all_reduce(joined, group=self.group, async_op=True)

        def later() -> Seen:
            assert exchange is not None
            exchange.wait()
            count, inverse = joined[-2:].tolist()
            return _of_means(joined[:-2].view_as(sums), small_batches=count, inverse=inverse)

        return later


class ExampleHooks:
    """Notes the squared norm of every example's gradient, without that gradient."""

    too_few = "A step had one example: use two or more."

    def __init__(self, model: nn.Module) -> None:
        self.ghost = GhostNorms(model)
        self.names = [name for name, weight in model.named_parameters() if weight.requires_grad]

    def take(self, sizes: list[int]) -> Later:
        found = self.ghost.take()
        if not found:
            raise NothingToCompareError(NO_PASS)
        norms2 = [found[name] for name in self.names]
        count = len(norms2[0])
        if count < 2:
            raise NothingToCompareError(self.too_few)
        # What was seen of an example is its gradient divided by how many there are.
        return lambda: Seen(torch.stack(norms2).mean(1)[None] * count**2, 1, count)

    def next_pass(self) -> None:
        self.ghost.end_pass()

    def close(self) -> None:
        self.ghost.close()


def _of_means(sums: Tensor, *, small_batches: float, inverse: float) -> Seen:
    """Of gradients that are means over their own examples, and a whole that is the mean of those, whatever their sizes.

    The variance of the mean of k means over b_1 ... b_k examples is tr(Sigma) / k^2 times the sum of 1 / b_i.

    Args:
        sums: over the small batches, of the squared norms.
        small_batches: k.
        inverse: the sum of 1 / b_i.
    """
    small = small_batches / inverse
    return Seen(sums / small_batches, small, small * small_batches)
