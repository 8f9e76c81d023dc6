"""One chapter a record: its answer, the numbers to remember, the picture, the sections."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from critbatch.records.claims import Lecture
from critbatch.records.core import Advice, Estimate, Noise, Run, Speed
from critbatch.records.scaling import Scale
from critbatch.records.study import Fit, Study
from critbatch.reporting.answers import answer
from critbatch.reporting.blocks import Chapter, Chart, Section, Tile
from critbatch.reporting.figures.time import measured_time_to_target, time_to_target
from critbatch.reporting.findings import findings
from critbatch.reporting.lecture_answers import lecture_tiles
from critbatch.reporting.loss_chapters import Parts, loss_parts
from critbatch.reporting.readings import soonest_settings, timed
from critbatch.reporting.scale_answers import scale_parts
from critbatch.reporting.sections.asked_of_advice import asked_of_advice
from critbatch.reporting.sections.cost import cost_of_sizes, cost_of_study
from critbatch.reporting.sections.hardware import hardware
from critbatch.reporting.sections.lecture_claims import claim_section, lecture_section
from critbatch.reporting.sections.noise import noise_of_runs, noise_section
from critbatch.reporting.sections.training import accuracy_section, rate_section, runs_section, steps_section
from critbatch.reporting.sections.trust import again_section, trust_section
from critbatch.reporting.sections.use_it import use_section
from critbatch.reporting.study_chapters import fit_parts, study_parts
from critbatch.reporting.subjects import LossRecord, Subject, task_of
from critbatch.reporting.voice import Voice, Write


def chapter(record: Subject, voice: Voice) -> Chapter:
    """All that the page says of a record; several runs of one task are one chapter."""
    tiles, hero, sections = _parts(record, voice)
    ends = (trust_section(record, voice), again_section(record, voice))
    return Chapter(task_of(record), answer(record, voice), tuple(tiles), hero, (*sections, *ends))


def _parts(record: Subject, voice: Voice) -> Parts:
    if isinstance(record, Lecture):
        sections = [lecture_section(record, voice), *(claim_section(record, claim, voice) for claim in record.claims)]
        return lecture_tiles(record, voice), None, sections
    if isinstance(record, Advice):
        return _advice(record, voice)
    if isinstance(record, Speed):
        return _speed_tiles(record, voice), None, [hardware(record, voice)]
    if isinstance(record, Noise):
        return _noise_tiles(record, voice), None, [noise_section(record, voice)]
    if isinstance(record, Study):
        found = findings(record)
        return _study(record, voice) if found is None else study_parts(record, found, voice)
    if isinstance(record, Fit):
        return fit_parts(record, voice)
    if isinstance(record, Scale):
        return scale_parts(record, voice)
    if isinstance(record, LossRecord):
        return loss_parts(record, voice)
    return [], None, _runs(record, voice)


def _advice(advice: Advice, voice: Voice) -> Parts:
    picture = time_to_target(advice, voice)
    hero = Chart(picture, voice("hero_note")) if picture is not None else None
    points = advice.points
    use, asked = use_section(advice, voice), asked_of_advice(advice, voice)
    sections = [
        *([use] if use is not None else []),
        *([cost_of_sizes(advice, voice)] if points else []),
        hardware(advice.speed, voice),
        accuracy_section(advice.runs, advice.unit, voice),
        steps_section(advice.runs, points, advice.law, advice.unit, voice),
        *([rate_section(advice, voice)] if points else []),
        runs_section(advice.runs, voice),
        noise_of_runs(advice.runs, advice.unit, voice),
        *([asked] if asked is not None else []),
    ]
    best = advice.best
    if not advice.answered or best is None:
        return [], hero, sections
    tiles = [
        Tile(voice("batch_size"), voice.count(best.batch_size), _near(advice, voice)),
        _tile(voice("learning_rate"), best.learning_rate, voice.rate, voice),
        _tile(voice("column_time"), best.seconds, voice.seconds, voice),
        _tile(voice("column_steps"), best.steps, voice.about, voice),
    ]
    return tiles, hero, sections


def _near(advice: Advice, voice: Voice) -> str:
    if advice.within_ten_percent is None:
        return ""
    low, high = advice.within_ten_percent
    return voice("tile_near", span=voice.span(low, high, voice.count)) if low < high else voice("tile_alone")


def _tile(label: str, estimate: Estimate, write: Write, voice: Voice) -> Tile:
    return Tile(label, write(estimate.value), voice.interval(estimate, write) or voice("no_interval"))


def _study(study: Study, voice: Voice) -> Parts:
    picture = measured_time_to_target(study.runs, study.unit, voice)
    hero = Chart(picture, voice("hero_note_study")) if picture is not None else None
    asked, runs = study.question, study.runs
    targeted = [cost_of_study(study, voice), steps_section(runs, (), None, study.unit, voice)] if asked.target else []
    sections = [
        *targeted[:1],
        hardware(study.speed, voice),
        accuracy_section(runs, study.unit, voice),
        *targeted[1:],
        runs_section(runs, voice),
        noise_of_runs(runs, study.unit, voice),
    ]
    best = soonest_settings(runs)
    if not best:
        return [], hero, sections
    soonest = min(best, key=lambda setting: median(setting.seconds))
    seconds = soonest.seconds
    tiles = [
        Tile(voice("batch_size"), voice.count(soonest.batch_size), ""),
        Tile(voice("learning_rate"), voice.rate(soonest.learning_rate), ""),
        Tile(voice("column_time"), voice.seconds(median(seconds)), voice.span(seconds[0], seconds[-1], voice.seconds)),
        Tile(voice("tile_runs"), voice.count(len(runs)), voice("tile_left", left=study.left) if study.left else ""),
    ]
    return tiles, hero, sections


def _speed_tiles(speed: Speed, voice: Voice) -> list[Tile]:
    tiles = [Tile(voice("tile_largest"), voice.count(speed.largest_that_fits), "")]
    if speed.fit is not None:
        tiles.insert(0, _tile(voice("tile_knee"), speed.fit.knee, voice.about, voice))
    if points := timed(speed):
        fastest = min(points, key=speed.epoch_seconds)
        size = voice("tile_at_batch_size", batch_size=voice.count(fastest.batch_size))
        tiles.append(Tile(voice("tile_epoch"), voice.seconds(speed.epoch_seconds(fastest)), size))
    return tiles


def _noise_tiles(noise: Noise, voice: Voice) -> list[Tile]:
    told = [point for point in noise.points if math.isfinite(point.scale.examples) and point.scale.examples > 0]
    ends = (("tile_noise_end", told[-1]), ("tile_noise_start", told[0])) if told else ()
    note = "tile_step_tokens" if noise.tokens_per_example > 1 else "tile_step"
    return [
        Tile(voice(key), voice.about(point.scale.examples), voice(note, steps=voice.count(point.step), tokens=tokens))
        for key, point in ends
        for tokens in (voice.about(point.scale.examples * noise.tokens_per_example),)
    ]


def _runs(runs: Sequence[Run], voice: Voice) -> list[Section]:
    sections = [runs_section(runs, voice)]
    # The unit of an example is no part of a run.
    unit = voice("example")
    if len({run.batch_size for run in runs}) > 1:
        sections.insert(0, accuracy_section(runs, unit, voice))
        if any(run.target is not None for run in runs):
            sections.insert(1, steps_section(runs, (), None, unit, voice))
    if any(run.noise for run in runs):
        sections.append(noise_of_runs(runs, unit, voice))
    return sections
