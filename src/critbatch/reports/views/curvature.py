"""The chapters of curvature, critical points and escapes."""

from __future__ import annotations

import math

from critbatch.records.loss_surface import (
    CriticalPoint,
    Curvature,
    Escape,
    EscapeCount,
    Matrix,
    PointType,
)
from critbatch.reports.charts.loss_surface import (
    critical_picture,
    curvature_picture,
    escape_picture,
    has_density,
    kernel_width,
)
from critbatch.reports.charts.noise import has_signal
from critbatch.reports.charts.theme import Picture
from critbatch.reports.derived.loss_surface import name_of
from critbatch.reports.model import (
    DAUPHIN,
    DINH,
    GHORBANI,
    KESKAR,
    MCCANDLISH,
    MEYER,
    Answer,
    Block,
    Cell,
    Method,
    Section,
    Table,
    Text,
    Tile,
)
from critbatch.reports.translator import Translator
from critbatch.reports.views.common import (
    MOST_TILES,
    Parts,
    RecordView,
    cell,
    chart,
    eigenvalue_tile,
    notes,
    open_eigenvalues,
    open_reasons_of,
    setup_lines,
    tile,
    view,
)


def curvature_section(curvature: Curvature, t: Translator) -> Section:
    """An introduction to eigenvalues, the table, and the method."""
    blocks: list[Block] = [Text(t("curvature_text"))]
    blocks += [Text(t("curvature_no_density"))] if not has_density(curvature) else []
    blocks += [Text(t("curvature_no_trace"))] if curvature.trace is None else []
    rows = tuple(
        (
            Cell(t(key, number=i + 1)),
            Cell(t.score(each.value)),
            Cell(t.residual(each)),
            Cell(t("yes" if each.converged else "no" if each.placed else "no_place")),
        )
        for key, ends in (("row_largest", curvature.largest), ("row_smallest", curvature.smallest))
        for i, each in enumerate(ends)
    )
    header = tuple(t(key) for key in ("column_eigenvalue", "column_value", "column_residual", "column_converged"))
    if rows:
        blocks.append(Table(t("curvature_caption"), header, rows, folded=True))
    return Section("curvature", t("section_curvature"), (*blocks, _method(curvature, t)))


def _method(curvature: Curvature, t: Translator) -> Method:
    lines = setup_lines(curvature.setup, t)
    lines.append(t("method_by_differences" if curvature.method == "differences" else "method_by_autograd"))
    if curvature.matrix is Matrix.GAUSS_NEWTON:
        lines.append(t("method_gauss_newton"))
    lines.append(t("method_residual", products=t.count(curvature.products)))
    papers = [DINH]
    if curvature.trace is not None:
        lines.append(t("method_trace"))
        papers.append(MEYER)
    density = curvature.density
    if density is not None and has_density(curvature):
        width = t.rate(kernel_width(density))
        lines.append(t("method_density", probes=density.probes, steps=density.steps, width=width))
        papers.append(GHORBANI)
    return Method((*lines, t("method_rescaling")), tuple(papers))


# Sections of a critical point and of an escape experiment.

# Number of examples on which the steps of single batches are measured.
EXAMPLES_OF_A_STEP = 1000


def critical_section(point: CriticalPoint, t: Translator) -> Section:
    """The measurements behind the verdict."""
    blocks: list[Block] = [Text(t("critical_text"))]
    rows = tuple(
        (
            Cell(t.count(each.batch_size)),
            Cell(t.about(each.median)),
            Cell(t.span(*each.quartiles, t.about)),
            Cell(t.percent(each.descending)),
            Cell(t.count(each.n)),
        )
        for each in point.batches
    )
    if rows:
        keys = ("batch_size", "column_median_norm", "column_quartiles", "column_descending", "column_n")
        header = tuple(t(key) for key in keys)
        blocks.append(Table(t("critical_caption"), header, rows, folded=True))
    else:
        blocks.append(Text(t("critical_nothing")))
    few = t.count(min(point.setup.examples, EXAMPLES_OF_A_STEP))
    lines = (
        *setup_lines(point.setup, t),
        t("method_standing"),
        t("method_seen_ends"),
        t("method_batch_steps", examples=few),
    )
    return Section("critical", t("section_critical"), (*blocks, Method(lines, (DAUPHIN, MCCANDLISH))))


