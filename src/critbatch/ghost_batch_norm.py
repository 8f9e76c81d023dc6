"""Batch norm over a part of the batch at a time, so that a large batch is normalized as a small one would be."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from critbatch.errors import UserError


class _Ghost(_BatchNorm):
    """Normalizes each `size` examples by their own mean and variance, in train mode. In eval mode nothing changes.

    What is left over at the end of a batch is shared out: all ghost batches then have `size` examples or a few more.
    Running statistics move once for each ghost batch, one after the other.
    """

    size: int

    def forward(self, inputs: Tensor) -> Tensor:
        ghosts = len(inputs) // self.size
        if not self.training or ghosts < 2:
            return super().forward(inputs)
        return torch.cat([super(_Ghost, self).forward(part) for part in torch.tensor_split(inputs, ghosts)])


class _Ghost1d(_Ghost, nn.BatchNorm1d): ...


class _Ghost2d(_Ghost, nn.BatchNorm2d): ...


class _Ghost3d(_Ghost, nn.BatchNorm3d): ...


_KINDS = {nn.BatchNorm1d: _Ghost1d, nn.BatchNorm2d: _Ghost2d, nn.BatchNorm3d: _Ghost3d}


def make_ghosts(model: nn.Module, size: int) -> int:
    """Let all batch norms of the model normalize over `size` examples at a time. Weights and their names stay.

    Hoffer et al. 2017, arXiv:1705.08741, algorithm 1; there `size` is 128. The authors' code cuts a batch into equal
    numbers of parts and weighs a short one like the others; here no part is short.

    Returns:
        How many batch norms there were.

    Raises:
        UserError: if there is a batch norm of a kind that is not known.
    """
    found = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    for module in found:
        if type(module) not in _KINDS:
            raise UserError(f"A {type(module).__name__} cannot normalize over {size} examples at a time.")
        module.__class__ = _KINDS[type(module)]
        setattr(module, "size", size)  # noqa: B010
    return len(found)
