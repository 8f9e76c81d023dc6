"""Residual blocks that start as nothing: Goyal et al. 2017, arXiv:1706.02677, section 5.1."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def last_norms(model: nn.Module) -> list[nn.Module]:
    """The last batch norm of each residual block of the model.

    A block marks it by an attribute `last_norm`, on the class or the instance: the name of the submodule, such as
    "third_norm". A block whose last norm is followed by a ReLU before the sum must not be marked: at gamma = 0 no
    gradient would come through.
    """
    blocks: list[Any] = [block for block in model.modules() if isinstance(getattr(block, "last_norm", None), str)]
    return [block.get_submodule(block.last_norm) for block in blocks]


def zero_last_gamma(model: nn.Module) -> int:
    """Set gamma to 0 in the last batch norm of each residual block, so that every block starts as its shortcut.

    Call it before the first step. Everything else about the model stays.

    Returns:
        How many blocks there were; 0 for a model that marks none.
    """
    norms = last_norms(model)
    for norm in norms:
        assert isinstance(norm.weight, Tensor)
        with torch.no_grad():
            norm.weight.zero_()
    return len(norms)
