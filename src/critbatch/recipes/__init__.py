"""Recipes: what a paper says, as data. One paper a file."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Sequence
from typing import Any, get_type_hints

from critbatch.arguments import check_counts, current_options
from critbatch.errors import UserError
from critbatch.recipes.adam import ABOUT as _ADAM
from critbatch.recipes.adam import adam
from critbatch.recipes.adaptive import ABOUT as _ADAPTIVE
from critbatch.recipes.adaptive import adaptive
from critbatch.recipes.akiba2017 import ABOUT as _AKIBA2017
from critbatch.recipes.akiba2017 import akiba2017
from critbatch.recipes.base import About
from critbatch.recipes.goyal2017 import ABOUT as _GOYAL2017
from critbatch.recipes.goyal2017 import goyal2017
from critbatch.recipes.lamb2020 import ABOUT as _LAMB2020
from critbatch.recipes.lamb2020 import lamb2020
from critbatch.recipes.lars2017 import ABOUT as _LARS2017
from critbatch.recipes.lars2017 import lars2017
from critbatch.recipes.plan import Plan
from critbatch.recipes.post_local_sgd import ABOUT as _POST_LOCAL_SGD
from critbatch.recipes.post_local_sgd import post_local_sgd
from critbatch.recipes.sgd import ABOUT as _SGD
from critbatch.recipes.sgd import sgd
from critbatch.recipes.smith2017 import ABOUT as _SMITH2017
from critbatch.recipes.smith2017 import smith2017
from critbatch.recipes.swap2020 import ABOUT as _SWAP2020
from critbatch.recipes.swap2020 import swap2020

__all__ = [
    "ABOUT",
    "RECIPES",
    "About",
    "Plan",
    "adam",
    "adaptive",
    "akiba2017",
    "find_recipe",
    "goyal2017",
    "lamb2020",
    "lars2017",
    "options_of",
    "plan_of",
    "post_local_sgd",
    "settings_from",
    "sgd",
    "smith2017",
    "swap2020",
    "told_of",
    "usual_rate",
]

RECIPES: dict[str, Callable[..., Plan]] = {
    "sgd": sgd,
    "adam": adam,
    "goyal2017": goyal2017,
    "lars2017": lars2017,
    "akiba2017": akiba2017,
    "lamb2020": lamb2020,
    "swap2020": swap2020,
    "adaptive": adaptive,
    "smith2017": smith2017,
    "post-local-sgd": post_local_sgd,
}
ABOUT: dict[str, About] = {
    "sgd": _SGD,
    "adam": _ADAM,
    "goyal2017": _GOYAL2017,
    "lars2017": _LARS2017,
    "akiba2017": _AKIBA2017,
    "lamb2020": _LAMB2020,
    "swap2020": _SWAP2020,
    "adaptive": _ADAPTIVE,
    "smith2017": _SMITH2017,
    "post-local-sgd": _POST_LOCAL_SGD,
}


def find_recipe(name: str) -> Callable[..., Plan]:
    """The recipe called `name`. Raises UserError if there is none."""
    if name not in RECIPES:
        raise UserError(f"Recipe {name!r} is not known: use {', '.join(RECIPES)}.")
    return RECIPES[name]


def usual_rate(recipe: str, batch_size: int) -> float:
    """A learning rate to begin with where none was given: that of the paper, not tuned to any task."""
    find_recipe(recipe)
    return ABOUT[recipe].usual_rate(batch_size)


def plan_of(name: str, *, batch_size: int, learning_rate: float | None = None, **options: Any) -> Plan:
    """The plan of a recipe with these options; without a learning rate that of its paper.

    Raises:
        UserError: if there is no such recipe, or it has no such option.
    """
    make = find_recipe(name)
    options = current_options(options, notice=True)
    known = list(inspect.signature(make).parameters)
    if strange := [option for option in options if option not in known]:
        raise UserError(
            f"Recipe {name} has no option {', '.join(strange)}: it has {', '.join(known)}; or use another recipe."
        )
    rate = usual_rate(name, batch_size) if learning_rate is None else learning_rate
    fitting = {option: _of_its_type(make, option, value) for option, value in options.items()}
    check_counts({"batch_size": batch_size, **fitting}, lambda option, value: f"{option}={value}")
    return make(batch_size=batch_size, learning_rate=rate, **fitting)


def _of_its_type(make: Callable[..., Plan], option: str, value: Any) -> Any:
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(get_type_hints(make)[option]).validate_python(value)
    except ValidationError as error:
        what = error.errors()[0]["msg"].removeprefix("Input ")
        raise UserError(f"{option}={value!r} is not possible: it {what[:1].lower()}{what[1:]}.") from None


def options_of(name: str) -> dict[str, str]:
    """The options of a recipe and what they are unless given, as text; "needed" for those that must be."""
    parameters = inspect.signature(find_recipe(name)).parameters
    empty = inspect.Parameter.empty
    return {key: "needed" if one.default is empty else repr(one.default) for key, one in parameters.items()}


def told_of(name: str) -> dict[str, str]:
    """The paper of a recipe, what it changes, and what it needs."""
    find_recipe(name)
    about = ABOUT[name]
    return {"paper": about.paper, "changes": about.changes, "needs": about.needs}


def settings_from(words: Sequence[str]) -> dict[str, Any]:
    """Options given as NAME=VALUE: numbers, True, False, None and tuples as Python writes them, all else as text.

    >>> settings_from(["factor=2", "at=(0.5, 0.8)", "variant=mlperf"])
    {'factor': 2, 'at': (0.5, 0.8), 'variant': 'mlperf'}

    Raises:
        UserError: if a word has no equals sign.
    """
    found = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign or not name:
            raise UserError(f"--set {word!r} is not understood: use NAME=VALUE, such as momentum=0.95.")
        try:
            found[name.strip()] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[name.strip()] = value
    return found
