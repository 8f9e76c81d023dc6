"""The chapters of a study that was analysed and of a fit: tiles, picture, sections."""

from __future__ import annotations

import math

from critbatch.records.core import Estimate
from critbatch.records.study import Fit, Study
from critbatch.reporting.blocks import Chart, Section, Tile
from critbatch.reporting.figures.budgets import three_budgets
from critbatch.reporting.figures.sizes import steps_against_size
from critbatch.reporting.figures.time import measured_time_to_target
from critbatch.reporting.findings import Findings, findings
from critbatch.reporting.loss_chapters import Parts
from critbatch.reporting.readings import runs_worth_marking
from critbatch.reporting.sections.asked import asked_section
from critbatch.reporting.sections.budgets import budgets_section
from critbatch.reporting.sections.hardware import hardware
from critbatch.reporting.sections.law import law_section
from critbatch.reporting.sections.noise import noise_of_runs
from critbatch.reporting.sections.points import points_section, predictions_section
from critbatch.reporting.sections.rate_law import rate_law_section
from critbatch.reporting.sections.sizes import sizes_section
from critbatch.reporting.sections.training import marks_note, runs_section
from critbatch.reports.translator import SURE, Translator, Write

# More tiles than these need a second row.
ROW_OF_TILES = 5


def study_parts(study: Study, found: Findings, t: Translator) -> Parts:
    """What was tried, each size at its best, the law, the rates, the three budgets, the runs."""
    runs, targeted = study.runs, study.question.target is not None
    picture = steps_against_size(found, t) if targeted else None
    hero = _hero(found, t)
    sections: list[Section] = [asked_section(study, t)]
    if targeted:
        time = measured_time_to_target(runs, study.unit, t)
        note = " ".join(filter(None, (t("hero_note_study"), marks_note(runs, runs_worth_marking(runs), t))))
        sections += [sizes_section(found, time, note, t), law_section(found, t), rate_law_section(found, t)]
    sections.append(budgets_section(found, t, drawn=picture is None and hero is not None))
    sections += [hardware(study.speed, t)] if study.speed is not None else []
    sections.append(runs_section(runs, t))
    sections += [noise_of_runs(runs, study.unit, t)] if any(run.noise for run in runs) else []
    tiles = _tiles(found, t)
    if 0 < len(tiles) < ROW_OF_TILES:
        left = t("tile_left", left=t.count(study.left)) if study.left else ""
        tiles.append(Tile(t("tile_runs"), t.count(len(runs)), left))
    return tiles, hero, sections


def fit_parts(fit: Fit, t: Translator) -> Parts:
    """The points, each size, the law, the rates where they are known, and the predictions."""
    found = findings(fit)
    assert found is not None
    sections = [points_section(fit, t), sizes_section(found, None, "", t), law_section(found, t)]
    if any(size.learning_rate is not None for size in found.sizes):
        sections.append(rate_law_section(found, t))
    if fit.predictions:
        sections.append(predictions_section(fit, found, t))
    return _tiles(found, t), _hero(found, t), sections


def _hero(found: Findings, t: Translator) -> Chart | None:
    """Steps against batch size, or without a target the three budgets."""
    picture = steps_against_size(found, t)
    if picture is not None:
        return Chart(picture, t("hero_note_sizes"))
    picture = three_budgets(found, t)
    return Chart(picture, t("hero_note_budgets")) if picture is not None else None


def _tiles(found: Findings, t: Translator) -> list[Tile]:
    tiles, best, law = [], found.soonest, found.trade_off
    if best is not None:
        tiles.append(Tile(t("tile_soonest"), t.count(best.batch_size), _rate(best.learning_rate, t)))
    if law is not None:
        tiles.append(_tile("tile_critical", law.critical_batch_size, t.about, t))
        if law.min_steps is not None:
            tiles.append(_tile("tile_min_steps", law.min_steps, t.about, t))
        if law.min_epochs is not None:
            tiles.append(_tile("tile_min_epochs", law.min_epochs, t.about, t))
        elif law.min_examples is not None:
            tiles.append(_tile("tile_min_examples", law.min_examples, t.about, t))
    if found.analysis.rate_law is not None:
        tiles.append(_tile("tile_exponent", found.analysis.rate_law.exponent, t.about, t))
    return tiles


def _rate(rate: float | None, t: Translator) -> str:
    return t("tile_at_rate", rate=t.rate(rate)) if rate is not None else ""


def _tile(key: str, estimate: Estimate, write: Write, t: Translator) -> Tile:
    """The number and its interval; the bound alone where the number is 0 or infinite."""
    bounds = t.bounds(estimate, write)
    if not math.isfinite(estimate.value) or estimate.value == 0:
        return Tile(t(key), bounds or t("not_known"), t("tile_bound") if bounds else "")
    if estimate.low is not None and estimate.high is not None:
        return Tile(t(key), write(estimate.value), t.interval(estimate, write))
    sure = f"tile_{estimate.reason}" if estimate.reason in SURE else "no_interval"
    return Tile(t(key), write(estimate.value), bounds or t(sure))
