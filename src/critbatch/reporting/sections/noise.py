"""The gradient noise scale: how noisy the gradient was along a run."""

from __future__ import annotations

import math
from collections.abc import Sequence

from critbatch.records import NoisePoint, Run
from critbatch.reporting.blocks import Block, Cell, Chart, Method, Section, Table, Text
from critbatch.reporting.figures.noise import noise_along_run
from critbatch.reporting.papers import MCCANDLISH
from critbatch.reporting.voice import Voice


def noise_of_runs(runs: Sequence[Run], unit: str, voice: Voice) -> Section:
    """The noise scale along the run with the most points; other runs' are counted."""
    measured = sorted((run for run in runs if run.noise), key=lambda run: -len(run.noise))
    if not measured:
        return Section("noise", voice("section_noise"), (Text(voice("no_noise_measured")),))
    run = measured[0]
    at = {"batch_size": voice.count(run.batch_size), "rate": voice.rate(run.learning_rate), "seed": run.seed}
    which = Text(voice("noise_which", n=len(measured), **at))
    return noise_section(run.noise, unit, run.batch_size, voice, before=(which,))


def noise_section(
    points: Sequence[NoisePoint], unit: str, batch_size: int, voice: Voice, before: tuple[Block, ...] = ()
) -> Section:
    """The noise scale point by point."""
    title = voice("section_noise")
    blocks: list[Block] = [Text(voice("noise_text")), *before]
    picture = noise_along_run(points, unit, batch_size, voice)
    silent = sum(not math.isfinite(point.scale.examples) or point.scale.examples <= 0 for point in points)
    if picture is not None:
        blocks.append(Chart(picture))
    if silent:
        blocks.append(Text(voice("noise_silent", n=silent)))
    if not points:
        return Section("noise", title, (Text(voice("no_noise_measured")),))
    rows = tuple(
        (
            Cell(voice.count(point.step)),
            Cell(voice.about(point.epoch)),
            Cell(voice.about(point.scale.examples), _bounds(point, voice)),
            Cell(voice.count(point.scale.pairs)),
        )
        for point in points
    )
    header = tuple(voice(key) for key in ("column_step_number", "column_epochs", "column_noise", "column_pairs"))
    method = Method((voice("method_noise"), voice("method_noise_interval")), (MCCANDLISH,))
    return Section("noise", title, (*blocks, Table(voice("noise_caption"), header, rows, folded=True), method))


def _bounds(point: NoisePoint, voice: Voice) -> str:
    scale = point.scale
    if scale.low is not None and scale.high is not None:
        return voice.span(scale.low, scale.high, voice.about)
    if scale.low is not None:
        return voice("at_least", low=voice.about(scale.low))
    return voice("no_interval")
