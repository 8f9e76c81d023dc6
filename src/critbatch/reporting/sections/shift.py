"""What a shift of the data does: sharpness beside the rise, every number, and how they were found."""

from __future__ import annotations

from critbatch.records.loss_surface import Shift
from critbatch.reporting.blocks import Block, Cell, Chart, Method, Section, Table, Text
from critbatch.reporting.figures.sharp_rise import sharpness_and_rise
from critbatch.reporting.papers import KESKAR
from critbatch.reporting.readings_of_loss import name_of_measure, shift_name
from critbatch.reporting.sections.setup import cell, notes, setup_lines
from critbatch.reporting.sections.sharpness import solutions_table
from critbatch.reporting.subjects import name_of
from critbatch.reports.translator import Translator


def shift_section(shift: Shift, t: Translator) -> Section:
    """The rise against sharpness, rank correlations, and the tables behind them."""
    blocks: list[Block] = [Text(t("shift_text"))]
    if (picture := sharpness_and_rise(shift, t)) is not None:
        blocks.append(Chart(picture, t("shift_scatter_note")))
    if shift.predictions:
        blocks += [Text(t("shift_predicts")), _predictions(shift, t)]
    if shift.rises:
        blocks.append(_rises(shift, t))
    if shift.sharpness:
        blocks.append(solutions_table(shift.sharpness, shift.setup, shift.metric_name, t))
    lines = [*setup_lines(shift.setup, t), t("method_shift"), t("method_sharpness")]
    if shift.predictions:
        lines.append(t("method_correlation"))
    return Section("shift", t("section_shift"), (*blocks, Method(tuple(lines), (KESKAR,))))


def _predictions(shift: Shift, t: Translator) -> Table:
    rows = tuple(
        (
            Cell(name_of_measure(each.measure, t)),
            Cell(shift_name(each.shift, each.strength, t)),
            cell(each.correlation, t.about, t),
        )
        for each in shift.predictions
    )
    header = tuple(t(key) for key in ("column_measure", "column_shift", "column_correlation"))
    told = notes([each.correlation for each in shift.predictions], t)
    return Table(t("shift_predictions_caption"), header, rows, told, folded=True)


def _rises(shift: Shift, t: Translator) -> Table:
    names = {each.solution.label: name_of(each.solution, shift.setup.task, t) for each in shift.sharpness}
    rows = tuple(
        (
            Cell(names.get(rise.label, rise.label)),
            Cell(shift_name(rise.shift, rise.strength, t)),
            cell(rise.rise, t.about, t),
            Cell(t.score(rise.loss)),
            Cell(t.score(rise.metric)),
        )
        for rise in shift.rises
    )
    header = (
        *(t(key) for key in ("column_solution", "column_shift", "column_rise", "column_loss")),
        t.metric(shift.metric_name),
    )
    return Table(t("shift_caption"), header, rows, notes([rise.rise for rise in shift.rises], t), folded=True)
