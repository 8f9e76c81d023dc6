"""`torch.compile` where it is asked for, and not before."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import torch

Result = TypeVar("Result")


@functools.cache
def compile_step(function: Callable[..., Result]) -> Callable[..., Result]:
    """The function in machine code, for tensors of any length. Numbers among its arguments become part of it."""

    @functools.cache
    def made() -> Callable[..., Result]:
        return torch.compile(function, dynamic=True)

    def call(*given: Any, **named: Any) -> Result:
        with warnings.catch_warnings():
            # Those of torch about itself, which no user can answer.
            warnings.simplefilter("ignore", DeprecationWarning)
            return made()(*given, **named)

    return call
