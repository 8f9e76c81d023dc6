"""The norm of every example's gradient from one ordinary backward pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from critbatch.errors import UserError
from critbatch.per_example.factors import row_norms2
from critbatch.per_example.fallback import parts_by_func, tensors_of
from critbatch.per_example.layers import BATCH_NORMS, Part, Parts, parts_of

# Gradients of examples, where they are needed themselves, are made for so many numbers at a time.
NUMBERS_AT_ONCE = 1 << 26
TOLERANCE = 1e-2


@dataclass(eq=False)
class _Call:
    """One call of one module: what went in, and, once backward came by, the slopes of what came out."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    slopes: list[Tensor | None] = field(default_factory=list)

    @property
    def batch(self) -> int:
        return next((len(slope) for slope in self.slopes if slope is not None), 0)


class GhostNorms:
    """The squared norm of each example's gradient, of every weight, though only their sum is ever computed.

    For a linear layer the gradient of an example is a sum of outer products of its inputs and its outputs' slopes, so
    its norm follows from those (Goodfellow 2015, arXiv:1510.01799; for sequences the Gram matrices of both, Li et al.
    2021, arXiv:2110.05679, section 4, or the gradients themselves where that is less work). Convolutions, embeddings
    and normalizations have rules of their own; any other module with weights is run again by `torch.func`, example by
    example. What cannot be told apart is refused by name: nothing is left out. A weight that several layers share has
    the norm of its whole gradient.

    At the first backward pass the examples' gradients are added up and compared with the gradient itself, so that a
    weight that is also used in another way is found.

    Memory: the inputs and slopes of the layers of one forward and backward pass, and 2^26 numbers at most for gradients
    of examples.

    Args:
        model: examples are on the first dimension of all that goes into its layers and comes out.

    Raises:
        UserError: if the model has a layer that mixes examples.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._names: dict[Tensor, str] = {
            weight: name for name, weight in model.named_parameters() if weight.requires_grad
        }
        self._units = dict(_units(model))
        _refuse(model, self._units)
        self._calls: list[_Call] = []
        self._done: list[dict[str, Tensor]] = []
        self._resting = False
        self._first: dict[Tensor, Tensor] | None = {}  # gradients of the first backward pass, until they are checked
        self._handles: list[Any] = [module.register_forward_hook(self._see, with_kwargs=True) for module in self._units]
        self._handles.append(model.register_forward_pre_hook(lambda *_: self._reduce()))
        self._checks = [
            weight.register_hook(lambda grad, weight=weight: self._note(weight, grad))  # type: ignore[no-untyped-call]
            for weight in self._names
        ]

    def take(self, examples: int | Sequence[int] | None = None) -> dict[str, Tensor]:
        """For each weight the squared norms of the examples since the last call, shape (examples,).

        They are those of what `backward` was called on: of a mean over B losses they are 1 / B^2 of an example's own.

        Args:
            examples: how many there were since the last call, where the caller knows: in all, or in each backward pass.
                None: not known.

        Raises:
            UserError: if a weight's gradient is not the sum of what its layers' examples give, or if the layers had
                another number of examples than `examples`.
        """
        self._reduce()
        done, self._done = self._done, []
        sizes = [len(next(iter(norms2.values()))) for norms2 in done]
        if done and examples is not None:
            _compare_sizes(sizes, examples)
        return {name: torch.cat([norms2[name] for norms2 in done]) for name in (done[0] if done else {})}

    def end_pass(self) -> None:
        """Say that a backward pass is over, where the model itself is not called for the next, but parts of it."""
        self._reduce()

    def close(self) -> None:
        """Take all hooks off."""
        for handle in (*self._handles, *self._checks):
            handle.remove()
        self._calls, self._done = [], []

    def _see(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any) -> None:
        if self._resting or not torch.is_grad_enabled():
            return
        found = tensors_of(outputs)
        call = _Call(module, args, kwargs, [None] * len(found))
        for i, output in enumerate(found):
            if output.requires_grad:
                output.register_hook(lambda slope, i=i: self._meet(call, i, slope))  # type: ignore[no-untyped-call]

    def _meet(self, call: _Call, i: int, slope: Tensor) -> None:
        if not any(known is call for known in self._calls[-1:]) and call not in self._calls:
            self._calls.append(call)
        call.slopes[i] = slope.detach()

    def _note(self, weight: Tensor, grad: Tensor) -> None:
        if self._first is not None and not self._resting:
            self._first[weight] = self._first[weight] + grad if weight in self._first else grad.clone()

    def _reduce(self) -> None:
        """Turn what the last backward pass showed into norms, and let it go."""
        if self._resting or not self._calls:
            return
        calls, self._calls = self._calls, []
        self._resting = True
        try:
            self._done.append(self._norms2(calls))
        finally:
            self._resting = False

    @torch.no_grad()
    def _norms2(self, calls: list[_Call]) -> dict[str, Tensor]:
        batch = max(call.batch for call in calls)
        if other := next((call for call in calls if call.batch != batch), None):
            raise UserError(
                f"A {type(other.module).__name__} has {other.batch} examples on its first dimension where others have "
                f"{batch}: its examples cannot be told apart; use micro-batches instead."
            )
        uses: dict[Tensor, list[tuple[_Call, str]]] = {}
        for call in calls:
            for local in self._units[call.module]:
                uses.setdefault(call.module.get_parameter(local), []).append((call, local))
        parts = {call: self._parts(call, slice(0, batch)) for call in calls}
        sums: dict[Tensor, Tensor] = {}
        device = next(iter(uses)).device
        norms2 = {name: torch.zeros(batch, device=device) for name in self._names.values()}
        for weight, of_weight in uses.items():
            pieces = [parts[call][local] for call, local in of_weight]
            if len(pieces) > 1 and all(piece.factors is not None for piece in pieces):
                pieces = [_joined(pieces)]
            if len(pieces) == 1 and weight.numel() * batch <= NUMBERS_AT_ONCE:
                norms2[self._names[weight]] = pieces[0].norms2()
            else:
                norms2[self._names[weight]] = self._in_slices(of_weight, batch, weight.numel())
            if self._first is not None:
                sums[weight] = torch.stack([piece.total().view_as(weight) for piece in pieces]).sum(0)
        if self._first is not None:
            self._check(sums)
        return norms2

    def _parts(self, call: _Call, rows: slice) -> Parts:
        slopes = [None if slope is None else slope[rows] for slope in call.slopes]
        args, kwargs = _cut(call.args, rows, call.batch), _cut(call.kwargs, rows, call.batch)
        first = slopes[0]
        known = parts_of(call.module, args, first) if first is not None else None
        if known is not None:
            return known
        return parts_by_func(call.module, self._units[call.module], args, kwargs, slopes)

    def _in_slices(self, uses: list[tuple[_Call, str]], batch: int, numbers: int) -> Tensor:
        """The norms of a large weight, or of one that layers of several kinds share, some examples at a time."""
        at_once = max(1, NUMBERS_AT_ONCE // numbers)
        found = []
        for begin in range(0, batch, at_once):
            rows = slice(begin, min(batch, begin + at_once))
            pieces = [self._parts(call, rows)[local] for call, local in uses]
            if len(pieces) == 1:
                found.append(pieces[0].norms2())
            else:
                whole = sum(piece.gradients().flatten(1) for piece in pieces)
                assert isinstance(whole, Tensor)
                found.append(row_norms2(whole))
        return torch.cat(found)

    def _check(self, sums: dict[Tensor, Tensor]) -> None:
        """Compare the sums over the examples with the gradients of the first backward pass."""
        first, self._first = self._first or {}, None
        for handle in self._checks:
            handle.remove()
        for weight, grad in first.items():
            wide = grad.float() if grad.dtype in (torch.float16, torch.bfloat16) else grad
            found = sums[weight] if weight in sums else torch.zeros_like(wide)
            if float((found - wide).norm()) > TOLERANCE * float(wide.norm()) + 1e-12:
                raise UserError(
                    f"The gradient of {self._names[weight]} is not the sum of what its layer's examples give, so it is "
                    "also used outside of that layer: use micro-batches instead."
                )


def _compare_sizes(sizes: list[int], examples: int | Sequence[int]) -> None:
    """Raise UserError if the layers had other numbers of examples than the caller says."""
    same = sum(sizes) == examples if isinstance(examples, int) else sizes == list(examples)
    if not same:
        given = examples if isinstance(examples, int) else " + ".join(map(str, examples))
        raise UserError(
            f"The model's layers had {' + '.join(map(str, sizes))} examples, but the batch has {given}: put the "
            "examples on the first dimension of all that goes into the model, or use micro-batches instead."
        )


def _units(model: nn.Module) -> Iterator[tuple[nn.Module, list[str]]]:
    """The modules to watch, each with the names of the weights that it answers for."""
    inside: set[nn.Module] = set()
    for module in model.modules():
        if module in inside:
            continue
        whole = isinstance(module, nn.MultiheadAttention)
        if whole:
            inside.update(module.modules())
        names = [name for name, weight in module.named_parameters(recurse=whole) if weight.requires_grad]
        if names:
            yield module, names


def _refuse(model: nn.Module, units: dict[nn.Module, list[str]]) -> None:
    for name, module in model.named_modules():
        kind = type(module).__name__
        if isinstance(module, _BatchNorm) and (module.training or not module.track_running_stats):
            raise UserError(
                f"{name or kind} is a {kind} in train mode, which mixes examples: call model.eval(), or use "
                "micro-batches."
            )
        if module not in units:
            continue
        if isinstance(module, nn.MultiheadAttention) and not module.batch_first:
            raise UserError(f"{name or kind} is a {kind} with batch_first=False: make it with batch_first=True.")
        if isinstance(module, nn.RNNBase):
            raise UserError(f"{name or kind} is an {kind}, whose examples cannot be told apart: use micro-batches.")
        if isinstance(module, nn.Embedding) and module.sparse:
            raise UserError(f"{name or kind} is an {kind} with sparse gradients: make it with sparse=False.")
        known = isinstance(module, (nn.Linear, nn.Embedding, nn.LayerNorm, nn.GroupNorm, *BATCH_NORMS))
        if not known and any(_is_random(part) for part in module.modules()):
            raise UserError(
                f"{name or kind} is a {kind} with weights of its own and dropout: its examples' gradients would be "
                "those of another draw; use micro-batches."
            )


def _is_random(module: nn.Module) -> bool:
    if isinstance(module, nn.MultiheadAttention):
        return module.training and module.dropout > 0
    return isinstance(module, nn.modules.dropout._DropoutNd) and module.training and module.p > 0


def _joined(pieces: list[Part]) -> Part:
    factors = pieces[0].factors
    assert factors is not None
    for piece in pieces[1:]:
        assert piece.factors is not None
        factors = factors.joined(piece.factors)
    return Part(factors.norms2, factors.gradients, factors.total, factors)


def _cut(given: Any, rows: slice, batch: int) -> Any:
    if isinstance(given, Tensor):
        return given[rows] if given.ndim and len(given) == batch else given
    if isinstance(given, dict):
        return {key: _cut(part, rows, batch) for key, part in given.items()}
    if isinstance(given, (tuple, list)):
        return type(given)(_cut(part, rows, batch) for part in given)
    return given
