"""What an advice says beside the size and the rate: objective, schedule, cost, and what would help where it fails."""

from __future__ import annotations

from critbatch.records.core import AccuracyCheck, Advice, Goal
from critbatch.reporting.readings import metric_name
from critbatch.reporting.voice import Voice

# Tried next, where no step was made that tells how many are needed.
USUAL_BUDGET = 600.0


def asked_sentences(advice: Advice, voice: Voice) -> list[str]:
    """Schedule, objective and cost, each where there is something to say."""
    told = []
    if advice.options:
        told.append(voice("advice_options", options=voice.options(advice.options)))
    if advice.planned_epochs is not None:
        told.append(voice("advice_planned", epochs=voice.score(advice.planned_epochs)))
    told += _objective(advice, voice)
    if advice.law is not None and advice.law.reason == "law_misfit":
        told.append(voice("advice_help_law_misfit"))
    return told


def cost_sentences(advice: Advice, voice: Voice) -> list[str]:
    """What all runs of the folder took, and the targets that they went to."""
    cost, told = advice.cost, []
    if cost is not None and cost.steps > 0:
        seconds = voice.seconds(cost.train_seconds + cost.evaluation_seconds)
        told.append(
            voice("advice_cost_all", steps=voice.count(cost.steps), seconds=seconds, bytes=voice.bytes(cost.kept_bytes))
        )
    if len(advice.asked) > 1:
        targets = voice("comma").join(voice.target(each, metric_name(advice.runs)) for each in advice.asked)
        told.append(voice("advice_asked", n=len(advice.asked), targets=targets))
    return told


def help_sentences(advice: Advice, voice: Voice) -> list[str]:
    """What would help where there is no answer: nothing here where a caution says it already."""
    if advice.needed_seconds is not None:
        return [voice("unanswered_budget", seconds=voice.seconds(advice.needed_seconds))]
    if "budget_ended" in advice.cautions:
        return [voice("unanswered_budget_unknown", seconds=voice.count(USUAL_BUDGET))]
    if {"learns_nothing", "learns_training_set_only", "levels_off"} & set(advice.cautions):
        return []
    return [voice("unanswered_help")]


def _objective(advice: Advice, voice: Voice) -> list[str]:
    objective, found = advice.objective, []
    chance = voice.percent(advice.chance) if advice.chance is not None else ""
    if objective.goal is Goal.CHEAPEST and advice.device_hours is not None:
        hours = voice.about(advice.device_hours)
        if advice.devices > 1:
            share = voice.count(-(-(advice.best.batch_size if advice.best is not None else 0) // advice.devices))
            found.append(voice("advice_devices", n=advice.devices, share=share, hours=hours))
        else:
            found.append(voice("advice_cheapest", hours=hours))
        if (price := objective.price_per_device_hour) is not None:
            cost = voice.about(price * advice.device_hours)
            found.append(voice("advice_price", price=voice.about(price), cost=cost))
        if objective.within_seconds is not None:
            seconds = voice.seconds(objective.within_seconds)
            if advice.chance is not None:
                key = "advice_within_met" if advice.met else "advice_within_missed"
                found.append(voice(key, seconds=seconds, chance=chance))
            elif advice.met is False:
                found.append(voice("advice_devices_missed", seconds=seconds))
    if objective.examples_limit is not None and advice.chance is not None:
        key = "advice_examples_met" if advice.met else "advice_examples_missed"
        found.append(
            voice(key, limit=voice.count(objective.examples_limit), unit=voice.units(advice.unit), chance=chance)
        )
    if objective.goal is Goal.ACCURACY:
        found += [_accuracy(check, advice, voice) for check in advice.accuracy]
        if advice.accuracy:
            found.append(_gap(advice.accuracy[-1], advice, voice))
        elif advice.met:
            found.append(voice("advice_accuracy_small"))
    return found


def _accuracy(check: AccuracyCheck, advice: Advice, voice: Voice) -> str:
    difference = check.difference
    low, high = difference.low, difference.high
    key = "open" if check.falls is None else "falls" if check.falls else "kept"
    return voice(
        f"advice_accuracy_{key}",
        batch_size=voice.count(check.batch_size),
        size=voice.count(check.small_batch_size),
        metric=voice.metric(metric_name(advice.runs)),
        large=voice.score(check.metric),
        small=voice.score(check.small_metric),
        seconds=voice.seconds(check.train_seconds),
        n=voice.count(difference.n),
        difference=voice.about(difference.value),
        level=voice.percent(difference.level),
        span=voice("no_interval") if low is None or high is None else voice.span(low, high, voice.about),
        margin=voice.about(check.margin),
    )


def _gap(check: AccuracyCheck, advice: Advice, voice: Voice) -> str:
    return voice(
        "advice_accuracy_gap",
        metric=voice.metric(metric_name(advice.runs)),
        gap=voice.about(check.gap),
        small_gap=voice.about(check.small_gap),
        size=voice.count(check.small_batch_size),
    )
