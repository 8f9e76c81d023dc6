"""What a recipe file declares: its paper, what the advice knows of it beforehand, and the options of weight decay."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from torch import nn
from torch.optim import Optimizer

from critbatch.errors import UserError
from critbatch.law.prior import LawPrior
from critbatch.recipes.plan import Plan


@dataclass(frozen=True, kw_only=True)
class RecipeInfo:
    """All that is known of a recipe. `recipe` makes it and explains its fields."""

    name: str
    make_plan: Callable[..., Plan]
    paper: str
    changes: str
    needs: str
    usual_rate: Callable[[int], float]
    law_prior: LawPrior
    first_learning_rates: tuple[float, ...]
    optimizers: tuple[type[Optimizer], ...]
    later_batches: str


RECIPES: dict[str, RecipeInfo] = {}
"""All recipes by name: those of this package, and those that a user registered."""

F = TypeVar("F", bound=Callable[..., Plan])
REQUIRED_OPTIONS = ("batch_size", "learning_rate", "epochs")


def recipe(
    name: str,
    *,
    paper: str,
    usual_rate: Callable[[int], float],
    law_prior: LawPrior,
    first_learning_rates: Sequence[float],
    changes: str = "",
    needs: str = "",
    optimizers: Sequence[type[Optimizer]] = (),
    later_batches: str = "",
) -> Callable[[F], F]:
    """Register the function below as a recipe, for every command that takes the name of one.

    The function takes `batch_size`, `learning_rate`, `epochs` and its own options by keyword, and returns a `Plan`.

    Args:
        name: The name of the recipe. The names of this package's recipes are taken.
        paper: The paper that it comes from.
        usual_rate: A function of the batch size that returns a learning rate to start with; it is tuned to no task.
        law_prior: What `advise` expects before the first run; `WIDE_PRIOR` if nothing is known.
        first_learning_rates: The learning rates of the first race of `advise`, in ascending order, each about three
            times the one before; `WIDE_RATES` if nothing is known.
        changes: What differs from plain SGD.
        needs: What it needs: memory, time, processes.
        optimizers: Optimizer classes whose best learning rate changes with the batch size as the prior says.
            `Monitor.advice` looks up the class of its optimizer here.
        later_batches: The option that sets or limits the batch sizes of later phases; "" if there is none.

    Raises:
        UserError: If the name is taken, the rates are not possible, or the function lacks one of the three options.
    """

    def register(make_plan: F) -> F:
        rates = tuple(float(rate) for rate in first_learning_rates)
        if not rates or not all(0 < rate < math.inf for rate in rates) or list(rates) != sorted(set(rates)):
            raise UserError(
                f"first_learning_rates={rates} of recipe {name} are not possible: use rising numbers above 0, such as "
                "(0.01, 0.03, 0.1)."
            )
        options = inspect.signature(make_plan).parameters
        if missing := [option for option in REQUIRED_OPTIONS if option not in options]:
            raise UserError(f"Recipe {name} does not take {missing[0]}: it needs {', '.join(REQUIRED_OPTIONS)}.")
        before = RECIPES.get(name)
        if before is not None and _is_built_in(before.make_plan) and not _is_built_in(make_plan):
            raise UserError(f"Recipe {name} is one of critbatch: give yours another name.")
        RECIPES[name] = RecipeInfo(
            name=name,
            make_plan=make_plan,
            paper=paper,
            changes=changes,
            needs=needs,
            usual_rate=usual_rate,
            law_prior=law_prior,
            first_learning_rates=rates,
            optimizers=tuple(optimizers),
            later_batches=later_batches,
        )
        return make_plan

    return register


def _is_built_in(make_plan: Callable[..., Plan]) -> bool:
    return make_plan.__module__.startswith("critbatch.recipes.")


OptimizerFactory = Callable[..., Optimizer]


class DecayWithoutVectors:
    """Makes an optimizer with weight decay for all weights but the one-dimensional ones: biases and batch norm's gains.

    Goyal et al. 2017, arXiv:1706.02677, section 5.1, leaves out batch norm; later practice leaves out biases too (Jia
    et al. 2018, arXiv:1807.11205, section 4.1).

    Args:
        make: takes parameter groups and keyword arguments.
        weight_decay: of all other weights.
        settings: more keyword arguments.
    """

    def __init__(self, make: OptimizerFactory, *, weight_decay: float, **settings: Any) -> None:
        self.make, self.weight_decay, self.settings = make, weight_decay, settings

    def __call__(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        weights = list(parameters)
        groups = [
            {"params": [weight for weight in weights if weight.ndim > 1], "weight_decay": self.weight_decay},
            {"params": [weight for weight in weights if weight.ndim <= 1], "weight_decay": 0.0},
        ]
        return self.make([group for group in groups if group["params"]], **self.settings)


def with_decay(make: OptimizerFactory, *, weight_decay: float, vectors: bool, **settings: Any) -> OptimizerFactory:
    """Makes an optimizer with weight decay, of all weights or of all but one-dimensional ones."""
    if vectors or weight_decay == 0:
        return partial(make, **settings, weight_decay=weight_decay)
    return DecayWithoutVectors(make, weight_decay=weight_decay, **settings)
