"""Weight decay for matrices and kernels alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn
from torch.optim import Optimizer

# What is said of a recipe where recipes are listed.


@dataclass(frozen=True, kw_only=True)
class About:
    """A recipe in a few words.

    Args:
        paper: where it is from.
        changes: what it does otherwise than plain SGD.
        needs: what it asks for: memory, time, processes.
        later_batches: the option that sets or bounds the batches of later phases; "" where there is none.
        usual_rate: a learning rate to begin with, of a batch size; tuned to no task.
    """

    paper: str
    changes: str
    needs: str
    usual_rate: Callable[[int], float]
    later_batches: str = ""


Maker = Callable[..., Optimizer]


class SparingVectors:
    """Makes an optimizer with weight decay, but none on one-dimensional weights: biases, and the gains of batch norm.

    Goyal et al. 2017, arXiv:1706.02677, section 5.1, spares batch norm; later practice spares biases too (Jia et al.
    2018, arXiv:1807.11205, section 4.1).

    Args:
        make: takes parameter groups and keyword arguments.
        weight_decay: of all other weights.
        settings: more keyword arguments.
    """

    def __init__(self, make: Maker, *, weight_decay: float, **settings: Any) -> None:
        self.make, self.weight_decay, self.settings = make, weight_decay, settings

    def __call__(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        weights = list(parameters)
        groups = [
            {"params": [weight for weight in weights if weight.ndim > 1], "weight_decay": self.weight_decay},
            {"params": [weight for weight in weights if weight.ndim <= 1], "weight_decay": 0.0},
        ]
        return self.make([group for group in groups if group["params"]], **self.settings)


def with_decay(make: Maker, *, weight_decay: float, vectors: bool, **settings: Any) -> Maker:
    """Makes an optimizer with weight decay, of all weights or of all but one-dimensional ones."""
    if vectors or weight_decay == 0:
        return partial(make, weight_decay=weight_decay, **settings)
    return SparingVectors(make, weight_decay=weight_decay, **settings)
