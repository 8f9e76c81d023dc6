"""What an advice was asked, and what its answer took."""

from __future__ import annotations

from critbatch.records.core import Advice
from critbatch.reporting.advice_answers import asked_sentences, cost_sentences
from critbatch.reporting.blocks import Bullets, Facts, Section
from critbatch.reporting.readings import metric_name
from critbatch.reporting.voice import Voice


def asked_of_advice(advice: Advice, voice: Voice) -> Section | None:
    """Objective, options, length, micro-batch, cost and targets. None for a record that holds no cost."""
    cost = advice.cost
    if cost is None:
        return None
    seconds = voice.seconds(cost.train_seconds + cost.evaluation_seconds)
    targets = advice.asked or (advice.target,)
    facts = [
        (voice("fact_objective"), voice(f"objective_{advice.objective.goal}")),
        *([(voice("fact_schedule"), voice.options(advice.options))] if advice.options else []),
        (voice("fact_targets"), voice("comma").join(voice.target(one, metric_name(advice.runs)) for one in targets)),
        *_plan(advice, voice),
        (voice("fact_cost"), voice("runs_and_steps", runs=voice.count(cost.runs), steps=voice.count(cost.steps))),
        (voice("fact_train_seconds"), seconds),
        (voice("fact_kept"), voice.bytes(cost.kept_bytes)),
    ]
    said = (*asked_sentences(advice, voice), *cost_sentences(advice, voice))
    return Section("asked", voice("section_asked_of_advice"), (Bullets(said), Facts(tuple(facts))))


def _plan(advice: Advice, voice: Voice) -> list[tuple[str, str]]:
    found = []
    if advice.planned_epochs is not None:
        length = voice("epochs_of_plan", epochs=voice.score(advice.planned_epochs))
        found.append((voice("fact_planned"), length))
    if advice.best is not None and advice.micro_batch_size is not None:
        micro, pieces = voice.count(advice.micro_batch_size), voice.count(advice.accumulation)
        whole = advice.accumulation == 1
        told = voice("micro_whole") if whole else voice("micro_pieces", micro=micro, pieces=pieces)
        found.append((voice("fact_micro"), told))
    return found
