"""Any module whose examples do not mix: its weights' gradients for each example by running it again."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parametrize

from critbatch.errors import UserError
from critbatch.per_example.layers import Parts, held
from critbatch.per_example.layout import Layout, Layouts, as_batch_of_one, map_tensors, tensors_in, to_front
from critbatch.per_example.reruns import random_states, unwatched

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
