"""Running a model again, beside its training, so that the training does not notice."""

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
from critbatch.gradient_noise.layer_rules import Parts, held

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
    """Within, no call of torch drops anything out; all else is as it is."""

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
            kwargs["training"] = False  # which is about its dropout alone
        return function(*args, **kwargs)


@contextmanager
def unwatched(model: nn.Module, weights: Iterable[Tensor] = (), *, but: object = None) -> Iterator[None]:
    """Within, critbatch's own hooks on the modules rest, and all hooks on the weights: they are about training.

    Args:
        model: whose modules it is about.
        weights: those whose hooks rest.
        but: the object whose hooks go on.
    """
    of_modules = [held for own in model.modules() for held in (own._forward_pre_hooks, own._forward_hooks) if held]
    of_weights = [held for own in weights for held in (own._backward_hooks, own._post_accumulate_grad_hooks) if held]
    before = [(held, dict(held)) for held in (*of_modules, *of_weights)]
    try:
        for held in of_modules:
            for key in [key for key, hook in held.items() if _is_watching(hook, but)]:
                del held[key]
        for held in of_weights:
            held.clear()
        yield
    finally:
        for held, hooks in before:
            held.clear()
            held.update(hooks)


def _is_watching(hook: Any, but: object) -> bool:
    module = getattr(hook, "__module__", None) or ""
    return module.partition(".")[0] == "critbatch" and getattr(hook, "__self__", None) is not but


@contextmanager
def nothing_changes(model: nn.Module) -> Iterator[Callable[[], None]]:
    """Random states, buffers, modes and the gradients that weights hold are afterwards what they were before.

    Yields a function that brings them back at once, for the next of several runs.
    """
    devices = sorted({weight.device.index for weight in model.parameters() if weight.device.type == "cuda"})
    numpy_state, python_state = np.random.get_state(), random.getstate()
    states = [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in devices)]
    buffers = [(own._buffers, dict(own._buffers)) for own in model.modules() if own._buffers]
    copies = {buffer: buffer.clone() for _, kept in buffers for buffer in kept.values() if buffer is not None}
    modes = [(own, own.training) for own in model.modules()]
    # Weights of the old weight_norm and spectral_norm are attributes, made anew at each call.
    made = [(own, name, value) for own in model.modules() for name, value in vars(own).items() if _is_made(value)]
    grads = [(weight, weight.grad) for weight in model.parameters()]

    def bring_back() -> None:
        for own, name, value in made:
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
        bring_back()
        yield bring_back
    finally:
        bring_back()
        for weight, grad in grads:
            weight.grad = grad


def _is_made(value: object) -> bool:
    return isinstance(value, Tensor) and not isinstance(value, nn.Parameter)


def random_states(model: nn.Module) -> list[Any]:
    """What is different after something was drawn."""
    devices = sorted({weight.device.index for weight in model.parameters() if weight.device.type == "cuda"})
    return [
        torch.get_rng_state().tolist(),
        *(torch.cuda.get_rng_state(device).tolist() for device in devices),
        random.getstate(),
        [np.asarray(part).tolist() for part in np.random.get_state(legacy=True)],
    ]


# Where the examples are in a tensor: on which axis, and whether other things are folded into that axis.
#
# It is not guessed from sizes, which agree by chance: the model is run on two examples and on three, and the axis that
# grows is the one.


class Layout(NamedTuple):
    """Where the examples of a tensor are. None in its place: the tensor belongs to all examples alike.

    Args:
        axis: on which they are; -1 if no single axis grows with the number of examples.
        folded: whether the axis has several places for each example, those of one example side by side.
        apart: if folded, whether the first places of all examples come first, then their second ones, and so on.
    """

    axis: int
    folded: bool = False
    apart: bool = False


UNCLEAR = Layout(-1)


class Layouts(NamedTuple):
    """Those of the tensors that go into a call of a module, and of the floating-point tensors that come out."""

    inputs: tuple[Layout | None, ...]
    outputs: tuple[Layout | None, ...]


class Shapes(NamedTuple):
    """The shapes of the same tensors."""

    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]


def layouts_of(two: Shapes, three: Shapes) -> Layouts:
    """What follows from the shapes in a call with two examples and in the same call with three."""
    if len(two.inputs) != len(three.inputs) or len(two.outputs) != len(three.outputs):
        return Layouts(tuple(UNCLEAR for _ in three.inputs), tuple(UNCLEAR for _ in three.outputs))
    return Layouts(
        tuple(map(layout_of, two.inputs, three.inputs)),
        tuple(map(layout_of, two.outputs, three.outputs)),
    )


