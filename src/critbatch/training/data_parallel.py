"""Weights, gradients and optimizer state cut into a part for each process: for models that do not fit otherwise."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from critbatch.errors import UserError
from critbatch.optim.layerwise import PerTensor
from critbatch.recipes.plan import Plan
from critbatch.runtime.distributed import Shard, sum_gradients

# The model as one of several processes trains it.

T = TypeVar("T")


class Replica:
    """Sums gradients over the processes, while backward still goes on, by torch's DistributedDataParallel.

    The first batch is summed by hand: it shows whether there are weights that get no gradient, which
    DistributedDataParallel must know. So is a batch with fewer examples than processes, in which some have no backward
    pass at all. Batch norm's statistics stay those of each process.

    Args:
        model: whose weights are the same in all processes.
        shard: of this process.
    """

    def __init__(self, model: nn.Module, shard: Shard) -> None:
        self.model, self.shard = model, shard
        self.parameters = [weight for weight in model.parameters() if weight.requires_grad]
        self.averages = False  # whether backward leaves the mean over the processes behind
        self._parallel: DistributedDataParallel | None = None

    def begin(self, batch_size: int) -> None:
        """Before the batch's first forward pass."""
        self.averages = self._parallel is not None and batch_size >= self.shard.world_size

    @property
    def forward(self) -> nn.Module:
        """What the forward pass goes through."""
        return self._parallel if self.averages and self._parallel is not None else self.model

    def part(self, *, last: bool) -> AbstractContextManager[Any]:
        """Around the forward and backward pass of a micro-batch: gradients are exchanged in that of the last one."""
        if not self.averages or last:
            return nullcontext()
        assert self._parallel is not None
        return self._parallel.no_sync()

    def end(self) -> None:
        """After the batch's last backward pass: gradients are those of the whole batch."""
        if self.shard.world_size == 1 or self.averages:
            return
        unused = sum_gradients(self.parameters, self.shard)
        if self._parallel is None:
            self._parallel = self._joined(unused=unused)

    def _joined(self, *, unused: bool) -> DistributedDataParallel:
        device = self.parameters[0].device
        with warnings.catch_warnings():
            # `broadcast_buffers` has another name from torch 2.13 on.
            warnings.simplefilter("ignore", FutureWarning)
            return DistributedDataParallel(
                self.model,
                device_ids=[device] if device.type == "cuda" else None,
                broadcast_buffers=False,
                find_unused_parameters=unused,
            )


def with_last(items: Iterable[T]) -> Iterator[tuple[bool, T]]:
    """Each item, and whether it is the last one."""
    ahead = iter(items)
    try:
        item = next(ahead)
    except StopIteration:
        return
    for following in ahead:
        yield False, item
        item = following
    yield True, item


WHOLE = StateDictOptions(full_state_dict=True)


class ShardedReplica(Replica):
    """By torch's `fully_shard` (FSDP2): a block's weights are gathered when it is run, and let go afterwards.

    Blocks are the members of `nn.Sequential` and `nn.ModuleList` that have weights, and what is left is one more. All
    processes make as many passes as each other, so a batch must be shared equally.

    Args:
        model: built on the CPU; its parts go to the device.
        shard: of this process.
        device: of this process.
    """

    def __init__(self, model: nn.Module, shard: Shard, device: torch.device) -> None:
        mesh = init_device_mesh(device.type, (shard.world_size,))
        blocks = [
            block
            for module in model.modules()
            if isinstance(module, (nn.Sequential, nn.ModuleList))
            for block in module
            if any(True for _ in block.parameters()) and not isinstance(block, (nn.Sequential, nn.ModuleList))
        ]
        for block in [*blocks, model]:
            if not isinstance(block, FSDPModule):
                fully_shard(block, mesh=mesh)
        super().__init__(model, shard)
        self.averages = True

    def begin(self, batch_size: int) -> None:
        """Nothing: gradients are averaged over the processes at every batch."""

    @property
    def forward(self) -> nn.Module:
        return self.model

    def part(self, *, last: bool) -> AbstractContextManager[Any]:
        assert isinstance(self.model, FSDPModule)
        self.model.set_requires_gradient_sync(last)
        return nullcontext()

    def end(self) -> None:
        """Nothing: backward has left each process its part of the mean."""


def refuse_sharding(plan: Plan, optimizer: Optimizer, *, examples: int, shard: Shard, noise_every: int) -> None:
    """Raise a UserError if the plan cannot be carried out with sharded weights."""
    if shard.world_size == 1:
        raise UserError("Weights can be sharded over several processes only: start them with torchrun.")
    for phase in plan.phases:
        rest = 0 if plan.drop_last else examples % phase.batch_size
        if phase.batch_size % shard.world_size or rest % shard.world_size:
            raise UserError(
                f"With sharded weights batch_size={phase.batch_size}, and what is left of {examples} examples, must be "
                f"shared equally by {shard.world_size} processes: use a multiple of {shard.world_size}, and drop_last."
            )
    what = {
        "copies of the model": any(phase.copies > 1 for phase in plan.phases),
        "sharpness-aware steps": plan.sam_rho is not None,
        "the noise of the gradient": noise_every > 0,
        f"the optimizer {type(optimizer).__name__}": not (
            isinstance(optimizer, PerTensor) or type(optimizer).__module__.startswith("torch.optim")
        ),
    }
    if conflicts := [name for name, is_used in what.items() if is_used]:
        raise UserError(f"Sharded weights do not go with {', '.join(conflicts)}: leave one of them out.")


def fit_for_parts(optimizer: Optimizer) -> None:
    """Torch has no fused step of SGD for parts of weights."""
    for group in optimizer.param_groups:
        if isinstance(optimizer, torch.optim.SGD):
            group["fused"] = False


def whole_state(model: nn.Module) -> dict[str, Any]:
    """The model's state with whole tensors, in every process. Of a model that is not sharded its own."""
    if not isinstance(model, FSDPModule):
        return model.state_dict()
    state: dict[str, Any] = get_model_state_dict(model, options=WHOLE)
    return {name: tensor.clone() for name, tensor in state.items()}


def whole_optimizer_state(model: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """Likewise of the optimizer; of a sharded model by the weights' names."""
    if not isinstance(model, FSDPModule):
        return optimizer.state_dict()
    state: dict[str, Any] = get_optimizer_state_dict(model, optimizer, options=WHOLE)
    return state


def put_back(model: nn.Module, optimizer: Optimizer, model_state: dict[str, Any], state: dict[str, Any]) -> None:
    """Load what `whole_state` and `whole_optimizer_state` gave, with any number of processes."""
    if isinstance(model, FSDPModule):
        set_model_state_dict(model, model_state, options=WHOLE)
        if isinstance(optimizer, PerTensor):
            # Else torch makes the state by a step at a learning rate of 0, which RMSprop warm-up refuses.
            optimizer.begin_all()
        set_optimizer_state_dict(model, optimizer, state, options=WHOLE)
    else:
        model.load_state_dict(model_state)
        optimizer.load_state_dict(state)
