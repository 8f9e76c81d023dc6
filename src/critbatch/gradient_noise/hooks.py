"""Hooks of a `Monitor`: for each pass they record shapes, squared norms and a few entries of gradients."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from critbatch.errors import UserError
from critbatch.gradient_noise.estimator import UnmeasurableError
from critbatch.gradient_noise.example_counts import Evidence, declare_layouts, tensors_in
from critbatch.gradient_noise.ghost_norms import GhostNorms
from critbatch.optim.norms import squares, squares_of

Metric = Callable[[], list[Tensor] | None]
ENTRIES = 16  # sampled of each weight's gradient
MOST_SAMPLED = 16  # weights


@dataclass(eq=False)
class Pass:
    """One forward pass and the backward pass through it.

    Args:
        size: number of examples, if the user gives it before the forward pass.
        evidence: shapes that show the number otherwise; None if nothing is known of the forward pass.
        reached: whether a backward pass went through its outputs.
        repeated: whether a weight got two gradients.
        norms2: squared norms of the gradient of each weight, by the weight's index, shape (rows,).
        samples: some entries of that gradient, by the weight's index.
    """

    size: int | None = None
    evidence: Evidence | None = None
    reached: bool = False
    repeated: bool = False
    fired: set[int] = field(default_factory=set)
    norms2: dict[int, Tensor] = field(default_factory=dict)
    samples: dict[int, Tensor] = field(default_factory=dict)


class Entries:
    """A few entries of the gradients of some weights. Entries of a sum are sums of entries.

    Args:
        parameters: the weights; for weights sharded along their first axis, the shard of this process.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        count = min(len(parameters), MOST_SAMPLED)
        self.places = sorted({round(i * (len(parameters) - 1) / max(1, count - 1)) for i in range(count)})
        self._parameters = parameters
        # An odd stride visits several columns.
        self._strides = {i: max(1, parameters[i].numel() // ENTRIES) | 1 for i in self.places}
        self._lengths = {i: len(range(0, _numel(parameters[i]), self._strides[i])) for i in self.places}

    def of(self, i: int, grad: Tensor) -> Tensor:
        """The entries of one gradient, copied because gradients are changed in place."""
        return grad.reshape(-1)[:: self._strides[i]].clone()

    def of_pass(self, one: Pass, like: Tensor) -> Tensor:
        """The entries of one pass, shape (entries,). They are zero for a weight without a gradient in this pass."""
        return self._joined(one.samples, like)

    def of_grads(self, like: Tensor) -> Tensor:
        """The entries of `.grad`; NaN for entries of another process."""
        grads = {}
        for i in self.places:
            weight = self._parameters[i]
            if weight.grad is not None and not weight.grad.is_sparse:
                grads[i] = self._of_part(i, weight.grad) if is_sharded(weight.grad) else self.of(i, plain(weight.grad))
            elif is_sharded(weight):
                grads[i] = self._of_part(i, torch.zeros_like(weight))
        return self._joined(grads, like)

    def _joined(self, entries: dict[int, Tensor], like: Tensor) -> Tensor:
        parts = [entries[i].to(like) if i in entries else like.new_zeros(self._lengths[i]) for i in self.places]
        return torch.cat(parts) if parts else like.new_zeros(0)

    def _of_part(self, i: int, grad: Any) -> Tensor:
        """The entries in this process's rows: a chunk of all rows, as torch divides them."""
        local = plain(grad.to_local())
        row = _numel(grad) // grad.shape[0]
        rows = -(-grad.shape[0] // grad.device_mesh.size())
        positions = torch.arange(0, _numel(grad), self._strides[i], device=local.device)
        own = positions - min(grad.device_mesh.get_local_rank() * rows, grad.shape[0]) * row
        inside = (own >= 0) & (own < local.numel())
        entries = local.new_full((len(positions),), torch.nan)
        entries[inside] = local.reshape(-1)[own[inside]]
        return entries


class GradientHooks:
    """Record what each backward pass adds to `.grad`, before it is added and before processes average it.

    Args:
        model: the model of these weights.
        parameters: the weights to hook.
        metric: factors of the optimizer.
        norms: whether to record squared norms, besides a few entries.
        failed: called with an error in a hook, which must not end training.
    """

    def __init__(
        self,
        model: nn.Module,
        parameters: Sequence[Tensor],
        metric: Metric,
        *,
        norms: bool,
        failed: Callable[[Exception], None],
    ) -> None:
        self.parameters, self.metric, self.norms = parameters, metric, norms
        self.entries = Entries(parameters)
        self.passes: list[Pass] = []
        self.sharded = any(map(is_sharded, parameters))
        self._active: Pass | None = None
        self._guarded = Guard(failed)
        self._sampled = set(self.entries.places)
        self._watched = range(len(parameters)) if norms else self.entries.places
        self._unsharded: dict[int, Tensor] = {}
        self._marks: dict[int, tuple[int, int]] = {}
        self._handles: list[Any] = declare_layouts(model, self._evidence)
        if self.sharded:
            self._watch_unsharded(model)
        else:
            for i in self._watched:
                self._watch(i, parameters[i])
            for i in {0, len(parameters) - 1} if parameters else ():
                mark = self._guarded(lambda weight, i=i: self._mark(i))
                handle = parameters[i].register_post_accumulate_grad_hook(mark)  # type: ignore[no-untyped-call]
                self._handles.append(handle)

    def begin_pass(self, size: int | None = None, evidence: Evidence | None = None) -> Pass:
        """Call this before a forward pass."""
        self._active = None
        self.passes = [one for one in self.passes if one.fired or one.reached or one.evidence is not None]
        self.passes.append(Pass(size=size, evidence=evidence))
        return self.passes[-1]

    def see_outputs(self, outputs: Any) -> None:
        """Call this after the model's forward pass. A backward pass through these outputs belongs to it."""
        if not self.passes or self.passes[-1].evidence is None:
            return
        one = self.passes[-1]
        assert one.evidence is not None
        one.evidence.add_outputs(outputs)

        def reach(grad: Tensor) -> None:
            one.reached = True
            self._active = one

        for output in tensors_in(outputs):
            if output.requires_grad:
                output.register_hook(reach)  # type: ignore[no-untyped-call]

    def take(self) -> list[Pass]:
        """The passes since the last call that had gradients or whose outputs a backward pass reached."""
        passes, self.passes, self._active = self.passes, [], None
        return [one for one in passes if one.fired or one.reached]

    def thrown_away(self) -> bool:
        """Whether there were gradients, and they have been set to None or zero since."""
        if self.sharded or not any(one.fired for one in self.passes):
            return False
        grads = [weight.grad for weight in self.parameters]
        if all(grad is None for grad in grads):
            return True
        # Read the value, which waits for the device, only if a gradient was changed in place after it was added up.
        marked = {i: grads[i] for i in self._marks}
        same = [grad is not None and (id(grad), grad._version) == self._marks[i] for i, grad in marked.items()]
        if same and all(same):
            return False
        known = [plain(grad) for i, grad in enumerate(grads) if i in self._sampled and grad is not None]
        return bool(known) and not any(bool(grad.any()) for grad in known)

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles, self.passes, self._active = [], [], None

    def _evidence(self) -> Evidence | None:
        return self.passes[-1].evidence if self.passes else None

    def _watch(self, i: int, weight: Tensor) -> None:
        self._handles.append(weight.register_hook(self._guarded(lambda grad: self._see(i, grad))))  # type: ignore[no-untyped-call]

    def _watch_unsharded(self, model: nn.Module) -> None:
        """While a layer runs, `fully_shard` replaces shards by whole weights, which get the gradients: watch these."""
        places = {id(weight): i for i, weight in enumerate(self.parameters)}
        watched = set(self._watched)
        for module in model.modules():
            own = {name: places[id(weight)] for name, weight in module._parameters.items() if id(weight) in places}
            own = {name: i for name, i in own.items() if i in watched}
            if own:
                look = self._guarded(lambda module, args, own=own: self._look_at_whole(module, own))
                self._handles.append(module.register_forward_pre_hook(look))

    def _look_at_whole(self, module: nn.Module, own: dict[str, int]) -> None:
        for name, i in own.items():
            weight = module._parameters[name]
            if weight is not None and not is_sharded(weight) and self._unsharded.get(i) is not weight:
                self._unsharded[i] = weight
                self._watch(i, weight)

    def _mark(self, i: int) -> None:
        grad = self.parameters[i].grad
        if grad is not None:
            self._marks[i] = (id(grad), grad._version)

    def _see(self, i: int, grad: Tensor) -> None:
        one = self._active or (self.passes[-1] if self.passes else self.begin_pass())
        if i in one.fired:
            if one.evidence is None and one.size is None:
                one = self.begin_pass()  # nothing marks the beginning of a pass
            one.repeated |= i in one.fired
        one.fired.add(i)
        values = plain(grad)
        if self.norms:
            factors = self.metric()
            if factors is not None and grad.is_sparse:
                raise UserError(
                    "Sparse gradients have no noise scale in the optimizer's metric: leave `optimizer` out."
                )
            one.norms2[i] = squares_of(values, None if factors is None else factors[i])
        if i in self._sampled and not grad.is_sparse:
            one.samples[i] = self.entries.of(i, values)


class ExampleHooks:
    """Record the squared norm of every example's gradient without computing the gradient.

    Args:
        model: the model to measure.
        names: of its weights.
    """

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        self.names = names
        self.ghost = GhostNorms(model)

    def take(self, sizes: list[int] | None) -> list[Tensor]:
        """The squared norms of the examples of each backward pass since the last call, shape (weights, examples).

        Args:
            sizes: how many examples there are in each pass. None: as many as the layers had, if these were compared
                with examples passed alone.

        Raises:
            UnmeasurableError: if the layers had another number of examples in this step.
            UserError: if the examples cannot be separated, in this step or any other.
        """
        self.ghost.end_pass()
        if sizes is None and not self.ghost.unchecked:
            sizes = self.ghost.sizes
        try:
            norms2 = self.ghost.take(sizes)
        except UserError as error:
            if self.ghost.failure:
                raise
            raise UnmeasurableError(str(error)) from error
        if not norms2:
            return []
        whole = torch.stack([norms2[name] for name in self.names])
        return list(torch.split(whole, sizes, dim=1)) if sizes is not None else [whole]

    def end_pass(self) -> None:
        """End a backward pass, before the next forward pass."""
        self.ghost.end_pass()

    def discard(self) -> None:
        self.ghost.discard()

    def close(self) -> None:
        self.ghost.close()


class Guard:
    """Wrap hooks: after the first exception, which is saved, they do nothing."""

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self.failed = failed
        self.first: Exception | None = None

    def __call__(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **kwargs: Any) -> Any:
            if self.first is not None:
                return None
            try:
                return hook(*args, **kwargs)
            except Exception as error:
                self.first = error
                self.failed(error)
                return None

        return guarded


def small_norms2(passes: Sequence[Pass], weights: int) -> Tensor:
    """Squared norms of what each pass adds to each weight's gradient, shape (passes, weights, rows)."""
    first = next(iter(next(one for one in passes if one.norms2).norms2.values()))
    none = torch.zeros_like(first)
    every = [one.norms2.get(i, none).to(first.device) for one in passes for i in range(weights)]
    return torch.stack(every).view(len(passes), weights, -1)


def big_norm2(parameters: Sequence[Tensor], metric: list[Tensor] | None) -> Tensor:
    """Squared norms of `.grad`, shape (rows, weights). For sharded gradients, those of this process's shard."""
    grads = [weight.grad for weight in parameters]
    local = [grad.to_local() if grad is not None and is_sharded(grad) else grad for grad in grads]  # type: ignore[attr-defined]
    if metric is not None and any(grad is not None and grad.is_sparse for grad in local):
        raise UserError("Sparse gradients have no noise scale in the optimizer's metric: leave `optimizer` out.")
    return squares([None if grad is None else plain(grad) for grad in local], metric)


def plain(grad: Tensor) -> Tensor:
    """A real, dense tensor with the same norm. For a sparse gradient, its values."""
    if grad.is_sparse:
        grad = grad.coalesce().values()
    return torch.view_as_real(grad.resolve_conj()) if grad.is_complex() else grad


def is_sharded(tensor: Tensor) -> bool:
    """Whether it is a shard of a tensor that several processes share."""
    # The import takes a second or two, and without it there is no such tensor.
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def refuse_other_shards(model: nn.Module, parameters: Sequence[Any]) -> None:
    """Raise an error if the weights are sharded in a way whose gradients cannot be added up."""
    if any(type(module).__name__ == "FullyShardedDataParallel" for module in model.modules()):
        raise UnmeasurableError(
            "The gradients of a FullyShardedDataParallel model (FSDP1) cannot be measured: use torch's `fully_shard` "
            "(FSDP2) or DistributedDataParallel."
        )
    sharded = [weight for weight in parameters if is_sharded(weight)]
    if not sharded:
        return
    meshes = {weight.device_mesh for weight in sharded}
    first = all(len(weight.placements) == 1 and weight.placements[0].is_shard(0) for weight in sharded)
    if len(sharded) < len(parameters) or len(meshes) > 1 or not first:
        raise UnmeasurableError(
            "The gradients of this model cannot be measured, since its weights are cut into parts in several ways: "
            "use `fully_shard` over one mesh of one dimension, along the first axis of all weights."
        )


def _numel(tensor: Tensor) -> int:
    return tensor.numel() * (2 if tensor.is_complex() else 1)
