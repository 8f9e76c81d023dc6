"""Blocks of the claims on single updates and on generalization, beside the numbers of Keskar et al. 2016."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from critbatch.claims.tables import PUBLISHED, Published
from critbatch.records.claims import Claim, ClaimsReport, ClaimVerdict, NetworkPair, SummaryRow, Winner
from critbatch.records.core import Estimate, Speed
from critbatch.records.loss_surface import Box, Landscape, Sharpness, Shift, SolutionSharpness
from critbatch.reports.charts.claims import differences_picture, effects_picture, update_and_epoch
from critbatch.reports.charts.gd_paths import partition_picture, paths_picture, spread_picture
from critbatch.reports.charts.landscape import landscape_picture
from critbatch.reports.charts.loss_surface import sharpness_and_rise, sharpness_picture, shift_picture
from critbatch.reports.charts.speed import epoch_time, step_time, time_split
from critbatch.reports.charts.theme import Picture
from critbatch.reports.derived.claims import (
    ROWS,
    SIGNS,
    data_name,
    hardware_name,
    network_name,
    row_name,
    signed,
    verdict,
)
from critbatch.reports.derived.runs import timed_points
from critbatch.reports.model import DINH, KESKAR, KWON, Block, Cell, Chart, Charts, Method, Table, Text
from critbatch.reports.translator import Translator, Write
from critbatch.reports.views.common import cell, notes, setup_lines
from critbatch.reports.views.sharpness import solutions_table


def generalization_blocks(report: ClaimsReport, claim: Claim, t: Translator) -> list[Block]:
    """Table 2 of Keskar et al.: our final metrics beside the paper's, and the differences at equal training."""
    networks = report.networks
    picture = differences_picture(networks, t)
    if picture is None:
        return [Text(t("claims_no_picture"))]
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
    estimates = [
        e
        for pair in networks
        for e in (pair.small_train, pair.large_train, pair.small_validation, pair.large_validation, pair.difference)
    ]
    below = (*notes(estimates, t), t("claims_paper_note"))
    table = Table(t("claims_networks_caption"), header, rows, below, wraps=True)
    return [Chart(picture, t("claims_networks_note")), table]


def _network(pair: NetworkPair, t: Translator) -> list[tuple[Cell, ...]]:
    """One row for our results, and one for the paper."""
    sizes = t(
        "claims_network_note",
        small=t.count(pair.small_batch_size),
        large=t.count(pair.large_batch_size),
        examples=t.count(pair.examples),
        all=t.count(pair.of_examples),
    )
    measured = (pair.small_train, pair.large_train, pair.small_validation, pair.large_validation)
    ours = (
        Cell(network_name(pair), sizes),
        *(cell(estimate, t.score, t) for estimate in measured),
        cell(pair.difference, signed(t.score), t),
    )
    paper = PUBLISHED.get(pair.network)
    if paper is None:
        return [ours]
    published = (paper.train_small, paper.train_large, paper.test_small, paper.test_large)
    name = Cell(t("claims_in_paper", network=pair.network))
    return [ours, (name, *(Cell(_published(each, t)) for each in published), Cell("–"))]


def _published(paper: Published, t: Translator) -> str:
    return t("claims_published", mean=t.score(paper.mean), deviation=t.about(paper.deviation))


def minima_blocks(report: ClaimsReport, claim: Claim, t: Translator) -> list[Block]:
    """Sharpness beside the paper's table 3, the loss between solutions, and the effect of a data shift."""
    blocks: list[Block] = [
        *_of_sharpness(report, t),
        *_lines(report.lines, t),
        *_shifts(report.shifts, t),
    ]
    if not blocks:
        return [Text(t("claims_no_picture"))]
    setups = [*(each.setup for each in report.sharpness), *(each.setup for each in report.shifts)][:1]
    lines = [line for setup in setups for line in setup_lines(setup, t)]
    keys = ("method_sharpness", "method_boxes", "method_rescaling", "method_shift")
    return [*blocks, Method((*lines, *(t(key) for key in keys)), (KESKAR, DINH, KWON))]


def _of_sharpness(report: ClaimsReport, t: Translator) -> list[Block]:
    pictures = [(record, sharpness_picture(record, t)) for record in report.sharpness]
    blocks: list[Block] = [Chart(p, t("claims_of_task", task=r.setup.task)) for r, p in pictures if p is not None]
    rows = [row for record in report.sharpness for row in _sharpness_rows(record, report.networks, t)]
    if rows:
        keys = ("column_network", "column_epsilon", "column_sharp_small", "column_sharp_large", "column_times_sharper")
        header = tuple(t(key) for key in keys)
        note = (t("claims_sharpness_note"), t("claims_paper_note"))
        blocks.append(Table(t("claims_sharpness_caption"), header, tuple(rows), note, wraps=True))
    tables = [(r.solutions, r.setup, r.metric_name) for r in report.sharpness if r.solutions]
    return [*blocks, *(solutions_table(*arguments, t) for arguments in tables)]


