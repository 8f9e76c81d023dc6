"""What is said of a recipe where recipes are listed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


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
