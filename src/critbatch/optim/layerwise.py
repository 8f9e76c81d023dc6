"""The base class of LARS, LAMB and RMSprop warm-up: groups, state, names, and the loop over tensors in a step."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from critbatch.errors import UserError
from critbatch.optim.packing import FlatBuffer, Layout, Member, layout_of, own_part, working_type

# --- torch.compile, called only when needed --------------------------------------------------------------------------

Result = TypeVar("Result")


@functools.cache
def compile_step(function: Callable[..., Result]) -> Callable[..., Result]:
    """The compiled function, for tensors of any length. Numbers among its arguments become constants."""

    @functools.cache
    def compiled() -> Callable[..., Result]:
        return torch.compile(function, dynamic=True)

    def call(*args: Any, **kwargs: Any) -> Result:
        with warnings.catch_warnings():
            # Warnings of torch about itself, which the user cannot fix.
            warnings.simplefilter("ignore", DeprecationWarning)
            return compiled()(*args, **kwargs)

    return call


# --- checks of hyper-parameters --------------------------------------------------------------------------------------


def check_rate(lr: Any) -> None:
    """Check that a learning rate is a number of 0 or more, or a tensor of one element, whose value is not read."""
    if isinstance(lr, Tensor):
        if lr.numel() != 1:
            raise UserError(f"lr is a tensor of {lr.numel()} elements: use a number or a tensor of one element.")
        return
    check_range(lr=lr)


def rate_of(lr: Any) -> Any:
    """The value as a number; a tensor on another device is kept, since reading it would synchronize."""
    return lr if isinstance(lr, Tensor) and lr.device.type != "cpu" else float(lr)


def check_range(*, below: float = float("inf"), **named: float) -> None:
    """Check that numbers are 0 or more and less than `below`."""
    for name, value in named.items():
        if not 0 <= value < below:
            end = "" if below == float("inf") else f" and less than {below:g}"
            raise UserError(f"{name}={value} is not possible: use a finite number of 0 or more{end}.")


def check_positive(**named: float) -> None:
    for name, value in named.items():
        if not 0 < value < float("inf"):
            raise UserError(f"{name}={value} is not possible: use a finite number above 0.")


Group = dict[str, Any]
Ratios = Tensor | list[float | Tensor] | None

# Elements. Below, a step costs the calls made for a tensor; above, the memory that moves.
SMALL = 4096


@dataclass(frozen=True, eq=False, slots=True)
class TensorClass:
    """The common properties of tensors that a step handles together. Compared by identity, which is fast."""

    wide: bool  # more than one dimension
    small: bool
    dtype: torch.dtype
    device: torch.device
    on_cpu: bool
    layout: Layout | None  # of a DTensor, as FSDP2 makes of each weight

    def way(self, group: Group) -> str:
        """The method for these tensors: "one", "list" or "pack"."""
        if self.layout is not None:
            return "list"
        if group["foreach"] is not None:
            return "list" if group["foreach"] else "one"
        if self.on_cpu:
            return "pack" if self.small else "one"
        return "one" if group["compiled"] and not self.small else "list"


class PerTensor(Optimizer):
    """A step that each optimizer writes for one tensor (`_one`), for a list (`_list`) and for a `Pack` (`_pack`).

    Weights and gradients of half precision arrive there as float32, which is also the type of their state: the norm of
    a million halves cannot be told in a half, nor can a small update be added up in one.

    Weights that are DTensors, as `torch.distributed.fsdp.fully_shard` makes them, are updated part by part in each
    process; norms are those of the whole tensors. `_list` gets the parts and the `Layout` to add their norms up.
    """

    moments: tuple[str, ...] = ()
    counts = False

    def __init__(self, params: Any, defaults: Group, *, foreach: bool | None, compiled: bool, capturable: bool) -> None:
        if compiled and foreach:
            raise UserError("compiled=True and foreach=True exclude each other: leave `foreach` at None.")
        self._forget()
        super().__init__(params, {**defaults, "foreach": foreach, "compiled": compiled, "capturable": capturable})

    def _check(self, group: Group) -> None:
        """Raise an error for impossible hyper-parameters."""
        raise NotImplementedError

    def _before(self, grads: Iterable[tuple[TensorClass, list[Tensor]]]) -> None:
        """Check all gradients before any weight changes."""

    def _one(self, group: Group, weight: Tensor, grad: Tensor, state: dict[str, Tensor], adapt: bool) -> float | Tensor:
        raise NotImplementedError

    def _list(
        self,
        group: Group,
        weights: list[Tensor],
        grads: list[Tensor],
        states: list[dict[str, Tensor]],
        adapt: bool,
        layout: Layout | None,
    ) -> Tensor | None:
        raise NotImplementedError

    def _pack(self, group: Group, pack: FlatBuffer, adapt: bool) -> Tensor | None:
        raise NotImplementedError

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change the weights that have a gradient. The gradients themselves do not change.

        Args:
            closure: A function that computes the gradients again and returns the loss.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        gathered = [self._gather(group) for group in self.param_groups]
        self._before(
            (kind, [own_part(grad) for _, grad, _ in members]) for kinds in gathered for kind, members in kinds.items()
        )
        self._ratios.clear()
        for index, (group, kinds) in enumerate(zip(self.param_groups, gathered, strict=True)):
            for kind, members in kinds.items():
                self._advance(index, group, kind, members)
        return loss

    def _last_ratios(self) -> dict[str | int, float]:
        """The value of each tensor in the last step, by name or index. A step only stores what it computed anyway."""
        names: dict[int, str | int] = {}
        for group in self.param_groups:
            given = group.get("param_names") or range(len(names), len(names) + len(group["params"]))
            names.update(zip(map(id, group["params"]), given, strict=True))
        values_by_name: dict[str | int, float] = {}
        for weights, ratios in self._ratios:
            values = ratios.tolist() if isinstance(ratios, Tensor) else ratios or [1.0] * len(weights)
            values_by_name.update((names[id(weight)], float(one)) for weight, one in zip(weights, values, strict=True))
        return {name: values_by_name[name] for name in names.values() if name in values_by_name}

    def begin_all(self) -> None:
        """Create the state of each weight, as the first step would, so that a saved state can be loaded into it."""
        for group in self.param_groups:
            for weight in group["params"]:
                if not self.state[weight]:
                    self._begin(group, weight, self.state[weight])

    def add_param_group(self, param_group: Group) -> None:
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        try:
            self._check(group)
            for weight in group["params"]:
                if not weight.is_floating_point():
                    raise UserError(f"A parameter is {weight.dtype}, which cannot be updated: use floating-point ones.")
        except UserError:
            self.param_groups.pop()
            raise
        if group["capturable"] and not isinstance(group["lr"], Tensor):
            group["lr"] = torch.tensor(group["lr"], dtype=torch.float32, device=group["params"][0].device)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch's, but the state of half-precision weights stays in float32, nothing is shared with the source."""
        super().load_state_dict(state_dict)
        weights = [weight for group in self.param_groups for weight in group["params"]]
        numbers = [number for group in state_dict["param_groups"] for number in group["params"]]
        for weight, number in zip(weights, numbers, strict=True):
            for name, value in state_dict["state"].get(number, {}).items():
                cast = self.state[weight][name]
                kind = torch.float32 if name == "step" else working_type(weight)
                self.state[weight][name] = value.to(device=cast.device, dtype=kind, copy=True)
        self._forget()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._forget()

    def _forget(self) -> None:
        """Create the caches that can be rebuilt at any time and so are not in the state."""
        self._kinds: dict[int, TensorClass] = {}
        self._kinds_by_traits: dict[tuple[Any, ...], TensorClass] = {}
        self._packs: dict[tuple[int, TensorClass], FlatBuffer] = {}
        self._class_members: dict[tuple[int, TensorClass], list[int]] = {}
        self._ratios: list[tuple[list[Tensor], Ratios]] = []
        self._scratch: dict[torch.dtype, Tensor] = {}

    def _gather(self, group: Group) -> dict[TensorClass, list[Member]]:
        """The tensors of a group that have a gradient."""
        members_by_class: dict[TensorClass, list[Member]] = {}
        states, kinds = self.state, self._kinds
        for weight in group["params"]:
            grad = weight.grad
            if grad is None:
                continue
            if grad.is_sparse:
                name = type(self).__name__
                raise UserError(f"A gradient is sparse and {name} needs dense ones: use sparse=False in the embedding.")
            state = states[weight]
            if not state:
                self._begin(group, weight, state)
            kind = kinds.get(id(weight))
            if kind is None or kind.dtype is not weight.dtype or kind.on_cpu is not weight.is_cpu:
                kind = self._kind_of(weight)
            if kind in members_by_class:
                members_by_class[kind].append((weight, grad, state))
            else:
                members_by_class[kind] = [(weight, grad, state)]
        return members_by_class

    def _kind_of(self, weight: Tensor) -> TensorClass:
        small = weight.numel() <= SMALL
        traits = (weight.ndim > 1, small, weight.dtype, weight.device, weight.is_cpu, layout_of(weight))
        kind = self._kinds_by_traits.setdefault(traits, TensorClass(*traits))
        self._kinds[id(weight)] = kind
        return kind

    def _begin(self, group: Group, weight: Tensor, state: dict[str, Tensor]) -> None:
        if self.counts:
            state["step"] = torch.zeros((), device=weight.device if group["capturable"] else "cpu", dtype=torch.float32)
        for name in self.moments:
            state[name] = torch.zeros_like(weight, dtype=working_type(weight), memory_format=torch.preserve_format)

    def _advance(self, index: int, group: Group, kind: TensorClass, members: list[Member]) -> None:
        adapt = kind.wide or group.get("adapt_one_dimensional", True)
        way = kind.way(group)
        ratios: Ratios
        if way == "pack" and (pack := self._pack_of(members, (index, kind))):
            if self.counts:
                pack.state["step"].add_(1)
            pack.load(members)
            ratios = self._pack(group, pack, adapt)
            pack.store(members)
        elif way == "one":
            ratios = [self._converted_one(group, member, adapt) for member in members]
        else:
            ratios = self._converted_list(group, members, adapt, kind.layout)
        # Without the gradients, whose memory is not ours to keep.
        self._ratios.append(([weight for weight, _, _ in members], ratios))

    def _pack_of(self, members: list[Member], key: tuple[int, TensorClass]) -> FlatBuffer | None:
        """The pack of exactly these tensors; None if there is none.

        A set of tensors is packed the first time, and again when it is the same twice: where tensors take turns in
        having a gradient, moving their state to and fro would cost more than it saves.
        """
        pack = self._packs.get(key)
        if pack is not None and pack.holds(members):
            return pack if pack.in_step() else None
        own = [id(weight) for weight, _, _ in members]
        known = self._class_members.get(key)
        self._class_members[key] = own
        if known is None or known == own:
            self._packs[key] = FlatBuffer(members)
            return self._packs[key] if self._packs[key].in_step() else None
        return None

    def _converted_one(self, group: Group, member: Member, adapt: bool) -> float | Tensor:
        weight, grad, state = member
        if self.counts:
            state["step"] += 1
        kind = working_type(weight)
        if weight.dtype == kind == grad.dtype:
            return self._one(group, weight, grad, state, adapt)
        wide = weight.to(kind, copy=True)
        ratio = self._one(group, wide, grad.to(kind), state, adapt)
        weight.copy_(wide)
        return ratio

    def _converted_list(self, group: Group, members: list[Member], adapt: bool, layout: Layout | None) -> Tensor | None:
        weights, grads, states = map(list, zip(*members, strict=True))
        if self.counts:
            torch._foreach_add_([state["step"] for state in states], 1)
        if layout is not None:
            weights, grads = list(map(own_part, weights)), list(map(own_part, grads))
            states = [{name: own_part(value) for name, value in state.items()} for state in states]
        kind = working_type(weights[0])
        wide = weights if weights[0].dtype == kind else [weight.to(kind) for weight in weights]
        ratios = self._list(group, wide, [grad.to(kind) for grad in grads], states, adapt, layout)
        if wide is not weights:
            torch._foreach_copy_(weights, wide)
        return ratios
