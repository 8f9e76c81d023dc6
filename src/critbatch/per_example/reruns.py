"""Running a model again, beside its training, so that the training does not notice."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

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
        for held, kept in buffers:
            held.update(kept)
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
