"""Recipes: what a paper says, as data. One paper a file."""

from __future__ import annotations

from collections.abc import Callable

from critbatch.errors import UserError
from critbatch.plan import Plan
from critbatch.recipes.adam import adam
from critbatch.recipes.sgd import sgd

RECIPES: dict[str, Callable[..., Plan]] = {"sgd": sgd, "adam": adam}


def find_recipe(name: str) -> Callable[..., Plan]:
    """The recipe called `name`. Raises UserError if there is none."""
    if name not in RECIPES:
        raise UserError(f"Recipe {name!r} is not known: use {', '.join(RECIPES)}.")
    return RECIPES[name]


def usual_rate(recipe: str, batch_size: int) -> float:
    """A learning rate to begin with where none was given: not tuned to any task.

    Adam's 0.001 is Kingma and Ba's (2015, arXiv:1412.6980, algorithm 1). SGD's is 0.1 at a batch of 256, scaled
    linearly below it: Goyal et al. 2017, arXiv:1706.02677, section 5.1.
    """
    return 0.001 if recipe == "adam" else 0.1 * min(1.0, batch_size / 256)
