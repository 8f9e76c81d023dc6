"""What examples' gradients cannot be had of, by name and before anything is run."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from critbatch.errors import UserError

MICRO_BATCHES = "use micro-batches instead"


def units_of(model: nn.Module) -> Iterator[tuple[nn.Module, list[str]]]:
    """The modules to watch, each with the names of the weights that it answers for.

    Attention answers for its output layer, which it does not call, and a module with parametrized weights for those
    that they are made of.
    """
    inside: set[nn.Module] = set()
    for module in model.modules():
        if module in inside:
            continue
        whole = isinstance(module, nn.MultiheadAttention) or parametrize.is_parametrized(module)
        if whole:
            inside.update(module.modules())
        names = [
            name
            for name, weight in module.named_parameters(recurse=whole)
            if weight.requires_grad and weight.numel() > 0
        ]
        if names:
            yield module, names


def refuse(model: nn.Module, units: dict[nn.Module, list[str]], paths: dict[nn.Module, str]) -> None:
    """Raise UserError, with the layer's path, for what can be known before the first forward pass."""
    for module in model.modules():
        kind, path = type(module).__name__, paths[module]
        if kind == "OptimizedModule" or getattr(module, "_compiled_call_impl", None) is not None:
            raise UserError(
                f"{path} is compiled, and a compiled model does not call its layers one by one: watch the model "
                f"uncompiled, or {MICRO_BATCHES}."
            )
        if kind in ("RecursiveScriptModule", "ScriptModule", "TopLevelTracedModule"):
            raise UserError(f"{path} is a {kind} of torch.jit, whose layers cannot be watched: {MICRO_BATCHES}.")
        if isinstance(module, nn.DataParallel):
            raise UserError(
                f"{path} is a DataParallel, which calls replicas of the model: use DistributedDataParallel, or one "
                "device."
            )
        if isinstance(module, _BatchNorm) and (module.training or not module.track_running_stats):
            raise UserError(
                f"{path} is a {kind} in train mode, which mixes examples: call model.eval(), or use micro-batches."
            )
        if module in units:
            _refuse_unit(module, path, kind)
    for name, weight in model.named_parameters():
        if _is_sharded(weight):
            raise UserError(
                f"{name} is sharded over processes, and a layer's examples cannot be told apart from a shard: use "
                "by='processes' or by='micro_batches'."
            )


def _refuse_unit(module: nn.Module, path: str, kind: str) -> None:
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        if module.sparse:
            raise UserError(f"{path} is an {kind} with sparse gradients: make it with sparse=False.")
        if module.scale_grad_by_freq:
            raise UserError(
                f"{path} is an {kind} with scale_grad_by_freq=True, by which an example's gradient depends on the "
                "others: make it with scale_grad_by_freq=False."
            )
    if isinstance(module, nn.RNNBase) or (parametrize.is_parametrized(module) and _has_random(module)):
        refuse_random(module, path)


def refuse_random(module: nn.Module, path: str) -> None:
    """Raise UserError for a module that would have to be run again, and would then drop other things out."""
    if _has_random(module):
        kind = type(module).__name__
        raise UserError(
            f"{path if path == kind else f'{path} (a {kind})'} has weights of its own and dropout, and its examples' "
            f"gradients would be those of another draw of it: set its dropout to 0, or {MICRO_BATCHES}."
        )


def _has_random(module: nn.Module) -> bool:
    return any(_is_random(part) for part in module.modules())


def _is_random(module: nn.Module) -> bool:
    if isinstance(module, nn.MultiheadAttention):
        return module.training and module.dropout > 0
    if isinstance(module, nn.RNNBase):
        return module.training and module.dropout > 0 and module.num_layers > 1
    return isinstance(module, nn.modules.dropout._DropoutNd) and module.training and module.p > 0


def _is_sharded(weight: Tensor) -> bool:
    return hasattr(weight, "device_mesh") or type(weight).__name__ == "FlatParameter"
