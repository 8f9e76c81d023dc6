"""The landscape of the loss: its points in numbers, and how they were found."""

from __future__ import annotations

from critbatch.records.loss_surface import Landscape
from critbatch.reporting.blocks import Block, Cell, Method, Section, Table, Text
from critbatch.reporting.papers import GOODFELLOW, KESKAR, LI
from critbatch.reporting.sections.setup import setup_lines
from critbatch.reports.translator import Translator


def landscape_section(landscape: Landscape, t: Translator) -> Section:
    """Along the line every point is a row; of the plane the training loss is a grid."""
    line = landscape.kind == "line"
    metric = t.metric(landscape.metric_name)
    blocks: list[Block] = [Text(t("landscape_line_text" if line else "landscape_plane_text"))]
    if landscape.points:
        blocks.append(_line_table(landscape, metric, t) if line else _grid(landscape, t))
    else:
        blocks.append(Text(t("landscape_nothing")))
    examples = t.count(landscape.validation_examples)
    lines = setup_lines(landscape.setup, t)
    lines.append(t("method_line" if line else "method_plane", metric=metric, examples=examples))
    if landscape.batch_norm_recomputed:
        lines.append(t("method_recomputed"))
    papers = (KESKAR, GOODFELLOW) if line else (LI,)
    return Section("landscape", t("section_landscape"), (*blocks, Method(tuple(lines), papers)))


def _line_table(landscape: Landscape, metric: str, t: Translator) -> Table:
    names = ("column_train_loss", "column_validation_loss", "column_train_metric", "column_validation_metric")
    rows = tuple(
        (
            Cell(t.about(point.alpha)),
            *(
                Cell(t.score(value))
                for value in (point.train_loss, point.validation_loss, point.train_metric, point.validation_metric)
            ),
        )
        for point in sorted(landscape.points, key=lambda point: point.alpha)
    )
    header = (t("column_alpha"), *(t(key, metric=metric) for key in names))
    return Table(t("landscape_caption"), header, rows, folded=True)


def _grid(landscape: Landscape, t: Translator) -> Table:
    alphas, betas = (sorted({getattr(p, name) for p in landscape.points}) for name in ("alpha", "beta"))
    by_place = {(point.alpha, point.beta): point.train_loss for point in landscape.points}
    rows = tuple(
        (
            Cell(t.about(beta)),
            *(Cell(t.about(by_place[alpha, beta]) if (alpha, beta) in by_place else "–") for alpha in alphas),
        )
        for beta in betas
    )
    header = ("", *(t.about(alpha) for alpha in alphas))
    return Table(t("landscape_caption"), header, rows, (t("landscape_grid_note"),), folded=True)
