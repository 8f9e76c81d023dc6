"""What each batch size costs: the table a newcomer looks for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from critbatch.records.core import Advice, Estimate, TimePoint
from critbatch.records.study import Study
from critbatch.reporting.blocks import Block, Cell, Method, Paper, Section, Table, Text
from critbatch.reporting.figures.marks import all_points
from critbatch.reporting.papers import MCCANDLISH
from critbatch.reporting.readings import soonest_settings
from critbatch.reporting.voice import Voice, Write


def cost_of_sizes(advice: Advice, voice: Voice) -> Section:
    """Every batch size with learning rate, steps, time per step and time to target."""
    points = all_points(advice)
    title = voice("section_cost")
    if not points:
        return Section("cost", title, (Text(voice("cost_nothing")),))
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
            Cell(voice.count(point.batch_size), marks=_marks(advice, point, voice)),
            _cell(point.seconds, voice.seconds, voice),
            Cell(voice("times", times=voice.times(point.seconds.value / fastest))),
            _cell(point.learning_rate, voice.rate, voice),
            _cell(point.steps, voice.about, voice),
            _cell(point.step_seconds, voice.seconds, voice),
            Cell(voice.count(point.runs) if point.runs else voice("predicted")),
        )
        for point in points
    )
    reasons = {e.reason for p in points for e in (p.learning_rate, p.steps, p.step_seconds, p.seconds)} - {""}
    levels = {e.level for p in points for e in (p.seconds, p.steps) if e.low is not None}
    notes = [voice("cost_level", level=voice.percent(level)) for level in sorted(levels)]
    notes += [voice("cost_no_interval", reason=voice.reason(key)) for key in sorted(reasons)]
    table = Table(voice("cost_caption"), tuple(voice(key) for key in header), rows, tuple(notes))
    lines = [voice("method_time"), voice("method_crossing")]
    papers: tuple[Paper, ...] = ()
    if advice.law is not None:
        lines.append(voice("method_between"))
        papers = (MCCANDLISH,)
    return Section("cost", title, (Text(voice("cost_text")), table, Method(tuple(lines), papers)))


def cost_of_study(study: Study, voice: Voice) -> Section:
    """Each batch size of a study at the learning rate whose median run was soonest, as measured."""
    best, title = soonest_settings(study.runs), voice("section_cost")
    if not best:
        return Section("cost", title, (Text(voice("cost_nothing")),))
    fastest = min(median(setting.seconds) for setting in best)
    header = ("batch_size", "column_time", "column_times", "learning_rate", "column_steps", "column_runs")
    rows = []
    for setting in best:
        steps = [run.crossing.step for run in setting.runs if run.crossing]
        soonest = median(setting.seconds) == fastest
        rows.append(
            (
                Cell(voice.count(setting.batch_size), marks=(voice("mark_best"),) if soonest else ()),
                _spread(setting.seconds, voice.seconds, voice),
                Cell(voice("times", times=voice.times(median(setting.seconds) / fastest))),
                Cell(voice.rate(setting.learning_rate)),
                _spread(steps, voice.about, voice),
                Cell(voice("reached_of", reached=len(setting.seconds), runs=len(setting.runs))),
            )
        )
    blocks: tuple[Block, ...] = (
        Text(voice("cost_study_text")),
        Table(voice("cost_caption"), tuple(voice(key) for key in header), tuple(rows), (voice("cost_spread"),)),
        Method((voice("method_crossing"), voice("method_median"))),
    )
    return Section("cost", title, blocks)


def _marks(advice: Advice, point: TimePoint, voice: Voice) -> tuple[str, ...]:
    named = (("mark_best", advice.best), ("mark_current", advice.current), ("mark_largest", advice.largest))
    marks = [voice(key) for key, other in named if other is not None and other.batch_size == point.batch_size]
    near = advice.within_ten_percent
    if near is not None and near[0] <= point.batch_size <= near[1] and voice("mark_best") not in marks:
        marks.append(voice("mark_near"))
    return tuple(marks)


def _cell(estimate: Estimate, write: Write, voice: Voice) -> Cell:
    if estimate.low is None or estimate.high is None:
        return Cell(write(estimate.value), voice("no_interval"))
    return Cell(write(estimate.value), voice.span(estimate.low, estimate.high, write))


def _spread(values: Sequence[float], write: Write, voice: Voice) -> Cell:
    note = voice.span(min(values), max(values), write) if len(values) > 1 else ""
    return Cell(write(median(values)), note)
