"""`torch.compile` where it is asked for, and not before."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


@functools.cache
def compile_step(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function in machine code, for tensors of any length. Numbers among its arguments become part of it."""

    @functools.cache
    def made() -> Callable[..., Tensor]:
        return torch.compile(function, dynamic=True)

    def call(*given: Any, **named: Any) -> Tensor:
        with warnings.catch_warnings():
            # Those of torch about itself, which no user can answer.
            warnings.simplefilter("ignore", DeprecationWarning)
            return made()(*given, **named)

    return call
