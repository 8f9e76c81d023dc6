"""The points that a fit was made from, and what its law predicts."""

from __future__ import annotations

from critbatch.records.study import Fit, GoalPoint
from critbatch.reporting.blocks import Block, Cell, Method, Section, Table, Text
from critbatch.reporting.findings import Findings
from critbatch.reporting.papers import MCCANDLISH
from critbatch.reporting.readings import MOST_ROWS
from critbatch.reports.translator import Translator

# Columns that only some files have: the field, the head, how its numbers are written.
COLUMNS = (
    ("steps", "column_steps_made", "about"),
    ("epochs", "column_epochs", "about"),
    ("examples", "column_examples", "about"),
    ("learning_rate", "learning_rate", "rate"),
    ("seed", "column_seed", "count"),
    ("devices", "column_devices", "count"),
    ("step_seconds", "column_step", "seconds"),
)


def points_section(fit: Fit, t: Translator) -> Section:
    """How many points there are, and the table of them."""
    missed = sum(point.censored for point in fit.points)
    counts = {"n": len(fit.points), "reached": len(fit.points) - missed, "missed": missed}
    blocks: list[Block] = [Text(t("points_text" if missed else "points_text_all", **counts))]
    if fit.examples is not None:
        blocks.append(Text(t("points_examples", examples=t.count(fit.examples))))
    else:
        blocks.append(Text(t("points_no_examples")))
    told = [column for column in COLUMNS if any(getattr(point, column[0]) is not None for point in fit.points)]
    shown = sorted(fit.points, key=lambda point: point.batch_size)[:MOST_ROWS]
    header = (t("batch_size"), *(t(key) for _, key, _ in told), t("column_state"))
    rows = tuple(_row(point, told, t) for point in shown)
    blocks.append(Table(t("points_caption", n=len(fit.points)), header, rows, folded=True))
    left = len(fit.points) - len(shown)
    if left:
        blocks.append(Text(t("points_left_out", shown=len(shown), left=left)))
    return Section("points", t("section_points"), tuple(blocks))


def _row(point: GoalPoint, told: list[tuple[str, str, str]], t: Translator) -> tuple[Cell, ...]:
    cells = [
        Cell(getattr(t, write)(value) if (value := getattr(point, name)) is not None else "–")
        for name, _, write in told
    ]
    state = t("state_missed" if point.censored else "state_reached")
    return Cell(t.count(point.batch_size)), *cells, Cell(state)


def predictions_section(fit: Fit, findings: Findings, t: Translator) -> Section:
    """What one tuned run at other sizes would take."""
    blocks: list[Block] = [Text(t("predictions_text"))]
    if not findings.law_holds:
        blocks.append(Text(t("predictions_caution")))
    method = Method((t("method_prediction"),), (MCCANDLISH,))
    return Section("predictions", t("section_predictions"), (*blocks, predictions_table(fit, t), method))


def predictions_table(fit: Fit, t: Translator) -> Table:
    """A row for each size that was asked for."""
    header = ("batch_size", "column_predicted_steps", "column_epochs", "column_interval")
    rows = tuple(
        (
            Cell(t.count(each.batch_size)),
            Cell(t.about(each.steps) if each.steps is not None else "–"),
            Cell(t.about(each.epochs) if each.epochs is not None else "–"),
            Cell(t("interval", level=t.percent(each.level), span=t.span(each.low, each.high, t.about))),
        )
        for each in fit.predictions
    )
    return Table(t("predictions_caption"), tuple(t(key) for key in header), rows)