def _sharpness_rows(record: Sharpness, networks: Sequence[NetworkPair], t: Translator) -> list[tuple[Cell, ...]]:
    """One row per epsilon: geometric means over the solutions of the smallest and the largest batch size."""
    sizes = sorted({each.solution.batch_size for each in record.solutions if each.solution.batch_size is not None})
    epsilons = {value.epsilon for each in record.solutions for value in each.values if value.box is Box.FULL}
    name = next((network_name(pair) for pair in networks if pair.task == record.setup.task), record.setup.task)
    rows: list[tuple[Cell, ...]] = []
    for epsilon in sorted(epsilons, reverse=True) if len(sizes) > 1 else ():
        values = [_mean(record.solutions, size, epsilon) for size in (sizes[0], sizes[-1])]
        texts = [t.about(value) if value is not None else "–" for value in values]
        rows.append(_sharpness_row(name, epsilon, texts, values, t))
        if name in PUBLISHED and epsilon in PUBLISHED[name].sharpness:
            paper = PUBLISHED[name].sharpness[epsilon]
            texts = [_published(each, t) for each in paper]
            beside = t("claims_in_paper", network=name)
            rows.append(_sharpness_row(beside, epsilon, texts, [each.mean for each in paper], t))
    return rows


def _sharpness_row(
    name: str, epsilon: float, texts: Sequence[str], values: Sequence[float | None], t: Translator
) -> tuple[Cell, ...]:
    small, large = values
    times = t("times", times=t.times(large / small)) if small and large else "–"
    return (Cell(name), Cell(t.rate(epsilon)), *(Cell(text) for text in texts), Cell(times))


def _mean(solutions: Sequence[SolutionSharpness], size: int, epsilon: float) -> float | None:
    values = [
        value.value.value
        for each in solutions
        if each.solution.batch_size == size
        for value in each.values
        if (value.box, value.epsilon) == (Box.FULL, epsilon) and 0 < value.value.value < math.inf
    ]
    return math.exp(fmean(map(math.log, values))) if values else None


def _lines(records: Sequence[Landscape], t: Translator) -> list[Block]:
    pictures = [(record, landscape_picture(record, t)) for record in records]
    charts = [Chart(p, t("claims_of_task", task=record.setup.task)) for record, p in pictures if p is not None]
    return [Text(t("landscape_line_text")), *charts] if charts else []


def _shifts(records: Sequence[Shift], t: Translator) -> list[Block]:
    blocks: list[Block] = []
    for record in records:
        note = t("claims_of_task", task=record.setup.task)
        pictures = (shift_picture(record, t), sharpness_and_rise(record, t))
        charts = tuple(Chart(picture, note) for picture in pictures if picture is not None)
        blocks += [Charts(charts)] if charts else []
    return [Text(t("shift_text")), *blocks] if blocks else []


# Blocks of the claims on single updates: batches, paths, time, and the summary table.


def batches_blocks(report: ClaimsReport, claim: Claim, t: Translator) -> list[Block]:
    """The batches of each example, one picture per data order, and the cost of the orders."""
    pictures = [partition_picture(partition, t) for partition in report.partitions]
    charts = tuple(Chart(picture) for picture in pictures if picture is not None)
    blocks: list[Block] = [Text(t("claims_batches_text")), Charts(charts)] if charts else [_missing(t)]
    costs = [statement for statement in claim.statements if statement.key == "order_costs"]
    if report.orders is not None and costs:
        picture = effects_picture(report, costs, t("title_orders"), t)
        blocks += [Chart(picture, t("claims_orders_note"))] if picture is not None else []
    return blocks


def paths_blocks(report: ClaimsReport, claim: Claim, t: Translator) -> list[Block]:
    """The lecture's picture of 20 examples, and the spread of the steps of each batch size."""
    if report.paths is None:
        return [_missing(t)]
    paths = report.paths
    pictures = (paths_picture(paths, t), spread_picture(paths, t))
    charts = tuple(Chart(picture) for picture in pictures if picture is not None)
    data, draws = data_name(paths.data, t), t.count(paths.draws)
    text = t("claims_paths_text", n=paths.examples, data=data, draws=draws)
    return [Text(text), Charts(charts)] if charts else [_missing(t)]


