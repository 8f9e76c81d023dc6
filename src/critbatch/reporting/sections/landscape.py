"""The landscape of the loss: its points in numbers, and how they were found."""

from __future__ import annotations

from critbatch.records.loss_surface import Landscape
from critbatch.reporting.blocks import Block, Cell, Method, Section, Table, Text
from critbatch.reporting.papers import GOODFELLOW, KESKAR, LI
from critbatch.reporting.sections.setup import setup_lines
from critbatch.reporting.voice import Voice


def landscape_section(landscape: Landscape, voice: Voice) -> Section:
    """Along the line every point is a row; of the plane the training loss is a grid."""
    line = landscape.kind == "line"
    metric = voice.metric(landscape.metric_name)
    blocks: list[Block] = [Text(voice("landscape_line_text" if line else "landscape_plane_text"))]
    if landscape.points:
        blocks.append(_line_table(landscape, metric, voice) if line else _grid(landscape, voice))
    else:
        blocks.append(Text(voice("landscape_nothing")))
    examples = voice.count(landscape.validation_examples)
    lines = setup_lines(landscape.setup, voice)
    lines.append(voice("method_line" if line else "method_plane", metric=metric, examples=examples))
    if landscape.batch_norm_recomputed:
        lines.append(voice("method_recomputed"))
    papers = (KESKAR, GOODFELLOW) if line else (LI,)
    return Section("landscape", voice("section_landscape"), (*blocks, Method(tuple(lines), papers)))


def _line_table(landscape: Landscape, metric: str, voice: Voice) -> Table:
    names = ("column_train_loss", "column_validation_loss", "column_train_metric", "column_validation_metric")
    rows = tuple(
        (
            Cell(voice.about(point.alpha)),
            *(
                Cell(voice.score(value))
                for value in (point.train_loss, point.validation_loss, point.train_metric, point.validation_metric)
            ),
        )
        for point in sorted(landscape.points, key=lambda point: point.alpha)
    )
    header = (voice("column_alpha"), *(voice(key, metric=metric) for key in names))
    return Table(voice("landscape_caption"), header, rows, folded=True)


def _grid(landscape: Landscape, voice: Voice) -> Table:
    alphas, betas = (sorted({getattr(p, name) for p in landscape.points}) for name in ("alpha", "beta"))
    by_place = {(point.alpha, point.beta): point.train_loss for point in landscape.points}
    rows = tuple(
        (
            Cell(voice.about(beta)),
            *(Cell(voice.about(by_place[alpha, beta]) if (alpha, beta) in by_place else "–") for alpha in alphas),
        )
        for beta in betas
    )
    header = ("", *(voice.about(alpha) for alpha in alphas))
    return Table(voice("landscape_caption"), header, rows, (voice("landscape_grid_note"),), folded=True)
