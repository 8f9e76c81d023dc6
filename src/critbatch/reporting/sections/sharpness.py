"""Sharpness: every solution in numbers, and how they were found."""

from __future__ import annotations

from collections.abc import Sequence

from critbatch.records.loss_surface import Setup, Sharpness, SolutionSharpness
from critbatch.reporting.blocks import Block, Cell, Method, Section, Table, Text
from critbatch.reporting.papers import DINH, KESKAR, KWON
from critbatch.reporting.readings_of_loss import measure_name
from critbatch.reporting.sections.setup import cell, notes, setup_lines
from critbatch.reporting.subjects import name_of
from critbatch.reports.translator import Translator


def sharpness_section(sharpness: Sharpness, t: Translator) -> Section:
    """What sharpness is, the table of the solutions, and the method."""
    blocks: list[Block] = [Text(t("sharpness_text"))]
    if sharpness.solutions:
        blocks.append(solutions_table(sharpness.solutions, sharpness.setup, sharpness.metric_name, t))
    keys = ("method_sharpness", "method_boxes", "method_rescaling")
    lines = (*setup_lines(sharpness.setup, t), *(t(key) for key in keys))
    return Section("sharpness", t("section_sharpness"), (*blocks, Method(lines, (KESKAR, DINH, KWON))))


def solutions_table(solutions: Sequence[SolutionSharpness], setup: Setup, metric_name: str, t: Translator) -> Table:
    """One row a solution: its losses, its metrics, every sharpness, and the ends of its spectrum."""
    boxes = list(
        dict.fromkeys(measure_name(value.box, value.epsilon, t) for each in solutions for value in each.values)
    )
    metric = t.metric(metric_name)
    names = ("column_train_loss", "column_validation_loss", "column_train_metric", "column_validation_metric")
    spectrum = any(each.largest is not None or each.trace is not None for each in solutions)
    header = (
        t("column_solution"),
        *boxes,
        *((t("measure_largest"), t("measure_trace")) if spectrum else ()),
        *(t(key, metric=metric) for key in names),
    )
    rows = []
    for each in solutions:
        by_box = {measure_name(value.box, value.epsilon, t): value.value for value in each.values}
        ends = []
        if spectrum:
            ends = [
                Cell(t.score(each.largest.value), t.within(each.largest)) if each.largest else Cell("–"),
                cell(each.trace, t.score, t),
            ]
        scores = (each.loss, each.validation_loss, each.metric, each.validation_metric)
        rows.append(
            (
                Cell(name_of(each.solution, setup.task, t)),
                *(cell(by_box.get(box), t.about, t) for box in boxes),
                *ends,
                *(Cell(t.score(score)) for score in scores),
            )
        )
    told = [value.value for each in solutions for value in each.values]
    return Table(
        t("sharpness_caption"),
        header,
        tuple(rows),
        notes([*told, *(e.trace for e in solutions)], t),
        folded=True,
    )
