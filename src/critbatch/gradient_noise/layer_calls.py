"""Record the calls of a model's layers, and compute the examples' gradient norms from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from critbatch.errors import UserError
from critbatch.gradient_noise.layer_rules import Factors, LayerPart, Parts, by_example, row_norms2, rule_of
from critbatch.gradient_noise.reruns import (
    Layout,
    Layouts,
    Shapes,
    fits,
    layouts_of,
    parts_by_func,
    tensors_in,
    to_front,
)

# Layers whose gradients cannot be separated by example are refused by name before the first run.

MICRO_BATCHES = "use micro-batches instead"


def units_of(model: nn.Module) -> Iterator[tuple[nn.Module, list[str]]]:
    """The modules to watch, each with the names of the weights whose gradients it covers.

    Attention covers its output layer, which it does not call. A module with parametrized weights covers the weights
    that they are computed from.
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
    """Raise UserError, with the layer's path, for a layer that cannot be measured, before the first forward pass."""
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
    """Raise UserError for a module that must run again and would then draw another dropout mask."""
    if _has_random(module):
        kind = type(module).__name__
        raise UserError(
            f"{path if path == kind else f'{path} (a {kind})'} has weights of its own and dropout, and running it "
            f"again would draw another dropout mask: set its dropout to 0, or {MICRO_BATCHES}."
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


# Where gradients of examples are computed explicitly, at most so many numbers at a time.
NUMBERS_AT_ONCE = 1 << 26


@dataclass(eq=False)
class Call:
    """One call of one module: its inputs and, after the backward pass, the gradients of its outputs."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    batch: int
    shapes: Shapes
    slopes: list[Tensor | None] = field(default_factory=list)
    node: Any = None  # of the first output, in autograd's graph
    by_example: Tensor | None = None  # gradients of an output that all examples share, shape (batch, *output)


class WatchedLayers:
    """A model's layers with weights, and the layouts of their inputs and outputs.

    Args:
        model: its layers are watched.

    Raises:
        UserError: if one of them cannot be watched.
    """

    def __init__(self, model: nn.Module) -> None:
        self.paths = {module: name or type(module).__name__ for name, module in model.named_modules()}
        self.units = dict(units_of(model))  # each with the names of the weights that it covers
        refuse(model, self.units, self.paths)
        self.by_rule = {module: rule_of(module, names) is not None for module, names in self.units.items()}
        self.layouts: dict[nn.Module, list[Layouts]] = {}

    def path(self, module: nn.Module) -> str:
        path, kind = self.paths[module], type(module).__name__
        return path if path == kind else f"{path} (a {kind})"

    def keep(self, two: list[Call], three: list[Call]) -> None:
        """Save the layouts of each unit's calls."""
        for module in dict.fromkeys(call.module for call in three):
            few = [call.shapes for call in two if call.module is module]
            many = [call.shapes for call in three if call.module is module]
            if len(few) == len(many):
                all_layouts = [layouts_of(*pair) for pair in zip(few, many, strict=True)]
            else:
                all_layouts = [layouts_of(Shapes((), ()), shapes) for shapes in many]
            known = self.layouts.setdefault(module, [])
            known.extend(layouts for layouts in dict.fromkeys(all_layouts) if layouts not in known)

    def norms_and_sums(
        self, uses: dict[Tensor, list[tuple[Call, str]]], batch: int, *, totals: bool
    ) -> dict[Tensor, tuple[Tensor, Tensor]]:
        """The norms and sums for weights used in the same calls, for as many examples at a time as memory allows."""
        calls = list(dict.fromkeys(call for of_weight in uses.values() for call, _ in of_weight))
        by_rule = all(self.by_rule[call.module] for call in calls)
        sizes = [weight.numel() for weight in uses]
        at_once = max(1, NUMBERS_AT_ONCE // (max(sizes) if by_rule else sum(sizes)))
        norms2: dict[Tensor, list[Tensor]] = {weight: [] for weight in uses}
        sums: dict[Tensor, Tensor] = {}
        for begin in range(0, batch, at_once):
            rows = slice(begin, min(batch, begin + at_once))
            parts = {call: self._parts(call, rows, batch) for call in calls}
            for weight, of_weight in uses.items():
                pieces = [parts[call][local] for call, local in of_weight]
                if len(pieces) > 1 and all(piece.factors is not None for piece in pieces):
                    pieces = [_joined(pieces)]
                if len(pieces) == 1:
                    norms2[weight].append(pieces[0].norms2())
                else:
                    whole = torch.stack([piece.gradients().reshape(rows.stop - begin, -1) for piece in pieces]).sum(0)
                    norms2[weight].append(row_norms2(whole))
                if totals:
                    total = torch.stack([piece.total().reshape(weight.shape) for piece in pieces]).sum(0)
                    sums[weight] = sums[weight] + total if weight in sums else total
        return {weight: (torch.cat(pieces), sums.get(weight, weight)) for weight, pieces in norms2.items()}

    def _parts(self, call: Call, rows: slice, batch: int) -> Parts:
        module, names = call.module, self.units[call.module]
        layouts = self._layouts_of(call)
        slopes = [
            None if slope is None else self._slopes(call, slope, layouts, layouts.outputs[i], batch)
            for i, slope in enumerate(call.slopes)
        ]
        rule = rule_of(module, names)
        inputs = list(tensors_in((call.args, call.kwargs)))
        if rule is None:
            refuse_random(module, self.paths[module])
            return parts_by_func(
                module,
                self.path(module),
                names,
                call.args,
                call.kwargs,
                slopes,
                layouts,
                batch=batch,
                rows=rows,
            )
        own = slopes[0]
        assert own is not None
        first, tensor = layouts.inputs[0], inputs[0].detach()
        own, ready = own[rows], to_front(tensor, first, batch)[rows]
        if rule.features is not None:
            if first is not None and first.axis >= tensor.ndim - rule.features(module):
                raise UserError(self._mixed(module))
            return rule.parts(module, ready, own)
        if first is not None and first.axis != 0:
            raise UserError(self._mixed(module))
        if first is None or not first.folded:
            return rule.parts(module, ready, own)
        flat = rule.parts(module, ready.flatten(0, 1), own.flatten(0, 1))
        return {name: by_example(part, len(ready)) for name, part in flat.items()}

    def _slopes(self, call: Call, slope: Tensor, layouts: Layouts, layout: Layout | None, batch: int) -> Tensor:
        """The gradients of one output, shape (batch, ...)."""
        if layout is not None:
            return to_front(slope, layout, batch)
        if batch == 1:
            return slope[None]
        if call.by_example is None:
            if any(inner is not None for inner in layouts.inputs):
                raise UserError(self._mixed(call.module))
            raise UserError(
                f"{self.path(call.module)} computes something that all examples share, and its output is used in a "
                "way that cannot be followed: give it an input with a row for each example, or use micro-batches "
                "instead."
            )
        return call.by_example

    def _layouts_of(self, call: Call) -> Layouts:
        path = self.path(call.module)
        known = self.layouts.get(call.module)
        if known is None:
            raise UserError(
                f"{path} was not called when the model first ran: watch the model again from here on, or use "
                "micro-batches instead."
            )
        only = slice(0, 1) if self.by_rule[call.module] else slice(None)
        fitting = [
            layouts
            for layouts in known
            if len(layouts.inputs[only]) == len(call.shapes.inputs[only])
            and len(layouts.outputs) == len(call.shapes.outputs)
            and all(map(fits, call.shapes.inputs[only], layouts.inputs[only], [call.batch] * len(layouts.inputs)))
            and all(map(fits, call.shapes.outputs, layouts.outputs, [call.batch] * len(layouts.outputs)))
        ]
        if not fitting or any(layouts != fitting[0] for layouts in fitting):
            raise UserError(self._mixed(call.module))
        return fitting[0]

    def _mixed(self, module: nn.Module) -> str:
        return (
            f"No single axis of what goes into {self.path(module)} and comes out belongs to the examples, so they "
            "cannot be told apart there: keep one axis for them, or use micro-batches instead."
        )


def joined_factors(all_factors: Sequence[Factors]) -> Factors:
    joined = all_factors[0]
    for factors in all_factors[1:]:
        joined = joined.joined(factors)
    return joined


def norms2_in_slices(factors: Factors) -> Tensor:
    """The squared norms of the examples, some at a time to save memory."""
    batch = len(factors.left)
    at_once = max(1, NUMBERS_AT_ONCE // (factors.left.shape[2] * factors.right.shape[2]))
    norms2 = [
        Factors(factors.left[begin : begin + at_once], factors.right[begin : begin + at_once]).norms2()
        for begin in range(0, batch, at_once)
    ]
    return torch.cat(norms2)


def _joined(pieces: list[LayerPart]) -> LayerPart:
    factors = joined_factors([piece.factors for piece in pieces if piece.factors is not None])
    return LayerPart(factors.norms2, factors.gradients, factors.total, factors)