def layout_of(two: tuple[int, ...], three: tuple[int, ...]) -> Layout | None:
    """That of one tensor."""
    if two == three:
        return None
    if len(two) != len(three):
        return UNCLEAR
    grown = [axis for axis, (short, long) in enumerate(zip(two, three, strict=True)) if short != long]
    if len(grown) != 1 or two[grown[0]] * 3 != three[grown[0]] * 2:
        return UNCLEAR
    return Layout(grown[0], folded=two[grown[0]] != 2)


def fits(shape: Sequence[int], layout: Layout | None, batch: int) -> bool:
    """Whether a tensor of this shape can hold so many examples in this way."""
    if layout is None:
        return True
    if layout == UNCLEAR or layout.axis >= len(shape):
        return False
    size = shape[layout.axis]
    return size % batch == 0 if layout.folded else size == batch


def to_front(tensor: Tensor, layout: Layout | None, batch: int) -> Tensor:
    """Shape (batch, ...): the examples on the first axis, and nothing else on it."""
    if layout is None:
        return tensor.expand(batch, *tensor.shape)
    moved = tensor.movedim(layout.axis, 0)
    if layout.apart:
        return moved.reshape(-1, batch, *moved.shape[1:]).transpose(0, 1)
    return moved.reshape(batch, -1, *moved.shape[1:]) if layout.folded else moved


def as_batch_of_one(row: Tensor, layout: Layout | None) -> Tensor:
    """One row of `to_front` in the layout that it came from."""
    if layout is None:
        return row
    return row.movedim(0, layout.axis) if layout.folded else row.unsqueeze(layout.axis)


def tensors_in(given: Any) -> Iterator[Tensor]:
    """Every tensor in tuples, lists, mappings and dataclasses, in order. A `PackedSequence` has none to show."""
    if isinstance(given, Tensor):
        yield given
    elif isinstance(given, PackedSequence):
        return
    elif isinstance(given, Mapping):
        for part in given.values():
            yield from tensors_in(part)
    elif isinstance(given, (tuple, list)):
        for part in given:
            yield from tensors_in(part)
    elif dataclasses.is_dataclass(given) and not isinstance(given, type):
        for field in dataclasses.fields(given):
            yield from tensors_in(getattr(given, field.name))


def map_tensors(function: Callable[[Tensor], Any], given: Any) -> Any:
    """The same structure with every tensor of `tensors_in` replaced, in the same order."""
    if isinstance(given, Tensor):
        return function(given)
    if isinstance(given, PackedSequence):
        return given
    if isinstance(given, MutableMapping):
        changed = copy.copy(given)
        for key, part in given.items():
            changed[key] = map_tensors(function, part)
        return changed
    if isinstance(given, Mapping):
        return {key: map_tensors(function, part) for key, part in given.items()}
    if isinstance(given, (tuple, list)):
        parts = [map_tensors(function, part) for part in given]
        return type(given)(*parts) if hasattr(given, "_fields") else type(given)(parts)
    if dataclasses.is_dataclass(given) and not isinstance(given, type):
        other: Any = copy.copy(given)
        for field in dataclasses.fields(given):
            object.__setattr__(other, field.name, map_tensors(function, getattr(given, field.name)))
        return other
    return given


# Any module whose examples do not mix: its weights' gradients for each example by running it again.

_ONE_BY_ONE = (nn.RNNBase, nn.RNNCellBase)  # torch.func does not know their operations


