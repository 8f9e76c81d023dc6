"""Recipes by name: those of this package, those of a user's file, and the plans that they make."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, get_type_hints

from torch.optim import Optimizer

from critbatch.arguments import check_counts, current_options
from critbatch.errors import UserError
from critbatch.recipes.base import RECIPES, RecipeInfo
from critbatch.recipes.plan import Plan
from critbatch.tasks.registry import load_user_module

NOT_RECIPES = ("base", "plan", "registry")
_from_files: dict[str, RecipeInfo] = {}


def import_recipes(path: Sequence[str]) -> None:
    """Import each recipe file of this package, which registers its recipe."""
    for module in iter_modules(path):
        if module.name not in NOT_RECIPES:
            import_module(f"critbatch.recipes.{module.name}")


def recipe_info(name: str) -> RecipeInfo:
    """The recipe called `name`: its function, paper, prior and first learning rates.

    Args:
        name: of a recipe of this package, or of one that was registered; or `path/to/file.py:recipe` or
            `package.module:recipe`, which is loaded first.

    Raises:
        UserError: if there is none, or its file cannot be loaded.
    """
    if name in RECIPES:
        return RECIPES[name]
    if ":" not in name:
        raise UserError(
            f"Recipe {name!r} is not known: use {', '.join(RECIPES)}, or your own as path/to/file.py:recipe."
        )
    if name not in _from_files:
        _from_files[name] = _load(name)
    return _from_files[name]


def _load(name: str) -> RecipeInfo:
    place, _, attribute = name.rpartition(":")
    with load_user_module(name, what="Recipe") as module:
        function = getattr(module, attribute, None)
        by_function = [info for info in RECIPES.values() if info.make_plan is function]
        if not by_function:
            names = [key for key, value in vars(module).items() if any(i.make_plan is value for i in RECIPES.values())]
            hint = f"use {' or '.join(names)}" if names else "put @critbatch.recipes.recipe(...) above a function"
            raise UserError(f"{place} has no recipe {attribute!r}: {hint}.")
        return by_function[0]


def find_recipe(name: str) -> Callable[..., Plan]:
    """The function of the recipe called `name`. Raises UserError if there is none."""
    return recipe_info(name).make_plan


def recipe_of_optimizer(optimizer: Optimizer | None) -> RecipeInfo | None:
    """The recipe that declares the class of this optimizer, or a base class of it; None where none does."""
    infos = (info for info in RECIPES.values() if isinstance(optimizer, info.optimizers))
    return next(infos, None)


def usual_rate(recipe: str, batch_size: int) -> float:
    """A learning rate to begin with where none is given: that of the paper, not tuned to any task."""
    return recipe_info(recipe).usual_rate(batch_size)


def plan_of(name: str, *, batch_size: int, learning_rate: float | None = None, **options: Any) -> Plan:
    """The plan of a recipe with these options; without a learning rate that of its paper.

    Raises:
        UserError: if there is no such recipe, or it has no such option.
    """
    make_plan = find_recipe(name)
    options = current_options(options, notice=True)
    known = list(inspect.signature(make_plan).parameters)
    if unknown := [option for option in options if option not in known]:
        raise UserError(
            f"Recipe {name} has no option {', '.join(unknown)}: it has {', '.join(known)}; or use another recipe."
        )
    rate = usual_rate(name, batch_size) if learning_rate is None else learning_rate
    typed = {option: _converted(make_plan, option, value) for option, value in options.items()}
    check_counts({"batch_size": batch_size, **typed}, lambda option, value: f"{option}={value}")
    plan = make_plan(batch_size=batch_size, learning_rate=rate, **typed)
    if not isinstance(plan, Plan):
        raise UserError(f"Recipe {name} returned a {type(plan).__name__}: it must return a critbatch.recipes.Plan.")
    return plan if plan.recipe == name else replace(plan, recipe=name)


def _converted(make_plan: Callable[..., Plan], option: str, value: Any) -> Any:
    """The value as the type that the recipe's signature gives."""
    from pydantic import TypeAdapter, ValidationError

    hint = get_type_hints(make_plan).get(option, Any)
    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        what = error.errors()[0]["msg"].removeprefix("Input ")
        raise UserError(f"{option}={value!r} is not possible: it {what[:1].lower()}{what[1:]}.") from None


def options_of(name: str) -> dict[str, str]:
    """The options of a recipe and their defaults, as text; "needed" for those without one."""
    parameters = inspect.signature(find_recipe(name)).parameters
    empty = inspect.Parameter.empty
    return {key: "needed" if one.default is empty else repr(one.default) for key, one in parameters.items()}
