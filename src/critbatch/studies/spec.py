"""Builds and checks the specification of a study, with defaults for what is not given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from critbatch.errors import UserError
from critbatch.law.step_time import step_seconds_at
from critbatch.recipes import find_recipe, options_of, plan_of
from critbatch.recipes.plan import Plan
from critbatch.records.core import OptionValue, Speed, Target
from critbatch.records.study import SearchMethod, StudySpec
from critbatch.tasks.sampler import Order
from critbatch.tasks.task import MODEL, Task
from critbatch.training.plan_checks import refuse_misfits


def lengths_of(question: StudySpec, examples: int, speed: Speed | None) -> dict[int, float]:
    """Epochs of a run at each batch size: the longest of the given epochs, steps and seconds.

    Seconds are converted to steps with step times measured once on an idle machine, so that the length of a run does
    not depend on the worker or on interruptions.

    Args:
        examples: Number of training examples.
        speed: Step times; needed if the study has seconds.
    """
    lengths = {}
    for size in question.batch_sizes:
        epochs = [question.epochs] if question.epochs is not None else []
        if question.steps is not None:
            epochs.append(epochs_of_steps(question.steps, size, examples))
        if question.seconds is not None:
            assert speed is not None
            steps = max(1, round(question.seconds / step_seconds_at(speed, size).value))
            epochs.append(epochs_of_steps(steps, size, examples))
        lengths[size] = max(epochs)
    return lengths


def epochs_of_steps(steps: int, batch_size: int, examples: int) -> float:
    """Epochs that end within the last of `steps` steps; the last batch of an epoch may be short.

    >>> epochs_of_steps(4, 40, 100), epochs_of_steps(3, 100, 100)
    (1.2, 2.5)
    """
    per_epoch = math.ceil(examples / batch_size)
    whole, rest = divmod(steps - 1, per_epoch)
    last = min(batch_size, examples - rest * batch_size)
    return whole + (rest * batch_size + last / 2) / examples


# Options of any plan, whatever its recipe.
OF_PLANS = ("micro_batch_size", "order", "drop_last", "zero_gamma", "ghost_batch", "sam_rho", "norm_statistics")
OF_THE_STUDY = {"batch_size": "batch sizes", "learning_rate": "learning rates", "epochs": "epochs"}


def make_plan(
    recipe: str, *, batch_size: int, learning_rate: float, epochs: float, options: Mapping[str, OptionValue]
) -> Plan:
    """The plan of a run, with options of its recipe and of plans. Options of the model are ignored.

    Raises:
        UserError: if there is no such option, or its value is not possible.
    """
    of_plans = {name: value for name, value in options.items() if name in OF_PLANS}
    recipe_options = {
        name: value for name, value in options.items() if name not in OF_PLANS and not name.startswith(MODEL)
    }
    plan = plan_of(recipe, batch_size=batch_size, learning_rate=learning_rate, epochs=epochs, **recipe_options)
    return replace(plan, **_of_their_types(of_plans))


def _of_their_types(options: Mapping[str, OptionValue]) -> dict[str, Any]:
    if (order := options.get("order")) is None:
        return dict(options)
    if order not in list(Order):
        raise UserError(f"order={order!r} is not known: use {', '.join(Order)}.")
    return {**options, "order": Order(str(order))}


def check_options(
    task: Task, recipe: str, *, fixed: Mapping[str, OptionValue], varied: Mapping[str, Sequence[OptionValue]]
) -> None:
    """Raise a UserError for options or values that recipe and model do not accept, before any run is made."""
    known = [name for name in options_of(recipe) if name not in OF_THE_STUDY]
    for name in (*fixed, *varied):
        if name in OF_THE_STUDY:
            raise UserError(f"{name} is not an option here: give it as the study's {OF_THE_STUDY[name]}.")
        if name not in (*known, *OF_PLANS) and not name.startswith(MODEL):
            raise UserError(f"Recipe {recipe} has no option {name}: it has {', '.join((*known, *OF_PLANS))}.")
    size = min(task.examples, 64)
    for name, values in varied.items():
        for value in values:
            task.with_options({**fixed, name: value})
            make_plan(recipe, batch_size=size, learning_rate=0.01, epochs=1.0, options={**fixed, name: value})
    task.with_options(fixed)
    make_plan(recipe, batch_size=size, learning_rate=0.01, epochs=1.0, options=fixed)


EPOCHS = 20.0
TRIALS = 10
# With more examples, a run at the smallest batch sizes takes hours.
LARGE_SET = 10_000
SEEDS = 2**32  # as many as torch and Optuna both take


def build_spec(
    task: Task,
    *,
    batch_sizes: Sequence[int] | None = None,
    learning_rates: Sequence[float] | None = None,
    search: str | None = None,
    trials: int | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    recipe: str,
    epochs: float | None = None,
    steps: int | None = None,
    seconds: float | None = None,
    target: Target | None,
    stops_at_target: bool = True,
    prune: bool = False,
    fixed: Mapping[str, OptionValue] | None = None,
    varied: Mapping[str, Sequence[OptionValue]] | None = None,
) -> StudySpec:
    """Build the specification of a study and check it. None stands for the default.

    Raises:
        UserError: for a recipe or option that is not known, an empty list, a value twice, a batch size that the task
            cannot fill, a rate, length or seed that is not possible, or settings that contradict each other.
    """
    find_recipe(recipe)
    if epochs is steps is seconds is None:
        epochs = EPOCHS
    for name, length in (("epochs", epochs), ("steps", steps), ("seconds", seconds)):
        if length is not None and not (length > 0 and math.isfinite(length)):
            raise UserError(f"{name}={length} is not possible: use a number above 0.")
    method = _search(search, learning_rates, trials)
    sizes = usual_batch_sizes(task.examples) if batch_sizes is None else tuple(batch_sizes)
    rates = tuple(learning_rates or ())
    lists: dict[str, tuple[OptionValue, ...]] = {"batch_sizes": sizes, "seeds": tuple(seeds)}
    if learning_rates is not None:
        lists["learning_rates"] = rates
    grid = {name: tuple(values) for name, values in (varied or {}).items()}
    _refuse_empty_and_duplicates({**lists, **grid})
    for size in sizes:
        if not 1 <= size <= task.examples:
            raise UserError(
                f"batch_size={size} is not possible: {task.name!r} has {task.examples} training examples, so use 1 to "
                f"{task.examples}."
            )
    for rate in rates:
        if not 1e-12 <= rate <= 1e6:
            raise UserError(f"learning_rate={rate} is not possible: use a number above 0, from 1e-12 to 1e6.")
    for seed in seeds:
        if not 0 <= seed < SEEDS:
            raise UserError(f"seed={seed} is not possible: use 0 to {SEEDS - 1}.")
    if duplicates := sorted(set(fixed or {}) & set(grid)):
        raise UserError(f"{duplicates[0]} is both fixed and varied: give it once.")
    check_options(task, recipe, fixed=fixed or {}, varied=grid)
    fitting = tuple(size for size in sizes if not _misfit(task, recipe, size, fixed=fixed or {}, varied=grid))
    if batch_sizes is not None or not fitting:
        for size in sizes:
            if misfit := _misfit(task, recipe, size, fixed=fixed or {}, varied=grid):
                raise misfit
    sizes = fitting
    return StudySpec(
        task=task.name,
        fingerprint=task.fingerprint(),
        recipe=recipe,
        batch_sizes=tuple(sorted(sizes)),
        search=method,
        learning_rates=tuple(sorted(rates)),
        trials=(trials or TRIALS) if method not in (SearchMethod.GIVEN, SearchMethod.WIDENING) else None,
        seeds=tuple(seeds),
        epochs=epochs,
        steps=steps,
        seconds=seconds,
        target=target,
        stops_at_target=stops_at_target and target is not None,
        prune=prune,
        fixed_options=dict(sorted((fixed or {}).items())),
        option_grid=dict(sorted(grid.items())),
    )


def _misfit(
    task: Task,
    recipe: str,
    size: int,
    *,
    fixed: Mapping[str, OptionValue],
    varied: Mapping[str, tuple[OptionValue, ...]],
) -> UserError | None:
    """Why a plan at this batch size cannot be carried out, for any of the varied options; None where all can."""
    for values in product(*varied.values()):
        options = {**fixed, **dict(zip(varied, values, strict=True))}
        try:
            refuse_misfits(
                task,
                make_plan(recipe, batch_size=size, learning_rate=0.01, epochs=1.0, options=options),
                seed=0,
                processes=1,
            )
        except UserError as error:
            return error
    return None


def _search(search: str | None, learning_rates: Sequence[float] | None, trials: int | None) -> SearchMethod:
    if search is not None and search not in list(SearchMethod):
        raise UserError(f"The search {search!r} is not known: use {', '.join(SearchMethod)}.")
    if learning_rates is not None and search not in (None, SearchMethod.GIVEN, SearchMethod.WIDENING):
        raise UserError(f"Learning rates are given, and searched for by {search}: give one of the two, or `widening`.")
    if learning_rates is None and search == SearchMethod.GIVEN:
        raise UserError("The search is `given`, but no learning rates are: give them, such as 0.03,0.1,0.3.")
    method = (
        SearchMethod(search)
        if search is not None
        else SearchMethod.WIDENING
        if learning_rates is None
        else SearchMethod.GIVEN
    )
    if trials is not None and (trials < 1 or method in (SearchMethod.GIVEN, SearchMethod.WIDENING)):
        raise UserError(f"trials={trials} is not possible: use 1 or more, and a search by tpe, gp, cmaes, qmc, random.")
    return method


def _refuse_empty_and_duplicates(lists: Mapping[str, tuple[OptionValue, ...]]) -> None:
    for name, values in lists.items():
        if not values:
            raise UserError(f"`{name}` is empty: give one value at least.")
        if (duplicate := next((value for value in values if values.count(value) > 1), None)) is not None:
            raise UserError(f"`{name}` holds {duplicate} more than once: give each value once.")


def usual_batch_sizes(examples: int) -> tuple[int, ...]:
    """Steps of a factor 4, and the whole set.

    From 4 on; from 16 where the set is large, since an epoch at batch size 4 takes a quarter of its examples in steps.

    >>> usual_batch_sizes(1_437)
    (4, 16, 64, 256, 1437)
    >>> usual_batch_sizes(60_000)
    (16, 64, 256, 1024, 4096, 16384, 60000)
    """
    sizes = []
    size = 4 if examples <= LARGE_SET else 16
    while size * 2 <= examples:  # the last step, to the whole set, is to be a factor 2 at least
        sizes.append(size)
        size *= 4
    return (*sizes, examples)
