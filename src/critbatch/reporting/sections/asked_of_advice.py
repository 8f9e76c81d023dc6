"""What an advice was asked, and what its answer took."""

from __future__ import annotations

from critbatch.records.core import Advice
from critbatch.reporting.advice_answers import asked_sentences, cost_sentences
from critbatch.reporting.blocks import Bullets, Facts, Section
from critbatch.reporting.readings import metric_name
from critbatch.reports.translator import Translator


def asked_of_advice(advice: Advice, t: Translator) -> Section | None:
    """Objective, options, length, micro-batch, cost and targets. None for a record that holds no cost."""
    cost = advice.cost
    if cost is None:
        return None
    seconds = t.seconds(cost.train_seconds + cost.evaluation_seconds)
    targets = advice.asked or (advice.target,)
    facts = [
        (t("fact_objective"), t(f"objective_{advice.objective.goal}")),
        *([(t("fact_schedule"), t.options(advice.options))] if advice.options else []),
        (t("fact_targets"), t("comma").join(t.target(one, metric_name(advice.runs)) for one in targets)),
        *_plan(advice, t),
        (t("fact_cost"), t("runs_and_steps", runs=t.count(cost.runs), steps=t.count(cost.steps))),
        (t("fact_train_seconds"), seconds),
        (t("fact_kept"), t.bytes(cost.kept_bytes)),
    ]
    said = (*asked_sentences(advice, t), *cost_sentences(advice, t))
    return Section("asked", t("section_asked_of_advice"), (Bullets(said), Facts(tuple(facts))))


def _plan(advice: Advice, t: Translator) -> list[tuple[str, str]]:
    found = []
    if advice.planned_epochs is not None:
        length = t("epochs_of_plan", epochs=t.score(advice.planned_epochs))
        found.append((t("fact_planned"), length))
    if advice.best is not None and advice.micro_batch_size is not None:
        micro, pieces = t.count(advice.micro_batch_size), t.count(advice.accumulation)
        whole = advice.accumulation == 1
        told = t("micro_whole") if whole else t("micro_pieces", micro=micro, pieces=pieces)
        found.append((t("fact_micro"), told))
    return found
