"""One chapter a record: its answer, the numbers to remember, the picture, the sections."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from critbatch.records.claims import Lecture
from critbatch.records.core import Advice, Estimate, Machine, Noise, Provenance, Run, Speed
from critbatch.records.scaling import Scale
from critbatch.records.study import Fit, Study
from critbatch.reports.charts.advice import measured_time_to_target, time_to_target
from critbatch.reports.derived.claims import lecture_tiles
from critbatch.reports.derived.loss_surface import LossRecord, Single, Subject, task_of
from critbatch.reports.derived.runs import soonest_settings, timed
from critbatch.reports.derived.study import findings
from critbatch.reports.model import Block, Bullets, Chapter, Chart, Facts, Method, Section, Text, Tile
from critbatch.reports.translator import Translator, Write
from critbatch.reports.views.advice import asked_of_advice, cost_of_sizes, cost_of_study, use_section
from critbatch.reports.views.answers import NOT_MEASURED, answer, cautions
from critbatch.reports.views.claims import claim_section, lecture_section
from critbatch.reports.views.curvature import Parts, loss_parts
from critbatch.reports.views.noise import noise_of_runs, noise_section
from critbatch.reports.views.runs import accuracy_section, rate_section, runs_section, steps_section
from critbatch.reports.views.scaling import scale_parts
from critbatch.reports.views.speed import hardware
from critbatch.reports.views.study import fit_parts, study_parts

# How far to trust the page, and how to get it again.


def trust_section(record: Subject, t: Translator) -> Section:
    """Weaknesses that were found, and what was not measured."""
    keys = cautions(record)
    weak = tuple(t.reason(key) for key in keys if key not in NOT_MEASURED)
    absent = tuple(t.reason(key) for key in keys if key in NOT_MEASURED)
    blocks: list[Block] = [Bullets(weak, t("trust_weak")) if weak else Text(t("trust_no_weakness"))]
    if absent:
        blocks.append(Bullets(absent, t("trust_absent")))
    n = t("method_n_loss" if isinstance(record, LossRecord) else "method_n")
    blocks.append(Method((t("method_interval"), n), title=t("words_interval")))
    return Section("trust", t("section_trust"), tuple(blocks))


def again_section(record: Subject, t: Translator) -> Section:
    """Command, versions, machine, seeds."""
    title = t("section_again")
    if not isinstance(record, Single):
        return Section("again", title, (Text(t("again_nothing")),))
    made, machine = record.provenance, record.provenance.machine
    facts = Facts((*_facts(made, _runs_of(record), t), *_machine(machine, t)), code=made.command)
    text, keys = "again_text", ("word_batch", "word_step", "word_epoch", "word_target", "word_noise")
    if isinstance(record, LossRecord):
        text, keys = "again_loss_text", ("word_batch", "word_step", "word_solution", "word_hessian", "word_saddle")
    words = Method(tuple(t(key) for key in keys), title=t("words_used"))
    return Section("again", title, (Text(t(text)), facts, words))


def _runs_of(record: Single) -> Sequence[Run]:
    return record.runs if isinstance(record, (Advice, Study)) else ()


def _facts(made: Provenance, runs: Sequence[Run], t: Translator) -> list[tuple[str, str]]:
    pairs = [
        (t("fact_started"), made.started.replace("T", " ").removesuffix("Z")),
        (t("fact_took"), t.seconds(made.wall_seconds)),
        (t("fact_seed"), str(made.seed)),
    ]
    seeds = sorted({run.seed for run in runs})
    if seeds:
        pairs.append((t("fact_run_seeds"), ", ".join(str(seed) for seed in seeds)))
    return pairs


def _machine(machine: Machine, t: Translator) -> list[tuple[str, str]]:
    device = f"{machine.device} ({machine.accelerator})" if machine.accelerator else machine.device
    return [
        (t("fact_processor"), machine.processor),
        (t("fact_cores"), t("cores_and_threads", cores=machine.cores, threads=machine.threads)),
        (t("fact_memory"), t.bytes(machine.memory_bytes)),
        (t("fact_device"), device),
        (t("fact_system"), machine.system),
        ("Python", machine.python),
        ("PyTorch", machine.torch),
        ("critbatch", machine.critbatch),
    ]


def chapter(record: Subject, t: Translator) -> Chapter:
    """All that the page says of a record; several runs of one task are one chapter."""
    tiles, hero, sections = _parts(record, t)
    ends = (trust_section(record, t), again_section(record, t))
    return Chapter(task_of(record), answer(record, t), tuple(tiles), hero, (*sections, *ends))


def _parts(record: Subject, t: Translator) -> Parts:
    if isinstance(record, Lecture):
        sections = [lecture_section(record, t), *(claim_section(record, claim, t) for claim in record.claims)]
        return lecture_tiles(record, t), None, sections
    if isinstance(record, Advice):
        return _advice(record, t)
    if isinstance(record, Speed):
        return _speed_tiles(record, t), None, [hardware(record, t)]
    if isinstance(record, Noise):
        return _noise_tiles(record, t), None, [noise_section(record, t)]
    if isinstance(record, Study):
        found = findings(record)
        return _study(record, t) if found is None else study_parts(record, found, t)
    if isinstance(record, Fit):
        return fit_parts(record, t)
    if isinstance(record, Scale):
        return scale_parts(record, t)
    if isinstance(record, LossRecord):
        return loss_parts(record, t)
    return [], None, _runs(record, t)


def _advice(advice: Advice, t: Translator) -> Parts:
    picture = time_to_target(advice, t)
    hero = Chart(picture, t("hero_note")) if picture is not None else None
    points = advice.points
    use, asked = use_section(advice, t), asked_of_advice(advice, t)
    sections = [
        *([use] if use is not None else []),
        *([cost_of_sizes(advice, t)] if points else []),
        hardware(advice.speed, t),
        accuracy_section(advice.runs, advice.unit, t),
        steps_section(advice.runs, points, advice.law, advice.unit, t),
        *([rate_section(advice, t)] if points else []),
        runs_section(advice.runs, t),
        noise_of_runs(advice.runs, advice.unit, t),
        *([asked] if asked is not None else []),
    ]
    best = advice.best
    if not advice.answered or best is None:
        return [], hero, sections
    tiles = [
        Tile(t("batch_size"), t.count(best.batch_size), _near(advice, t)),
        _tile(t("learning_rate"), best.learning_rate, t.rate, t),
        _tile(t("column_time"), best.seconds, t.seconds, t),
        _tile(t("column_steps"), best.steps, t.about, t),
    ]
    return tiles, hero, sections


def _near(advice: Advice, t: Translator) -> str:
    if advice.within_ten_percent is None:
        return ""
    low, high = advice.within_ten_percent
    return t("tile_near", span=t.span(low, high, t.count)) if low < high else t("tile_alone")


def _tile(label: str, estimate: Estimate, write: Write, t: Translator) -> Tile:
    return Tile(label, write(estimate.value), t.interval(estimate, write) or t("no_interval"))


def _study(study: Study, t: Translator) -> Parts:
    picture = measured_time_to_target(study.runs, study.unit, t)
    hero = Chart(picture, t("hero_note_study")) if picture is not None else None
    asked, runs = study.question, study.runs
    targeted = [cost_of_study(study, t), steps_section(runs, (), None, study.unit, t)] if asked.target else []
    sections = [
        *targeted[:1],
        hardware(study.speed, t),
        accuracy_section(runs, study.unit, t),
        *targeted[1:],
        runs_section(runs, t),
        noise_of_runs(runs, study.unit, t),
    ]
    best = soonest_settings(runs)
    if not best:
        return [], hero, sections
    soonest = min(best, key=lambda setting: median(setting.seconds))
    seconds = soonest.seconds
    tiles = [
        Tile(t("batch_size"), t.count(soonest.batch_size), ""),
        Tile(t("learning_rate"), t.rate(soonest.learning_rate), ""),
        Tile(t("column_time"), t.seconds(median(seconds)), t.span(seconds[0], seconds[-1], t.seconds)),
        Tile(t("tile_runs"), t.count(len(runs)), t("tile_left", left=study.left) if study.left else ""),
    ]
    return tiles, hero, sections


def _speed_tiles(speed: Speed, t: Translator) -> list[Tile]:
    tiles = [Tile(t("tile_largest"), t.count(speed.largest_that_fits), "")]
    if speed.fit is not None:
        tiles.insert(0, _tile(t("tile_knee"), speed.fit.knee, t.about, t))
    if points := timed(speed):
        fastest = min(points, key=speed.epoch_seconds)
        size = t("tile_at_batch_size", batch_size=t.count(fastest.batch_size))
        tiles.append(Tile(t("tile_epoch"), t.seconds(speed.epoch_seconds(fastest)), size))
    return tiles


def _noise_tiles(noise: Noise, t: Translator) -> list[Tile]:
    told = [point for point in noise.points if math.isfinite(point.scale.examples) and point.scale.examples > 0]
    ends = (("tile_noise_end", told[-1]), ("tile_noise_start", told[0])) if told else ()
    note = "tile_step_tokens" if noise.tokens_per_example > 1 else "tile_step"
    return [
        Tile(t(key), t.about(point.scale.examples), t(note, steps=t.count(point.step), tokens=tokens))
        for key, point in ends
        for tokens in (t.about(point.scale.examples * noise.tokens_per_example),)
    ]


def _runs(runs: Sequence[Run], t: Translator) -> list[Section]:
    sections = [runs_section(runs, t)]
    # The unit of an example is no part of a run.
    unit = t("example")
    if len({run.batch_size for run in runs}) > 1:
        sections.insert(0, accuracy_section(runs, unit, t))
        if any(run.target is not None for run in runs):
            sections.insert(1, steps_section(runs, (), None, unit, t))
    if any(run.noise for run in runs):
        sections.append(noise_of_runs(runs, unit, t))
    return sections
