"""Tasks small enough for a test to train in milliseconds."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from critbatch.recipes import plan_of
from critbatch.recipes.plan import Plan
from critbatch.records.core import Quantity, Target
from critbatch.tasks.task import Task


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


# What each recipe needs to learn the tiny task at batches of 16.
RATES = {
    "lars2017": 0.3,
    "goyal2017": 0.1,
    "akiba2017": 0.1,
    "lamb2020": 0.02,
    "smith2017": 0.05,
    "swap2020": 0.1,
    "post-local-sgd": 0.1,
}
OPTIONS = {
    "swap2020": {"copies": 2, "small_batch_size": 8, "until_train_metric": None},
    "adaptive": {"largest_batch": 32},
    "post-local-sgd": {"copies": 2, "local_steps": 5},
    "smith2017": {"factor": 2, "largest_batch": 64},
    "lars2017": {"warm_up_epochs": 1.0, "trust_coefficient": 0.1},
}


def tiny_plan(recipe: str, *, batch_size: int = 16, epochs: float = 50.0, **options: object) -> Plan:
    """A plan by which the recipe learns the tiny task."""
    rate = RATES.get(recipe, 0.03)
    given = {"learning_rate": rate, **OPTIONS.get(recipe, {}), **options}
    return plan_of(recipe, batch_size=batch_size, epochs=epochs, **given)
