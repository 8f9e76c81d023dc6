"""The lecture's claims on generalization, in pictures and beside the numbers of Keskar et al. 2016."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from critbatch.claims.tables import PUBLISHED, Published
from critbatch.records.claims import Claim, Lecture, NetworkPair
from critbatch.records.loss_surface import Box, Landscape, Sharpness, Shift, SolutionSharpness
from critbatch.reporting.blocks import Block, Cell, Chart, Charts, Method, Table, Text
from critbatch.reporting.figures.landscape import landscape_picture
from critbatch.reporting.figures.lecture_networks import differences_picture
from critbatch.reporting.figures.sharp_rise import sharpness_and_rise
from critbatch.reporting.figures.sharpness import sharpness_picture
from critbatch.reporting.figures.shift import shift_picture
from critbatch.reporting.lecture_readings import network_name, signed
from critbatch.reporting.papers import DINH, KESKAR, KWON
from critbatch.reporting.sections.setup import cell, notes, setup_lines
from critbatch.reporting.sections.sharpness import solutions_table
from critbatch.reports.translator import Translator


def generalization_blocks(lecture: Lecture, claim: Claim, t: Translator) -> list[Block]:
    """Keskar's table 2: metrics in the end, ours beside the paper's, and the differences at equal training."""
    networks = lecture.networks
    picture = differences_picture(networks, t)
    if picture is None:
        return [Text(t("lecture_no_picture"))]
    metric = t.metric(networks[0].metric_name)
    keys = (
        "column_network",
        "column_train_small",
        "column_train_large",
        "column_validation_small",
        "column_validation_large",
        "column_equal_training",
    )
    header = tuple(t(key, metric=metric) for key in keys)
    rows = tuple(row for pair in networks for row in _network(pair, t))
    told = [
        e
        for pair in networks
        for e in (pair.small_train, pair.large_train, pair.small_validation, pair.large_validation, pair.difference)
    ]
    below = (*notes(told, t), t("lecture_paper_note"))
    table = Table(t("lecture_networks_caption"), header, rows, below, wraps=True)
    return [Chart(picture, t("lecture_networks_note")), table]


def _network(pair: NetworkPair, t: Translator) -> list[tuple[Cell, ...]]:
    """A row for what was found here, and one for the paper."""
    sizes = t(
        "lecture_network_note",
        small=t.count(pair.small_batch_size),
        large=t.count(pair.large_batch_size),
        examples=t.count(pair.examples),
        all=t.count(pair.of_examples),
    )
    found = (pair.small_train, pair.large_train, pair.small_validation, pair.large_validation)
    ours = (
        Cell(network_name(pair), sizes),
        *(cell(estimate, t.score, t) for estimate in found),
        cell(pair.difference, signed(t.score), t),
    )
    paper = PUBLISHED.get(pair.network)
    if paper is None:
        return [ours]
    told = (paper.train_small, paper.train_large, paper.test_small, paper.test_large)
    name = Cell(t("lecture_in_paper", network=pair.network))
    return [ours, (name, *(Cell(_published(each, t)) for each in told), Cell("–"))]


def _published(paper: Published, t: Translator) -> str:
    return t("lecture_published", mean=t.score(paper.mean), deviation=t.about(paper.deviation))


def minima_blocks(lecture: Lecture, claim: Claim, t: Translator) -> list[Block]:
    """Sharpness beside the paper's table 3, the lines between solutions, and what a shift does to them."""
    blocks: list[Block] = [
        *_of_sharpness(lecture, t),
        *_lines(lecture.lines, t),
        *_shifts(lecture.shifts, t),
    ]
    if not blocks:
        return [Text(t("lecture_no_picture"))]
    setups = [*(each.setup for each in lecture.sharpness), *(each.setup for each in lecture.shifts)][:1]
    lines = [line for setup in setups for line in setup_lines(setup, t)]
    keys = ("method_sharpness", "method_boxes", "method_rescaling", "method_shift")
    return [*blocks, Method((*lines, *(t(key) for key in keys)), (KESKAR, DINH, KWON))]


