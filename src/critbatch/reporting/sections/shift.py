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
from critbatch.reporting.voice import Voice


def shift_section(shift: Shift, voice: Voice) -> Section:
    """The rise against sharpness, rank correlations, and the tables behind them."""
    blocks: list[Block] = [Text(voice("shift_text"))]
    if (picture := sharpness_and_rise(shift, voice)) is not None:
        blocks.append(Chart(picture, voice("shift_scatter_note")))
    if shift.predictions:
        blocks += [Text(voice("shift_predicts")), _predictions(shift, voice)]
    if shift.rises:
        blocks.append(_rises(shift, voice))
    if shift.sharpness:
        blocks.append(solutions_table(shift.sharpness, shift.setup, shift.metric_name, voice))
    lines = [*setup_lines(shift.setup, voice), voice("method_shift"), voice("method_sharpness")]
    if shift.predictions:
        lines.append(voice("method_correlation"))
    return Section("shift", voice("section_shift"), (*blocks, Method(tuple(lines), (KESKAR,))))


def _predictions(shift: Shift, voice: Voice) -> Table:
    rows = tuple(
        (
            Cell(name_of_measure(each.measure, voice)),
            Cell(shift_name(each.shift, each.strength, voice)),
            cell(each.correlation, voice.about, voice),
        )
        for each in shift.predictions
    )
    header = tuple(voice(key) for key in ("column_measure", "column_shift", "column_correlation"))
    told = notes([each.correlation for each in shift.predictions], voice)
    return Table(voice("shift_predictions_caption"), header, rows, told, folded=True)


def _rises(shift: Shift, voice: Voice) -> Table:
    names = {each.solution.label: name_of(each.solution, shift.setup.task, voice) for each in shift.sharpness}
    rows = tuple(
        (
            Cell(names.get(rise.label, rise.label)),
            Cell(shift_name(rise.shift, rise.strength, voice)),
            cell(rise.rise, voice.about, voice),
            Cell(voice.score(rise.loss)),
            Cell(voice.score(rise.metric)),
        )
        for rise in shift.rises
    )
    header = (
        *(voice(key) for key in ("column_solution", "column_shift", "column_rise", "column_loss")),
        voice.metric(shift.metric_name),
    )
    return Table(voice("shift_caption"), header, rows, notes([rise.rise for rise in shift.rises], voice), folded=True)
