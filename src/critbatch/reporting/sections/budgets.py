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
from critbatch.reports.translator import Translator

QUANTITIES = ("train_metric", "validation_metric", "train_loss", "validation_loss")


def budgets_section(findings: Findings, t: Translator, *, drawn: bool = False) -> Section:
    """`drawn` where the picture stands elsewhere already."""
    metric = t.metric(findings.metric_name)
    title, budgets = t("section_budgets", metric=metric), findings.analysis.budgets
    readings = compared(budgets)
    if not readings:
        return Section("budgets", title, (Text(t("budgets_nothing")),))
    picture = None if drawn else three_budgets(findings, t)
    blocks: list[Block] = [Text(t("budgets_text")), Text(t(f"claim_{claim(budgets)}"))]
    if (key := lag(budgets)) is not None:
        blocks.append(Text(t(key)))
    blocks += [Chart(picture)] if picture is not None else []
    # The same runs are read several times.
    lost = {(point.batch_size, point.learning_rate, repr(point.options)): point.failed for point in _points(readings)}
    failed = sum(lost.values())
    blocks += [Text(t("budgets_failed", n=failed))] if failed else []
    blocks += [_verdicts(readings, metric, t), _numbers(readings, metric, t)]
    lines = (
        t("method_budgets", metric=metric),
        t("method_budgets_seeds"),
        t("method_training_metric"),
    )
    return Section("budgets", title, (*blocks, Method(lines, (SHALLUE, KESKAR, GOYAL))))


def _points(readings: list[BudgetReading]) -> list[BudgetPoint]:
    return [point for reading in readings for point in reading.points]


def _verdicts(readings: list[BudgetReading], metric: str, t: Translator) -> Table:
    """The largest batch size against the smallest, one row a comparison."""
    header = (
        t("column_equal"),
        t("column_rate_kind"),
        t("column_from_to"),
        t("column_training", metric=metric),
        t("column_validation", metric=metric),
    )
    rows = tuple(
        (
            Cell(equal(reading, t)),
            Cell(t("rate_tuned" if reading.tuned else "rate_fixed")),
            Cell(_sizes(reading, t)),
            _change(reading, "train_metric", t),
            _change(reading, "validation_metric", t),
        )
        for reading in readings
    )
    return Table(t("budgets_verdicts"), header, rows)


def equal(reading: BudgetReading, t: Translator) -> str:
    write = t.seconds if reading.spent is Spent.SECONDS else t.about
    return t(f"panel_{reading.spent}", amount=write(reading.amount))


def _sizes(reading: BudgetReading, t: Translator) -> str:
    sizes = [point.batch_size for point in reading.points]
    return t.span(min(sizes), max(sizes), t.count)


def _change(reading: BudgetReading, quantity: str, t: Translator) -> Cell:
    first, last = ends(reading, quantity)
    text = t("from_to", first=t.score(first.value), last=t.score(last.value))
    return Cell(text, t(f"trend_{trend(reading, quantity)}"))


def _numbers(readings: list[BudgetReading], metric: str, t: Translator) -> Table:
    header = (
        t("batch_size"),
        t("column_equal"),
        t("column_rate_kind"),
        t("learning_rate"),
        t("column_train_metric", metric=metric),
        t("column_validation_metric", metric=metric),
        t("column_train_loss"),
        t("column_validation_loss"),
        t("column_seeds"),
    )
    rows = tuple(
        _row(reading, point, t)
        for reading in readings
        for point in sorted(reading.points, key=lambda point: point.batch_size)
    )
    told = [getattr(point, name) for point in _points(readings) for name in QUANTITIES]
    return Table(t("budgets_caption"), header, rows, notes(told, t), folded=True)


def _row(reading: BudgetReading, point: BudgetPoint, t: Translator) -> tuple[Cell, ...]:
    return (
        Cell(t.count(point.batch_size)),
        Cell(equal(reading, t)),
        Cell(t("rate_tuned" if reading.tuned else "rate_fixed")),
        Cell(t.rate(point.learning_rate), t.options(point.options)),
        *(_number(getattr(point, name), t) for name in QUANTITIES),
        Cell(t.count(point.validation_metric.n)),
    )


def _number(estimate: Estimate, t: Translator) -> Cell:
    return Cell(t.score(estimate.value), t.bounds(estimate, t.score) or t("no_interval"))
