"""The lecture's claims on single updates, in pictures: batches, paths, time, and the table that sums them up."""

from __future__ import annotations

from critbatch.records.claims import Better, Claim, Holds, Lecture, SummaryRow
from critbatch.records.core import Estimate, Speed
from critbatch.reporting.blocks import Block, Cell, Chart, Charts, Table, Text
from critbatch.reporting.figures.lecture_effects import effects_picture
from critbatch.reporting.figures.lecture_partition import partition_picture
from critbatch.reporting.figures.lecture_paths import paths_picture, spread_picture
from critbatch.reporting.figures.lecture_speed import update_and_epoch
from critbatch.reporting.figures.parts import time_split
from critbatch.reporting.figures.speed import epoch_time, step_time
from critbatch.reporting.figures.theme import Picture
from critbatch.reporting.lecture_readings import ROWS, SIGNS, data_name, hardware_name, row_name, verdict
from critbatch.reporting.readings import timed
from critbatch.reporting.sections.setup import cell, notes
from critbatch.reports.translator import Translator, Write


def batches_blocks(lecture: Lecture, claim: Claim, t: Translator) -> list[Block]:
    """Examples in batches, a picture for each way of shuffling, and what those cost."""
    pictures = [partition_picture(partition, t) for partition in lecture.partitions]
    charts = tuple(Chart(picture) for picture in pictures if picture is not None)
    blocks: list[Block] = [Text(t("lecture_batches_text")), Charts(charts)] if charts else [_missing(t)]
    costs = [statement for statement in claim.statements if statement.key == "order_costs"]
    if lecture.orders is not None and costs:
        picture = effects_picture(lecture, costs, t("title_orders"), t)
        blocks += [Chart(picture, t("lecture_orders_note"))] if picture is not None else []
    return blocks


def paths_blocks(lecture: Lecture, claim: Claim, t: Translator) -> list[Block]:
    """The lecture's picture of 20 examples, and how unsteady the steps of each batch size are."""
    if lecture.paths is None:
        return [_missing(t)]
    paths = lecture.paths
    pictures = (paths_picture(paths, t), spread_picture(paths, t))
    charts = tuple(Chart(picture) for picture in pictures if picture is not None)
    data, draws = data_name(paths.data, t), t.count(paths.draws)
    text = t("lecture_paths_text", n=paths.examples, data=data, draws=draws)
    return [Text(text), Charts(charts)] if charts else [_missing(t)]


def time_blocks(lecture: Lecture, claim: Claim, t: Translator) -> list[Block]:
    """Update and epoch on the lecture's linear axes, then on logarithmic ones, and where the time goes."""
    speeds = [speed for speed in lecture.speeds if timed(speed)]
    linear = update_and_epoch(speeds, t, log=False)
    if linear is None:
        return [_missing(t)]
    blocks: list[Block] = [Text(t("lecture_linear")), _pair(*linear)]
    if len(speeds) == 1:
        update, epoch = step_time(speeds[0], t), epoch_time(speeds[0], t)
        logarithmic = (update, epoch) if update is not None and epoch is not None else None
    else:
        logarithmic = update_and_epoch(speeds, t, log=True)
    if logarithmic is not None:
        blocks += [Text(t("lecture_log")), _pair(*logarithmic)]
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
    sizes = sorted({point.batch_size for speed in speeds for point in timed(speed)})
    rows = []
    for size in sizes:
        row = [Cell(t.count(size))]
        for speed in speeds:
            point = next((each for each in timed(speed) if each.batch_size == size), None)
            row.append(cell(point.step_seconds if point is not None else None, t.seconds, t))
            row.append(Cell(t.seconds(speed.epoch_seconds(point)) if point is not None else "–"))
        rows.append(tuple(row))
    told = notes([point.step_seconds for speed in speeds for point in timed(speed)], t)
    return Table(t("lecture_times_caption"), tuple(header), tuple(rows), told, folded=True)


def summary_blocks(lecture: Lecture, claim: Claim, t: Translator) -> list[Block]:
    """The lecture's last table with numbers: the winner marked, ties said, the lecture's own entry beside."""
    if not lecture.summary:
        return [_missing(t)]
    found = {row.key: row for row in lecture.summary}
    keys = [*ROWS, *(key for key in found if key not in ROWS)]
    small, large = t.count(lecture.small_batch_size), t.count(lecture.large_batch_size)
    header = (
        t("column_row"),
        t("column_small", batch_size=small),
        t("column_large", batch_size=large),
        t("column_in_lecture"),
        t("column_agrees"),
    )
    rows = tuple(_summary_row(key, found.get(key), t) for key in keys)
    told = [estimate for row in lecture.summary for estimate in (row.small, row.large)]
    return [
        Text(t("lecture_summary_text")),
        Table(t("lecture_summary_caption"), header, rows, notes(told, t), wraps=True),
    ]


def _summary_row(key: str, row: SummaryRow | None, t: Translator) -> tuple[Cell, ...]:
    entry = Cell(t(f"lecture_entry_{key}") if key in ROWS else "–")
    if row is None or row.better is Better.OPEN:
        holds = Holds.UNDECIDED
    else:
        holds = Holds.HELD if row.better is row.expected else Holds.NOT_HELD
    write = _write(row.unit, t) if row is not None else t.about
    even = row is not None and row.better is Better.EVEN
    return (
        Cell(row_name(key, t)),
        _side(row.small if row is not None else None, write, row is not None and row.better is Better.SMALL, even, t),
        _side(row.large if row is not None else None, write, row is not None and row.better is Better.LARGE, even, t),
        entry,
        Cell(_agrees(holds, t), badge=str(holds)),
    )


def _agrees(holds: Holds, t: Translator) -> str:
    if holds is Holds.UNDECIDED:
        return verdict(holds, t)
    return f"{SIGNS[holds]} {t('yes' if holds is Holds.HELD else 'no')}"


def _side(estimate: Estimate | None, write: Write, wins: bool, even: bool, t: Translator) -> Cell:
    told = cell(estimate, write, t)
    marks = (t("mark_wins"),) if wins else (t("mark_even"),) if even else ()
    return Cell(told.text, told.note, marks)


def _write(unit: str, t: Translator) -> Write:
    return {"seconds": t.seconds, "metric": t.score}.get(unit, t.about)


def _missing(t: Translator) -> Text:
    return Text(t("lecture_no_picture"))
