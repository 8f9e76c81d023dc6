"""Run a model again during training without changing the training, and find the examples' axis in its tensors."""

from __future__ import annotations

import copy
import dataclasses
import random
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parametrize
from torch.nn.utils.rnn import PackedSequence
from torch.overrides import TorchFunctionMode

from critbatch.errors import UserError
from critbatch.gradient_noise.layer_rules import Parts, part_of

_DROPOUTS = {
    torch.dropout: 0.0,
    torch.alpha_dropout: 0.0,
    torch.feature_dropout: 0.0,
    torch.feature_alpha_dropout: 0.0,
    F.dropout: 0.0,
    F.dropout1d: 0.0,
    F.dropout2d: 0.0,
    F.dropout3d: 0.0,
    F.alpha_dropout: 0.0,
    F.feature_alpha_dropout: 0.0,
}


class NoDropout(TorchFunctionMode):
    """A context in which every dropout of torch keeps all values; other functions work as usual."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if function in _DROPOUTS:
            return args[0] if args else kwargs["input"]
        if function is F.scaled_dot_product_attention:
            args = args[:4] + ((0.0, *args[5:]) if len(args) > 4 else ())
            if len(args) <= 4:
                kwargs["dropout_p"] = 0.0
        elif function is F.multi_head_attention_forward:
            kwargs["training"] = False  # affects only its dropout
        return function(*args, **kwargs)


@contextmanager
def unwatched(model: nn.Module, weights: Iterable[Tensor] = (), *, but: object = None) -> Iterator[None]:
    """A context without critbatch's hooks on the modules and without any hooks on the weights: they serve training.

    Args:
        model: its modules lose critbatch's hooks.
        weights: these lose all their hooks.
        but: the object whose hooks stay.
    """
    module_hooks = [hooks for own in model.modules() for hooks in (own._forward_pre_hooks, own._forward_hooks) if hooks]
    weight_hooks = [
        hooks for own in weights for hooks in (own._backward_hooks, own._post_accumulate_grad_hooks) if hooks
    ]
    before = [(hooks, dict(hooks)) for hooks in (*module_hooks, *weight_hooks)]
    try:
        for hooks in module_hooks:
            for key in [key for key, hook in hooks.items() if _is_own_hook(hook, but)]:
                del hooks[key]
        for hooks in weight_hooks:
            hooks.clear()
        yield
    finally:
        for hooks, saved in before:
            hooks.clear()
            hooks.update(saved)


def _is_own_hook(hook: Any, but: object) -> bool:
    module = getattr(hook, "__module__", None) or ""
    return module.partition(".")[0] == "critbatch" and getattr(hook, "__self__", None) is not but


@contextmanager
def nothing_changes(model: nn.Module) -> Iterator[Callable[[], None]]:
    """A context that restores random states, buffers, modes and the gradients of the weights at its end.

    Yields a function that restores them at once, for the next of several runs.
    """
    devices = sorted({weight.device.index for weight in model.parameters() if weight.device.type == "cuda"})
    numpy_state, python_state = np.random.get_state(), random.getstate()
    states = [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in devices)]
    buffers = [(own._buffers, dict(own._buffers)) for own in model.modules() if own._buffers]
    copies = {buffer: buffer.clone() for _, entries in buffers for buffer in entries.values() if buffer is not None}
    modes = [(own, own.training) for own in model.modules()]
    # Weights of the old weight_norm and spectral_norm are attributes that each call computes again.
    computed = [
        (own, name, value) for own in model.modules() for name, value in vars(own).items() if _is_computed(value)
    ]
    grads = [(weight, weight.grad) for weight in model.parameters()]

    def restore() -> None:
        for own, name, value in computed:
            setattr(own, name, value)
        for own, training in modes:
            own.training = training
        with torch.no_grad():
            for buffer, copied in copies.items():
                if not torch.equal(buffer, copied):
                    buffer.copy_(copied)
        for registry, entries in buffers:
            registry.update(entries)
        np.random.set_state(numpy_state)
        random.setstate(python_state)
        torch.set_rng_state(states[0])
        for device, state in zip(devices, states[1:], strict=True):
            torch.cuda.set_rng_state(state, device)
        for weight, _ in grads:
            weight.grad = None

    try:
        restore()
        yield restore
    finally:
        restore()
        for weight, grad in grads:
            weight.grad = grad


def _is_computed(value: object) -> bool:
    return isinstance(value, Tensor) and not isinstance(value, nn.Parameter)


def random_states(model: nn.Module) -> list[Any]:
    """The states of all random number generators, which differ after any draw."""
    devices = sorted({weight.device.index for weight in model.parameters() if weight.device.type == "cuda"})
    return [
        torch.get_rng_state().tolist(),
        *(torch.cuda.get_rng_state(device).tolist() for device in devices),
        random.getstate(),
        [np.asarray(part).tolist() for part in np.random.get_state(legacy=True)],
    ]


# The axis of the examples in a tensor. Sizes may agree by chance, so it is not guessed from one size: the model runs on
# two examples and on three, and the axis that grows is that of the examples.


class Layout(NamedTuple):
    """Where the examples of a tensor are. None instead of a layout: all examples share the tensor.

    Args:
        axis: the axis of the examples; -1 if no single axis grows with the number of examples.
        folded: whether the axis has several entries for each example, by default next to each other.
        apart: if folded, whether the first entries of all examples come first, then their second entries, and so on.
    """

    axis: int
    folded: bool = False
    apart: bool = False


UNCLEAR = Layout(-1)


class Layouts(NamedTuple):
    """Layouts of the input tensors of a module's call, and of its floating-point outputs."""

    inputs: tuple[Layout | None, ...]
    outputs: tuple[Layout | None, ...]


