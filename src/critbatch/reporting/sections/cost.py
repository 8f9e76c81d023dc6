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
from critbatch.reports.translator import Translator, Write


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


def cost_of_study(study: Study, t: Translator) -> Section:
    """Each batch size of a study at the learning rate whose median run was soonest, as measured."""
    best, title = soonest_settings(study.runs), t("section_cost")
    if not best:
        return Section("cost", title, (Text(t("cost_nothing")),))
    fastest = min(median(setting.seconds) for setting in best)
    header = ("batch_size", "column_time", "column_times", "learning_rate", "column_steps", "column_runs")
    rows = []
    for setting in best:
        steps = [run.crossing.step for run in setting.runs if run.crossing]
        soonest = median(setting.seconds) == fastest
        rows.append(
            (
                Cell(t.count(setting.batch_size), marks=(t("mark_best"),) if soonest else ()),
                _spread(setting.seconds, t.seconds, t),
                Cell(t("times", times=t.times(median(setting.seconds) / fastest))),
                Cell(t.rate(setting.learning_rate)),
                _spread(steps, t.about, t),
                Cell(t("reached_of", reached=len(setting.seconds), runs=len(setting.runs))),
            )
        )
    blocks: tuple[Block, ...] = (
        Text(t("cost_study_text")),
        Table(t("cost_caption"), tuple(t(key) for key in header), tuple(rows), (t("cost_spread"),)),
        Method((t("method_crossing"), t("method_median"))),
    )
    return Section("cost", title, blocks)


def _marks(advice: Advice, point: TimePoint, t: Translator) -> tuple[str, ...]:
    named = (("mark_best", advice.best), ("mark_current", advice.current), ("mark_largest", advice.largest))
    marks = [t(key) for key, other in named if other is not None and other.batch_size == point.batch_size]
    near = advice.within_ten_percent
    if near is not None and near[0] <= point.batch_size <= near[1] and t("mark_best") not in marks:
        marks.append(t("mark_near"))
    return tuple(marks)


def _cell(estimate: Estimate, write: Write, t: Translator) -> Cell:
    if estimate.low is None or estimate.high is None:
        return Cell(write(estimate.value), t("no_interval"))
    return Cell(write(estimate.value), t.span(estimate.low, estimate.high, write))


def _spread(values: Sequence[float], write: Write, t: Translator) -> Cell:
    note = t.span(min(values), max(values), write) if len(values) > 1 else ""
    return Cell(write(median(values)), note)
