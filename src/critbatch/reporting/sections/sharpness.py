"""Sharpness: every solution in numbers, and how they were found."""

from __future__ import annotations

from collections.abc import Sequence

from critbatch.records.loss_surface import Setup, Sharpness, SolutionSharpness
from critbatch.reporting.blocks import Block, Cell, Method, Section, Table, Text
from critbatch.reporting.papers import DINH, KESKAR, KWON
from critbatch.reporting.readings_of_loss import measure_name
from critbatch.reporting.sections.setup import cell, notes, setup_lines
from critbatch.reporting.subjects import name_of
from critbatch.reporting.voice import Voice


def sharpness_section(sharpness: Sharpness, voice: Voice) -> Section:
    """What sharpness is, the table of the solutions, and the method."""
    blocks: list[Block] = [Text(voice("sharpness_text"))]
    if sharpness.solutions:
        blocks.append(solutions_table(sharpness.solutions, sharpness.setup, sharpness.metric_name, voice))
    keys = ("method_sharpness", "method_boxes", "method_rescaling")
    lines = (*setup_lines(sharpness.setup, voice), *(voice(key) for key in keys))
    return Section("sharpness", voice("section_sharpness"), (*blocks, Method(lines, (KESKAR, DINH, KWON))))


def solutions_table(solutions: Sequence[SolutionSharpness], setup: Setup, metric_name: str, voice: Voice) -> Table:
    """One row a solution: its losses, its metrics, every sharpness, and the ends of its spectrum."""
    boxes = list(
        dict.fromkeys(measure_name(value.box, value.epsilon, voice) for each in solutions for value in each.values)
    )
    metric = voice.metric(metric_name)
    names = ("column_train_loss", "column_validation_loss", "column_train_metric", "column_validation_metric")
    spectrum = any(each.largest is not None or each.trace is not None for each in solutions)
    header = (
        voice("column_solution"),
        *boxes,
        *((voice("measure_largest"), voice("measure_trace")) if spectrum else ()),
        *(voice(key, metric=metric) for key in names),
    )
    rows = []
    for each in solutions:
        by_box = {measure_name(value.box, value.epsilon, voice): value.value for value in each.values}
        ends = []
        if spectrum:
            ends = [
                Cell(voice.score(each.largest.value), voice.within(each.largest)) if each.largest else Cell("–"),
                cell(each.trace, voice.score, voice),
            ]
        scores = (each.loss, each.validation_loss, each.metric, each.validation_metric)
        rows.append(
            (
                Cell(name_of(each.solution, setup.task, voice)),
                *(cell(by_box.get(box), voice.about, voice) for box in boxes),
                *ends,
                *(Cell(voice.score(score)) for score in scores),
            )
        )
    told = [value.value for each in solutions for value in each.values]
    return Table(
        voice("sharpness_caption"),
        header,
        tuple(rows),
        notes([*told, *(e.trace for e in solutions)], voice),
        folded=True,
    )
