"""What the runs showed: the metric at equal epochs, steps to target, learning rate, curves, every run."""

from __future__ import annotations

import math
from collections.abc import Sequence

from critbatch.records.core import Advice, Law, Run, TimePoint
from critbatch.reporting.blocks import Block, Cell, Chart, Charts, Method, Section, Table, Text
from critbatch.reporting.figures.runs import accuracy, learning_curves, loss_curve, metric_curve
from critbatch.reporting.figures.steps import best_rate, steps_to_target
from critbatch.reporting.papers import GOYAL, MCCANDLISH, SHALLUE
from critbatch.reporting.readings import (
    MOST_MARKS,
    MOST_POINTS,
    curves_worth_drawing,
    metric_name,
    runs_worth_listing,
    runs_worth_marking,
    scores_at_equal_epochs,
)
from critbatch.reporting.voice import Voice

MOST_RUNS_TOLD = 12


def accuracy_section(runs: Sequence[Run], unit: str, voice: Voice) -> Section:
    """Train and validation metric against batch size after equal epochs."""
    metric = voice.metric(metric_name(runs))
    title = voice("section_accuracy", metric=metric)
    picture = accuracy(runs, unit, voice)
    if picture is None:
        return Section("accuracy", title, (Text(voice("accuracy_nothing")),))
    epoch, _ = scores_at_equal_epochs(runs)
    text = voice("accuracy_text", epochs=voice.about(epoch))
    method = Method((voice("method_accuracy"), voice("method_equal_epochs")), (SHALLUE,))
    return Section("accuracy", title, (Text(text), Chart(picture), method))


def steps_section(
    runs: Sequence[Run], points: Sequence[TimePoint], law: Law | None, unit: str, voice: Voice
) -> Section:
    """Steps to target against batch size, with the law where there is one."""
    title = voice("section_steps")
    picture = steps_to_target(runs, points, law, unit, voice)
    if picture is None:
        return Section("steps", title, (Text(voice("steps_nothing")),))
    note = marks_note([run for run in runs if run.target is not None], runs_worth_marking(runs), voice)
    blocks: list[Block] = [Text(voice("steps_text")), Chart(picture, note)]
    lines = [voice("method_crossing"), voice("method_censored")]
    if law is None:
        return Section("steps", title, (*blocks, Text(voice("no_law")), Method(tuple(lines))))
    numbers = {
        "min_steps": voice.estimate(law.min_steps, voice.about),
        "noise": voice.estimate(law.noise_examples, voice.about),
    }
    blocks.append(Text(voice("law_text", **numbers)))
    if not law.holds:
        blocks.append(Text(voice.reason(law.reason or "law_misfit")))
    lines.append(voice("method_law", miss=voice.percent(math.expm1(law.misfit))))
    return Section("steps", title, (*blocks, Method(tuple(lines), (MCCANDLISH, SHALLUE))))


def rate_section(advice: Advice, voice: Voice) -> Section:
    """The best learning rate against batch size."""
    title, picture = voice("section_rate"), best_rate(advice, voice)
    if picture is None:
        return Section("rate", title, (Text(voice("rate_nothing")),))
    blocks: list[Block] = [Text(voice("rate_text")), Chart(picture)]
    if advice.law is not None:
        exponent = voice.estimate(advice.law.exponent, voice.about)
        rate = voice.estimate(advice.law.rate, voice.rate)
        blocks.append(Method((voice("method_rate", exponent=exponent, rate=rate),), (MCCANDLISH, GOYAL)))
    return Section("rate", title, tuple(blocks))


def runs_section(runs: Sequence[Run], voice: Voice) -> Section:
    """Learning curves, and a table of every run."""
    title = voice("section_runs")
    if not runs:
        return Section("runs", title, (Text(voice("runs_nothing")),))
    blocks: list[Block] = []
    if len(runs) == 1:
        pictures = (loss_curve(runs[0], voice), metric_curve(runs[0], voice))
        blocks.append(Charts(tuple(Chart(p, _thinned(runs, runs, voice)) for p in pictures if p is not None)))
    elif (picture := learning_curves(runs, voice)) is not None:
        blocks.append(Chart(picture, _thinned(runs, curves_worth_drawing(runs), voice)))
    if not any(run.curve for run in runs):
        blocks = [Text(voice("curves_nothing"))]
    blocks += [Text(text) for run in runs[:MOST_RUNS_TOLD] for text in _told(run, voice)]
    seeds = sorted({run.seed for run in runs})
    blocks.append(Text(voice("seeds", n=len(seeds), seeds=", ".join(str(seed) for seed in seeds))))
    return Section(
        "runs", title, (*blocks, *_table(runs, voice), Method((voice("method_curves"), voice("method_crossing"))))
    )


