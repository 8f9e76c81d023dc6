"""Recipes: what a paper says, as data. One file is one recipe, and is found because it lies here.

Each file registers its function with `@recipe(...)`, together with what `advise` and the reports have to know of it. A
recipe in a file of your own is registered in the same way. The stub beside this file has the types for editors.
"""

from critbatch.law.prior import WIDE_PRIOR, WIDE_RATES, LawPrior
from critbatch.recipes.base import RECIPES, RecipeInfo, recipe
from critbatch.recipes.plan import Growth, NormStatistics, Phase, Plan
from critbatch.recipes.registry import (
    find_recipe,
    import_recipes,
    options_of,
    plan_of,
    recipe_info,
    usual_rate,
)

import_recipes(__path__)
# The functions by their names, such as `critbatch.recipes.sgd`: here they take the place of their modules.
_functions = {info.make_plan.__name__: info.make_plan for info in RECIPES.values()}
globals().update(_functions)

__all__ = [
    "RECIPES",
    "WIDE_PRIOR",
    "WIDE_RATES",
    "Growth",
    "LawPrior",
    "NormStatistics",
    "Phase",
    "Plan",
    "RecipeInfo",
    "find_recipe",
    "options_of",
    "plan_of",
    "recipe",
    "recipe_info",
    "usual_rate",
    *_functions,
]
