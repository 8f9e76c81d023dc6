"""Hyper-parameters of a run beside batch size and learning rate: options of its recipe, and of any plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from critbatch.errors import UserError
from critbatch.recipes import options_of, plan_of
from critbatch.recipes.plan import Plan
from critbatch.records.core import Setting
from critbatch.tasks.sampler import Order

# Of any plan, whatever its recipe.
OF_PLANS = ("micro_batch_size", "order", "drop_last", "zero_gamma", "ghost_batch", "sam_rho", "norm_statistics")
OF_THE_STUDY = {"batch_size": "batch sizes", "learning_rate": "learning rates", "epochs": "epochs"}


def planned(
    recipe: str, *, batch_size: int, learning_rate: float, epochs: float, options: Mapping[str, Setting]
) -> Plan:
    """The plan of a run with options of its recipe and of plans.

    Raises:
        UserError: if there is no such option, or its value is not possible.
    """
    of_plans = {name: value for name, value in options.items() if name in OF_PLANS}
    own = {name: value for name, value in options.items() if name not in OF_PLANS}
    plan = plan_of(recipe, batch_size=batch_size, learning_rate=learning_rate, epochs=epochs, **own)
    return replace(plan, **_of_their_types(of_plans))


def _of_their_types(options: Mapping[str, Setting]) -> dict[str, Any]:
    if (order := options.get("order")) is None:
        return dict(options)
    if order not in list(Order):
        raise UserError(f"order={order!r} is not known: use {', '.join(Order)}.")
    return {**options, "order": Order(str(order))}


def check_options(
    recipe: str, examples: int, *, fixed: Mapping[str, Setting], varied: Mapping[str, Sequence[Setting]]
) -> None:
    """Refuse options that a recipe does not have, or values that are not possible, before any run is made."""
    known = [name for name in options_of(recipe) if name not in OF_THE_STUDY]
    for name in (*fixed, *varied):
        if name in OF_THE_STUDY:
            raise UserError(f"{name} is not an option here: give it as the study's {OF_THE_STUDY[name]}.")
        if name not in (*known, *OF_PLANS):
            raise UserError(f"Recipe {recipe} has no option {name}: it has {', '.join((*known, *OF_PLANS))}.")
    size = min(examples, 64)
    for name, values in varied.items():
        for value in values:
            planned(recipe, batch_size=size, learning_rate=0.01, epochs=1.0, options={**fixed, name: value})
    planned(recipe, batch_size=size, learning_rate=0.01, epochs=1.0, options=fixed)
