"""Weights, gradients and optimizer state cut into a part for each process: for models that do not fit otherwise."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

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
from torch.optim import Optimizer

from critbatch.errors import UserError
from critbatch.optim.layerwise import PerTensor
from critbatch.recipes.plan import Plan
from critbatch.replica import Replica
from critbatch.runtime.distributed import Shard

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
    if found := [name for name, there in what.items() if there]:
        raise UserError(f"Sharded weights do not go with {', '.join(found)}: leave one of them out.")


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
