"""Surfaces with known saddles and minima, as tasks: the weights of the model are the place on the surface.

The loss of an example is the surface tilted its own way, and the tilts cancel over all examples: full-batch descent
sees the surface alone, a small batch sees it tilted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from critbatch.records.core import Quantity, Target
from critbatch.tasks.data import Examples
from critbatch.tasks.task import Task

EXAMPLES = 64


class Place(nn.Module):
    """A place on a surface. The outputs are the weights, once for each example, (batch, weights).

    Args:
        draw: makes the weights where a run starts, shape (weights,).
    """

    def __init__(self, draw: Callable[[], Tensor]) -> None:
        super().__init__()
        self.weights = nn.Parameter(draw())

    def forward(self, tilts: Tensor) -> Tensor:
        return self.weights.expand(len(tilts), -1)


def _tilts(examples: int = EXAMPLES) -> Tensor:
    """Standard normal numbers in pairs of opposite sign, whose sum is exactly 0. Shape (examples, 2)."""
    half = torch.randn(examples // 2, 2, generator=torch.Generator().manual_seed(0))
    return torch.cat([half, -half])


def _height(surface: Callable[[Tensor], Tensor], outputs: Tensor, tilts: Tensor) -> Tensor:
    return surface(outputs) - (outputs * tilts).sum(1)


def _lowness(loss: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, tilts: Tensor) -> Tensor:
    return -loss(outputs, tilts)


def saddle(weights: Tensor) -> Tensor:
    """``x^2 / 2 + (y^2 - 1)^2 / 4``: a saddle at (0, 0), minima at (0, 1) and (0, -1). (..., 2) to (...)."""
    x, y = weights.unbind(-1)
    return x**2 / 2 + (y**2 - 1) ** 2 / 4


def double_well(weights: Tensor) -> Tensor:
    """``x^2 / 2 + (y^2 - 1)^2 / 4 + y / 5``: a shallow minimum near (0, 0.88), a deep one near (0, -1.09)."""
    return saddle(weights) + weights[..., 1] / 5


def _surface_task(name: str, surface: Callable[[Tensor], Tensor], draw: Callable[[], Tensor], *, target: float) -> Task:
    tilts = _tilts()
    loss = partial(_height, surface)
    return Task(
        name,
        model=partial(Place, draw),
        train=Examples(tilts, tilts),
        validation=Examples(tilts, tilts),
        loss=loss,
        metric=partial(_lowness, loss),
        metric_name="negative loss",
        target=Target(quantity=Quantity.VALIDATION_LOSS, value=target),
    )


def _on_the_ridge() -> Tensor:
    return torch.stack([torch.randn(()), torch.zeros(())])


def _in_the_shallow_well() -> Tensor:
    return torch.stack([torch.randn(()), 0.88 + 0.1 * torch.randn(())])


def surface_saddle() -> Task:
    return _surface_task("surface-saddle", saddle, _on_the_ridge, target=0.01)


def surface_double_well() -> Task:
    return _surface_task("surface-double-well", double_well, _in_the_shallow_well, target=-0.15)


class TwoWeights(nn.Module):
    """``y = w1 w2 x``. It starts at ``w1 = -w2``, from where full-batch descent runs into the saddle at (0, 0)."""

    def __init__(self) -> None:
        super().__init__()
        start = 0.5 + torch.rand(())
        self.weights = nn.Parameter(torch.stack([start, -start]))

    def forward(self, x: Tensor) -> Tensor:
        return self.weights.prod() * x


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Half the squared error of each example, shape (batch,)."""
    return (outputs - targets).square().flatten(1).sum(1) / 2


def _closeness(outputs: Tensor, targets: Tensor) -> Tensor:
    return -squared_error(outputs, targets)


def surface_two_weights() -> Task:
    x = torch.randn(EXAMPLES, 1, generator=torch.Generator().manual_seed(0))
    noise = 0.3 * torch.randn(EXAMPLES, 1, generator=torch.Generator().manual_seed(1))
    return Task(
        "surface-two-weights",
        model=TwoWeights,
        train=Examples(x, x + noise),
        validation=Examples(x, x + noise),
        loss=squared_error,
        metric=_closeness,
        metric_name="negative loss",
        target=Target(quantity=Quantity.VALIDATION_LOSS, value=0.05),
    )


# Twenty patients and a straight line: the smallest task on real data, with two weights that can be drawn.

PATIENTS = 20
# Far from the best line, so that there is a way to go.
START = (-1.0, 1.0)


class Line(nn.Module):
    """``y = slope x + intercept``, from `START`. Inputs and outputs have shape (batch, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(START))

    def forward(self, x: Tensor) -> Tensor:
        return self.weights[0] * x + self.weights[1]


def closeness(outputs: Tensor, targets: Tensor) -> Tensor:
    """The squared error turned round, so that larger is better. Shape (batch,)."""
    return -squared_error(outputs, targets)


def patients_line(draw: int = 0) -> Task:
    """Disease progression against body mass index, of the diabetes study inside scikit-learn, both standardized.

    Efron et al. 2004, Annals of Statistics 32, p. 407. The rest of the 442 patients are the validation set.

    Args:
        draw: which twenty.
    """
    from sklearn.datasets import load_diabetes

    diabetes = load_diabetes()
    # The stream of RandomState is frozen by NumPy's policy (NEP 19).
    order = np.random.RandomState(draw).permutation(len(diabetes.target))
    x, y = (_standardized(values[order]) for values in (diabetes.data[:, 2], diabetes.target))
    return Task(
        "patients-line",
        model=Line,
        train=Examples(x[:PATIENTS], y[:PATIENTS]),
        validation=Examples(x[PATIENTS:], y[PATIENTS:]),
        loss=squared_error,
        metric=closeness,
        metric_name="negative loss",
        target=Target(quantity=Quantity.VALIDATION_LOSS, value=0.4),
        unit="patient",
    )


def _standardized(values: np.ndarray) -> Tensor:
    return torch.from_numpy((values - values.mean()) / values.std()).float()[:, None]
