"""Training and validation at equal epochs, equal steps and equal time: the picture, the verdicts, the numbers."""

from __future__ import annotations

from critbatch.records.core import Estimate
from critbatch.records.study import BudgetPoint, BudgetReading, Spent
from critbatch.reporting.blocks import Block, Cell, Chart, Method, Section, Table, Text
from critbatch.reporting.claims import claim, compared, ends, lag, trend
from critbatch.reporting.figures.budgets import three_budgets
from critbatch.reporting.findings import Findings
from critbatch.reporting.papers import GOYAL, KESKAR, SHALLUE
from critbatch.reporting.sections.setup import notes
from critbatch.reporting.voice import Voice

QUANTITIES = ("train_metric", "validation_metric", "train_loss", "validation_loss")


def budgets_section(findings: Findings, voice: Voice, *, drawn: bool = False) -> Section:
    """`drawn` where the picture stands elsewhere already."""
    metric = voice.metric(findings.metric_name)
    title, budgets = voice("section_budgets", metric=metric), findings.analysis.budgets
    readings = compared(budgets)
    if not readings:
        return Section("budgets", title, (Text(voice("budgets_nothing")),))
    picture = None if drawn else three_budgets(findings, voice)
    blocks: list[Block] = [Text(voice("budgets_text")), Text(voice(f"claim_{claim(budgets)}"))]
    if (key := lag(budgets)) is not None:
        blocks.append(Text(voice(key)))
    blocks += [Chart(picture)] if picture is not None else []
    # The same runs are read several times.
    lost = {(point.batch_size, point.learning_rate, repr(point.options)): point.failed for point in _points(readings)}
    failed = sum(lost.values())
    blocks += [Text(voice("budgets_failed", n=failed))] if failed else []
    blocks += [_verdicts(readings, metric, voice), _numbers(readings, metric, voice)]
    lines = (
        voice("method_budgets", metric=metric),
        voice("method_budgets_seeds"),
        voice("method_training_metric"),
    )
    return Section("budgets", title, (*blocks, Method(lines, (SHALLUE, KESKAR, GOYAL))))


def _points(readings: list[BudgetReading]) -> list[BudgetPoint]:
    return [point for reading in readings for point in reading.points]


def _verdicts(readings: list[BudgetReading], metric: str, voice: Voice) -> Table:
    """The largest batch size against the smallest, one row a comparison."""
    header = (
        voice("column_equal"),
        voice("column_rate_kind"),
        voice("column_from_to"),
        voice("column_training", metric=metric),
        voice("column_validation", metric=metric),
    )
    rows = tuple(
        (
            Cell(equal(reading, voice)),
            Cell(voice("rate_tuned" if reading.tuned else "rate_fixed")),
            Cell(_sizes(reading, voice)),
            _change(reading, "train_metric", voice),
            _change(reading, "validation_metric", voice),
        )
        for reading in readings
    )
    return Table(voice("budgets_verdicts"), header, rows)


def equal(reading: BudgetReading, voice: Voice) -> str:
    write = voice.seconds if reading.spent is Spent.SECONDS else voice.about
    return voice(f"panel_{reading.spent}", amount=write(reading.amount))


def _sizes(reading: BudgetReading, voice: Voice) -> str:
    sizes = [point.batch_size for point in reading.points]
    return voice.span(min(sizes), max(sizes), voice.count)


def _change(reading: BudgetReading, quantity: str, voice: Voice) -> Cell:
    first, last = ends(reading, quantity)
    text = voice("from_to", first=voice.score(first.value), last=voice.score(last.value))
    return Cell(text, voice(f"trend_{trend(reading, quantity)}"))


def _numbers(readings: list[BudgetReading], metric: str, voice: Voice) -> Table:
    header = (
        voice("batch_size"),
        voice("column_equal"),
        voice("column_rate_kind"),
        voice("learning_rate"),
        voice("column_train_metric", metric=metric),
        voice("column_validation_metric", metric=metric),
        voice("column_train_loss"),
        voice("column_validation_loss"),
        voice("column_seeds"),
    )
    rows = tuple(
        _row(reading, point, voice)
        for reading in readings
        for point in sorted(reading.points, key=lambda point: point.batch_size)
    )
    told = [getattr(point, name) for point in _points(readings) for name in QUANTITIES]
    return Table(voice("budgets_caption"), header, rows, notes(told, voice), folded=True)


def _row(reading: BudgetReading, point: BudgetPoint, voice: Voice) -> tuple[Cell, ...]:
    return (
        Cell(voice.count(point.batch_size)),
        Cell(equal(reading, voice)),
        Cell(voice("rate_tuned" if reading.tuned else "rate_fixed")),
        Cell(voice.rate(point.learning_rate), voice.options(point.options)),
        *(_number(getattr(point, name), voice) for name in QUANTITIES),
        Cell(voice.count(point.validation_metric.n)),
    )


def _number(estimate: Estimate, voice: Voice) -> Cell:
    return Cell(voice.score(estimate.value), voice.bounds(estimate, voice.score) or voice("no_interval"))
