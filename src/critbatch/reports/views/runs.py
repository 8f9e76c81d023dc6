"""The chapter of runs, and the sections on runs that other chapters share."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from critbatch.records.core import Advice, Law, Outcome, Quantity, Run, Target, TimePoint
from critbatch.reports.charts.advice import best_rate, steps_to_target
from critbatch.reports.charts.runs import accuracy, both_curves, learning_curves, loss_curve, metric_curve
from critbatch.reports.derived.runs import (
    MOST_MARKS,
    MOST_POINTS,
    closest,
    curves_worth_drawing,
    metric_name,
    runs_worth_listing,
    runs_worth_marking,
    scores_at_equal_epochs,
)
from critbatch.reports.model import (
    GOYAL,
    MCCANDLISH,
    SHALLUE,
    Answer,
    Block,
    Cell,
    Chart,
    Charts,
    Method,
    Section,
    Table,
    Text,
)
from critbatch.reports.translator import Translator
from critbatch.reports.views.common import Parts, RecordView, view
from critbatch.reports.views.noise import noise_of_runs

MOST_RUN_NOTES = 12


def accuracy_section(runs: Sequence[Run], unit: str, t: Translator) -> Section:
    """Train and validation metric against batch size after equal epochs."""
    metric = t.metric(metric_name(runs))
    title = t("section_accuracy", metric=metric)
    picture = accuracy(runs, unit, t)
    if picture is None:
        return Section("accuracy", title, (Text(t("accuracy_nothing")),))
    epoch, _ = scores_at_equal_epochs(runs)
    text = t("accuracy_text", epochs=t.about(epoch))
    method = Method((t("method_accuracy"), t("method_equal_epochs")), (SHALLUE,))
    return Section("accuracy", title, (Text(text), Chart(picture), method))


def steps_section(
    runs: Sequence[Run], points: Sequence[TimePoint], law: Law | None, unit: str, t: Translator
) -> Section:
    """Steps to target against batch size, with the law if there is one."""
    title = t("section_steps")
    picture = steps_to_target(runs, points, law, unit, t)
    if picture is None:
        return Section("steps", title, (Text(t("steps_nothing")),))
    note = marks_note([run for run in runs if run.target is not None], runs_worth_marking(runs), t)
    blocks: list[Block] = [Text(t("steps_text")), Chart(picture, note)]
    lines = [t("method_crossing"), t("method_censored")]
    if law is None:
        return Section("steps", title, (*blocks, Text(t("no_law")), Method(tuple(lines))))
    numbers = {
        "min_steps": t.estimate(law.min_steps, t.about),
        "noise": t.estimate(law.noise_examples, t.about),
    }
    blocks.append(Text(t("law_text", **numbers)))
    if not law.holds:
        blocks.append(Text(t.reason(law.reason or "law_misfit")))
    lines.append(t("method_law", miss=t.percent(math.expm1(law.misfit))))
    return Section("steps", title, (*blocks, Method(tuple(lines), (MCCANDLISH, SHALLUE))))


def rate_section(advice: Advice, t: Translator) -> Section:
    """The best learning rate against batch size."""
    title, picture = t("section_rate"), best_rate(advice, t)
    if picture is None:
        return Section("rate", title, (Text(t("rate_nothing")),))
    blocks: list[Block] = [Text(t("rate_text")), Chart(picture)]
    if advice.law is not None:
        exponent = t.estimate(advice.law.exponent, t.about)
        rate = t.estimate(advice.law.rate, t.rate)
        blocks.append(Method((t("method_rate", exponent=exponent, rate=rate),), (MCCANDLISH, GOYAL)))
    return Section("rate", title, tuple(blocks))


def runs_section(runs: Sequence[Run], t: Translator) -> Section:
    """Learning curves, and a table of every run."""
    title = t("section_runs")
    if not runs:
        return Section("runs", title, (Text(t("runs_nothing")),))
    blocks: list[Block] = []
    if len(runs) == 1:
        pictures = (loss_curve(runs[0], t), metric_curve(runs[0], t))
        blocks.append(Charts(tuple(Chart(p, _selection_note(runs, runs, t)) for p in pictures if p is not None)))
    elif (picture := learning_curves(runs, t)) is not None:
        blocks.append(Chart(picture, _selection_note(runs, curves_worth_drawing(runs), t)))
    if not any(run.curve for run in runs):
        blocks = [Text(t("curves_nothing"))]
    blocks += [Text(text) for run in runs[:MOST_RUN_NOTES] for text in _run_notes(run, t)]
    seeds = sorted({run.seed for run in runs})
    blocks.append(Text(t("seeds", n=len(seeds), seeds=", ".join(str(seed) for seed in seeds))))
    return Section("runs", title, (*blocks, *_table(runs, t), Method((t("method_curves"), t("method_crossing")))))


def _run_notes(run: Run, t: Translator) -> list[str]:
    """Sentences about a run with replicas or a growing batch size."""
    sentences = []
    if run.replicas and run.curve and run.parallel_seconds is not None:
        scores = [member.validation_metric for member in run.replicas]
        text = t(
            "run_members",
            recipe=run.recipe,
            size=t.count(run.batch_size),
            seed=run.seed,
            n=len(scores),
            metric=t.metric(run.metric_name),
            low=t.score(min(scores)),
            high=t.score(max(scores)),
            mean=t.score(run.curve[-1].validation_metric),
            seconds=t.seconds(run.seconds),
            parallel=t.seconds(run.parallel_seconds),
        )
        sentences.append(text)
    sizes = [point.batch_size for point in run.curve if point.batch_size is not None]
    if sizes and not run.replicas:
        first, last = t.count(run.batch_size), t.count(sizes[-1])
        sentences.append(t("run_grew", recipe=run.recipe, seed=run.seed, first=first, last=last))
    return sentences


def _selection_note(runs: Sequence[Run], drawn_runs: Sequence[Run], t: Translator) -> str:
    sentences = []
    if len(drawn_runs) < len(runs):
        sentences.append(t("curves_chosen", shown=len(drawn_runs), runs=len(runs)))
    if any(len(run.curve) > MOST_POINTS for run in drawn_runs):
        sentences.append(t("curves_thinned", points=MOST_POINTS))
    return t.join(sentences)


def marks_note(runs: Sequence[Run], marked: Sequence[Run], t: Translator) -> str:
    """A note if a figure marks only some of the runs."""
    many = len(marked) >= MOST_MARKS and len(marked) < len(runs)
    return t("marks_chosen", shown=t.count(len(marked)), runs=t.count(len(runs))) if many else ""


def _table(runs: Sequence[Run], t: Translator) -> list[Block]:
    """A table of the runs, or of the best of each batch size if there are many. Options have a column if needed."""
    metric = t.metric(metric_name(runs))
    listed_runs = runs_worth_listing(runs)
    has_options = any(run.options for run in listed_runs)
    header = (
        t("batch_size"),
        t("learning_rate"),
        t("column_recipe"),
        *((t("column_options"),) if has_options else ()),
        t("column_seed"),
        t("column_outcome"),
        t("column_steps_made"),
        t("column_epochs"),
        t("column_seconds"),
        t("column_last_metric", metric=metric),
    )
    order = sorted(listed_runs, key=lambda run: (run.batch_size, run.learning_rate, run.seed))
    rows = tuple(_row(run, t, chosen=has_options) for run in order)
    left = len(runs) - len(listed_runs)
    if not left:
        return [Table(t("runs_caption", n=len(runs)), header, rows, folded=True)]
    counts = {"shown": t.count(len(listed_runs)), "left": t.count(left)}
    return [
        Text(t("runs_left_out", **counts)),
        Table(t("runs_caption_some", **counts), header, rows, folded=True),
    ]


def _row(run: Run, t: Translator, *, chosen: bool) -> tuple[Cell, ...]:
    end = run.crossing
    return (
        Cell(t.count(run.batch_size)),
        Cell(t.rate(run.learning_rate)),
        Cell(run.recipe),
        *((Cell(t.options(run.options) or "–"),) if chosen else ()),
        Cell(str(run.seed)),
        Cell(t("outcome_stopped_early" if run.pruned else f"outcome_{run.outcome}")),
        Cell(t.about(end.step if end else run.diverged_at or run.steps)),
        Cell(t.about(end.epoch if end else run.epochs)),
        Cell(t.seconds(end.seconds if end else run.seconds)),
        Cell(t.score(run.curve[-1].validation_metric) if run.curve else "–"),
    )


def closest_run(runs: Sequence[Run], target: Target | None, t: Translator) -> list[str]:
    pair = closest(runs, target)
    if pair is None:
        return []
    run, point = pair
    by_loss = target is not None and target.quantity is Quantity.VALIDATION_LOSS
    value = Target(
        quantity=Quantity.VALIDATION_LOSS if by_loss else Quantity.VALIDATION_METRIC,
        value=point.validation_loss if by_loss else point.validation_metric,
    )
    at = {"batch_size": t.count(run.batch_size), "rate": t.rate(run.learning_rate)}
    return [t("closest_run", value=t.target(value, run.metric_name), **at)]


def cautions_of_runs(runs: Sequence[Run]) -> list[str]:
    keys = ["one_seed"] if len({run.seed for run in runs}) == 1 else []
    outcomes = {run.outcome for run in runs}
    if outcomes == {Outcome.DIVERGED}:
        return [*keys, "all_diverged"]
    if any(run.target for run in runs) and Outcome.REACHED not in outcomes:
        keys.append("no_run_reached_target")
    if Outcome.DIVERGED in outcomes:
        keys.append("some_diverged")
    return [*keys, "out_of_memory"] if Outcome.OUT_OF_MEMORY in outcomes else keys


def _one_answer(run: Run, t: Translator) -> Answer:
    end = run.crossing
    at = {
        "task": run.task,
        "batch_size": t.count(run.batch_size),
        "rate": t.rate(run.learning_rate),
        "steps": t.about(end.step if end else run.diverged_at or run.steps),
        "epochs": t.about(end.epoch if end else run.epochs),
        "seconds": t.seconds(end.seconds if end else run.seconds),
        "target": t.target(run.target, run.metric_name) if run.target is not None else "",
    }
    key = "finished_without_target" if run.outcome is Outcome.FINISHED and run.target is None else str(run.outcome)
    key = "stopped_early" if run.pruned else key
    missed = [] if run.outcome is Outcome.REACHED else closest_run([run], run.target, t)
    lead = t("run_setting", recipe=run.recipe, seed=run.seed, **at)
    return Answer(t(f"run_{key}", **at), (lead, *missed))


def _answer(runs: Sequence[Run], t: Translator) -> Answer:
    reached = [run for run in runs if run.crossing is not None]
    task = runs[0].task
    if not reached:
        target = next((run.target for run in runs if run.target is not None), None)
        return Answer(t("runs_headline", task=task, n=len(runs)), tuple(closest_run(runs, target, t)))
    soonest = min(reached, key=lambda run: run.crossing.seconds if run.crossing else math.inf)
    assert soonest.crossing is not None
    headline = t("runs_reached", task=task, n=len(runs), reached=len(reached))
    at = {"batch_size": t.count(soonest.batch_size), "rate": t.rate(soonest.learning_rate)}
    return Answer(headline, (t("runs_soonest", seconds=t.seconds(soonest.crossing.seconds), **at),))


def _sections(runs: Sequence[Run], t: Translator) -> list[Section]:
    sections = [runs_section(runs, t)]
    # A run has no unit of an example.
    unit = t("example")
    if len({run.batch_size for run in runs}) > 1:
        sections.insert(0, accuracy_section(runs, unit, t))
        if any(run.target is not None for run in runs):
            sections.insert(1, steps_section(runs, (), None, unit, t))
    if any(run.noise for run in runs):
        sections.append(noise_of_runs(runs, unit, t))
    return sections


@view(Run)
class RunView(RecordView[Sequence[Run]]):
    """The runs of one task."""

    def name(self, runs: Sequence[Run], /) -> str:
        return runs[0].task

    def answer(self, runs: Sequence[Run], t: Translator, /) -> Answer:
        return _one_answer(runs[0], t) if len(runs) == 1 else _answer(runs, t)

    def parts(self, runs: Sequence[Run], t: Translator, /) -> Parts:
        return [], None, _sections(runs, t)

    def cautions(self, runs: Sequence[Run], /) -> list[str]:
        return cautions_of_runs(runs)

    def figure(self, run: Run, t: Translator, /) -> go.Figure | None:
        return both_curves(run, t)

    def provenance(self, runs: Sequence[Run], /) -> None:
        return None
