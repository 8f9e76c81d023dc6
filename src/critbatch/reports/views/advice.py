"""The chapter of an advice: the answer, objective and cost, the cost of each batch size, and code to train with it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from critbatch.law.clock_check import is_usable
from critbatch.records.core import AccuracyCheck, Advice, Estimate, Goal, Record, Run, Speed, TimePoint
from critbatch.reports.charts.advice import time_to_target
from critbatch.reports.charts.common import all_points
from critbatch.reports.charts.runs import learning_curves
from critbatch.reports.charts.theme import Picture
from critbatch.reports.derived.runs import metric_name
from critbatch.reports.model import (
    MCCANDLISH,
    Answer,
    Block,
    Bullets,
    Cell,
    Chart,
    Facts,
    Method,
    Paper,
    Section,
    Table,
    Text,
    Tile,
)
from critbatch.reports.snippets import snippets
from critbatch.reports.translator import Translator, Write
from critbatch.reports.views.common import Parts, RecordView, tile, view, without_interval
from critbatch.reports.views.noise import noise_of_runs
from critbatch.reports.views.runs import accuracy_section, closest_run, rate_section, runs_section, steps_section
from critbatch.reports.views.speed import hardware, speed_cautions

# Budget to suggest if no step was made, so that the needed budget is unknown.
USUAL_BUDGET = 600.0


def objective_sentences(advice: Advice, t: Translator) -> list[str]:
    """Sentences about schedule and objective."""
    sentences = []
    if advice.options:
        sentences.append(t("advice_options", options=t.options(advice.options)))
    if advice.planned_epochs is not None:
        sentences.append(t("advice_planned", epochs=t.score(advice.planned_epochs)))
    sentences += _objective(advice, t)
    if advice.law is not None and advice.law.reason == "law_misfit":
        sentences.append(t("advice_help_law_misfit"))
    return sentences


def cost_sentences(advice: Advice, t: Translator) -> list[str]:
    """The cost of all runs of the folder, and their targets."""
    cost, sentences = advice.search_cost, []
    if cost is not None and cost.steps > 0:
        seconds = t.seconds(cost.train_seconds + cost.evaluation_seconds)
        sentences.append(
            t("advice_cost_all", steps=t.count(cost.steps), seconds=seconds, bytes=t.bytes(cost.resume_bytes))
        )
    if len(advice.targets) > 1:
        targets = t("comma").join(t.target(each, metric_name(advice.runs)) for each in advice.targets)
        sentences.append(t("advice_asked", n=len(advice.targets), targets=targets))
    return sentences


def help_sentences(advice: Advice, t: Translator) -> list[str]:
    """What would help if there is no answer. Empty if a caution already says it."""
    if advice.needed_seconds is not None:
        return [t("unanswered_budget", seconds=t.seconds(advice.needed_seconds))]
    if "budget_ended" in advice.cautions:
        return [t("unanswered_budget_unknown", seconds=t.count(USUAL_BUDGET))]
    if {"learns_nothing", "learns_training_set_only", "levels_off"} & set(advice.cautions):
        return []
    return [t("unanswered_help")]


def _objective(advice: Advice, t: Translator) -> list[str]:
    objective, sentences = advice.objective, []
    chance = t.percent(advice.bound_probability) if advice.bound_probability is not None else ""
    if objective.goal is Goal.COST and advice.device_hours is not None:
        hours = t.about(advice.device_hours)
        if advice.devices > 1:
            share = t.count(-(-(advice.best.batch_size if advice.best is not None else 0) // advice.devices))
            sentences.append(t("advice_devices", n=advice.devices, share=share, hours=hours))
        else:
            sentences.append(t("advice_cheapest", hours=hours))
        if (price := objective.price_per_device_hour) is not None:
            cost = t.about(price * advice.device_hours)
            sentences.append(t("advice_price", price=t.about(price), cost=cost))
        if objective.max_time is not None:
            seconds = t.seconds(objective.max_time)
            if advice.bound_probability is not None:
                key = "advice_within_met" if advice.bound_met else "advice_within_missed"
                sentences.append(t(key, seconds=seconds, chance=chance))
            elif advice.bound_met is False:
                sentences.append(t("advice_devices_missed", seconds=seconds))
    if objective.examples_limit is not None and advice.bound_probability is not None:
        key = "advice_examples_met" if advice.bound_met else "advice_examples_missed"
        sentences.append(t(key, limit=t.count(objective.examples_limit), unit=t.units(advice.unit), chance=chance))
    if objective.goal is Goal.ACCURACY:
        sentences += [_accuracy(check, advice, t) for check in advice.accuracy]
        if advice.accuracy:
            sentences.append(_gap(advice.accuracy[-1], advice, t))
        elif advice.bound_met:
            sentences.append(t("advice_accuracy_small"))
    return sentences


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


# The question of an advice, and the cost of its answer.


def question_of_advice(advice: Advice, t: Translator) -> Section | None:
    """Objective, options, length, micro-batch size, cost and targets. None if the record has no cost."""
    cost = advice.search_cost
    if cost is None:
        return None
    seconds = t.seconds(cost.train_seconds + cost.evaluation_seconds)
    targets = advice.targets or (advice.target,)
    facts = [
        (t("fact_objective"), t(f"objective_{advice.objective.goal}")),
        *([(t("fact_schedule"), t.options(advice.options))] if advice.options else []),
        (t("fact_targets"), t("comma").join(t.target(one, metric_name(advice.runs)) for one in targets)),
        *_plan(advice, t),
        (t("fact_cost"), t("runs_and_steps", runs=t.count(cost.runs), steps=t.count(cost.steps))),
        (t("fact_train_seconds"), seconds),
        (t("fact_kept"), t.bytes(cost.resume_bytes)),
    ]
    sentences = (*objective_sentences(advice, t), *cost_sentences(advice, t))
    return Section("asked", t("section_asked_of_advice"), (Bullets(sentences), Facts(tuple(facts))))


def _plan(advice: Advice, t: Translator) -> list[tuple[str, str]]:
    facts = []
    if advice.planned_epochs is not None:
        length = t("epochs_of_plan", epochs=t.score(advice.planned_epochs))
        facts.append((t("fact_planned"), length))
    if advice.best is not None and advice.micro_batch_size is not None:
        micro, pieces = t.count(advice.micro_batch_size), t.count(advice.accumulation)
        whole = advice.accumulation == 1
        text = t("micro_whole") if whole else t("micro_pieces", micro=micro, pieces=pieces)
        facts.append((t("fact_micro"), text))
    return facts


# The cost of each batch size.


def cost_of_sizes(advice: Advice, t: Translator) -> Section:
    """Every batch size with learning rate, steps, time per step and time to target."""
    points = all_points(advice)
    title = t("section_cost")
    if not points:
        return Section("cost", title, (Text(t("cost_nothing")),))
    fastest = advice.best.seconds.value if advice.best is not None else math.nan
    header = (
        "batch_size",
        "column_time",
        "column_times",
        "learning_rate",
        "column_steps",
        "column_step",
        "column_runs",
    )
    rows = tuple(
        (
            Cell(t.count(point.batch_size), marks=_marks(advice, point, t)),
            _cell(point.seconds, t.seconds, t),
            Cell(t("times", times=t.times(point.seconds.value / fastest))),
            _cell(point.learning_rate, t.rate, t),
            _cell(point.steps, t.about, t),
            _cell(point.step_seconds, t.seconds, t),
            Cell(t.count(point.runs) if point.runs else t("predicted")),
        )
        for point in points
    )
    reasons = {e.reason for p in points for e in (p.learning_rate, p.steps, p.step_seconds, p.seconds)} - {""}
    levels = {e.level for p in points for e in (p.seconds, p.steps) if e.low is not None}
    notes = [t("cost_level", level=t.percent(level)) for level in sorted(levels)]
    notes += [t("cost_no_interval", reason=t.reason(key)) for key in sorted(reasons)]
    table = Table(t("cost_caption"), tuple(t(key) for key in header), rows, tuple(notes))
    lines = [t("method_time"), t("method_crossing")]
    papers: tuple[Paper, ...] = ()
    if advice.law is not None:
        lines.append(t("method_between"))
        papers = (MCCANDLISH,)
    return Section("cost", title, (Text(t("cost_text")), table, Method(tuple(lines), papers)))


def _marks(advice: Advice, point: TimePoint, t: Translator) -> tuple[str, ...]:
    mark_points = (("mark_best", advice.best), ("mark_current", advice.current), ("mark_largest", advice.largest))
    marks = [t(key) for key, other in mark_points if other is not None and other.batch_size == point.batch_size]
    near = advice.near_optimal_range
    if near is not None and near[0] <= point.batch_size <= near[1] and t("mark_best") not in marks:
        marks.append(t("mark_near"))
    return tuple(marks)


def _cell(estimate: Estimate, write: Write, t: Translator) -> Cell:
    if estimate.low is None or estimate.high is None:
        return Cell(write(estimate.value), t("no_interval"))
    return Cell(write(estimate.value), t.span(estimate.low, estimate.high, write))


# Code to train with the answer.

TITLES = {
    "torch": "use_torch",
    "lightning": "use_lightning",
    "huggingface": "use_huggingface",
    "critbatch": "use_critbatch",
}


def use_section(advice: Advice, t: Translator) -> Section | None:
    """Code for plain PyTorch, Lightning and the Hugging Face Trainer. None if there is no answer."""
    code_snippets = snippets(advice)
    if not code_snippets:
        return None
    alone = code_snippets[0].name == "critbatch"
    blocks: list[Block] = [Text(t("use_text_task" if alone else "use_text"))]
    for snippet in code_snippets:
        blocks += [Text(t(TITLES[snippet.name])), Facts((), code=snippet.code)]
    return Section("use", t("section_use"), tuple(blocks))


def _answered(advice: Advice, t: Translator) -> Answer:
    best = advice.best
    assert best is not None
    headline = t(
        "advice_headline",
        task=advice.task,
        batch_size=t.count(best.batch_size),
        rate=t.rate(best.learning_rate.value),
        recipe=advice.recipe,
    )
    target = t.target(advice.target, metric_name(advice.runs))
    lead = [t("advice_time", target=target, seconds=t.estimate(best.seconds, t.seconds))]
    if advice.near_optimal_range is not None:
        low, high = advice.near_optimal_range
        busy = advice.speed.check is not None and advice.speed.check.is_busy
        key = "advice_near_alone" if low == high else "advice_near_busy" if busy else "advice_near"
        lead.append(t(key, low=t.count(low), high=t.count(high)))
    more = [
        _compared(point, best, key, t)
        for key, point in (("current", advice.current), ("largest", advice.largest))
        if point is not None
    ]
    share = math.ceil(best.batch_size / advice.devices)
    if advice.micro_batch_size is not None and advice.micro_batch_size < share:
        pieces = math.ceil(share / advice.micro_batch_size)
        more.append(t("advice_micro", micro=t.count(advice.micro_batch_size), pieces=t.count(pieces)))
    more += objective_sentences(advice, t)
    more.append(t("advice_cost", n=len(advice.runs), wall=t.seconds(advice.provenance.wall_seconds)))
    more += cost_sentences(advice, t)
    return Answer(headline, tuple(lead), tuple(more))


def _compared(point: TimePoint, best: TimePoint, key: str, t: Translator) -> str:
    size = t.count(point.batch_size)
    if point.batch_size == best.batch_size:
        return t(f"advice_{key}_is_best", batch_size=size)
    if not math.isfinite(point.seconds.value):
        return t(f"advice_{key}_never", batch_size=size)
    times = t.times(point.seconds.value / best.seconds.value)
    return t(f"advice_{key}", batch_size=size, seconds=t.estimate(point.seconds, t.seconds), times=times)


def _unanswered(advice: Advice, t: Translator) -> Answer:
    headline = t("unanswered_headline", task=advice.task)
    target = t.target(advice.target, metric_name(advice.runs))
    reached = sum(run.crossing is not None for run in advice.runs)
    if "clock_unusable" in advice.cautions and advice.speed.check is not None:
        swing = t.about(advice.speed.check.swing)
        return Answer(headline, (t("unanswered_clock", swing=swing),), (t("unanswered_clock_help"),))
    if not advice.runs:
        lead = [t("unanswered_no_run")]
    elif reached:
        lead = [t("unanswered_some", n=reached, runs=len(advice.runs), target=target)]
    else:
        lead = [t("unanswered_runs", n=len(advice.runs), target=target)]
    return Answer(headline, (*lead, *closest_run(advice.runs, advice.target, t)), tuple(help_sentences(advice, t)))


def _near(advice: Advice, t: Translator) -> str:
    if advice.near_optimal_range is None:
        return ""
    low, high = advice.near_optimal_range
    return t("tile_near", span=t.span(low, high, t.count)) if low < high else t("tile_alone")


@view(Advice)
class AdviceView(RecordView[Advice]):
    """The batch size and learning rate to train with."""

    def answer(self, advice: Advice, t: Translator, /) -> Answer:
        return _answered(advice, t) if advice.answered and advice.best is not None else _unanswered(advice, t)

    def parts(self, advice: Advice, t: Translator) -> Parts:
        picture = time_to_target(advice, t)
        hero = Chart(picture, t("hero_note")) if picture is not None else None
        points = advice.points
        code_section, question_section = use_section(advice, t), question_of_advice(advice, t)
        sections = [
            *([code_section] if code_section is not None else []),
            *([cost_of_sizes(advice, t)] if points else []),
            hardware(advice.speed, t),
            accuracy_section(advice.runs, advice.unit, t),
            steps_section(advice.runs, points, advice.law, advice.unit, t),
            *([rate_section(advice, t)] if points else []),
            runs_section(advice.runs, t),
            noise_of_runs(advice.runs, advice.unit, t),
            *([question_section] if question_section is not None else []),
        ]
        best = advice.best
        if not advice.answered or best is None:
            return [], hero, sections
        tiles = [
            Tile(t("batch_size"), t.count(best.batch_size), _near(advice, t)),
            tile(t("learning_rate"), best.learning_rate, t.rate, t),
            tile(t("column_time"), best.seconds, t.seconds, t),
            tile(t("column_steps"), best.steps, t.about, t),
        ]
        return tiles, hero, sections

    def cautions(self, advice: Advice) -> list[str]:
        keys = [*advice.cautions]
        if advice.law is not None and not advice.law.holds:
            keys.append(advice.law.reason or "law_misfit")
        if advice.best is not None:
            keys += without_interval(
                (advice.best.seconds, advice.best.steps, advice.best.step_seconds, advice.best.learning_rate)
            )
        keys += speed_cautions(advice.speed)
        # This refers to the end of the runs, not only to the target.
        keys += [] if advice.accuracy else ["generalization_not_measured"]
        return [*keys, "one_machine", *([] if any(run.noise for run in advice.runs) else ["no_noise_measured"])]

    def figure(self, advice: Advice, t: Translator) -> Picture | None:
        return time_to_target(advice, t) or learning_curves(advice.runs, t)

    def own_cautions(self, advice: Advice, /) -> Sequence[str]:
        return advice.cautions

    def speeds(self, advice: Advice, /) -> list[Speed]:
        """Empty if the clock was too unsteady for an answer: the advice then says so itself."""
        return [advice.speed] if is_usable(advice.speed) else []

    def runs(self, advice: Advice, /) -> Sequence[Run]:
        return advice.runs

    def records_shown(self, advice: Advice, /) -> Sequence[Record | None]:
        return [advice.speed]
