"""Build the `Advice` record from the result of a search."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from critbatch.advisor.config import AdviseConfig, RunContext
from critbatch.advisor.rate_search import SearchResult
from critbatch.law.acquisition import advise_record
from critbatch.law.clock_check import is_usable, leeway
from critbatch.law.objective import (
    SURE,
    allowed,
    best_size,
    chance_within_examples,
    chance_within_seconds,
    cheapest,
    within,
)
from critbatch.law.step_time import step_seconds_at
from critbatch.law.target_progress import estimated_steps_left, fits_training_set, learns_nothing, progress_to_target
from critbatch.measure.device_scaling import scale
from critbatch.recipes import options_of, plan_of
from critbatch.recipes.plan import plain_torch_optimizer
from critbatch.records.core import (
    AccuracyCheck,
    Advice,
    AdviceCost,
    Estimate,
    Goal,
    Objective,
    OptionValue,
    RecipeCode,
    Run,
    Target,
)
from critbatch.tasks.data import count
from critbatch.tasks.task import Task

# The first race's share of the cost of an advice, as measured.
FIRST_RACE_SHARE = 0.75


def build_advice(
    result: SearchResult,
    config: AdviseConfig,
    context: RunContext,
    *,
    accuracy: tuple[AccuracyCheck, ...],
    planned_epochs: float | None,
    cost: AdviceCost,
    targets: tuple[Target, ...],
) -> Advice:
    """Build the advice, or the record that says why there is none.

    Args:
        result: Result of the search.
        config: The question.
        context: For the provenance.
        accuracy: Checks of the validation metric. The last one is that of the answer.
        planned_epochs: Length of a run at the recommended batch size, if it is planned.
        cost: Cost of all runs.
        targets: Targets of all runs in the folder.
    """
    posterior = result.posterior
    clock = allowed(result.speed, config.objective, posterior, accuracy)
    chosen = best_size(posterior, clock) if posterior.reached and is_usable(result.speed) else None
    micro = config.options.get("micro_batch_size")
    micro = micro if isinstance(micro, int) and chosen is not None and micro < chosen else chosen
    advice = advise_record(
        posterior,
        result.speed,
        result.runs,
        target=config.target,
        recipe=config.recipe,
        current=config.current_batch_size,
        chosen=chosen,
        micro_batch_size=micro,
        cautions=_cautions(result, config, accuracy),
        provenance=context.timer.provenance(command=context.command, seed=config.seed, device=context.device),
    )
    fitting = [point for point in advice.points if point.batch_size <= clock.largest_that_fits]
    bound_met, probability = _bound_status(result, config.objective, chosen, accuracy)
    return replace(
        advice,
        near_optimal_range=within(fitting, advice.best, leeway(result.speed)) if advice.best is not None else None,
        accumulation=math.ceil(chosen / micro) if chosen is not None and micro is not None else 1,
        objective=config.objective,
        bound_met=bound_met,
        bound_probability=probability,
        device_hours=advice.best.seconds.value / 3600 if advice.best is not None else None,
        accuracy=accuracy,
        options=dict(config.options),
        recipe_code=recipe_code(config.recipe, config.options) if advice.best is not None else None,
        planned_epochs=planned_epochs,
        search_cost=cost,
        targets=targets,
        needed_seconds=_needed_seconds(result, config, cost) if result.interrupted and chosen is None else None,
    )


# Plan options that a plain torch loop with an optimizer and a schedule does not have.
TRAIN_OPTIONS = ("order", "ghost_batch", "sam_rho", "norm_statistics", "zero_gamma")


def recipe_code(recipe: str, options: Mapping[str, OptionValue]) -> RecipeCode:
    """What the report's code snippet needs to know about the recipe with these options.

    Args:
        recipe: Name of the recipe.
        options: Options of the recipe and of plans.
    """
    recipe_options = options_of(recipe)
    own = {name: value for name, value in options.items() if name in recipe_options}
    plan = plan_of(recipe, batch_size=1, learning_rate=0.01, epochs=1000.0, **own)
    plain = plain_torch_optimizer(plan)
    return RecipeCode(
        torch_optimizer=plain[0].__name__ if plain is not None else "",
        torch_settings=plain[1] if plain is not None else {},
        train_options=tuple(name for name in options if name in TRAIN_OPTIONS and name not in recipe_options),
        needs_train=plan.is_more_than_steps,
    )


def _bound_status(
    result: SearchResult, objective: Objective, chosen: int | None, accuracy: tuple[AccuracyCheck, ...]
) -> tuple[bool | None, float | None]:
    """Whether the answer meets the objective's bound, and the probability that a run does."""
    posterior = result.posterior
    if chosen is None:
        return None, None
    if objective.max_time is not None:
        seconds = step_seconds_at(result.speed, chosen).value
        probability = chance_within_seconds(posterior, chosen, seconds, objective.max_time)
        return probability >= SURE, probability
    if objective.examples_limit is not None:
        probability = chance_within_examples(posterior, chosen, objective.examples_limit)
        return probability >= SURE, probability
    if objective.goal is Goal.ACCURACY:
        last = accuracy[-1] if accuracy else None
        if last is None or last.batch_size != chosen:
            small = chosen <= max((check.small_batch_size for check in accuracy), default=chosen)
            return (True if small and not result.interrupted else None), None
        return (None if last.falls is None else not last.falls), None
    return None, None