def escape_section(escape: Escape, t: Translator) -> Section:
    """The fate of the starts at each batch size."""
    blocks: list[Block] = [Text(t("escape_text", drop=t.percent(escape.drop)))]
    rows = tuple(
        (
            Cell(t.count(count.batch_size)),
            cell(count.share, t.percent, t),
            Cell(t("escapes_of", escapes=count.escapes, starts=count.share.n)),
            cell(count.steps, t.count, t),
            cell(count.loss, t.score, t),
        )
        for count in sorted(escape.counts, key=lambda count: count.batch_size)
    )
    if rows:
        keys = ("batch_size", "column_escaped", "column_starts", "column_median_steps", "column_median_loss")
        table_notes = notes([e for count in escape.counts for e in (count.share, count.steps, count.loss)], t)
        blocks.append(Table(t("escape_caption"), tuple(t(key) for key in keys), rows, table_notes, folded=True))
    descent = t.count(escape.descent_steps)
    lines = (t("method_escape", starts=t.count(escape.starts), descent=descent), t("method_same_starts"))
    return Section("escape", t("section_escape"), (*blocks, Method(lines, (KESKAR, DAUPHIN))))


# A reader remembers no more tiles than this.


# Cautions and views.


def _of_escape(escape: Escape) -> list[str]:
    keys = ["starts_descending"] if escape.standings.get(PointType.DESCENDING, 0) else []
    if not all(math.isfinite(loss) for loss in escape.start_losses):
        keys.append("not_finite")
    return keys + open_reasons_of(e for count in escape.counts for e in (count.share, count.steps, count.loss))


def _apart(higher: EscapeCount, lower: EscapeCount) -> bool:
    return higher.share.low is not None and lower.share.high is not None and higher.share.low > lower.share.high


@view(Curvature)
class CurvatureView(RecordView[Curvature]):
    """The extreme eigenvalues at a point, the spectral density and the trace."""

    of_loss_surface = True

    def name(self, curvature: Curvature, /) -> str:
        return curvature.setup.task

    def answer(self, curvature: Curvature, t: Translator) -> Answer:
        task = curvature.setup.task
        at = {"task": task, "label": name_of(curvature.solution, task, t)}
        point = t(
            "curvature_point",
            loss=t.score(curvature.loss),
            norm=t.about(curvature.gradient_norm),
            examples=t.count(curvature.setup.examples),
        )
        if not curvature.largest:
            return Answer(t("curvature_none", **at), (point,))
        largest = curvature.largest[0]
        lead = []
        if curvature.matrix is Matrix.GAUSS_NEWTON:
            lead.append(t("curvature_gauss_newton"))
        elif curvature.smallest:
            smallest = curvature.smallest[0]
            text = t.eigenvalue(smallest)
            up, down = smallest.value > smallest.residual, -smallest.value > smallest.residual
            lead.append(t("curvature_down" if down else "curvature_up" if up else "curvature_open", smallest=text))
        more = [point]
        if curvature.trace is not None:
            trace = t.estimate(curvature.trace, t.score)
            more.append(t("curvature_trace", parameters=t.count(curvature.setup.parameters), trace=trace))
        if largest.value > largest.residual:
            more.append(t("curvature_rate", rate=t.rate(2 / largest.value)))
        headline = t("curvature_headline", largest=t.eigenvalue(largest), **at)
        return Answer(headline, tuple(lead), tuple(more))

    def parts(self, curvature: Curvature, t: Translator) -> Parts:
        tiles = [eigenvalue_tile("tile_largest_eigenvalue", each, t) for each in curvature.largest[:1]]
        tiles += [eigenvalue_tile("tile_smallest_eigenvalue", each, t) for each in curvature.smallest[:1]]
        if curvature.trace is not None:
            tiles.append(tile(t("tile_trace"), curvature.trace, t.score, t))
        over = t("tile_examples", examples=t.count(curvature.setup.examples))
        tiles.append(Tile(t("tile_loss"), t.score(curvature.loss), over))
        note = t("hero_note_density" if has_density(curvature) else "hero_note_eigenvalues")
        return tiles, chart(curvature_picture(curvature, t), note), [curvature_section(curvature, t)]

    def cautions(self, curvature: Curvature, /) -> list[str]:
        keys = [*open_eigenvalues((*curvature.largest, *curvature.smallest)), *open_reasons_of([curvature.trace])]
        return [*keys, "scale_of_weights", "one_task"]

    def figure(self, curvature: Curvature, t: Translator, /) -> Picture | None:
        return curvature_picture(curvature, t)