def time_blocks(report: ClaimsReport, claim: Claim, t: Translator) -> list[Block]:
    """Seconds per update and epoch on linear axes, as in the lecture, and on logarithmic ones; parts of a step."""
    speeds = [speed for speed in report.speeds if timed_points(speed)]
    linear = update_and_epoch(speeds, t, log=False)
    if linear is None:
        return [_missing(t)]
    blocks: list[Block] = [Text(t("claims_linear")), _pair(*linear)]
    if len(speeds) == 1:
        update, epoch = step_time(speeds[0], t), epoch_time(speeds[0], t)
        logarithmic = (update, epoch) if update is not None and epoch is not None else None
    else:
        logarithmic = update_and_epoch(speeds, t, log=True)
    if logarithmic is not None:
        blocks += [Text(t("claims_log")), _pair(*logarithmic)]
    splits = [(speed, time_split(speed, t)) for speed in speeds]
    parts = tuple(Chart(picture, hardware_name(speed, t)) for speed, picture in splits if picture is not None)
    blocks += [Charts(parts)] if parts else []
    return [*blocks, _times(speeds, t)]


def _pair(left: Picture, right: Picture) -> Charts:
    return Charts((Chart(left), Chart(right)))


def _times(speeds: list[Speed], t: Translator) -> Table:
    names = [hardware_name(speed, t) for speed in speeds]
    header = [t("batch_size")]
    for name in names:
        header += [t("column_update_on", hardware=name), t("column_epoch_on", hardware=name)]
    sizes = sorted({point.batch_size for speed in speeds for point in timed_points(speed)})
    rows = []
    for size in sizes:
        row = [Cell(t.count(size))]
        for speed in speeds:
            point = next((each for each in timed_points(speed) if each.batch_size == size), None)
            row.append(cell(point.step_seconds if point is not None else None, t.seconds, t))
            row.append(Cell(t.seconds(speed.epoch_seconds(point)) if point is not None else "–"))
        rows.append(tuple(row))
    table_notes = notes([point.step_seconds for speed in speeds for point in timed_points(speed)], t)
    return Table(t("claims_times_caption"), tuple(header), tuple(rows), table_notes, folded=True)


def summary_blocks(report: ClaimsReport, claim: Claim, t: Translator) -> list[Block]:
    """The lecture's last table with numbers, a mark for the winner or a tie, and the lecture's own entry."""
    if not report.summary:
        return [_missing(t)]
    rows_by_key = {row.key: row for row in report.summary}
    keys = [*ROWS, *(key for key in rows_by_key if key not in ROWS)]
    small, large = t.count(report.small_batch_size), t.count(report.large_batch_size)
    header = (
        t("column_row"),
        t("column_small", batch_size=small),
        t("column_large", batch_size=large),
        t("column_claimed"),
        t("column_agrees"),
    )
    rows = tuple(_summary_row(key, rows_by_key.get(key), t) for key in keys)
    estimates = [estimate for row in report.summary for estimate in (row.small, row.large)]
    return [
        Text(t("claims_summary_text")),
        Table(t("claims_summary_caption"), header, rows, notes(estimates, t), wraps=True),
    ]


def _summary_row(key: str, row: SummaryRow | None, t: Translator) -> tuple[Cell, ...]:
    entry = Cell(t(f"claims_entry_{key}") if key in ROWS else "–")
    if row is None or row.better is Winner.OPEN:
        holds = ClaimVerdict.UNDECIDED
    else:
        holds = ClaimVerdict.HELD if row.better is row.expected else ClaimVerdict.NOT_HELD
    write = _write(row.unit, t) if row is not None else t.about
    even = row is not None and row.better is Winner.EVEN
    return (
        Cell(row_name(key, t)),
        _side(row.small if row is not None else None, write, row is not None and row.better is Winner.SMALL, even, t),
        _side(row.large if row is not None else None, write, row is not None and row.better is Winner.LARGE, even, t),
        entry,
        Cell(_agrees(holds, t), badge=str(holds)),
    )


def _agrees(holds: ClaimVerdict, t: Translator) -> str:
    if holds is ClaimVerdict.UNDECIDED:
        return verdict(holds, t)
    return f"{SIGNS[holds]} {t('yes' if holds is ClaimVerdict.HELD else 'no')}"


def _side(estimate: Estimate | None, write: Write, wins: bool, even: bool, t: Translator) -> Cell:
    plain_cell = cell(estimate, write, t)
    marks = (t("mark_wins"),) if wins else (t("mark_even"),) if even else ()
    return Cell(plain_cell.text, plain_cell.note, marks)


def _write(unit: str, t: Translator) -> Write:
    return {"seconds": t.seconds, "metric": t.score}.get(unit, t.about)


def _missing(t: Translator) -> Text:
    return Text(t("claims_no_picture"))