def _cautions(result: SearchResult, config: AdviseConfig, accuracy: tuple[AccuracyCheck, ...]) -> list[str]:
    cautions = ["budget_ended"] if result.interrupted else []
    if not result.posterior.reached:
        cautions += _why_not(result, config.target)
    cautions.append("one_machine")
    if not accuracy:
        cautions.append("generalization_not_measured")
    validation_examples = config.evaluation.validation_examples
    if validation_examples is not None and count(config.task.validation) > validation_examples:
        cautions.append("validation_sample")
    if config.decays:
        cautions.append("length_planned")
    return cautions


def _why_not(result: SearchResult, target: Target) -> list[str]:
    """Why no run reached the target, as far as the runs show it."""
    if learns_nothing(result.runs, target):
        return ["learns_training_set_only" if fits_training_set(result.runs) else "learns_nothing"]
    if result.interrupted:
        return []
    leader = _leader(result.runs, target)
    return ["levels_off"] if leader is not None and estimated_steps_left(leader, target) is None else []


def _leader(runs: tuple[Run, ...], target: Target) -> Run | None:
    return max((run for run in runs if run.curve), key=lambda run: progress_to_target(run, target), default=None)


def _needed_seconds(result: SearchResult, config: AdviseConfig, cost: AdviceCost) -> float | None:
    """Estimated budget of another call, in seconds, if the best run goes on as before."""
    leader = _leader(result.runs, config.target)
    spent = cost.train_seconds + cost.evaluation_seconds
    steps_left = estimated_steps_left(leader, config.target) if leader is not None and leader.steps > 0 else None
    if leader is None or steps_left is None:
        return None
    racing = sum(run.outcome is leader.outcome for run in result.runs)
    first_race = racing * steps_left * (leader.seconds + leader.evaluation_seconds) / leader.steps
    return first_race + (1 / FIRST_RACE_SHARE - 1) * (spent + first_race)


# Advice for several devices.


def advice_for_devices(task: Task, advice: Advice) -> Advice:
    """Return the advice for the best number of devices by its objective; unchanged if that allows one device only.

    Step times on several devices are predicted, not measured: those of `critbatch scale` with its default link. The
    steps follow from the law, and the learning rate is that of the nearest timed size.
    """
    objective = advice.objective
    if objective.devices == (1,) or not advice.answered or advice.best is None:
        return advice
    offers = scale(task, advice, devices=objective.devices, price_per_device_hour=objective.price_per_device_hour).best
    if not offers:
        return advice
    best, bound_met = cheapest(offers, objective.max_time)
    if best.devices == 1:
        return replace(advice, bound_met=bound_met)
    sizes = [point.batch_size for point in advice.points]
    nearest = min(advice.points, key=lambda point: abs(point.batch_size - best.batch_size))
    point = advice.points[sizes.index(best.batch_size)] if best.batch_size in sizes else nearest
    return replace(
        advice,
        best=replace(
            point,
            batch_size=best.batch_size,
            steps=best.steps or point.steps,
            step_seconds=_as_predicted(best.step_seconds),
            seconds=best.seconds or point.seconds,
        ),
        near_optimal_range=None,
        micro_batch_size=best.micro_batch_size,
        accumulation=best.passes,
        devices=best.devices,
        device_hours=best.device_hours,
        bound_met=bound_met,
        bound_probability=None,
        cautions=("devices_predicted", *advice.cautions),
    )


def _as_predicted(seconds: float) -> Estimate:
    return Estimate(value=seconds, n=0, reason="predicted_only")
