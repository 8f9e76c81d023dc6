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
from critbatch.reporting.voice import SURE, Voice, Write

# More tiles than these are no longer a few numbers to remember.
MOST_TILES = 4

Parts = tuple[list[Tile], Chart | None, list[Section]]


def loss_parts(record: LossRecord, voice: Voice) -> Parts:
    parts: Parts = PARTS[type(record)](record, voice)
    return parts


def _chart(picture: Picture | None, note: str) -> Chart | None:
    return Chart(picture, note) if picture is not None else None


def _estimate(label: str, estimate: Any, write: Write, voice: Voice) -> Tile:
    if estimate.reason in SURE:
        return Tile(label, write(estimate.value), voice(f"tile_{estimate.reason}"))
    return Tile(label, write(estimate.value), voice.interval(estimate, write) or voice("no_interval"))


def _eigenvalue(key: str, eigenvalue: Eigenvalue, voice: Voice) -> Tile:
    return Tile(voice(key), voice.score(eigenvalue.value), voice.within(eigenvalue))


def _curvature(curvature: Curvature, voice: Voice) -> Parts:
    tiles = [_eigenvalue("tile_largest_eigenvalue", each, voice) for each in curvature.largest[:1]]
    tiles += [_eigenvalue("tile_smallest_eigenvalue", each, voice) for each in curvature.smallest[:1]]
    if curvature.trace is not None:
        tiles.append(_estimate(voice("tile_trace"), curvature.trace, voice.score, voice))
    over = voice("tile_examples", examples=voice.count(curvature.setup.examples))
    tiles.append(Tile(voice("tile_loss"), voice.score(curvature.loss), over))
    note = voice("hero_note_density" if has_density(curvature) else "hero_note_eigenvalues")
    return tiles, _chart(curvature_picture(curvature, voice), note), [curvature_section(curvature, voice)]


def _sharpness(sharpness: Sharpness, voice: Voice) -> Parts:
    order = [each for _, each in ranked(sharpness.solutions)]
    chosen = order if len(order) <= MOST_TILES else [*order[:2], *order[-2:]]
    metric = voice.metric(sharpness.metric_name)
    tiles = [
        Tile(
            name_of(each.solution, sharpness.setup.task, voice),
            voice.about(each.values[0].value.value),
            voice("tile_validation", metric=metric, value=voice.score(each.validation_metric)),
        )
        for each in chosen
    ]
    lost = sum(not can_be_drawn(value) for each in sharpness.solutions for value in each.values)
    note = voice("hero_note_sharpness") if not lost else voice("sharpness_zero", n=lost)
    return tiles, _chart(sharpness_picture(sharpness, voice), note), [sharpness_section(sharpness, voice)]


def _landscape(landscape: Landscape, voice: Voice) -> Parts:
    told = [point for point in landscape.points if math.isfinite(point.train_loss)]
    tiles = []
    line = landscape.kind == "line"
    names = [name_of(solution, landscape.setup.task, voice) for solution in landscape.solutions]
    for alpha, name in zip((0.0, 1.0), names, strict=False):
        at = next((point for point in told if (point.alpha, point.beta) == (alpha, 0.0)), None)
        if at is not None:
            tiles.append(Tile(voice("tile_loss_at", label=name), voice.score(at.train_loss), ""))
    between = [point for point in told if 0 < point.alpha < 1] if line else told
    if between:
        highest = max(between, key=lambda point: point.train_loss)
        key = "tile_highest" if line else "tile_highest_seen"
        where = voice("tile_alpha", alpha=voice.about(highest.alpha)) if line else ""
        tiles.append(Tile(voice(key), voice.score(highest.train_loss), where))
    lost = len(landscape.points) - len(drawable(landscape))
    note = voice("landscape_left_out", n=lost) if lost else voice(f"hero_note_{'line' if line else 'plane'}")
    return tiles, _chart(landscape_picture(landscape, voice), note), [landscape_section(landscape, voice)]


def _shift(shift: Shift, voice: Voice) -> Parts:
    same = told_shift(shift)
    names = {each.solution.label: name_of(each.solution, shift.setup.task, voice) for each in shift.sharpness}
    tiles = [
        Tile(
            voice("tile_rise", label=names.get(rise.label, rise.label)),
            voice.about(rise.rise.value),
            voice("tile_with", shift=shift_name(rise.shift, rise.strength, voice)),
        )
        for rise in same[:MOST_TILES]
    ]
    return tiles, _chart(shift_picture(shift, voice), voice("hero_note_shift")), [shift_section(shift, voice)]


def _critical_point(point: CriticalPoint, voice: Voice) -> Parts:
    drop = voice("tile_drop", drop=voice.about(point.expected_drop))
    tiles = [
        Tile(voice("section_critical"), voice(f"standing_{point.standing}"), ""),
        _eigenvalue("tile_smallest_eigenvalue", point.smallest, voice),
        _eigenvalue("tile_largest_eigenvalue", point.largest, voice),
        Tile(voice("tile_gradient"), voice.about(point.gradient_norm), drop),
    ]
    return tiles, _chart(critical_picture(point, voice), voice("hero_note_critical")), [critical_section(point, voice)]


def _escape(escape: Escape, voice: Voice) -> Parts:
    counts = sorted(escape.counts, key=lambda count: count.batch_size)
    chosen = counts if len(counts) <= MOST_TILES else [*counts[: MOST_TILES - 1], counts[-1]]
    tiles = [
        _estimate(voice("tile_escaped", batch_size=voice.count(each.batch_size)), each.share, voice.percent, voice)
        for each in chosen
    ]
    return tiles, _chart(escape_picture(escape, voice), voice("hero_note_escape")), [escape_section(escape, voice)]


PARTS: dict[type, Callable[[Any, Voice], Parts]] = {
    Curvature: _curvature,
    Sharpness: _sharpness,
    Landscape: _landscape,
    Shift: _shift,
    CriticalPoint: _critical_point,
    Escape: _escape,
}
