"""Short hashes of what a result belongs to: a model, data, a function. The same in every process, on any machine."""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import is_dataclass
from functools import partial
from types import CodeType

import torch
from torch import nn

from critbatch.tasks.augmentation import Augmentation
from critbatch.tasks.data import Data, Examples, count, leaves

SAMPLE = 256  # examples
# The code of these changes between versions without changing results, so only other code is hashed.
LIBRARIES = ("torch", "critbatch", "transformers", "builtins", "functools")


def short_hash(*words: str) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]


def hash_of_model(model: nn.Module) -> str:
    """Hash of the layers, their shapes, and the code of layers that the user wrote."""
    words = [f"{name} {type(layer).__qualname__}" for name, layer in model.named_modules()]
    words += [f"{name} {tuple(weight.shape)} {weight.dtype}" for name, weight in model.state_dict().items()]
    kinds = {type(layer).__qualname__: type(layer) for layer in model.modules()}
    return short_hash(*words, *(_code_of(kinds[name]) for name in sorted(kinds)))


def hash_of_data(data: Data) -> str:
    """Hash of the number of examples and a sample of them; for a Dataset only of the number."""
    size = count(data)
    digest = hashlib.sha256(str(size).encode())
    if isinstance(data, Examples):
        sample = sorted({round(i * (size - 1) / (SAMPLE - 1)) for i in range(SAMPLE)})
        for leaf in leaves(data.take(torch.tensor(sample, device=data.device))):
            digest.update(f"{leaf.dtype} {tuple(leaf.shape)}".encode())
            digest.update(leaf.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def hash_of_function(function: object) -> str:
    """Hash of the name and, if the user wrote it, the code; for a callable dataclass also of its values."""
    return short_hash(_name_of(function), _code_of(_innermost(function)))


def hash_of_augmentation(augment: Augmentation) -> str:
    """Hash of the function and of the number of draws that it gets."""
    return short_hash(hash_of_function(augment.apply), str(augment.numbers))


def _innermost(function: object) -> object:
    while isinstance(function, partial):
        function = function.func
    return function if inspect.isroutine(function) else type(function)


def _name_of(function: object) -> str:
    if isinstance(function, partial):
        arguments = [*function.args, *(value for _, value in sorted(function.keywords.items()))]
        return f"{_name_of(function.func)} {[_describe(value) for value in arguments]}"
    if is_dataclass(function):
        return repr(function)
    return getattr(function, "__qualname__", type(function).__qualname__)


def _code_of(thing: object) -> str:
    """What it does, as bytecode, which is at hand in every process, and its simple closed-over values.

    Empty where it is a library's.
    """
    if (getattr(thing, "__module__", None) or "builtins").partition(".")[0] in LIBRARIES:
        return ""
    functions = [value for _, value in sorted(vars(thing).items())] if inspect.isclass(thing) else [thing]
    return " ".join(_describe(function) for function in functions if hasattr(function, "__code__"))


def _describe(value: object) -> str:
    """A value in words that are the same in every process: of an object only its type."""
    if isinstance(value, CodeType):
        return f"{value.co_code.hex()} {value.co_names} {[_describe(constant) for constant in value.co_consts]}"
    if hasattr(value, "__code__"):
        cells = [cell.cell_contents for cell in getattr(value, "__closure__", None) or ()]
        return f"{_describe(value.__code__)} {[_describe(cell) for cell in cells if not hasattr(cell, '__code__')]}"
    if isinstance(value, (tuple, list)):
        return str([_describe(one) for one in value])
    if isinstance(value, (set, frozenset)):
        return str(sorted(_describe(one) for one in value))
    return repr(value) if isinstance(value, (str, bytes, int, float, bool, type(None))) else type(value).__qualname__
