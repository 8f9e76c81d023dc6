"""The chapter of a law that was fitted to a table of external runs."""

from __future__ import annotations

from critbatch.records.study import Fit, GoalPoint
from critbatch.reports.charts.study import steps_against_size
from critbatch.reports.charts.theme import Picture
from critbatch.reports.derived.runs import MOST_ROWS
from critbatch.reports.derived.study import StudyResults, findings
from critbatch.reports.model import (
    MCCANDLISH,
    Answer,
    Block,
    Cell,
    Method,
    Section,
    Table,
    Text,
    plain,
)
from critbatch.reports.translator import Translator
from critbatch.reports.views.common import Parts, RecordView, view
from critbatch.reports.views.study import (
    cautions_of_findings,
    critical_bound,
    law_sentences,
    rate_sentences,
    regime_sentences,
    size_lines,
    sizes_section,
    study_hero,
    study_tiles,
)
from critbatch.reports.views.study_law import law_section, rate_law_section

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
    """The number of points, and their table."""
    missed = sum(point.censored for point in fit.points)
    counts = {"n": len(fit.points), "reached": len(fit.points) - missed, "missed": missed}
    blocks: list[Block] = [Text(t("points_text" if missed else "points_text_all", **counts))]
    if fit.examples is not None:
        blocks.append(Text(t("points_examples", examples=t.count(fit.examples))))
    else:
        blocks.append(Text(t("points_no_examples")))
    columns = [column for column in COLUMNS if any(getattr(point, column[0]) is not None for point in fit.points)]
    points = sorted(fit.points, key=lambda point: point.batch_size)[:MOST_ROWS]
    header = (t("batch_size"), *(t(key) for _, key, _ in columns), t("column_state"))
    rows = tuple(_row(point, columns, t) for point in points)
    blocks.append(Table(t("points_caption", n=len(fit.points)), header, rows, folded=True))
    left = len(fit.points) - len(points)
    if left:
        blocks.append(Text(t("points_left_out", shown=len(points), left=left)))
    return Section("points", t("section_points"), tuple(blocks))


def _row(point: GoalPoint, columns: list[tuple[str, str, str]], t: Translator) -> tuple[Cell, ...]:
    cells = [
        Cell(getattr(t, write)(value) if (value := getattr(point, name)) is not None else "–")
        for name, _, write in columns
    ]
    state = t("state_missed" if point.censored else "state_reached")
    return Cell(t.count(point.batch_size)), *cells, Cell(state)


def predictions_section(fit: Fit, findings: StudyResults, t: Translator) -> Section:
    """Predictions for one tuned run at other batch sizes."""
    blocks: list[Block] = [Text(t("predictions_text"))]
    if not findings.law_holds:
        blocks.append(Text(t("predictions_caution")))
    method = Method((t("method_prediction"),), (MCCANDLISH,))
    return Section("predictions", t("section_predictions"), (*blocks, predictions_table(fit, t), method))


def predictions_table(fit: Fit, t: Translator) -> Table:
    """One row per requested batch size."""
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


@view(Fit)
class FitView(RecordView[Fit]):
    """A law that was fitted to a table of external runs."""

    def name(self, fit: Fit, /) -> str:
        return fit.name

    def answer(self, fit: Fit, t: Translator) -> Answer:
        """Whether the points follow the law, and the critical batch size."""
        results = findings(fit)
        assert results is not None
        critical = t.about(results.critical_size) if results.critical_size is not None else critical_bound(results, t)
        key = results.law_state if results.trade_off is not None else "none"
        if not critical and key != "fails":
            key = "none" if results.trade_off is None and results.law_reason != "constant_budget" else "unread"
        at = {"name": fit.name, "critical": critical}
        reached = len(results.reached) + results.left_out_reached
        point_count = t("fit_points", n=len(fit.points), sizes=len(results.sizes) + results.left_out, reached=reached)
        best = results.soonest
        time = best.seconds if best is not None else None
        more = [point_count, *([] if key == "none" else law_sentences(results, t)), *rate_sentences(results, t)]
        if best is not None and time is not None:
            seconds = t.estimate(time, t.seconds)
            more.append(t("fit_soonest", batch_size=t.count(best.batch_size), seconds=seconds))
        return Answer(t(f"fit_headline_{key}", **at), tuple(regime_sentences(results, t)), tuple(more))

    def parts(self, fit: Fit, t: Translator) -> Parts:
        """The points, the batch sizes, the law, the learning rates if they are known, and the predictions."""
        results = findings(fit)
        assert results is not None
        sections = [points_section(fit, t), sizes_section(results, None, "", t), law_section(results, t)]
        if any(size.learning_rate is not None for size in results.sizes):
            sections.append(rate_law_section(results, t))
        if fit.predictions:
            sections.append(predictions_section(fit, results, t))
        return study_tiles(results, t), study_hero(results, t), sections

    def cautions(self, fit: Fit, /) -> list[str]:
        results = findings(fit)
        return cautions_of_findings(results) if results is not None else []

    def figure(self, fit: Fit, t: Translator) -> Picture | None:
        results = findings(fit)
        return steps_against_size(results, t) if results is not None else None

    def lines(self, fit: Fit, t: Translator, /) -> list[str]:
        lines = size_lines(findings(fit), t)
        if lines and fit.predictions:
            table = predictions_table(fit, t)
            lines += ["", table.caption, *plain(table)]
        return lines
