"""The record of an advice, from all that its search found."""

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

# Of what an advice takes, the first race: three quarters were measured.
FIRST_RACE = 0.75


def build_advice(
    found: SearchResult,
    config: AdviseConfig,
    context: RunContext,
    *,
    accuracy: tuple[AccuracyCheck, ...],
    planned_epochs: float | None,
    cost: AdviceCost,
    targets: tuple[Target, ...],
) -> Advice:
    """The answer that was found, or why there is none.

    Args:
        found: by the search.
        config: the question.
        context: for the provenance.
        accuracy: the checks of the validation metric, the last one that of the answer.
        planned_epochs: the length of a run at the recommended batch size, where it is planned.
        cost: of all runs.
        targets: all that runs of the folder went to.
    """
    posterior = found.posterior
    clock = allowed(found.speed, config.objective, posterior, accuracy)
    chosen = best_size(posterior, clock) if posterior.reached and is_usable(found.speed) else None
    micro = config.options.get("micro_batch_size")
    micro = micro if isinstance(micro, int) and chosen is not None and micro < chosen else chosen
    advice = advise_record(
        posterior,
        found.speed,
        found.runs,
        target=config.target,
        recipe=config.recipe,
        current=config.current_batch_size,
        chosen=chosen,
        micro_batch_size=micro,
        cautions=_cautions(found, config, accuracy),
        provenance=context.timer.provenance(command=context.command, seed=config.seed, device=context.device),
    )
    near = [point for point in advice.points if point.batch_size <= clock.largest_that_fits]
    met, chance = _kept(found, config.objective, chosen, accuracy)
    return replace(
        advice,
        near_optimal_range=within(near, advice.best, leeway(found.speed)) if advice.best is not None else None,
        accumulation=math.ceil(chosen / micro) if chosen is not None and micro is not None else 1,
        objective=config.objective,
        bound_met=met,
        bound_probability=chance,
        device_hours=advice.best.seconds.value / 3600 if advice.best is not None else None,
        accuracy=accuracy,
        options=dict(config.options),
        recipe_code=recipe_code(config.recipe, config.options) if advice.best is not None else None,
        planned_epochs=planned_epochs,
        search_cost=cost,
        targets=targets,
        needed_seconds=_needed_seconds(found, config, cost) if found.interrupted and chosen is None else None,
    )


# Options of plans that are more than an optimizer, a schedule and batches.
TRAIN_OPTIONS = ("order", "ghost_batch", "sam_rho", "norm_statistics", "zero_gamma")


def recipe_code(recipe: str, options: Mapping[str, OptionValue]) -> RecipeCode:
    """What the code that uses an advice needs of its recipe with these options.

    Args:
        recipe: its name.
        options: of the recipe and of plans.
    """
    known = options_of(recipe)
    own = {name: value for name, value in options.items() if name in known}
    plan = plan_of(recipe, batch_size=1, learning_rate=0.01, epochs=1000.0, **own)
    plain = plain_torch_optimizer(plan)
    return RecipeCode(
        torch_optimizer=plain[0].__name__ if plain is not None else "",
        torch_settings=plain[1] if plain is not None else {},
        train_options=tuple(name for name in options if name in TRAIN_OPTIONS and name not in known),
        needs_train=plan.is_more_than_steps,
    )


def _kept(
    found: SearchResult, objective: Objective, chosen: int | None, accuracy: tuple[AccuracyCheck, ...]
) -> tuple[bool | None, float | None]:
    """Whether the answer keeps the objective's bound, and how likely a run does."""
    posterior = found.posterior
    if chosen is None:
        return None, None
    if objective.max_time is not None:
        seconds = step_seconds_at(found.speed, chosen).value
        chance = chance_within_seconds(posterior, chosen, seconds, objective.max_time)
        return chance >= SURE, chance
    if objective.examples_limit is not None:
        chance = chance_within_examples(posterior, chosen, objective.examples_limit)
        return chance >= SURE, chance
    if objective.goal is Goal.ACCURACY:
        last = accuracy[-1] if accuracy else None
        if last is None or last.batch_size != chosen:
            small = chosen <= max((check.small_batch_size for check in accuracy), default=chosen)
            return (True if small and not found.interrupted else None), None
        return (None if last.falls is None else not last.falls), None
    return None, None


def _cautions(found: SearchResult, config: AdviseConfig, accuracy: tuple[AccuracyCheck, ...]) -> list[str]:
    cautions = ["budget_ended"] if found.interrupted else []
    if not found.posterior.reached:
        cautions += _why_not(found, config.target)
    cautions.append("one_machine")
    if not accuracy:
        cautions.append("generalization_not_measured")
    seen = config.evaluation.validation_examples
    if seen is not None and count(config.task.validation) > seen:
        cautions.append("validation_sample")
    if config.decays:
        cautions.append("length_planned")
    return cautions


def _why_not(found: SearchResult, target: Target) -> list[str]:
    """Why no run came to the target, as far as the runs show it."""
    if learns_nothing(found.runs, target):
        return ["learns_training_set_only" if fits_training_set(found.runs) else "learns_nothing"]
    if found.interrupted:
        return []
    leader = _leader(found.runs, target)
    return ["levels_off"] if leader is not None and estimated_steps_left(leader, target) is None else []


def _leader(runs: tuple[Run, ...], target: Target) -> Run | None:
    return max((run for run in runs if run.curve), key=lambda run: progress_to_target(run, target), default=None)


def _needed_seconds(found: SearchResult, config: AdviseConfig, cost: AdviceCost) -> float | None:
    """Seconds of another call that may be enough, if the best run goes on as it did."""
    leader = _leader(found.runs, config.target)
    spent = cost.train_seconds + cost.evaluation_seconds
    go = estimated_steps_left(leader, config.target) if leader is not None and leader.steps > 0 else None
    if leader is None or go is None:
        return None
    racing = sum(run.outcome is leader.outcome for run in found.runs)
    first_race = racing * go * (leader.seconds + leader.evaluation_seconds) / leader.steps
    return first_race + (1 / FIRST_RACE - 1) * (spent + first_race)


# An advice carried over to several devices: the fewest that are soon enough.


def advice_for_devices(task: Task, advice: Advice) -> Advice:
    """The advice for the number of devices that its objective makes best; as it is where it allows one alone.

    Seconds of a step on several devices are those of `critbatch scale` with its usual link: predicted, not measured.
    The steps are those of the law, and the learning rate is that of the nearest size that was timed.
    """
    objective = advice.objective
    if objective.devices == (1,) or not advice.answered or advice.best is None:
        return advice
    offers = scale(task, advice, devices=objective.devices, price_per_device_hour=objective.price_per_device_hour).best
    if not offers:
        return advice
    best, met = cheapest(offers, objective.max_time)
    if best.devices == 1:
        return replace(advice, bound_met=met)
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
        bound_met=met,
        bound_probability=None,
        cautions=("devices_predicted", *advice.cautions),
    )


def _as_predicted(seconds: float) -> Estimate:
    return Estimate(value=seconds, n=0, reason="predicted_only")
