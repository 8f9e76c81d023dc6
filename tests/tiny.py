"""Tasks small enough for a test to train in milliseconds."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from critbatch.records import Quantity, Target
from critbatch.task import Task


def blobs(
    examples: int, *, classes: int = 3, seed: int = 0, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    """Points around one centre per class, in four dimensions."""
    generator = torch.Generator().manual_seed(seed)
    centres = 2 * torch.randn(classes, 4, generator=torch.Generator().manual_seed(99), dtype=dtype)
    labels = torch.randint(classes, (examples,), generator=generator)
    return centres[labels] + torch.randn(examples, 4, generator=generator, dtype=dtype), labels


def tiny_task(
    *,
    examples: int = 96,
    target: float = 0.7,
    dropout: float = 0.0,
    dtype: torch.dtype = torch.float32,
    name: str = "tiny",
) -> Task:
    def model() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 3)).to(dtype)

    return Task(
        name,
        model=model,
        train=blobs(examples, dtype=dtype),
        validation=blobs(60, seed=1, dtype=dtype),
        target=Target(quantity=Quantity.VALIDATION_METRIC, value=target),
        unit="point",
    )