class Shapes(NamedTuple):
    """Shapes of the same tensors."""

    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]


def layouts_of(two: Shapes, three: Shapes) -> Layouts:
    """The layouts, from the shapes in a call with two examples and in the same call with three."""
    if len(two.inputs) != len(three.inputs) or len(two.outputs) != len(three.outputs):
        return Layouts(tuple(UNCLEAR for _ in three.inputs), tuple(UNCLEAR for _ in three.outputs))
    return Layouts(
        tuple(map(layout_of, two.inputs, three.inputs)),
        tuple(map(layout_of, two.outputs, three.outputs)),
    )


def layout_of(two: tuple[int, ...], three: tuple[int, ...]) -> Layout | None:
    """The layout of one tensor, from its shapes with two examples and with three."""
    if two == three:
        return None
    if len(two) != len(three):
        return UNCLEAR
    grown = [axis for axis, (short, long) in enumerate(zip(two, three, strict=True)) if short != long]
    if len(grown) != 1 or two[grown[0]] * 3 != three[grown[0]] * 2:
        return UNCLEAR
    return Layout(grown[0], folded=two[grown[0]] != 2)


def fits(shape: Sequence[int], layout: Layout | None, batch: int) -> bool:
    """Whether a tensor of this shape can hold `batch` examples in this layout."""
    if layout is None:
        return True
    if layout == UNCLEAR or layout.axis >= len(shape):
        return False
    size = shape[layout.axis]
    return size % batch == 0 if layout.folded else size == batch


def to_front(tensor: Tensor, layout: Layout | None, batch: int) -> Tensor:
    """The tensor with the examples alone on its first axis. Shape (batch, ...)."""
    if layout is None:
        return tensor.expand(batch, *tensor.shape)
    moved = tensor.movedim(layout.axis, 0)
    if layout.apart:
        return moved.reshape(-1, batch, *moved.shape[1:]).transpose(0, 1)
    return moved.reshape(batch, -1, *moved.shape[1:]) if layout.folded else moved


def as_batch_of_one(row: Tensor, layout: Layout | None) -> Tensor:
    """One row of `to_front`, in the layout that the tensor had before."""
    if layout is None:
        return row
    return row.movedim(0, layout.axis) if layout.folded else row.unsqueeze(layout.axis)


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor in tuples, lists, mappings and dataclasses, in order. Those of a `PackedSequence` are left out."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, PackedSequence):
        return
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from tensors_in(part)
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from tensors_in(part)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from tensors_in(getattr(value, field.name))


