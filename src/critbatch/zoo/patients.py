"""Twenty patients and a straight line: the smallest task on real data, with two weights that can be drawn."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from critbatch.examples import Examples
from critbatch.records.core import Quantity, Target
from critbatch.task import Task
from critbatch.zoo.surfaces import squared_error

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

    found = load_diabetes()
    # The stream of RandomState is frozen by NumPy's policy (NEP 19).
    order = np.random.RandomState(draw).permutation(len(found.target))
    x, y = (_standardized(values[order]) for values in (found.data[:, 2], found.target))
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
