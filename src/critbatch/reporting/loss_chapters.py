"""The chapters of the records around the loss: tiles, picture, section."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from critbatch.records.loss_surface import CriticalPoint, Curvature, Eigenvalue, Escape, Landscape, Sharpness, Shift
from critbatch.reporting.blocks import Chart, Section, Tile
from critbatch.reporting.figures.critical import critical_picture, escape_picture
from critbatch.reporting.figures.curvature import curvature_picture, has_density
from critbatch.reporting.figures.landscape import landscape_picture
from critbatch.reporting.figures.sharpness import can_be_drawn, sharpness_picture
from critbatch.reporting.figures.shift import shift_picture
from critbatch.reporting.figures.theme import Picture
from critbatch.reporting.loss_answers import ranked
from critbatch.reporting.readings_of_loss import drawable, shift_name, told_shift
from critbatch.reporting.sections.curvature import curvature_section
from critbatch.reporting.sections.landscape import landscape_section
from critbatch.reporting.sections.sharpness import sharpness_section
from critbatch.reporting.sections.shift import shift_section
from critbatch.reporting.sections.stuck import critical_section, escape_section
from critbatch.reporting.subjects import LossRecord, name_of
from critbatch.reports.translator import SURE, Translator, Write

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
