"""The points that a fit was made from, and what its law predicts."""

from __future__ import annotations

from critbatch.records.study import Fit, GoalPoint
from critbatch.reporting.blocks import Block, Cell, Method, Section, Table, Text
from critbatch.reporting.findings import Findings
from critbatch.reporting.papers import MCCANDLISH
from critbatch.reporting.readings import MOST_ROWS
from critbatch.reporting.voice import Voice

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


def points_section(fit: Fit, voice: Voice) -> Section:
    """How many points there are, and the table of them."""
    missed = sum(point.censored for point in fit.points)
    counts = {"n": len(fit.points), "reached": len(fit.points) - missed, "missed": missed}
    blocks: list[Block] = [Text(voice("points_text" if missed else "points_text_all", **counts))]
    if fit.examples is not None:
        blocks.append(Text(voice("points_examples", examples=voice.count(fit.examples))))
    else:
        blocks.append(Text(voice("points_no_examples")))
    told = [column for column in COLUMNS if any(getattr(point, column[0]) is not None for point in fit.points)]
    shown = sorted(fit.points, key=lambda point: point.batch_size)[:MOST_ROWS]
    header = (voice("batch_size"), *(voice(key) for _, key, _ in told), voice("column_state"))
    rows = tuple(_row(point, told, voice) for point in shown)
    blocks.append(Table(voice("points_caption", n=len(fit.points)), header, rows, folded=True))
    left = len(fit.points) - len(shown)
    if left:
        blocks.append(Text(voice("points_left_out", shown=len(shown), left=left)))
    return Section("points", voice("section_points"), tuple(blocks))


def _row(point: GoalPoint, told: list[tuple[str, str, str]], voice: Voice) -> tuple[Cell, ...]:
    cells = [
        Cell(getattr(voice, write)(value) if (value := getattr(point, name)) is not None else "–")
        for name, _, write in told
    ]
    state = voice("state_missed" if point.censored else "state_reached")
    return Cell(voice.count(point.batch_size)), *cells, Cell(state)


def predictions_section(fit: Fit, findings: Findings, voice: Voice) -> Section:
    """What one tuned run at other sizes would take."""
    blocks: list[Block] = [Text(voice("predictions_text"))]
    if not findings.law_holds:
        blocks.append(Text(voice("predictions_caution")))
    method = Method((voice("method_prediction"),), (MCCANDLISH,))
    return Section("predictions", voice("section_predictions"), (*blocks, predictions_table(fit, voice), method))


def predictions_table(fit: Fit, voice: Voice) -> Table:
    """A row for each size that was asked for."""
    header = ("batch_size", "column_predicted_steps", "column_epochs", "column_interval")
    rows = tuple(
        (
            Cell(voice.count(each.batch_size)),
            Cell(voice.about(each.steps) if each.steps is not None else "–"),
            Cell(voice.about(each.epochs) if each.epochs is not None else "–"),
            Cell(voice("interval", level=voice.percent(each.level), span=voice.span(each.low, each.high, voice.about))),
        )
        for each in fit.predictions
    )
    return Table(voice("predictions_caption"), tuple(voice(key) for key in header), rows)
