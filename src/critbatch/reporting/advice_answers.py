"""What an advice says beside the size and the rate: objective, schedule, cost, and what would help where it fails."""

from __future__ import annotations

from critbatch.records.core import AccuracyCheck, Advice, Goal
from critbatch.reporting.readings import metric_name
from critbatch.reports.translator import Translator

# Tried next, where no step was made that tells how many are needed.
USUAL_BUDGET = 600.0


def asked_sentences(advice: Advice, t: Translator) -> list[str]:
    """Schedule, objective and cost, each where there is something to say."""
    told = []
    if advice.options:
        told.append(t("advice_options", options=t.options(advice.options)))
    if advice.planned_epochs is not None:
        told.append(t("advice_planned", epochs=t.score(advice.planned_epochs)))
    told += _objective(advice, t)
    if advice.law is not None and advice.law.reason == "law_misfit":
        told.append(t("advice_help_law_misfit"))
    return told


def cost_sentences(advice: Advice, t: Translator) -> list[str]:
    """What all runs of the folder took, and the targets that they went to."""
    cost, told = advice.cost, []
    if cost is not None and cost.steps > 0:
        seconds = t.seconds(cost.train_seconds + cost.evaluation_seconds)
        told.append(t("advice_cost_all", steps=t.count(cost.steps), seconds=seconds, bytes=t.bytes(cost.kept_bytes)))
    if len(advice.asked) > 1:
        targets = t("comma").join(t.target(each, metric_name(advice.runs)) for each in advice.asked)
        told.append(t("advice_asked", n=len(advice.asked), targets=targets))
    return told


def help_sentences(advice: Advice, t: Translator) -> list[str]:
    """What would help where there is no answer: nothing here where a caution says it already."""
    if advice.needed_seconds is not None:
        return [t("unanswered_budget", seconds=t.seconds(advice.needed_seconds))]
    if "budget_ended" in advice.cautions:
        return [t("unanswered_budget_unknown", seconds=t.count(USUAL_BUDGET))]
    if {"learns_nothing", "learns_training_set_only", "levels_off"} & set(advice.cautions):
        return []
    return [t("unanswered_help")]


def _objective(advice: Advice, t: Translator) -> list[str]:
    objective, found = advice.objective, []
    chance = t.percent(advice.chance) if advice.chance is not None else ""
    if objective.goal is Goal.COST and advice.device_hours is not None:
        hours = t.about(advice.device_hours)
        if advice.devices > 1:
            share = t.count(-(-(advice.best.batch_size if advice.best is not None else 0) // advice.devices))
            found.append(t("advice_devices", n=advice.devices, share=share, hours=hours))
        else:
            found.append(t("advice_cheapest", hours=hours))
        if (price := objective.price_per_device_hour) is not None:
            cost = t.about(price * advice.device_hours)
            found.append(t("advice_price", price=t.about(price), cost=cost))
        if objective.max_time is not None:
            seconds = t.seconds(objective.max_time)
            if advice.chance is not None:
                key = "advice_within_met" if advice.met else "advice_within_missed"
                found.append(t(key, seconds=seconds, chance=chance))
            elif advice.met is False:
                found.append(t("advice_devices_missed", seconds=seconds))
    if objective.examples_limit is not None and advice.chance is not None:
        key = "advice_examples_met" if advice.met else "advice_examples_missed"
        found.append(t(key, limit=t.count(objective.examples_limit), unit=t.units(advice.unit), chance=chance))
    if objective.goal is Goal.ACCURACY:
        found += [_accuracy(check, advice, t) for check in advice.accuracy]
        if advice.accuracy:
            found.append(_gap(advice.accuracy[-1], advice, t))
        elif advice.met:
            found.append(t("advice_accuracy_small"))
    return found


def _accuracy(check: AccuracyCheck, advice: Advice, t: Translator) -> str:
    difference = check.difference
    low, high = difference.low, difference.high
    key = "open" if check.falls is None else "falls" if check.falls else "kept"
    return t(
        f"advice_accuracy_{key}",
        batch_size=t.count(check.batch_size),
        size=t.count(check.small_batch_size),
        metric=t.metric(metric_name(advice.runs)),
        large=t.score(check.metric),
        small=t.score(check.small_metric),
        seconds=t.seconds(check.train_seconds),
        n=t.count(difference.n),
        difference=t.about(difference.value),
        level=t.percent(difference.level),
        span=t("no_interval") if low is None or high is None else t.span(low, high, t.about),
        margin=t.about(check.margin),
    )


def _gap(check: AccuracyCheck, advice: Advice, t: Translator) -> str:
    return t(
        "advice_accuracy_gap",
        metric=t.metric(metric_name(advice.runs)),
        gap=t.about(check.gap),
        small_gap=t.about(check.small_gap),
        size=t.count(check.small_batch_size),
    )
