"""Sentences for hyper-parameters that cannot be meant."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from critbatch.errors import UserError


def check_rate(lr: Any) -> None:
    """A learning rate is a number of 0 or more, or a tensor of one element, whose value is not looked at."""
    if isinstance(lr, Tensor):
        if lr.numel() != 1:
            raise UserError(f"lr is a tensor of {lr.numel()} elements: use a number or a tensor of one element.")
        return
    check_range(lr=lr)


def rate_of(lr: Any) -> Any:
    """As a number, or as the tensor that it is on another device, where asking for the number would wait."""
    return lr if isinstance(lr, Tensor) and lr.device.type != "cpu" else float(lr)


def check_range(*, below: float = float("inf"), **named: float) -> None:
    """Numbers must be 0 or more and less than `below`."""
    for name, value in named.items():
        if not 0 <= value < below:
            end = "" if below == float("inf") else f" and less than {below:g}"
            raise UserError(f"{name}={value} is not possible: use a finite number of 0 or more{end}.")


def check_positive(**named: float) -> None:
    for name, value in named.items():
        if not 0 < value < float("inf"):
            raise UserError(f"{name}={value} is not possible: use a finite number above 0.")
