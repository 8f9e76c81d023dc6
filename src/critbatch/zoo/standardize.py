"""From the small numbers that data sets are stored in to what a model takes: one batch at a time, on its device."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Standardize:
    """Bytes to floats, (x - mean) / std, in the units of the bytes. The shape stays.

    Args:
        mean: of the training set; one for all, or one for each channel, which is then the dimension after the batch.
        std: likewise.

    >>> Standardize(mean=100.0, std=50.0)(torch.tensor([[0, 100, 200]], dtype=torch.uint8))
    tensor([[-2.,  0.,  2.]])
    """

    mean: float | tuple[float, ...]
    std: float | tuple[float, ...]
    # A copy from the host at every batch would wait for the device.
    _constants: dict[tuple[torch.device, int], tuple[Tensor, Tensor]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __call__(self, batch: Tensor) -> Tensor:
        # Making floats first, and the rest in place, is faster on a CPU than one operation on mixed types.
        floats = batch.clone() if batch.is_floating_point() else batch.float()
        if isinstance(self.mean, float) and isinstance(self.std, float):
            return floats.mul_(1 / self.std).sub_(self.mean / self.std)
        scale, shift = self._on(batch.device, batch.ndim)
        return floats.mul_(scale).sub_(shift)

    def __reduce__(self) -> tuple[type[Standardize], tuple[float | tuple[float, ...], float | tuple[float, ...]]]:
        return Standardize, (self.mean, self.std)

    def _on(self, device: torch.device, dimensions: int) -> tuple[Tensor, Tensor]:
        key = (device, dimensions)
        if key not in self._constants:
            shape = (-1, *[1] * (dimensions - 2))
            mean, std = (torch.tensor(values, device=device).view(shape) for values in (self.mean, self.std))
            self._constants[key] = (1 / std, mean / std)
        return self._constants[key]


def to_indices(batch: Tensor) -> Tensor:
    """Bytes to int64, which an embedding takes."""
    return batch.long()