def map_tensors(function: Callable[[Tensor], Any], value: Any) -> Any:
    """The same structure with every tensor of `tensors_in` replaced, in the same order."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, PackedSequence):
        return value
    if isinstance(value, MutableMapping):
        changed = copy.copy(value)
        for key, part in value.items():
            changed[key] = map_tensors(function, part)
        return changed
    if isinstance(value, Mapping):
        return {key: map_tensors(function, part) for key, part in value.items()}
    if isinstance(value, (tuple, list)):
        parts = [map_tensors(function, part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        other: Any = copy.copy(value)
        for field in dataclasses.fields(value):
            object.__setattr__(other, field.name, map_tensors(function, getattr(value, field.name)))
        return other
    return value


# Gradients of each example for the weights of any module that does not mix examples: the module runs again.

_ONE_BY_ONE = (nn.RNNBase, nn.RNNCellBase)  # torch.func does not know their operations


def parts_by_func(
    module: nn.Module,
    path: str,
    names: list[str],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    output_grads: list[Tensor | None],
    layouts: Layouts,
    *,
    batch: int,
    rows: slice,
) -> Parts:
    """The parts of some of a module's weights. The module runs again for each example alone.

    `torch.func` vectorizes these runs. Where it does not know the module's operations, they run one after the other.

    Args:
        module: its output for an example must depend on that example alone.
        path: the module's name within the model, for messages.
        names: of the weights, within the module.
        args: positional inputs of the call.
        kwargs: keyword inputs.
        output_grads: gradients of the loss for each floating-point output, shape (batch, ...); None where the loss does
            not depend on it.
        layouts: of inputs and outputs.
        batch: examples in the call.
        rows: the examples to return.

    Raises:
        UserError: if the module cannot be run for one example alone.
    """
    weights = {name: module.get_parameter(name).detach() for name in names}
    buffers = dict(module.named_buffers())
    inputs = list(tensors_in((args, kwargs)))
    moving = [to_front(tensor.detach(), layout, batch)[rows] for tensor, layout in _moving(inputs, layouts.inputs)]
    used = [i for i, grad in enumerate(output_grads) if grad is not None]
    rows_grads = [grad[rows] for grad in output_grads if grad is not None]

    def outputs_of(own: dict[str, Tensor], example: list[Tensor]) -> list[Tensor]:
        ready = iter(example)
        fixed = iter(zip(inputs, layouts.inputs, strict=True))

        def leaf_of_one(_: Tensor) -> Tensor:
            tensor, layout = next(fixed)
            return tensor.detach() if layout is None else as_batch_of_one(next(ready), layout)

        again_args, again_kwargs = map_tensors(leaf_of_one, (args, kwargs))
        outputs = floats_in(functional_call(module, {**buffers, **own}, again_args, again_kwargs))
        return [outputs[i] for i in used]

    def gradients(example: list[Tensor], example_grads: list[Tensor]) -> dict[str, Tensor]:
        pull: Any = vjp(lambda own: outputs_of(own, example), weights)[1]
        ready = [as_batch_of_one(grad, layouts.outputs[i]) for i, grad in zip(used, example_grads, strict=True)]
        pulled: dict[str, Tensor] = pull(ready)[0]
        return pulled

    def one_by_one() -> dict[str, Tensor]:
        gradients_of: dict[str, list[Tensor]] = {name: [] for name in names}
        leaves = {name: weight.clone().requires_grad_() for name, weight in weights.items()}
        for row in range(len(rows_grads[0])):
            outputs = outputs_of(leaves, [leaf[row] for leaf in moving])
            ready = [as_batch_of_one(grad[row], layouts.outputs[i]) for i, grad in zip(used, rows_grads, strict=True)]
            pairs = [(output, grad) for output, grad in zip(outputs, ready, strict=True) if output.requires_grad]
            of_row = torch.autograd.grad(
                [output for output, _ in pairs],
                list(leaves.values()),
                [grad for _, grad in pairs],
                allow_unused=True,
                materialize_grads=True,
            )
            for name, gradient in zip(leaves, of_row, strict=True):
                gradients_of[name].append(gradient.detach())
        return {name: torch.stack(of_weight) for name, of_weight in gradients_of.items()}

    before = random_states(module) if isinstance(module, _ONE_BY_ONE) else None
    try:
        with _same_computed_weights(module), unwatched(module), sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "There is a performance drop")
            if before is not None:
                with torch.enable_grad():
                    gradients_of = one_by_one()
            else:
                gradients_of = vmap(gradients, randomness="error")(moving, rows_grads)
    except (RuntimeError, ValueError, NotImplementedError, IndexError, TypeError) as error:
        raise UserError(
            f"The gradients of the examples of {path} cannot be told apart ({_first_line(error)}): use micro-batches "
            "instead."
        ) from error
    if before is not None and random_states(module) != before:
        raise UserError(f"{path} draws random numbers when it is run again: use micro-batches instead.")
    return {name: part_of(gradient) for name, gradient in gradients_of.items()}


def floats_in(outputs: Any) -> list[Tensor]:
    """The floating-point and complex tensors among a module's outputs, in order."""
    return [leaf for leaf in tensors_in(outputs) if leaf.is_floating_point() or leaf.is_complex()]


def _moving(inputs: list[Tensor], layouts: tuple[Layout | None, ...]) -> Iterator[tuple[Tensor, Layout]]:
    for tensor, layout in zip(inputs, layouts, strict=True):
        if layout is not None:
            yield tensor, layout


@contextmanager
def _same_computed_weights(module: nn.Module) -> Iterator[None]:
    """A context in which weights computed from others are the same as in the call: spectral norm does not iterate."""
    computed = {name: value for name, value in vars(module).items() if isinstance(value, Tensor)}
    in_eval = [module] if computed else []
    for own in module.modules():
        if parametrize.is_parametrized(own):
            in_eval += list(own.parametrizations.modules())  # type: ignore[union-attr]
    modes = [(own, own.training) for own in in_eval]
    try:
        for own, _ in modes:
            own.training = False
        yield
    finally:
        for own, training in modes:
            own.training = training
        for name, value in computed.items():
            setattr(module, name, value)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
