from critbatch.law.prior import WIDE_PRIOR, WIDE_RATES, LawPrior
from critbatch.recipes.adam import adam
from critbatch.recipes.adaptive import adaptive
from critbatch.recipes.akiba2017 import akiba2017
from critbatch.recipes.base import RECIPES, RecipeInfo, recipe
from critbatch.recipes.goyal2017 import goyal2017
from critbatch.recipes.lamb2020 import lamb2020
from critbatch.recipes.lars2017 import lars2017
from critbatch.recipes.plan import Growth, NormStatistics, Phase, Plan
from critbatch.recipes.post_local_sgd import post_local_sgd
from critbatch.recipes.registry import find_recipe, options_of, plan_of, recipe_info, usual_rate
from critbatch.recipes.sgd import sgd
from critbatch.recipes.smith2017 import smith2017
from critbatch.recipes.swap2020 import swap2020

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
    "recipe",
    "recipe_info",
    "sgd",
    "smith2017",
    "swap2020",
    "usual_rate",
]
