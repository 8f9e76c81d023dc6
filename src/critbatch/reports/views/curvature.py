"""Curvature: the eigenvalues in numbers, and how they were found."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from critbatch.records.core import Estimate
from critbatch.records.loss_surface import (
    CriticalPoint,
    Curvature,
    Eigenvalue,
    Escape,
    Landscape,
    Matrix,
    Sharpness,
    Shift,
    SolutionSharpness,
    Standing,
)
from critbatch.reports.charts.landscape import landscape_picture
from critbatch.reports.charts.loss_surface import (
    can_be_drawn,
    critical_picture,
    curvature_picture,
    escape_picture,
    has_density,
    kernel_width,
    sharpness_picture,
    shift_picture,
)
from critbatch.reports.charts.theme import Picture
from critbatch.reports.derived.loss_surface import LossRecord, drawable, name_of, shift_name, told_shift
from critbatch.reports.model import (
    DAUPHIN,
    DINH,
    GHORBANI,
    KESKAR,
    MCCANDLISH,
    MEYER,
    Block,
    Cell,
    Chart,
    Method,
    Section,
    Table,
    Text,
    Tile,
)
from critbatch.reports.translator import SURE, Translator, Write
from critbatch.reports.views.common import cell, notes, setup_lines
from critbatch.reports.views.sharpness import landscape_section, ranked, sharpness_section, shift_section


def curvature_section(curvature: Curvature, t: Translator) -> Section:
    """What an eigenvalue is, the table, and the method."""
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
    lines.append(t("method_by_differences" if curvature.by == "differences" else "method_by_autograd"))
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


# Where training stands, and what becomes of it: numbers and method.

# The measurement looks at the steps of single batches on so many examples.
EXAMPLES_OF_A_STEP = 1000


def critical_section(point: CriticalPoint, t: Translator) -> Section:
    """What the verdict rests on."""
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
    """What became of the starts at each batch size."""
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
        told = notes([e for count in escape.counts for e in (count.share, count.steps, count.loss)], t)
        blocks.append(Table(t("escape_caption"), tuple(t(key) for key in keys), rows, told, folded=True))
    descent = t.count(escape.descent_steps)
    lines = (t("method_escape", starts=t.count(escape.starts), descent=descent), t("method_same_starts"))
    return Section("escape", t("section_escape"), (*blocks, Method(lines, (KESKAR, DAUPHIN))))


# The chapters of the records around the loss: tiles, picture, section.

# More tiles than these are no longer a few numbers to remember.
MOST_TILES = 4

Parts = tuple[list[Tile], Chart | None, list[Section]]


def loss_parts(record: LossRecord, t: Translator) -> Parts:
    parts: Parts = PARTS[type(record)](record, t)
    return parts


def _chart(picture: Picture | None, note: str) -> Chart | None:
    return Chart(picture, note) if picture is not None else None


def _estimate(label: str, estimate: Any, write: Write, t: Translator) -> Tile:
    if estimate.reason in SURE:
        return Tile(label, write(estimate.value), t(f"tile_{estimate.reason}"))
    return Tile(label, write(estimate.value), t.interval(estimate, write) or t("no_interval"))


def _eigenvalue(key: str, eigenvalue: Eigenvalue, t: Translator) -> Tile:
    return Tile(t(key), t.score(eigenvalue.value), t.within(eigenvalue))


def _curvature(curvature: Curvature, t: Translator) -> Parts:
    tiles = [_eigenvalue("tile_largest_eigenvalue", each, t) for each in curvature.largest[:1]]
    tiles += [_eigenvalue("tile_smallest_eigenvalue", each, t) for each in curvature.smallest[:1]]
    if curvature.trace is not None:
        tiles.append(_estimate(t("tile_trace"), curvature.trace, t.score, t))
    over = t("tile_examples", examples=t.count(curvature.setup.examples))
    tiles.append(Tile(t("tile_loss"), t.score(curvature.loss), over))
    note = t("hero_note_density" if has_density(curvature) else "hero_note_eigenvalues")
    return tiles, _chart(curvature_picture(curvature, t), note), [curvature_section(curvature, t)]


def _sharpness(sharpness: Sharpness, t: Translator) -> Parts:
    order = [each for _, each in ranked(sharpness.solutions)]
    chosen = order if len(order) <= MOST_TILES else [*order[:2], *order[-2:]]
    metric = t.metric(sharpness.metric_name)
    tiles = [
        Tile(
            name_of(each.solution, sharpness.setup.task, t),
            t.about(each.values[0].value.value),
            t("tile_validation", metric=metric, value=t.score(each.validation_metric)),
        )
        for each in chosen
    ]
    lost = sum(not can_be_drawn(value) for each in sharpness.solutions for value in each.values)
    note = t("hero_note_sharpness") if not lost else t("sharpness_zero", n=lost)
    return tiles, _chart(sharpness_picture(sharpness, t), note), [sharpness_section(sharpness, t)]


def _landscape(landscape: Landscape, t: Translator) -> Parts:
    told = [point for point in landscape.points if math.isfinite(point.train_loss)]
    tiles = []
    line = landscape.kind == "line"
    names = [name_of(solution, landscape.setup.task, t) for solution in landscape.solutions]
    for alpha, name in zip((0.0, 1.0), names, strict=False):
        at = next((point for point in told if (point.alpha, point.beta) == (alpha, 0.0)), None)
        if at is not None:
            tiles.append(Tile(t("tile_loss_at", label=name), t.score(at.train_loss), ""))
    between = [point for point in told if 0 < point.alpha < 1] if line else told
    if between:
        highest = max(between, key=lambda point: point.train_loss)
        key = "tile_highest" if line else "tile_highest_seen"
        where = t("tile_alpha", alpha=t.about(highest.alpha)) if line else ""
        tiles.append(Tile(t(key), t.score(highest.train_loss), where))
    lost = len(landscape.points) - len(drawable(landscape))
    note = t("landscape_left_out", n=lost) if lost else t(f"hero_note_{'line' if line else 'plane'}")
    return tiles, _chart(landscape_picture(landscape, t), note), [landscape_section(landscape, t)]


def _shift(shift: Shift, t: Translator) -> Parts:
    same = told_shift(shift)
    names = {each.solution.label: name_of(each.solution, shift.setup.task, t) for each in shift.sharpness}
    tiles = [
        Tile(
            t("tile_rise", label=names.get(rise.label, rise.label)),
            t.about(rise.rise.value),
            t("tile_with", shift=shift_name(rise.shift, rise.strength, t)),
        )
        for rise in same[:MOST_TILES]
    ]
    return tiles, _chart(shift_picture(shift, t), t("hero_note_shift")), [shift_section(shift, t)]


def _critical_point(point: CriticalPoint, t: Translator) -> Parts:
    drop = t("tile_drop", drop=t.about(point.expected_drop))
    tiles = [
        Tile(t("section_critical"), t(f"standing_{point.standing}"), ""),
        _eigenvalue("tile_smallest_eigenvalue", point.smallest, t),
        _eigenvalue("tile_largest_eigenvalue", point.largest, t),
        Tile(t("tile_gradient"), t.about(point.gradient_norm), drop),
    ]
    return tiles, _chart(critical_picture(point, t), t("hero_note_critical")), [critical_section(point, t)]


def _escape(escape: Escape, t: Translator) -> Parts:
    counts = sorted(escape.counts, key=lambda count: count.batch_size)
    chosen = counts if len(counts) <= MOST_TILES else [*counts[: MOST_TILES - 1], counts[-1]]
    tiles = [
        _estimate(t("tile_escaped", batch_size=t.count(each.batch_size)), each.share, t.percent, t) for each in chosen
    ]
    return tiles, _chart(escape_picture(escape, t), t("hero_note_escape")), [escape_section(escape, t)]


PARTS: dict[type, Callable[[Any, Translator], Parts]] = {
    Curvature: _curvature,
    Sharpness: _sharpness,
    Landscape: _landscape,
    Shift: _shift,
    CriticalPoint: _critical_point,
    Escape: _escape,
}


# What to keep in mind with the records around the loss.


def loss_cautions(record: LossRecord) -> list[str]:
    """Keys of `words.py`: those of the record's own numbers first, then what holds of such a measurement."""
    if isinstance(record, Curvature):
        found = [*_open((*record.largest, *record.smallest)), *_reasons([record.trace]), "scale_of_weights"]
    elif isinstance(record, Sharpness):
        found = [*_of_solutions(record.solutions), "found_by_climbing", "scale_of_weights"]
    elif isinstance(record, Landscape):
        losses = [loss for point in record.points for loss in (point.train_loss, point.validation_loss)]
        found = ["not_finite"] if not all(map(math.isfinite, losses)) else []
        found.append("one_direction")
    elif isinstance(record, Shift):
        found = [*_of_solutions(record.sharpness), *_reasons(each.rise for each in record.rises)]
        found += _reasons(each.correlation for each in record.predictions)
        found += ["many_intervals"] if len(record.predictions) > 1 else []
    elif isinstance(record, CriticalPoint):
        found = [record.reason, *_open((record.largest, record.smallest)), record.noise.reason, "two_ends"]
    else:
        found = _of_escape(record)
    return [*found, "one_task"]


def _of_solutions(solutions: Iterable[SolutionSharpness]) -> list[str]:
    told = list(solutions)
    values = [value.value for each in told for value in each.values]
    found = ["not_finite"] if not all(math.isfinite(value.value) for value in values) else []
    found += _reasons(values) + _reasons(each.trace for each in told)
    return found + _open(each.largest for each in told if each.largest is not None)


def _of_escape(escape: Escape) -> list[str]:
    found = ["starts_descending"] if escape.standings.get(Standing.DESCENDING, 0) else []
    if not all(math.isfinite(loss) for loss in escape.start_losses):
        found.append("not_finite")
    return found + _reasons(e for count in escape.counts for e in (count.share, count.steps, count.loss))


def _open(eigenvalues: Iterable[Eigenvalue]) -> list[str]:
    failed = [each for each in eigenvalues if not each.converged]
    reasons = ["not_converged"] if any(each.placed for each in failed) else []
    return [*reasons, "place_unknown"] if not all(each.placed for each in failed) else reasons


def _reasons(estimates: Iterable[Estimate | None]) -> list[str]:
    return [each.reason for each in estimates if each is not None and each.reason and each.reason not in SURE]