def _told(run: Run, voice: Voice) -> list[str]:
    """What is to be said of a run that was no plain one: its copies, and how its batch grew."""
    told = []
    if run.members and run.curve and run.parallel_seconds is not None:
        scores = [member.validation_metric for member in run.members]
        text = voice(
            "run_members",
            recipe=run.recipe,
            size=voice.count(run.batch_size),
            seed=run.seed,
            n=len(scores),
            metric=voice.metric(run.metric_name),
            low=voice.score(min(scores)),
            high=voice.score(max(scores)),
            mean=voice.score(run.curve[-1].validation_metric),
            seconds=voice.seconds(run.seconds),
            parallel=voice.seconds(run.parallel_seconds),
        )
        told.append(text)
    sizes = [point.batch_size for point in run.curve if point.batch_size is not None]
    if sizes and not run.members:
        first, last = voice.count(run.batch_size), voice.count(sizes[-1])
        told.append(voice("run_grew", recipe=run.recipe, seed=run.seed, first=first, last=last))
    return told


def _thinned(runs: Sequence[Run], drawn: Sequence[Run], voice: Voice) -> str:
    told = []
    if len(drawn) < len(runs):
        told.append(voice("curves_chosen", shown=len(drawn), runs=len(runs)))
    if any(len(run.curve) > MOST_POINTS for run in drawn):
        told.append(voice("curves_thinned", points=MOST_POINTS))
    return (" " if voice.language == "en" else "").join(told)


def marks_note(runs: Sequence[Run], marked: Sequence[Run], voice: Voice) -> str:
    """Says so where a figure marks some of many runs."""
    many = len(marked) >= MOST_MARKS and len(marked) < len(runs)
    return voice("marks_chosen", shown=voice.count(len(marked)), runs=voice.count(len(runs))) if many else ""


def _table(runs: Sequence[Run], voice: Voice) -> list[Block]:
    """The runs, or where they are many the best of each batch size; their options where any has some."""
    metric = voice.metric(metric_name(runs))
    listed = runs_worth_listing(runs)
    chosen = any(run.options for run in listed)
    header = (
        voice("batch_size"),
        voice("learning_rate"),
        voice("column_recipe"),
        *((voice("column_options"),) if chosen else ()),
        voice("column_seed"),
        voice("column_outcome"),
        voice("column_steps_made"),
        voice("column_epochs"),
        voice("column_seconds"),
        voice("column_last_metric", metric=metric),
    )
    order = sorted(listed, key=lambda run: (run.batch_size, run.learning_rate, run.seed))
    rows = tuple(_row(run, voice, chosen=chosen) for run in order)
    left = len(runs) - len(listed)
    if not left:
        return [Table(voice("runs_caption", n=len(runs)), header, rows, folded=True)]
    shown = {"shown": voice.count(len(listed)), "left": voice.count(left)}
    return [
        Text(voice("runs_left_out", **shown)),
        Table(voice("runs_caption_some", **shown), header, rows, folded=True),
    ]


def _row(run: Run, voice: Voice, *, chosen: bool) -> tuple[Cell, ...]:
    end = run.crossing
    return (
        Cell(voice.count(run.batch_size)),
        Cell(voice.rate(run.learning_rate)),
        Cell(run.recipe),
        *((Cell(voice.options(run.options) or "–"),) if chosen else ()),
        Cell(str(run.seed)),
        Cell(voice("outcome_stopped_early" if run.stopped_early else f"outcome_{run.outcome}")),
        Cell(voice.about(end.step if end else run.diverged_at or run.steps)),
        Cell(voice.about(end.epoch if end else run.epochs)),
        Cell(voice.seconds(end.seconds if end else run.seconds)),
        Cell(voice.score(run.curve[-1].validation_metric) if run.curve else "–"),
    )