@view(CriticalPoint)
class CriticalPointView(RecordView[CriticalPoint]):
    """The type of a critical point."""

    of_loss_surface = True

    def name(self, point: CriticalPoint, /) -> str:
        return point.setup.task

    def answer(self, point: CriticalPoint, t: Translator) -> Answer:
        headline = t(f"critical_{point.standing}", task=point.setup.task)
        lead = [t.reason(point.reason)] if point.reason else []
        ends = {"smallest": t.eigenvalue(point.smallest), "largest": t.eigenvalue(point.largest)}
        lead.append(t("critical_eigenvalues", **ends))
        lead.append(
            t(
                "critical_gradient",
                norm=t.about(point.gradient_norm),
                drop=t.about(point.expected_drop),
                loss=t.score(point.loss),
            )
        )
        more = [
            t(
                "critical_batches",
                n=each.n,
                batch_size=t.count(each.batch_size),
                share=t.percent(each.descending),
            )
            for each in point.batches
        ]
        if has_signal(point.noise):
            more.append(t("critical_noise", noise=t.noise(point.noise)))
        else:
            more.append(t("critical_no_signal", pairs=point.noise.pairs))
        return Answer(headline, tuple(lead), (*more, *(t("critical_try", hint=t.reason(key)) for key in point.tries)))

    def parts(self, point: CriticalPoint, t: Translator) -> Parts:
        drop = t("tile_drop", drop=t.about(point.expected_drop))
        tiles = [
            Tile(t("section_critical"), t(f"standing_{point.standing}"), ""),
            eigenvalue_tile("tile_smallest_eigenvalue", point.smallest, t),
            eigenvalue_tile("tile_largest_eigenvalue", point.largest, t),
            Tile(t("tile_gradient"), t.about(point.gradient_norm), drop),
        ]
        return tiles, chart(critical_picture(point, t), t("hero_note_critical")), [critical_section(point, t)]

    def cautions(self, point: CriticalPoint, /) -> list[str]:
        open_ends = open_eigenvalues((point.largest, point.smallest))
        return [point.reason, *open_ends, point.noise.reason, "two_ends", "one_task"]

    def figure(self, point: CriticalPoint, t: Translator, /) -> Picture | None:
        return critical_picture(point, t)


@view(Escape)
class EscapeView(RecordView[Escape]):
    """The share of starts that escape from a saddle at each batch size."""

    of_loss_surface = True

    def answer(self, escape: Escape, t: Translator) -> Answer:
        counts = sorted(escape.counts, key=lambda count: count.batch_size)
        if not counts or not escape.starts:
            return Answer(t("escape_none", task=escape.task), ())
        shares = [
            t(
                "escape_share",
                batch_size=t.count(count.batch_size),
                share=t.estimate(count.share, t.percent),
            )
            for count in counts
        ]
        standings = (t("comma")).join(
            t("standing_count", standing=t(f"standing_{name}"), n=number)
            for name, number in escape.standings.items()
            if name in set(PointType)
        )
        more = [
            t("escape_started", n=escape.starts, standings=standings),
            t("escape_equal_steps", steps=t.count(escape.steps), rate=t.rate(escape.learning_rate)),
        ]
        if len(counts) == 1:
            size = t.count(counts[0].batch_size)
            return Answer(t("escape_single", task=escape.task, batch_size=size), tuple(shares), tuple(more))
        whole = counts[-1]
        above = [count for count in counts[:-1] if _apart(count, whole)]
        below = [count for count in counts[:-1] if _apart(whole, count)]
        key = (
            "escape_mixed" if above and below else "escape_more" if above else "escape_less" if below else "escape_open"
        )
        sizes = t("comma").join(t.count(count.batch_size) for count in above or below)
        headline = t(key, task=escape.task, sizes=sizes, whole=t.count(whole.batch_size))
        return Answer(headline, tuple(shares[:1] + shares[-1:]), (*shares[1:-1], *more))

    def parts(self, escape: Escape, t: Translator) -> Parts:
        counts = sorted(escape.counts, key=lambda count: count.batch_size)
        chosen = counts if len(counts) <= MOST_TILES else [*counts[: MOST_TILES - 1], counts[-1]]
        tiles = [
            tile(t("tile_escaped", batch_size=t.count(each.batch_size)), each.share, t.percent, t) for each in chosen
        ]
        return tiles, chart(escape_picture(escape, t), t("hero_note_escape")), [escape_section(escape, t)]

    def cautions(self, escape: Escape, /) -> list[str]:
        return [*_of_escape(escape), "one_task"]

    def figure(self, escape: Escape, t: Translator, /) -> Picture | None:
        return escape_picture(escape, t)