def parts_by_func(
    module: nn.Module,
    path: str,
    names: list[str],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    slopes: list[Tensor | None],
    layouts: Layouts,
    *,
    batch: int,
    rows: slice,
) -> Parts:
    """The parts of some of a module's weights, by running it again for each example on its own.

    Vectorized by `torch.func`, or, where that does not know the module's operations, one after the other.

    Args:
        module: what it computes of an example is of that example alone.
        path: the module's name within the model, for messages.
        names: of the weights, within the module.
        args: positional inputs of the call.
        kwargs: keyword inputs.
        slopes: of each output that is a floating-point tensor, shape (batch, ...), the examples in front; None where
            the loss does not depend on it.
        layouts: of inputs and outputs.
        batch: examples in the call.
        rows: of the examples that are asked for.

    Raises:
        UserError: if the module cannot be run for one example alone.
    """
    weights = {name: module.get_parameter(name).detach() for name in names}
    buffers = dict(module.named_buffers())
    inputs = list(tensors_in((args, kwargs)))
    moving = [to_front(tensor.detach(), layout, batch)[rows] for tensor, layout in _moving(inputs, layouts.inputs)]
    wanted = [i for i, slope in enumerate(slopes) if slope is not None]
    own_slopes = [slope[rows] for slope in slopes if slope is not None]

    def outputs_of(own: dict[str, Tensor], example: list[Tensor]) -> list[Tensor]:
        ready = iter(example)
        fixed = iter(zip(inputs, layouts.inputs, strict=True))

        def leaf_of_one(_: Tensor) -> Tensor:
            tensor, layout = next(fixed)
            return tensor.detach() if layout is None else as_batch_of_one(next(ready), layout)

        again_args, again_kwargs = map_tensors(leaf_of_one, (args, kwargs))
        found = floats_in(functional_call(module, {**buffers, **own}, again_args, again_kwargs))
        return [found[i] for i in wanted]

    def gradients(example: list[Tensor], example_slopes: list[Tensor]) -> dict[str, Tensor]:
        pull: Any = vjp(lambda own: outputs_of(own, example), weights)[1]
        ready = [as_batch_of_one(slope, layouts.outputs[i]) for i, slope in zip(wanted, example_slopes, strict=True)]
        pulled: dict[str, Tensor] = pull(ready)[0]
        return pulled

    def one_by_one() -> dict[str, Tensor]:
        found: dict[str, list[Tensor]] = {name: [] for name in names}
        leaves = {name: weight.clone().requires_grad_() for name, weight in weights.items()}
        for row in range(len(own_slopes[0])):
            outputs = outputs_of(leaves, [leaf[row] for leaf in moving])
            ready = [
                as_batch_of_one(slope[row], layouts.outputs[i]) for i, slope in zip(wanted, own_slopes, strict=True)
            ]
            pairs = [(output, slope) for output, slope in zip(outputs, ready, strict=True) if output.requires_grad]
            of_row = torch.autograd.grad(
                [output for output, _ in pairs],
                list(leaves.values()),
                [slope for _, slope in pairs],
                allow_unused=True,
                materialize_grads=True,
            )
            for name, gradient in zip(leaves, of_row, strict=True):
                found[name].append(gradient.detach())
        return {name: torch.stack(of_weight) for name, of_weight in found.items()}

    before = random_states(module) if isinstance(module, _ONE_BY_ONE) else None
    try:
        with _as_it_was(module), unwatched(module), sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "There is a performance drop")
            if before is not None:
                with torch.enable_grad():
                    found = one_by_one()
            else:
                found = vmap(gradients, randomness="error")(moving, own_slopes)
    except (RuntimeError, ValueError, NotImplementedError, IndexError, TypeError) as error:
        raise UserError(
            f"The gradients of the examples of {path} cannot be told apart ({_first_line(error)}): use micro-batches "
            "instead."
        ) from error
    if before is not None and random_states(module) != before:
        raise UserError(f"{path} draws random numbers when it is run again: use micro-batches instead.")
    return {name: held(gradient) for name, gradient in found.items()}


def floats_in(outputs: Any) -> list[Tensor]:
    """The floating-point and complex tensors among a module's outputs, in order."""
    return [leaf for leaf in tensors_in(outputs) if leaf.is_floating_point() or leaf.is_complex()]


def _moving(inputs: list[Tensor], layouts: tuple[Layout | None, ...]) -> Iterator[tuple[Tensor, Layout]]:
    for tensor, layout in zip(inputs, layouts, strict=True):
        if layout is not None:
            yield tensor, layout


@contextmanager
def _as_it_was(module: nn.Module) -> Iterator[None]:
    """Within, a weight that is made of others is made as in the call: without a step of spectral norm's iteration."""
    made = {name: value for name, value in vars(module).items() if isinstance(value, Tensor)}
    resting = [module] if made else []
    for own in module.modules():
        if parametrize.is_parametrized(own):
            resting += list(own.parametrizations.modules())  # type: ignore[union-attr]
    modes = [(own, own.training) for own in resting]
    try:
        for own, _ in modes:
            own.training = False
        yield
    finally:
        for own, training in modes:
            own.training = training
        for name, value in made.items():
            setattr(module, name, value)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