def _of_sharpness(lecture: Lecture, t: Translator) -> list[Block]:
    drawn = [(record, sharpness_picture(record, t)) for record in lecture.sharpness]
    blocks: list[Block] = [Chart(p, t("lecture_of_task", task=r.setup.task)) for r, p in drawn if p is not None]
    rows = [row for record in lecture.sharpness for row in _sharpness_rows(record, lecture.networks, t)]
    if rows:
        keys = ("column_network", "column_epsilon", "column_sharp_small", "column_sharp_large", "column_times_sharper")
        header = tuple(t(key) for key in keys)
        note = (t("lecture_sharpness_note"), t("lecture_paper_note"))
        blocks.append(Table(t("lecture_sharpness_caption"), header, tuple(rows), note, wraps=True))
    tables = [(r.solutions, r.setup, r.metric_name) for r in lecture.sharpness if r.solutions]
    return [*blocks, *(solutions_table(*told, t) for told in tables)]


def _sharpness_rows(record: Sharpness, networks: Sequence[NetworkPair], t: Translator) -> list[tuple[Cell, ...]]:
    """A row for each epsilon: geometric means over the solutions of the smallest and of the largest batch size."""
    sizes = sorted({each.solution.batch_size for each in record.solutions if each.solution.batch_size is not None})
    epsilons = {value.epsilon for each in record.solutions for value in each.values if value.box is Box.FULL}
    name = next((network_name(pair) for pair in networks if pair.task == record.setup.task), record.setup.task)
    rows: list[tuple[Cell, ...]] = []
    for epsilon in sorted(epsilons, reverse=True) if len(sizes) > 1 else ():
        values = [_mean(record.solutions, size, epsilon) for size in (sizes[0], sizes[-1])]
        told = [t.about(value) if value is not None else "–" for value in values]
        rows.append(_sharpness_row(name, epsilon, told, values, t))
        if name in PUBLISHED and epsilon in PUBLISHED[name].sharpness:
            paper = PUBLISHED[name].sharpness[epsilon]
            told = [_published(each, t) for each in paper]
            beside = t("lecture_in_paper", network=name)
            rows.append(_sharpness_row(beside, epsilon, told, [each.mean for each in paper], t))
    return rows


def _sharpness_row(
    name: str, epsilon: float, told: Sequence[str], values: Sequence[float | None], t: Translator
) -> tuple[Cell, ...]:
    small, large = values
    times = t("times", times=t.times(large / small)) if small and large else "–"
    return (Cell(name), Cell(t.rate(epsilon)), *(Cell(text) for text in told), Cell(times))


def _mean(solutions: Sequence[SolutionSharpness], size: int, epsilon: float) -> float | None:
    found = [
        value.value.value
        for each in solutions
        if each.solution.batch_size == size
        for value in each.values
        if (value.box, value.epsilon) == (Box.FULL, epsilon) and 0 < value.value.value < math.inf
    ]
    return math.exp(fmean(map(math.log, found))) if found else None


def _lines(records: Sequence[Landscape], t: Translator) -> list[Block]:
    drawn = [(record, landscape_picture(record, t)) for record in records]
    charts = [Chart(p, t("lecture_of_task", task=record.setup.task)) for record, p in drawn if p is not None]
    return [Text(t("landscape_line_text")), *charts] if charts else []


def _shifts(records: Sequence[Shift], t: Translator) -> list[Block]:
    blocks: list[Block] = []
    for record in records:
        note = t("lecture_of_task", task=record.setup.task)
        pictures = (shift_picture(record, t), sharpness_and_rise(record, t))
        charts = tuple(Chart(picture, note) for picture in pictures if picture is not None)
        blocks += [Charts(charts)] if charts else []
    return [Text(t("shift_text")), *blocks] if blocks else []
